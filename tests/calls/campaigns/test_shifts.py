"""Beat's ticks in one process: one thread works, and goes on for as long as others tick."""

import threading

import pytest
from celery.signals import worker_shutting_down

from calls.campaigns import dialler
from calls.tasks import campaigns


@pytest.fixture
def now(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(dialler.time, "monotonic", lambda: clock[0])
    return clock


def test_who_ticks_first_works_and_each_later_tick_makes_it_last_longer(now):
    shift = dialler.Shift()
    assert shift.left_s() <= 0
    assert shift.tick(8)
    now[0] += 5
    assert (shift.left_s(), shift.tick(8), shift.left_s()) == (3, False, 8)
    now[0] += 9
    assert shift.left_s() == -1


def test_a_tick_after_the_end_is_somebodys_to_work_on(now):
    shift = dialler.Shift()
    assert shift.tick(8)
    now[0] += 9
    assert not shift.tick(8), "it finishes what it has begun, and looks at the time once more"
    shift.end()
    assert shift.tick(8)


def test_a_process_that_stops_begins_nothing_more(now):
    shift = dialler.Shift()
    shift.tick(8)
    shift.close()
    assert not shift.tick(8)
    assert shift.left_s() == 0


def test_celery_tells_a_process_that_it_is_to_stop(monkeypatch):
    shift = dialler.Shift(60)
    monkeypatch.setattr(campaigns, "_shift", shift)
    worker_shutting_down.send(sender=None)
    assert shift.left_s() <= 0


def test_a_tick_shortens_nothing(now):
    shift = dialler.Shift(60)
    shift.tick(8)
    assert shift.left_s() == 60


def test_a_tick_while_people_are_called_returns_at_once(monkeypatch):
    at_work, enough, left = threading.Event(), threading.Event(), []

    def work(*, shift, **_):
        at_work.set()
        assert enough.wait(10)
        left.append(shift.left_s())

    monkeypatch.setattr(campaigns, "_shift", dialler.Shift())
    monkeypatch.setattr(dialler, "work", work)
    worker = threading.Thread(target=campaigns.dial)
    worker.start()
    assert at_work.wait(10)
    monkeypatch.setattr(campaigns, "DIAL_S", 100.0)
    campaigns.dial()
    enough.set()
    worker.join(10)
    assert left[0] > 90


def test_work_that_broke_is_begun_again_at_the_next_tick(monkeypatch):
    begun = []

    def work(**_):
        begun.append(1)
        raise ConnectionError

    monkeypatch.setattr(campaigns, "_shift", dialler.Shift())
    monkeypatch.setattr(dialler, "work", work)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            campaigns.dial()
    assert len(begun) == 2

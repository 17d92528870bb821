"""The pulse of a stream process: how often it beats, and whose fault costs whom what."""

import asyncio
import itertools

import pytest

from streaming.pulse import EVERY_S, Pulse
from tests.streaming.fakes import until

pytestmark = pytest.mark.pure


async def test_what_comes_between_two_beats_is_done_in_one_in_order_and_judged_after_it() -> None:
    done: list[str] = []
    pulse = Pulse(lambda: done.append("judged"))
    pulse.do(lambda: done.append("first"))
    pulse.do(lambda: done.append("second"))
    assert done == []
    await until(lambda: done)
    assert done == ["first", "second", "judged"]
    await asyncio.sleep(3 * EVERY_S)
    assert done == ["first", "second", "judged"], "nothing waits: no beat"


async def test_work_that_makes_something_to_judge_costs_no_second_beat() -> None:
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(0))
    pulse.do(pulse.soon)
    await asyncio.sleep(4 * EVERY_S)
    assert len(beats) == 1


async def test_beats_keep_their_distance_and_work_asked_for_in_one_is_done_in_the_next() -> None:
    clock = asyncio.get_running_loop().time
    beats: list[float] = []
    pulse = Pulse(lambda: beats.append(clock()))

    def again() -> None:
        if len(beats) < 4:
            pulse.do(again)

    pulse.do(again)
    await until(lambda: len(beats) == 5)
    assert min(after - before for before, after in itertools.pairwise(beats)) > EVERY_S - 0.002


async def test_the_fault_of_one_is_logged_and_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []
    pulse = Pulse(lambda: done.append("judged"))
    pulse.do(lambda: 1 / 0)
    pulse.do(lambda: done.append("other"))
    await until(lambda: done)
    assert done == ["other", "judged"]
    assert "pulse_work_failed" in caplog.text
    pulse.soon()
    await until(lambda: len(done) == 3)


async def test_a_failing_judgement_stops_no_later_beat() -> None:
    failures: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: failures.append(context["exception"]))
    pulse = Pulse(lambda: 1 / 0)
    pulse.soon()
    await until(lambda: failures)
    pulse.soon()
    await until(lambda: len(failures) == 2)
    loop.set_exception_handler(None)


async def test_after_its_end_nothing_beats() -> None:
    done: list[str] = []
    pulse = Pulse(lambda: done.append("judged"))
    pulse.do(lambda: done.append("work"))
    pulse.close()
    pulse.soon()
    await asyncio.sleep(2 * EVERY_S)
    assert done == []

"""Admission by the load that stream processes publish: with room, without, and without Redis."""

import datetime

import pytest
from django.utils import timezone

from calls import admission
from calls.admission import StreamLoad, admit, publish_load, withdraw

pytestmark = [pytest.mark.db, pytest.mark.usefixtures("private_redis")]


@pytest.fixture
def now():
    return timezone.now()


def publish(process="p1", **load):
    publish_load(process_id=process, load=StreamLoad(**{"live_calls": 0} | load), ttl_s=5)


def test_without_any_published_load_a_call_is_admitted(now):
    assert admit(call="a", now=now) == admission.Admission(ok=True, reason="no_load")


def test_without_redis_a_call_is_admitted(settings, now):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert admit(call="a", now=now) == admission.Admission(ok=True, reason="no_redis")


@pytest.mark.parametrize(
    ("loads", "ok", "reason"),
    [
        ([{"live_calls": 500}], True, ""),
        ([{"live_calls": 4, "max_calls": 5}], True, ""),
        ([{"live_calls": 5, "max_calls": 5}], False, "full"),
        ([{"live_calls": 6, "max_calls": 5}], False, "full"),
        ([{"lag_ms": 100.0, "max_lag_ms": 100.0}], False, "full"),
        ([{"lag_ms": 99.0, "max_lag_ms": 100.0}], True, ""),
        ([{"draining": True}], False, "draining"),
        ([{"draining": True}, {"live_calls": 5, "max_calls": 5}], False, "full"),
        ([{"draining": True}, {"live_calls": 1}], True, ""),
        ([{"lag_ms": 900.0}, {"live_calls": 4, "max_calls": 5}], True, ""),
    ],
)
def test_a_call_is_admitted_where_some_process_has_room(loads, ok, reason, now):
    for number, load in enumerate(loads):
        publish(f"p{number}", **load)
    found = admit(call="a", now=now)
    assert (found.ok, found.reason) == (ok, reason)


def test_a_burst_within_one_publication_is_admitted_only_as_far_as_there_is_room(now):
    publish(live_calls=2, max_calls=5)
    verdicts = [admit(call=str(number), now=now).ok for number in range(6)]
    assert verdicts == [True, True, True, False, False, False]
    settled = now + admission.SETTLE + datetime.timedelta(milliseconds=1)
    publish(live_calls=5, max_calls=5)
    assert not admit(call="later", now=settled).ok
    publish(live_calls=4, max_calls=5)
    assert admit(call="later", now=settled).ok


def test_the_same_call_asked_twice_takes_one_place(now):
    publish(max_calls=1)
    assert admit(call="a", now=now).ok
    assert admit(call="a", now=now).ok
    assert not admit(call="b", now=now).ok


def test_a_process_that_has_withdrawn_counts_no_more(now):
    publish("p1")
    publish("p2", live_calls=5, max_calls=5)
    withdraw("p1")
    assert not admit(call="a", now=now).ok


def test_a_process_that_died_is_forgotten_with_its_last_load(private_redis, now):
    publish("p1", live_calls=5, max_calls=5)
    private_redis.delete(admission.LOAD + "p1")
    assert admit(call="a", now=now).reason == "no_load"
    assert private_redis.smembers(admission.PROCESSES) == set()


@pytest.mark.django_db
def test_a_ring_above_the_limit_gets_an_apology_and_the_fallback_number_not_a_bad_call():
    from calls.models import Call, StreamToken  # noqa: PLC0415
    from tests import factories  # noqa: PLC0415
    from tests.calls.carrier import Carrier, tags, xml  # noqa: PLC0415

    publish(live_calls=5, max_calls=5)
    number = factories.PhoneNumberFactory()
    number.agent.fallback_number = "+15550008888"
    number.agent.save()
    factories.AgentVersionFactory(agent=number.agent)
    plivo = Carrier(number.plivo_account)
    response = plivo.ring(number.number)
    assert tags(response) == ["Speak", "Dial"]
    assert xml(response).find("Speak").text == number.agent.apology
    call = Call.objects.get()
    assert (call.end_reason, call.streams) == ("refused", 0)
    assert call.events.get().data["reason"] == "full"
    assert not StreamToken.objects.exists()
    publish(live_calls=0, max_calls=5)
    assert tags(plivo.again()) == ["Speak", "Dial"]  # what was decided stands

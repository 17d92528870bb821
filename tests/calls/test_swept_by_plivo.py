"""Calls whose end Plivo never reported: they end by themselves, with what Plivo's own record says, asked over HTTP."""

import datetime
import time

import pytest
from django.utils import timezone

from calls import phone, sweeper
from calls.models import Call, CallSummary, WebhookEvent
from tests.calls.sandbox_thread import DEMO_NUMBER

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]

SECOND = datetime.timedelta(seconds=1)
HANGS_UP = {"steps": [{"silence": {"ms": 1200}}, "hangup"]}
STREAM_OPENS_LATE = {"connect_delay_ms": 500_000}  # the caller is gone by then


@pytest.fixture
def records_at_once(box):
    box.settings(cdr_after_s=0)


def lost(box, *, cdr_after_s):
    """A call whose hang-up is not reported, and whose record Plivo has after so many (scaled) seconds."""
    box.settings(cdr_after_s=cdr_after_s)
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HANGS_UP, faults=STREAM_OPENS_LATE | {"webhook_lost": ["Hangup"]})
    box.report(call_uuid, wait="ended")
    return Call.objects.get(plivo_call_uuid=call_uuid)


def test_a_record_that_is_late_is_waited_for_before_the_call_ends(box, rented):
    call = lost(box, cdr_after_s=1_000_000)
    late = call.deadline_at + SECOND
    assert sweeper.sweep(now=late).repaired == {"record_awaited": 1}
    assert Call.objects.get().status == "answered"
    box.settings(cdr_after_s=0)
    assert sweeper.sweep(now=late + sweeper.ASK_AGAIN + SECOND).repaired == {"ended_unreported": 1}
    call.refresh_from_db()
    assert (call.status, call.hangup_code, call.outcome, call.deadline_at) == ("ended", 4000, "completed", None)


def test_a_record_that_comes_after_minutes_is_added_to_the_call_that_was_ended_without_it(box, rented):
    call = lost(box, cdr_after_s=1_000_000)
    now = call.deadline_at
    while call.status != "ended":
        now += sweeper.ASK_AGAIN + SECOND
        sweeper.sweep(now=now)
        call.refresh_from_db()
    assert (call.hangup_code, call.duration_s, call.end_reason) == (None, None, "swept")
    assert now - call.created_at < datetime.timedelta(minutes=6)
    box.settings(cdr_after_s=0)
    assert sweeper.sweep(now=now + sweeper.FACTS_AFTER + SECOND).repaired == {"facts_added": 1}
    with phone.client_for(rented.plivo_account) as client:
        record = client.call_record(call.plivo_call_uuid)
    call.refresh_from_db()
    assert (call.hangup_code, call.hangup_source) == (4000, record.hangup_source)
    assert (call.duration_s, call.ended_at, call.carrier_cost) == (record.duration_s, record.ended_at, record.cost)
    assert CallSummary.objects.count() == 1


@pytest.mark.usefixtures("records_at_once")
@pytest.mark.parametrize(
    "never", [["Hangup"], ["Hangup", "Redirect", "stream"]], ids=["the hang-up", "all but the ring"]
)
def test_a_call_whose_hang_up_was_never_reported_ends_with_the_facts_of_plivos_record(box, rented, never):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HANGS_UP, faults=STREAM_OPENS_LATE | {"webhook_lost": never})
    report = box.report(call_uuid, wait="ended")
    call = Call.objects.get(plivo_call_uuid=call_uuid)
    assert call.status == "answered"
    assert not WebhookEvent.objects.filter(kind="hangup").exists()

    assert sweeper.sweep(now=call.deadline_at).repaired == {}
    assert sweeper.sweep(now=call.deadline_at + SECOND).repaired == {"ended_unreported": 1}
    with phone.client_for(rented.plivo_account) as client:
        record = client.call_record(call_uuid)
    ended = Call.objects.get()
    assert (ended.status, ended.outcome, ended.end_reason) == ("ended", "completed", "swept")
    assert (ended.ended_at, ended.deadline_at) == (record.ended_at, None)
    assert (ended.hangup_code, ended.hangup_source) == (report["hangup"]["code"], report["hangup"]["source"])
    assert (ended.hangup_code, ended.hangup_cause) == (4000, record.hangup_cause)
    assert ended.duration_s == record.duration_s == report["duration_s"]
    assert (ended.bill_duration_s, ended.carrier_cost) == (60, record.cost)
    assert CallSummary.objects.get().call == ended
    assert sweeper.sweep(now=timezone.now() + datetime.timedelta(days=2)).repaired == {}


@pytest.mark.usefixtures("records_at_once")
def test_a_call_that_plivo_still_holds_is_left_to_itself_until_it_is_over(box, rented):
    faults = STREAM_OPENS_LATE | {"webhook_lost": ["Hangup"]}
    call_uuid = box.inbound_call(DEMO_NUMBER, script={"steps": ["wait_hangup"]}, faults=faults)
    box.report(call_uuid, wait="answered")
    call = Call.objects.get(plivo_call_uuid=call_uuid)
    late = call.deadline_at + SECOND
    assert sweeper.sweep(now=late).repaired == {"still_live": 1}
    assert Call.objects.get().status == "answered"
    box.act(call_uuid, "hangup")
    box.report(call_uuid, wait="ended")
    assert sweeper.sweep(now=late + sweeper.ASK_AGAIN).repaired == {}
    assert sweeper.sweep(now=late + sweeper.ASK_AGAIN + SECOND).repaired == {"ended_unreported": 1}
    assert Call.objects.get().hangup_source == "Caller"


@pytest.mark.usefixtures("records_at_once")
def test_a_hang_up_that_comes_after_the_sweeper_has_ended_the_call_adds_to_it_and_takes_nothing_away(box, rented):
    call_uuid = box.inbound_call(
        DEMO_NUMBER, script=HANGS_UP, faults=STREAM_OPENS_LATE | {"webhook_delay_ms": {"Hangup": 200_000}}
    )
    box.report(call_uuid, wait="answered")
    while box.report(call_uuid)["state"] == "in-progress":
        time.sleep(0.05)
    call = Call.objects.get(plivo_call_uuid=call_uuid)
    assert sweeper.sweep(now=call.deadline_at + SECOND).repaired == {"ended_unreported": 1}
    swept = Call.objects.values().get()
    assert swept["status"] == "ended"
    box.report(call_uuid, wait="ended")
    told = Call.objects.values().get()
    assert WebhookEvent.objects.filter(kind="hangup").exclude(applied_at=None).exists()
    assert told["end_reason"] == "caller_hung_up"
    assert {name: told[name] for name in ("status", "ended_at", "duration_s", "hangup_code", "carrier_cost")} == {
        name: swept[name] for name in ("status", "ended_at", "duration_s", "hangup_code", "carrier_cost")
    }
    assert CallSummary.objects.count() == 1

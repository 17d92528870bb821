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


@pytest.mark.parametrize(
    "lost", [["Hangup"], ["Hangup", "Redirect", "stream"]], ids=["the hang-up", "all but the ring"]
)
def test_a_call_whose_hang_up_was_never_reported_ends_with_the_facts_of_plivos_record(box, rented, lost):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=HANGS_UP, faults=STREAM_OPENS_LATE | {"webhook_lost": lost})
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

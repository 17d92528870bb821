"""The sweeper: calls whose end nobody reported, hints that nobody saw; Plivo is asked through its REST API."""

import datetime

import pytest

from calls import sweeper
from calls.models import Call, CallSummary, Recording
from calls.telephony.base import CallRecord, CarrierError, Failure, RunningCall
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
MINUTE = datetime.timedelta(minutes=1)


class Plivo:
    """Knows some calls as running and some as over."""

    def __init__(self):
        self.running, self.records, self.failure, self.asked = set(), {}, None, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def running_call(self, call_uuid):
        self.asked.append(call_uuid)
        if self.failure:
            raise CarrierError(self.failure)
        return (
            RunningCall(call_uuid=call_uuid, status="live", direction="inbound") if call_uuid in self.running else None
        )

    def call_record(self, call_uuid):
        return self.records.get(call_uuid)


@pytest.fixture
def plivo(monkeypatch):
    fake = Plivo()
    monkeypatch.setattr(sweeper, "client_for", lambda _account: fake)
    return fake


def overdue(**changes) -> Call:
    fields = {
        "status": "live",
        "deadline_at": NOW - MINUTE,
        "last_seen_at": NOW - 2 * MINUTE,
        "live_at": NOW - 3 * MINUTE,
    }
    return factories.CallFactory(**(fields | changes))


def test_a_call_that_plivo_has_ended_takes_over_what_plivo_knows(plivo):
    call = overdue()
    plivo.records[call.plivo_call_uuid] = CallRecord(
        call_uuid=call.plivo_call_uuid,
        direction="inbound",
        answered_at=NOW - 3 * MINUTE,
        ended_at=NOW - 2 * MINUTE,
        duration_s=60,
        bill_duration_s=60,
        cost=None,
        hangup_code=4000,
        hangup_cause="Normal Hangup",
        hangup_source="Caller",
    )
    due = sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert (call.status, call.duration_s, call.hangup_code) == ("ended", 60, 4000)
    assert call.ended_at == NOW - 2 * MINUTE
    assert due.repaired["ended_unreported"] == 1
    assert due.summaries == [call.pk]


def test_a_call_that_plivo_does_not_know_any_more_ends_when_it_was_last_seen(plivo):
    call = overdue()
    sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert (call.status, call.end_reason, call.ended_at) == ("ended", "swept", NOW - 2 * MINUTE)


def test_a_call_that_still_runs_is_left_alone_and_looked_at_again_later(plivo):
    call = overdue()
    plivo.running.add(call.plivo_call_uuid)
    assert sweeper.sweep(now=NOW).repaired["still_live"] == 1
    sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert call.status == "live"
    assert plivo.asked == [call.plivo_call_uuid]
    sweeper.sweep(now=NOW + 2 * MINUTE)
    assert len(plivo.asked) == 2


def test_nothing_is_concluded_while_plivo_cannot_be_reached(plivo):
    plivo.failure = Failure.UNREACHABLE
    call = overdue()
    assert sweeper.sweep(now=NOW).repaired["asked_in_vain"] == 1
    call.refresh_from_db()
    assert call.status == "live"


def test_even_without_plivo_no_call_stays_open_longer_than_any_call_can_last(plivo):
    plivo.failure = Failure.UNREACHABLE
    call = overdue()
    Call.objects.update(created_at=NOW - datetime.timedelta(hours=25))
    sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert call.status == "ended"


def test_a_call_with_a_fresh_sign_of_life_is_not_asked_about(plivo):
    overdue(last_seen_at=NOW - datetime.timedelta(seconds=5))
    sweeper.sweep(now=NOW)
    assert plivo.asked == []


def test_a_browser_call_whose_process_died_ends_by_itself(plivo):
    call = Call.objects.create(
        direction="browser",
        status="live",
        last_seen_at=NOW - MINUTE,
        live_at=NOW - 2 * MINUTE,
        deadline_at=NOW - MINUTE,
    )
    sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert (call.status, call.end_reason) == ("ended", "swept")
    assert plivo.asked == []


def test_a_call_that_is_over_is_never_touched(plivo):
    for status in ("ended", "rejected", "cancelled", "not_found"):
        overdue(status=status)
    sweeper.sweep(now=NOW)
    assert plivo.asked == []


def test_an_ended_call_without_a_summary_row_gets_one(plivo):
    call = overdue(status="ended")
    assert sweeper.sweep(now=NOW).repaired["summary_created"] == 1
    assert CallSummary.objects.get().call_id == call.pk
    assert sweeper.sweep(now=NOW).repaired["summary_created"] == 0


def test_a_recording_whose_host_never_came_back_is_named_as_lost(plivo):
    call = overdue(status="ended", ended_at=NOW - datetime.timedelta(hours=2))
    Recording.objects.create(call=call, source="parley", status="running", parts={"h": {"held": True, "error": ""}})
    sweeper.sweep(now=NOW)
    assert Recording.objects.get().status == "failed"


def test_work_that_is_due_is_hinted_at_again(plivo):
    call = overdue(status="ended")
    CallSummary.objects.create(call=call, next_attempt_at=NOW - MINUTE)
    later = overdue(status="ended")
    CallSummary.objects.create(call=later, next_attempt_at=NOW + MINUTE)
    recording = Recording.objects.create(call=call, source="plivo", status="pending", next_attempt_at=NOW)
    due = sweeper.sweep(now=NOW)
    assert (due.summaries, due.recordings) == ([call.pk], [str(recording.pk)])


def test_two_sweeps_at_once_repair_once(plivo):
    call = overdue()
    sweeper.sweep(now=NOW)
    before = Call.objects.values().get(pk=call.pk)
    sweeper.sweep(now=NOW)
    assert Call.objects.values().get(pk=call.pk) == before

"""The sweeper: calls whose end nobody reported, hints that nobody saw; Plivo is asked through its REST API."""

import datetime
from collections import Counter
from unittest.mock import Mock

import pytest

from calls import lifecycle, sweeper
from calls.models import Call, CallSummary, Recording
from calls.states import Facts
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
    if changes.get("status") == "ended":
        fields["deadline_at"] = None
    return factories.CallFactory(**(fields | changes))


def test_a_call_that_plivo_has_ended_takes_over_what_plivo_knows(plivo):
    call = overdue()
    plivo.records[call.plivo_call_uuid] = record_of(call, ended_at=NOW - 2 * MINUTE, duration_s=60)
    due = sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert (call.status, call.duration_s, call.hangup_code) == ("ended", 60, 4000)
    assert call.ended_at == NOW - 2 * MINUTE
    assert due.repaired["ended_unreported"] == 1
    assert due.summaries == [call.pk]


def record_of(call, **changes) -> CallRecord:
    return CallRecord(
        **{
            "call_uuid": call.plivo_call_uuid,
            "direction": "inbound",
            "answered_at": NOW - 3 * MINUTE,
            "ended_at": NOW - MINUTE,
            "duration_s": 120,
            "bill_duration_s": 120,
            "cost": None,
            "hangup_code": 4000,
            "hangup_cause": "Normal Hangup",
            "hangup_source": "Caller",
        }
        | changes
    )


def sweep_until_ended(call) -> datetime.datetime:
    """Plivo has no record of the call: the time of the round that ended it all the same."""
    for minutes in range(10):
        sweeper.sweep(now=NOW + minutes * 1.1 * MINUTE)
        call.refresh_from_db()
        if call.status == "ended":
            return NOW + minutes * 1.1 * MINUTE
    raise AssertionError("not ended")


def test_a_call_that_plivo_does_not_know_any_more_ends_when_it_was_last_seen(plivo):
    call = overdue()
    sweep_until_ended(call)
    assert (call.status, call.end_reason, call.ended_at) == ("ended", "swept", NOW - 2 * MINUTE)


def test_a_call_that_plivo_no_longer_holds_waits_some_minutes_for_its_record(plivo):
    call = overdue()
    assert sweeper.sweep(now=NOW).repaired == {"record_awaited": 1}
    call.refresh_from_db()
    assert (call.status, call.events.get().kind) == ("live", "gone_at_plivo")
    plivo.records[call.plivo_call_uuid] = record_of(call)
    assert sweeper.sweep(now=NOW + 1.1 * MINUTE).repaired["ended_unreported"] == 1
    call.refresh_from_db()
    assert (call.status, call.hangup_code, call.ended_at, call.deadline_at) == ("ended", 4000, NOW - MINUTE, None)


def test_a_record_that_comes_after_the_end_still_adds_its_facts(plivo):
    call = overdue()
    ended = sweep_until_ended(call)
    assert ended - NOW < 4 * MINUTE
    assert sweeper.sweep(now=ended + 9 * MINUTE).repaired == {}
    assert sweeper.sweep(now=ended + 11 * MINUTE).repaired == {"record_awaited": 1}
    plivo.records[call.plivo_call_uuid] = record_of(call)
    assert sweeper.sweep(now=ended + 20 * MINUTE).repaired == {}  # gaps grow
    assert sweeper.sweep(now=ended + 30 * MINUTE).repaired == {"facts_added": 1}
    call.refresh_from_db()
    assert (call.duration_s, call.hangup_source, call.outcome) == (120, "Caller", "completed")
    assert (call.ended_at, call.deadline_at) == (NOW - MINUTE, None)
    assert sweeper.sweep(now=ended + datetime.timedelta(days=3)).repaired == {}


def test_a_record_that_never_comes_is_asked_for_a_few_times_and_no_more(plivo):
    call = overdue()
    now = sweep_until_ended(call)
    plivo.asked.clear()
    kinds = Counter()
    for minutes in (*range(1, 120, 7), *range(120, 6 * 24 * 60, 60)):
        kinds += sweeper.sweep(now=now + minutes * MINUTE).repaired
    assert kinds["facts_given_up"] == 1
    assert 3 < kinds["record_awaited"] < 12
    call.refresh_from_db()
    assert call.deadline_at is None


def test_a_hang_up_reported_late_spares_the_question_and_any_other_news_does_not(plivo):
    call = overdue()
    sweep_until_ended(call)
    lifecycle.apply(call_id=call.pk, facts=Facts(stream_ended_at=NOW))
    call.refresh_from_db()
    assert call.deadline_at is not None
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", hangup_code=4000))
    call.refresh_from_db()
    assert call.deadline_at is None


def test_facts_are_asked_for_again_when_plivo_could_not_be_reached(plivo, monkeypatch):
    call = overdue()
    ended = sweep_until_ended(call)
    monkeypatch.setattr(plivo, "call_record", Mock(side_effect=CarrierError(Failure.UNREACHABLE)))
    assert sweeper.sweep(now=ended + 11 * MINUTE).repaired == {"asked_in_vain": 1}
    call.refresh_from_db()
    assert call.deadline_at > ended + 20 * MINUTE


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
    recording = Recording.objects.create(
        call=call, source="plivo", status="pending", plivo_url="https://media.plivo.com/r.mp3", next_attempt_at=NOW
    )
    due = sweeper.sweep(now=NOW)
    assert (due.summaries, due.recordings) == ([call.pk], [str(recording.pk)])


def test_two_sweeps_at_once_repair_once(plivo):
    call = overdue()
    sweeper.sweep(now=NOW)
    before = Call.objects.values().get(pk=call.pk)
    sweeper.sweep(now=NOW)
    assert Call.objects.values().get(pk=call.pk) == before

"""The row of a call: one writer, any order of events, and the work after the end started once."""

import datetime

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kombu.exceptions import OperationalError

from calls import lifecycle
from calls.models import Call, CallSummary
from calls.states import FIELDS, Facts
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

BEGUN = datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC)


def at(seconds):
    return BEGUN + datetime.timedelta(seconds=seconds)


# The life of an outbound call as its reports tell it.
LIFE = [
    Facts(status="queued", queued_at=at(0)),
    Facts(status="ringing", ringing_at=at(2)),
    Facts(status="answered", answered_at=at(6)),
    Facts(status="live", live_at=at(7)),
    Facts(stream_ended_at=at(40), end_reason="agent_ended"),
    Facts(
        status="ended",
        ended_at=at(41),
        answered_at=at(6),
        hangup_code=4000,
        hangup_cause="NORMAL_CLEARING",
        hangup_source="Plivo",
        duration_s=35,
        bill_duration_s=60,
        end_reason="caller_hung_up",
    ),
    Facts(answered_by="machine"),
]


def row_after(events, number):
    to = f"+1415555{Call.objects.count():04}"  # one outbound call to a number at a time
    call = Call.objects.create(direction="outbound", status="sending", phone_number=number, to_number=to)
    for event in events:
        lifecycle.apply(call_id=call.pk, facts=event, deadline_at=at(99))
    row = Call.objects.values(*FIELDS, "deadline_at").get(pk=call.pk)
    summaries = CallSummary.objects.filter(call=call).count()
    return row, summaries


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_row_is_the_same_in_any_order_with_doubles_and_for_any_loss(db, data):
    seen = [event for event in LIFE if data.draw(st.booleans())]
    doubled = [*seen, *(event for event in seen if data.draw(st.booleans()))]
    number = None
    assert row_after(seen, number) == row_after(data.draw(st.permutations(doubled)), number)


def test_an_ended_call_has_no_deadline_and_one_summary_waiting():
    row, summaries = row_after([*LIFE, *LIFE], None)
    assert (row["status"], row["deadline_at"], summaries) == ("ended", None, 1)


def test_an_event_that_says_nothing_new_writes_nothing(django_assert_num_queries):
    call = factories.CallFactory()
    with django_assert_num_queries(3):  # savepoint, select, release
        lifecycle.apply(call_id=call.pk, facts=Facts(status="ringing"))


def test_a_call_that_is_gone_is_an_error():
    with pytest.raises(Call.DoesNotExist):
        lifecycle.apply(call_id=0, facts=Facts())


def test_a_missing_broker_costs_no_end(monkeypatch, django_capture_on_commit_callbacks):
    def away(*_, **__):
        raise OperationalError("no broker")

    monkeypatch.setattr("celery.current_app.send_task", away)
    call = factories.CallFactory()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.finish(call_id=call.pk, now=timezone.now(), end_reason="swept")
    call.refresh_from_db()
    assert (call.status, call.end_reason, call.outcome) == ("ended", "swept", "completed")


def test_the_hint_is_given_only_when_the_end_is_committed(monkeypatch, django_capture_on_commit_callbacks):
    sent = []
    monkeypatch.setattr("celery.current_app.send_task", lambda *args, **_: sent.append(args))
    call = factories.CallFactory(live_at=at(0))
    with django_capture_on_commit_callbacks(execute=False) as callbacks:
        lifecycle.finish(call_id=call.pk, now=timezone.now())
    assert (len(callbacks), sent) == (1, [])


def test_the_timeline_counts_from_the_streams_beginning():
    call = factories.CallFactory(live_at=at(0))
    lifecycle.note(call=call, kind="x", now=at(2.5))
    assert call.events.get().offset_ms == 2500


# --- given up, and on its way after all ------------------------------------------------------------------------------


def outbound(status):
    return Call.objects.create(direction="outbound", status=status, to_number="+14155550100")


@pytest.mark.parametrize("given_up", ["not_found", "rejected"])
def test_a_call_that_was_given_up_and_rings_after_all_is_on_its_way_again(given_up):
    call = outbound(given_up)
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ringing", ringing_at=at(2)), deadline_at=at(99))
    call.refresh_from_db()
    assert (call.status, call.ringing_at, call.deadline_at) == ("ringing", at(2), at(99))
    assert not call.events.exists()


@pytest.mark.parametrize("given_up", ["not_found", "rejected"])
@pytest.mark.parametrize("another", ["claimed", "live"])
def test_beside_another_call_to_the_number_it_stays_given_up_and_what_is_known_of_it_is_written(given_up, another):
    call, other = outbound(given_up), outbound(another)
    for facts in (Facts(status="ringing", ringing_at=at(2)), Facts(status="answered", answered_at=at(6))):
        state = lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=at(99))
        assert state.status == given_up
    call.refresh_from_db()
    other.refresh_from_db()
    assert (call.status, call.ringing_at, call.answered_at, call.deadline_at) == (given_up, at(2), at(6), None)
    reported = call.events.filter(kind=lifecycle.BESIDE_ANOTHER).order_by("pk").values_list("data__reported", flat=True)
    assert list(reported) == ["ringing", "answered"]
    assert (other.status, other.ringing_at) == (another, None)
    lifecycle.apply(call_id=call.pk, facts=LIFE[5])
    call.refresh_from_db()
    assert (call.status, call.outcome, call.duration_s) == ("ended", "completed", 35)
    assert CallSummary.objects.filter(call=call).count() == 1


def test_once_the_other_call_is_over_the_next_report_brings_it_back():
    call, other = outbound("not_found"), outbound("live")
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ringing", ringing_at=at(2)))
    lifecycle.finish(call_id=other.pk, now=at(3))
    lifecycle.apply(call_id=call.pk, facts=Facts(status="answered", answered_at=at(6)))
    call.refresh_from_db()
    assert (call.status, call.ringing_at, call.answered_at) == ("answered", at(2), at(6))

"""Facts about a call add up to the same row in any order, doubled, or with some of them lost."""

import datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.models import Call
from calls.states import ANSWERED_BY, END_REASONS, FIELDS, FINAL, RANKS, Facts, State, merge

pytestmark = pytest.mark.pure

times = st.none() | st.integers(0, 40).map(
    lambda seconds: datetime.datetime(2026, 1, 2, 3, 4, tzinfo=datetime.UTC) + datetime.timedelta(seconds=seconds)
)
facts = st.builds(
    Facts,
    status=st.sampled_from(sorted(RANKS)),
    end_reason=st.sampled_from(sorted(END_REASONS)),
    queued_at=times,
    ringing_at=times,
    answered_at=times,
    live_at=times,
    ended_at=times,
    stream_ended_at=times,
    hangup_cause=st.sampled_from(["", "NORMAL_CLEARING", "USER_BUSY", "status:busy", "status:completed"]),
    hangup_code=st.sampled_from([None, 4000, 3010, 9100, 1000]),
    hangup_source=st.sampled_from(["", "Caller", "Carrier"]),
    duration_s=st.sampled_from([None, 0, 12]),
    bill_duration_s=st.sampled_from([None, 0, 60]),
    carrier_cost=st.sampled_from([None, Decimal("0.00400")]),
    answered_by=st.sampled_from(sorted(ANSWERED_BY)),
)


def add_up(events):
    state = State()
    for event in events:
        state = merge(state, event)
    return state


@given(st.lists(facts, max_size=6).flatmap(lambda seen: st.tuples(st.just(seen), st.permutations(seen))))
def test_any_order_gives_the_same_state(orders):
    first, second = orders
    assert add_up(first) == add_up(second)


@given(st.lists(facts, max_size=6), st.data())
def test_doubled_events_change_nothing(events, data):
    doubled = data.draw(st.permutations([*events, *(data.draw(st.sampled_from(events)) for _ in events[:2])]))
    assert add_up(events) == add_up(doubled)


@given(st.lists(facts, max_size=6), st.data())
def test_a_lost_event_that_comes_late_still_completes_the_state(events, data):
    late = data.draw(st.sets(st.integers(0, 5)))
    seen = [event for index, event in enumerate(events) if index not in late]
    missing = [event for index, event in enumerate(events) if index in late]
    state = add_up(seen)
    for event in missing:
        state = merge(state, event)
    assert state == add_up(events)


@given(st.lists(facts, max_size=6), facts)
def test_no_event_moves_a_call_back(events, event):
    before = add_up(events)
    after = merge(before, event)
    assert RANKS[after.status] >= RANKS[before.status]
    assert END_REASONS[after.end_reason] >= END_REASONS[before.end_reason]
    for name in ("queued_at", "ringing_at", "answered_at", "live_at", "ended_at", "stream_ended_at"):
        if getattr(before, name) is not None:
            assert getattr(after, name) <= getattr(before, name)


def test_every_status_and_reason_of_the_model_has_a_rank():
    assert set(RANKS) == set(Call.Status.values)
    assert set(END_REASONS) == {"", *Call.EndReason.values}
    assert all(status in RANKS for status in FINAL)


def test_every_field_is_a_column():
    assert set(FIELDS) <= {field.name for field in Call._meta.concrete_fields}


def test_a_ring_after_the_end_stays_the_end():
    state = add_up([Facts(status="ended", hangup_code=3010), Facts(status="ringing")])
    assert (state.status, state.outcome) == ("ended", "busy")


def test_a_webhook_knows_better_than_our_belief_that_nobody_was_called():
    assert merge(State(status="not_found"), Facts(status="ringing")).status == "ringing"


def test_a_call_that_was_refused_has_failed_however_normally_it_ended():
    state = add_up([Facts(status="answered", end_reason="refused"), Facts(status="ended", hangup_code=4000)])
    assert state.outcome == "failed"


ENDED = Facts(status="ended", hangup_code=4000, duration_s=9)


def test_a_machine_stays_a_machine():
    assert add_up([Facts(answered_by="machine"), ENDED]).outcome == "machine"


def test_a_person_who_has_talked_is_none_whatever_the_carrier_believes():
    assert add_up([Facts(answered_by="human"), ENDED, Facts(answered_by="machine")]).outcome == "completed"


def test_whoever_lets_a_screener_answer_and_does_not_come_has_declined():
    assert add_up([Facts(answered_by="machine"), Facts(answered_by="screening"), ENDED]).outcome == "declined"


def test_the_sessions_reason_counts_more_than_the_carriers():
    state = add_up([Facts(end_reason="caller_hung_up"), Facts(end_reason="agent_ended"), Facts(end_reason="swept")])
    assert state.end_reason == "agent_ended"

"""How facts about a call add up, whatever their order: the pure half of ``calls.lifecycle``.

Merging is a join of a lattice, field by field (a larger rank, an earlier time, the more telling reason), so that it is
commutative, associative and idempotent: any order, duplication or loss of events gives the row of the events seen.
"""

import datetime
from decimal import Decimal
from typing import Any

import msgspec

from calls.telephony.hangup_causes import STATUS_PREFIX, outcome

# UNKNOWN, NOT_FOUND and REJECTED are what we believe of a call that we asked for; any webhook knows better. CANCELLED
# stands against every state of a call on its way; only its reported end goes beyond it.
RANKS = {
    "claimed": 0,
    "sending": 1,
    "unknown": 2,
    "not_found": 3,
    "rejected": 4,
    "queued": 5,
    "ringing": 6,
    "answered": 7,
    "live": 8,
    "cancelled": 9,
    "ended": 10,
}
FINAL = frozenset({"not_found", "rejected", "cancelled", "ended"})

# The session knows best why it ended a call; the carrier's "the caller hung up" is next; the sweeper knows least.
END_REASONS = {
    "": 0,
    "swept": 1,
    "stream_lost": 2,
    "caller_hung_up": 3,
    "refused": 4,
    "silence": 5,
    "max_length": 6,
    "agent_ended": 7,
    "transferred": 8,
    "machine": 9,
    "message_left": 10,
    "opted_out": 11,
    "provider_failure": 12,
    "operator": 13,
}


# A machine is what Plivo guesses or our session has found; a session that says otherwise has heard more than Plivo.
ANSWERED_BY = {"": 0, "machine": 1, "screening": 2, "human": 3}


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a call: the columns of ``Call`` that events decide. Times are aware datetimes."""

    status: str = "claimed"
    outcome: str = ""
    answered_by: str = ""
    end_reason: str = ""
    queued_at: datetime.datetime | None = None
    ringing_at: datetime.datetime | None = None
    answered_at: datetime.datetime | None = None
    live_at: datetime.datetime | None = None
    ended_at: datetime.datetime | None = None
    stream_ended_at: datetime.datetime | None = None
    hangup_cause: str = ""
    hangup_code: int | None = None
    hangup_source: str = ""
    duration_s: int | None = None
    bill_duration_s: int | None = None
    carrier_cost: Decimal | None = None


class Facts(State, frozen=True, kw_only=True):
    """What one event says; fields left out say nothing."""


FIELDS = State.__struct_fields__
_TIMES = ("queued_at", "ringing_at", "answered_at", "live_at", "ended_at", "stream_ended_at")
_LARGEST = ("hangup_code", "duration_s", "bill_duration_s", "carrier_cost")


def merge(state: State, facts: Facts) -> State:
    """The state after one more event."""
    joined: dict[str, Any] = {
        "status": max(state.status, facts.status, key=RANKS.__getitem__),
        "end_reason": max(state.end_reason, facts.end_reason, key=END_REASONS.__getitem__),
        "answered_by": max(state.answered_by, facts.answered_by, key=ANSWERED_BY.__getitem__),
        "hangup_cause": max(state.hangup_cause, facts.hangup_cause, key=_telling),
        "hangup_source": max(state.hangup_source, facts.hangup_source),
    }
    for name in _TIMES:
        joined[name] = min(_known(state, facts, name), default=None)
    for name in _LARGEST:
        joined[name] = max(_known(state, facts, name), default=None)
    merged = State(**joined)
    return msgspec.structs.replace(merged, outcome=_outcome(merged))


def is_over(status: str) -> bool:
    """Whether nothing more will happen on a call of this status."""
    return status in FINAL


def _known(state: State, facts: State, name: str) -> list[Any]:
    return [value for value in (getattr(state, name), getattr(facts, name)) if value is not None]


def _telling(cause: str) -> tuple[int, str]:
    """A real cause says more than a CallStatus in its place, and that more than nothing."""
    return (0 if not cause else 1 if cause.startswith(STATUS_PREFIX) else 2, cause)


def _outcome(state: State) -> str:
    """Derived from merged fields alone, hence as independent of the order as they are."""
    if state.status == "cancelled":
        return "cancelled"
    if state.status == "rejected":
        return "failed"
    if state.status != "ended":
        return ""
    if state.end_reason == "refused":
        return "failed"
    if state.answered_by in {"machine", "screening"}:
        return "machine" if state.answered_by == "machine" else "declined"
    answered = state.answered_at is not None or state.live_at is not None or bool(state.duration_s)
    return outcome(code=state.hangup_code, cause=state.hangup_cause, answered=answered)

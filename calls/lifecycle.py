"""The only writer of ``Call.status``: makes calls, adds facts to them, and starts what comes after their end.

Called by the webhooks, by ``live_calls`` and by the sweeper. ``states.merge`` decides, this module carries it out.
"""

import datetime
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from calls import recordings
from calls.hints import hint
from calls.hooks import events
from calls.models import Call, CallEvent, CallSummary
from calls.states import FIELDS, Facts, State, is_over, merge

# How long a call may be silent in each state before the sweeper asks Plivo about it.
ANSWERED_GRACE = datetime.timedelta(seconds=90)
LIVE_GRACE = datetime.timedelta(seconds=60)
AFTER_STREAM_GRACE = datetime.timedelta(seconds=30)
BESIDE_ANOTHER = "on_its_way_beside_another"


def create_inbound(*, plivo_call_uuid: str, facts: Facts, now: datetime.datetime, **fields: Any) -> tuple[Call, bool]:
    """The call of an inbound ring, made at the first report of it.

    Args:
        facts: what that report says; to a call that exists already they are not added.
        fields: further columns of ``Call``.

    Returns:
        The call, and whether it is new.
    """
    state = merge(State(), facts)
    columns = {name: getattr(state, name) for name in FIELDS}
    deadline = None if is_over(state.status) else now + ANSWERED_GRACE
    try:
        with transaction.atomic():
            call = Call.objects.create(
                plivo_call_uuid=plivo_call_uuid,
                direction=Call.Direction.INBOUND,
                deadline_at=deadline,
                **columns,
                **fields,
            )
    except IntegrityError:
        return Call.objects.select_related("agent", "agent_version").get(plivo_call_uuid=plivo_call_uuid), False
    if call.status == Call.Status.ENDED:
        _after_end(call.pk, state)
    return call, True


def create_browser(*, now: datetime.datetime, **fields: Any) -> Call:
    """The call of the *Talk to it* page, ANSWERED at once."""
    return Call.objects.create(
        direction=Call.Direction.BROWSER,
        status=Call.Status.ANSWERED,
        answered_at=now,
        deadline_at=now + ANSWERED_GRACE,
        **fields,
    )


def create_outbound(*, now: datetime.datetime, deadline_at: datetime.datetime, **fields: Any) -> Call:
    """The call of a claimed attempt or an order, CLAIMED.

    Args:
        deadline_at: from when another worker may place it.

    Raises:
        django.db.IntegrityError: the attempt has a call, or another outbound call to the number is under way.
    """
    return Call.objects.create(
        direction=Call.Direction.OUTBOUND,
        status=Call.Status.CLAIMED,
        created_at=now,
        deadline_at=deadline_at,
        **fields,
    )


def begin_sending(*, call_id: int, deadline_at: datetime.datetime) -> bool:
    """CLAIMED to SENDING, before the first byte leaves; False when another worker has done so, or it is over."""
    claimed = Call.objects.filter(pk=call_id, status=Call.Status.CLAIMED)
    return bool(claimed.update(status=Call.Status.SENDING, deadline_at=deadline_at))


def take_back(*, call_id: int, deadline_at: datetime.datetime) -> bool:
    """SENDING to CLAIMED: it is certain that nothing was sent. The only way back, for the worker that marked it."""
    sending = Call.objects.filter(pk=call_id, status=Call.Status.SENDING)
    return bool(sending.update(status=Call.Status.CLAIMED, deadline_at=deadline_at))


def withdraw(*, call_id: int) -> bool:
    """CLAIMED to CANCELLED; False when a worker has begun to place it, or it is over."""
    claimed = Call.objects.filter(pk=call_id, status=Call.Status.CLAIMED)
    return bool(claimed.update(status=Call.Status.CANCELLED, outcome=Call.Outcome.CANCELLED, deadline_at=None))


def apply(*, call_id: int, facts: Facts, deadline_at: datetime.datetime | None = None) -> State:
    """Adds facts to a call; at its first ENDED the work after the call is started.

    Args:
        deadline_at: when the sweeper is to look at the call unless it is over; None leaves the deadline as it is.

    Raises:
        Call.DoesNotExist: no such call.
    """
    with transaction.atomic():
        # The row lock (SQLite: the IMMEDIATE transaction) makes read, merge and write one step; the guard on the
        # status below catches a database that was run without either.
        row = Call.objects.select_for_update().values(*FIELDS).get(pk=call_id)
        before = State(**row)
        after = merge(before, facts)
        changes = {name: getattr(after, name) for name in FIELDS if getattr(after, name) != row[name]}
        if is_over(after.status):
            # One that the sweeper has ended without Plivo's facts keeps the time at which they are asked for again.
            if not is_over(before.status) or after.hangup_code is not None:
                changes["deadline_at"] = None
        elif deadline_at is not None:
            changes["deadline_at"] = deadline_at
        if not changes:
            return after
        if is_over(before.status) and not is_over(after.status):
            return _revive(call_id, before, after, changes)
        _write(call_id, before, changes)
        if after.status == Call.Status.ENDED != before.status:
            _after_end(call_id, after)
    return after


def _write(call_id: int, before: State, changes: dict[str, Any]) -> None:
    if not Call.objects.filter(pk=call_id, status=before.status).update(**changes):
        raise RuntimeError("the call's row changed under its lock")


def _revive(call_id: int, before: State, after: State, changes: dict[str, Any]) -> State:
    """A call that was given up is on its way after all.

    The number may have been called again since, and has one outbound call at a time: then this one's times are written
    down and it stays over. So nobody talks to who picks it up, and its reported end is its end as always.
    """
    try:
        with transaction.atomic():
            _write(call_id, before, changes)
    except IntegrityError:
        after = msgspec.structs.replace(after, status=before.status, outcome=before.outcome)
        told = {name: value for name, value in changes.items() if name not in {"status", "outcome", "deadline_at"}}
        Call.objects.filter(pk=call_id).update(**told)
        reported = {"reported": changes["status"]}
        CallEvent.objects.create(call_id=call_id, at=timezone.now(), kind=BESIDE_ANOTHER, data=reported)
    return after


def finish(
    *, call_id: int, now: datetime.datetime, end_reason: str = "", ended_at: datetime.datetime | None = None
) -> State:
    """Ends a call whose end no webhook reported: a browser call, or one that the sweeper found to be over."""
    return apply(
        call_id=call_id, facts=Facts(status=Call.Status.ENDED, ended_at=ended_at or now, end_reason=end_reason)
    )


def note(*, call: Call, kind: str, now: datetime.datetime, data: dict[str, Any] | None = None) -> None:
    """Adds an entry to the call's timeline; ``data`` holds nothing personal."""
    offset = int((now - call.live_at).total_seconds() * 1000) if call.live_at else None
    CallEvent.objects.create(call=call, at=now, offset_ms=offset, kind=kind, data=data or {})


def _after_end(call_id: int, state: State) -> None:
    if state.answered_at or state.live_at:
        recordings.expect_plivo_recording(call_id=call_id)
    if state.live_at is None:  # nothing was said: most calls of a campaign, so that no worker is woken for them
        nothing = CallSummary(call_id=call_id, status=CallSummary.Status.SKIPPED)
        CallSummary.objects.bulk_create([nothing], ignore_conflicts=True)
        events.call_ended(call_id=call_id, now=state.ended_at or timezone.now())
        return
    CallSummary.objects.bulk_create([CallSummary(call_id=call_id)], ignore_conflicts=True)
    transaction.on_commit(lambda: hint("calls.tasks.post_call.after_call", call_id))

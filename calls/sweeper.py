"""Repairs what was lost: ends that no webhook reported, hints that no worker saw, recordings whose host is gone.

Run every few seconds by ``calls.tasks.maintenance``; running twice at once, or not for an hour, does no harm. What it
repairs is counted, since a number that is not zero means that something else is broken.
"""

import datetime
import time
from collections import Counter
from dataclasses import dataclass, field

import redis
import structlog
from django.conf import settings
from django.db.models import Q

from calls import lifecycle, recordings, summaries
from calls.models import Call, CallSummary, Recording
from calls.states import Facts, is_over
from calls.telephony.accounts import client_for
from calls.telephony.base import CallRecord, CarrierError

log = structlog.get_logger(__name__)

BATCH = 200  # calls looked at in one sweep
LIVE_SILENCE = datetime.timedelta(seconds=30)  # a session shows a sign of life every few seconds
ASK_AGAIN = datetime.timedelta(seconds=60)
LONGEST_CALL = datetime.timedelta(hours=24)  # Plivo's hard limit
HOST_RETURNS_WITHIN = datetime.timedelta(hours=1)
REDIS_KEY = "parley:sweep"


@dataclass
class Due:
    """What a sweep found to be due (ids), and what it repaired (kind: count)."""

    summaries: list[int] = field(default_factory=list)
    recordings: list[str] = field(default_factory=list)
    repaired: Counter[str] = field(default_factory=Counter)


def sweep(*, now: datetime.datetime) -> Due:
    """One round; every change in it is guarded, so that rounds may overlap."""
    due = Due()
    for call in _overdue(now):
        due.repaired[_look_into(call, now)] += 1
    due.repaired["summary_created"] += _create_missing_summaries()
    due.repaired["recording_given_up"] += _give_up_recordings(now)
    due.repaired = +due.repaired  # without the zeros
    due.summaries = summaries.due_summaries(now)
    due.recordings = recordings.due_plivo_recordings(now)
    _publish(due.repaired)
    if due.repaired:
        log.warning("sweep repaired", **due.repaired)
    return due


def last_sweep() -> float | None:
    """When the last round ended (seconds since the epoch); None if never, or without Redis."""
    try:
        with _redis() as connection:
            at = connection.hget(REDIS_KEY, "at")
    except redis.RedisError:
        return None
    return float(at) if at else None


def repaired_totals() -> dict[str, int]:
    """How often each kind of repair was made since Redis was last emptied; empty without Redis."""
    try:
        with _redis() as connection:
            totals = connection.hgetall(REDIS_KEY)
    except redis.RedisError:
        return {}
    return {name.decode(): int(count) for name, count in totals.items() if name != b"at"}


def _overdue(now: datetime.datetime) -> list[Call]:
    over = [status for status in Call.Status.values if is_over(status)]
    silent = Q(status=Call.Status.LIVE, last_seen_at__lt=now - LIVE_SILENCE)
    browser_silent = silent & Q(direction=Call.Direction.BROWSER)
    late = Q(deadline_at__lt=now) & ~Q(status=Call.Status.LIVE, last_seen_at__gte=now - LIVE_SILENCE)
    forgotten = Q(deadline_at=None, created_at__lt=now - LONGEST_CALL)
    found = Call.objects.exclude(status__in=over).filter(late | forgotten | browser_silent)
    return list(found.select_related("plivo_account").order_by("created_at")[:BATCH])


def _look_into(call: Call, now: datetime.datetime) -> str:
    """Asks Plivo what became of one call, and writes it down; returns the kind of repair."""
    if call.direction == Call.Direction.BROWSER or call.plivo_account is None or not call.plivo_call_uuid:
        lifecycle.finish(call_id=call.pk, now=now, end_reason=Call.EndReason.SWEPT, ended_at=call.last_seen_at)
        return "ended_unseen"
    too_old = call.created_at < now - LONGEST_CALL
    facts = None
    try:
        with client_for(call.plivo_account) as plivo:
            if not too_old and plivo.running_call(call.plivo_call_uuid) is not None:
                Call.objects.filter(pk=call.pk).update(deadline_at=now + ASK_AGAIN)
                return "still_live"
            record = plivo.call_record(call.plivo_call_uuid)
        facts = _facts(record) if record is not None else None
    except CarrierError as error:
        log.warning("plivo not asked", call=str(call.public_id), failure=error.failure.value)
        if not too_old:
            Call.objects.filter(pk=call.pk).update(deadline_at=now + ASK_AGAIN)
            return "asked_in_vain"
    if facts is not None:
        lifecycle.apply(call_id=call.pk, facts=facts)
    lifecycle.finish(call_id=call.pk, now=now, end_reason=Call.EndReason.SWEPT, ended_at=call.last_seen_at)
    return "ended_unreported"


def _facts(record: CallRecord) -> Facts:
    return Facts(
        status=Call.Status.ENDED,
        answered_at=record.answered_at,
        ended_at=record.ended_at,
        hangup_cause=record.hangup_cause,
        hangup_code=record.hangup_code,
        hangup_source=record.hangup_source,
        duration_s=record.duration_s,
        bill_duration_s=record.bill_duration_s,
        carrier_cost=record.cost,
    )


def _create_missing_summaries() -> int:
    missing = Call.objects.filter(status=Call.Status.ENDED, summary=None)[:BATCH]
    made = CallSummary.objects.bulk_create([CallSummary(call=call) for call in missing], ignore_conflicts=True)
    return len(made)


def _give_up_recordings(now: datetime.datetime) -> int:
    """The host that was recording repairs its files when it starts again; one that never does is named."""
    lost = Recording.objects.filter(
        status=Recording.Status.RUNNING,
        call__status=Call.Status.ENDED,
        call__ended_at__lt=now - HOST_RETURNS_WITHIN,
    )
    return lost.update(
        status=Recording.Status.FAILED,
        error="The stream host that recorded this call has not come back; its audio is still there if its disk is.",
    )


def _publish(repaired: Counter[str]) -> None:
    try:
        with _redis() as connection, connection.pipeline() as pipeline:
            pipeline.hset(REDIS_KEY, "at", str(time.time()))
            for kind, count in repaired.items():
                pipeline.hincrby(REDIS_KEY, kind, count)
            pipeline.execute()
    except redis.RedisError as error:
        log.warning("sweep not published", error=type(error).__name__)


def _redis() -> redis.Redis:
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=2, socket_connect_timeout=2)

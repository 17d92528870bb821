"""Repairs what was lost: ends and recordings that no webhook reported, hints that no worker saw, hosts that are gone.

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
from django.db import transaction
from django.db.models import F, Q

from calls import lifecycle, recordings, summaries, whereabouts
from calls.models import Call, CallSummary, PlivoAccount, Recording
from calls.states import is_over
from calls.telephony.accounts import client_for
from calls.telephony.base import CarrierError

log = structlog.get_logger(__name__)

BATCH = 200  # calls looked at in one sweep
ASKING_S = 60  # ... unless Plivo is slow: then the rest waits for the next, and what needs no Plivo is still done
LIVE_SILENCE = datetime.timedelta(seconds=30)  # a session shows a sign of life every second
ASK_AGAIN = datetime.timedelta(seconds=60)
RECORD_WITHIN = datetime.timedelta(minutes=2)  # of the moment when Plivo no longer held the call; it states no delay
# An end without facts asks for them again, at gaps that double.
FACTS_AFTER = datetime.timedelta(minutes=10)
FACTS_WITHIN = datetime.timedelta(days=1)
LONGEST_CALL = datetime.timedelta(hours=24)  # Plivo's hard limit
SUMMARY_MISSED_WITHIN = datetime.timedelta(days=2)  # an end without a summary's row is seen before, or never
HOST_RETURNS_WITHIN = datetime.timedelta(hours=1)
GONE = "gone_at_plivo"
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
    until = time.monotonic() + ASKING_S
    for call in [*_overdue(now), *_without_facts(now)]:
        if time.monotonic() > until:
            break
        if _claim(call, now):
            nameless = call.direction == Call.Direction.OUTBOUND and not call.plivo_call_uuid
            due.repaired[whereabouts.look(call, now=now) if nameless else _look_into(call, now)] += 1
    for recording in recordings.unannounced_recordings(now):
        if time.monotonic() > until:
            break
        if kind := recordings.look_for_plivo_recording(recording, now=now):
            due.repaired[kind] += 1
    due.repaired["summary_created"] += _create_missing_summaries(now)
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
    """The longest overdue first, so that calls of an account that cannot be asked never keep others waiting."""
    # A claimed call has not been sent: the dialler places it or lets it go.
    under_way = [status for status in Call.Status.values if not is_over(status) and status != Call.Status.CLAIMED]
    silent = Q(status=Call.Status.LIVE, last_seen_at__lt=now - LIVE_SILENCE)
    browser_silent = silent & Q(direction=Call.Direction.BROWSER)
    late = Q(deadline_at__lt=now) & ~Q(status=Call.Status.LIVE, last_seen_at__gte=now - LIVE_SILENCE)
    forgotten = Q(deadline_at=None, created_at__lt=now - LONGEST_CALL)
    found = Call.objects.filter(late | forgotten | browser_silent, status__in=under_way)
    # A token that cannot be decrypted is met when its own account is asked, not by everybody's query.
    found = found.select_related("plivo_account").defer("plivo_account__auth_token")
    return list(found.order_by(F("deadline_at").asc(nulls_first=True), "created_at")[:BATCH])


def _without_facts(now: datetime.datetime) -> list[Call]:
    """Ended calls of which Plivo's record is to be asked for once more."""
    # Said in the negative, lest SQLite search the index of all ended calls instead of that of the few deadlines.
    others = [status for status in Call.Status.values if status != Call.Status.ENDED]
    found = Call.objects.filter(deadline_at__lt=now).exclude(status__in=others)
    found = found.select_related("plivo_account").defer("plivo_account__auth_token")
    return list(found.order_by("deadline_at")[:BATCH])


def _claim(call: Call, now: datetime.datetime) -> bool:
    """Guarded: of two sweeps that found the same call, one looks into it; should that one die, another does later."""
    unchanged = Call.objects.filter(pk=call.pk, status=call.status, deadline_at=call.deadline_at)
    return bool(unchanged.update(deadline_at=now + ASK_AGAIN))


def _look_into(call: Call, now: datetime.datetime) -> str:
    """Asks Plivo what became of one call, and writes it down; returns the kind of repair."""
    if call.direction == Call.Direction.BROWSER or call.plivo_account is None or not call.plivo_call_uuid:
        _end_without_facts(call, now)
        return "ended_unseen"
    if call.status == Call.Status.ENDED:
        return _ask_for_facts(call, call.plivo_account, call.plivo_call_uuid, now)
    too_old = call.created_at < now - LONGEST_CALL
    record = None
    try:
        with client_for(call.plivo_account) as plivo:
            if not too_old and plivo.running_call(call.plivo_call_uuid) is not None:
                return "still_live"
            record = plivo.call_record(call.plivo_call_uuid)
    except CarrierError as error:
        log.warning("plivo not asked", call=str(call.public_id), failure=error.failure.value)
        if not too_old:
            return "asked_in_vain"
    if record is not None:
        lifecycle.apply(call_id=call.pk, facts=whereabouts.facts_of(record, ended_at=call.last_seen_at or now))
    elif too_old or now - _gone_since(call, now) >= RECORD_WITHIN:
        with transaction.atomic():
            _end_without_facts(call, now)
            Call.objects.filter(pk=call.pk, hangup_code=None).update(deadline_at=now + FACTS_AFTER)
    else:
        return "record_awaited"
    return "ended_unreported"


def _gone_since(call: Call, now: datetime.datetime) -> datetime.datetime:
    """When Plivo was first seen not to hold the call any more, by its timeline; now, if never before."""
    noted = call.events.filter(kind=GONE).values_list("at", flat=True).first()
    if noted is None:
        lifecycle.note(call=call, kind=GONE, now=now)
    return noted or now


def _end_without_facts(call: Call, now: datetime.datetime) -> None:
    lifecycle.finish(call_id=call.pk, now=now, end_reason=Call.EndReason.SWEPT, ended_at=call.last_seen_at)


def _ask_for_facts(call: Call, account: PlivoAccount, call_uuid: str, now: datetime.datetime) -> str:
    """Plivo's record of a call that was ended without it; its end takes the place of what was guessed."""
    without = Call.objects.filter(pk=call.pk, hangup_code=None)
    guessed = call.ended_at or now
    record, kind = None, "record_awaited"
    try:
        with client_for(account) as plivo:
            record = plivo.call_record(call_uuid)
    except CarrierError as error:
        log.warning("plivo not asked", call=str(call.public_id), failure=error.failure.value)
        kind = "asked_in_vain"
    if record is not None:
        with transaction.atomic():
            without.update(ended_at=record.ended_at or guessed, deadline_at=None)
            lifecycle.apply(call_id=call.pk, facts=whereabouts.facts_of(record, ended_at=guessed))
        return "facts_added"
    age = now - guessed
    if age < FACTS_WITHIN:
        without.update(deadline_at=now + age)
        return kind
    without.update(deadline_at=None)
    return "facts_given_up"


def _create_missing_summaries(now: datetime.datetime) -> int:
    recent = Call.objects.filter(status=Call.Status.ENDED, created_at__gte=now - SUMMARY_MISSED_WITHIN)
    missing = recent.filter(summary=None)[:BATCH]
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

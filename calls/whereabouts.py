"""What became of a call that we asked Plivo for and of which no webhook has told: asked of Plivo itself, by the number.

Plivo gives no way to look a request up: only its calls that are live or queued, and its records of those that are over.
Called by the sweeper. Nothing here ever rings anybody again.
"""

import datetime

import structlog
from django.db.models import Max

from calls import lifecycle
from calls.models import Call
from calls.models.call import ACTIVE
from calls.states import Facts
from calls.telephony.accounts import client_for
from calls.telephony.base import CallRecord, CarrierError, RunningCall
from calls.telephony.client import PlivoClient

log = structlog.get_logger(__name__)

LOOKS = 3  # in vain, before it is given up, and not before ``GIVEN_UP``: records come some time after a call's end
GIVEN_UP = datetime.timedelta(minutes=8)
SENDING = datetime.timedelta(seconds=90)  # longer than any request takes: then its worker is gone
CLOCKS_DIFFER = datetime.timedelta(seconds=60)
LOOKED = "looked_for_at_plivo"
RINGS_FOR = datetime.timedelta(minutes=5)


def look(call: Call, *, now: datetime.datetime) -> str:
    """Looks for an outbound call without a CallUUID, and writes down what is found; returns the kind of repair."""
    if call.status == Call.Status.SENDING:  # its worker is gone: it may have sent the request, or not
        lifecycle.apply(call_id=call.pk, facts=Facts(status=Call.Status.UNKNOWN), deadline_at=now)
        lifecycle.note(call=call, kind="dial_unknown", now=now, data={"detail": "its worker ended while it was sent"})
        return "sending_unknown"
    try:
        found = _found(call)
    except CarrierError as error:
        log.warning("plivo not asked", call=str(call.public_id), failure=error.failure.value)
        return "asked_in_vain"
    if found is None:
        return _not_found(call, now)
    if not Call.objects.filter(pk=call.pk, plivo_call_uuid=None).update(plivo_call_uuid=found.call_uuid):
        return "found_by_its_webhook"
    if isinstance(found, CallRecord):
        lifecycle.apply(call_id=call.pk, facts=facts_of(found, ended_at=now))
        return "found_ended"
    facts = Facts(status=Call.Status.QUEUED, queued_at=call.queued_at or now)
    lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=now + RINGS_FOR)
    return "found_running"


def _found(call: Call) -> RunningCall | CallRecord | None:
    if call.plivo_account is None:
        return None
    with client_for(call.plivo_account) as plivo:
        return _running(plivo, call) or _ended(plivo, call)


def _not_found(call: Call, now: datetime.datetime) -> str:
    lifecycle.note(call=call, kind=LOOKED, now=now)
    if call.events.filter(kind=LOOKED).count() < LOOKS or now - _asked_at(call) < GIVEN_UP:
        return "not_found_yet"
    return _give_up(call, now)


def _asked_at(call: Call) -> datetime.datetime:
    """When Plivo may have been asked for it: it may have lain long before, and is UNKNOWN ``SENDING`` later at most."""
    unknown = call.events.filter(kind="dial_unknown").aggregate(last=Max("at"))["last"]
    return max(filter(None, [call.created_at, call.queued_at, unknown and unknown - SENDING]))


def facts_of(record: CallRecord, *, ended_at: datetime.datetime) -> Facts:
    """What Plivo's record of a call says; ``ended_at`` where it says no time."""
    return Facts(
        status=Call.Status.ENDED,
        end_reason=Call.EndReason.SWEPT,
        answered_at=record.answered_at,
        ended_at=record.ended_at or ended_at,
        hangup_cause=record.hangup_cause[:60],
        hangup_code=record.hangup_code,
        hangup_source=record.hangup_source[:40],
        duration_s=record.duration_s,
        bill_duration_s=record.bill_duration_s,
        carrier_cost=record.cost,
    )


def _running(plivo: PlivoClient, call: Call) -> RunningCall | None:
    known = Call.objects.order_by().filter(plivo_account=call.plivo_account, status__in=ACTIVE)
    uuids = {uuid for uuid in known.values_list("plivo_call_uuid", flat=True) if uuid}
    found = plivo.running_to(call.to_number, known=uuids)
    return next((each for each in found if not Call.objects.filter(plivo_call_uuid=each.call_uuid).exists()), None)


def _ended(plivo: PlivoClient, call: Call) -> CallRecord | None:
    """A record of a call to this number that began when this one may have, and that is no other call of ours."""
    since = call.created_at - CLOCKS_DIFFER
    records = [
        record for record in plivo.records_to(call.to_number) if record.started_at is None or record.started_at >= since
    ]
    uuids = [record.call_uuid for record in records]
    others = set(Call.objects.filter(plivo_call_uuid__in=uuids).values_list("plivo_call_uuid", flat=True))
    return next((record for record in records if record.call_uuid not in others), None)


def _give_up(call: Call, now: datetime.datetime) -> str:
    """Nobody will ever know: not to be called again by itself. One that Plivo had taken on has ended, somehow."""
    if call.status == Call.Status.UNKNOWN:
        lifecycle.apply(call_id=call.pk, facts=Facts(status=Call.Status.NOT_FOUND))
        return "never_found"
    lifecycle.finish(call_id=call.pk, now=now, end_reason=Call.EndReason.SWEPT)
    return "ended_unseen"

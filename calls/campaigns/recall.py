"""Calls that Plivo was given and that must not ring any more are taken back there: after an opt-out, a pause, a stop,
and where they have waited at Plivo until their hours are almost over.

A phone that rings already after a pause rings on: whoever picks up is talked to. Whoever has opted out is not rung on.
Called by ``dialler``; what cannot be taken back is refused when it is picked up (``gate``).
"""

import datetime
from typing import NamedTuple

import structlog
from django.db.models import QuerySet

from calls import lifecycle, suppression
from calls.campaigns import gate
from calls.models import Call, Campaign
from calls.states import Facts
from calls.telephony.accounts import client_for
from calls.telephony.base import CarrierError

log = structlog.get_logger(__name__)

MOST = 10_000  # more than any account may have waiting
OPTED_OUT = "the person is on the do-not-call list"


class _Given(NamedTuple):
    """Of a call that Plivo has: what decides over it. Twice a second for each, so no models."""

    pk: int
    to_number: str
    status: str
    ring_by: datetime.datetime | None
    campaign__status: str | None
    one_off__api_key__revoked_at: datetime.datetime | None


def due(*, now: datetime.datetime) -> dict[int, str]:
    """Calls that are to be taken back, by their keys, and why."""
    given = [_Given(*row) for row in _given().values_list(*_Given._fields)[:MOST]]
    if not given:
        return {}
    unwanted = suppression.suppressed({call.to_number for call in given})
    stopped = gate.stopped()
    reasons = {call.pk: _reason(call, unwanted=call.to_number in unwanted, stopped=stopped, now=now) for call in given}
    return {call_id: why for call_id, why in reasons.items() if why}


def take_back(call_id: int, *, now: datetime.datetime) -> bool:
    """Has Plivo forget a call that nobody has picked up, if it still is to be.

    False where it is not any more, when it was too late, or when Plivo could not be asked.
    """
    given = _given().filter(pk=call_id)
    row = given.values_list(*_Given._fields).first()
    call = given.select_related("plivo_account").defer("plivo_account__auth_token").first()
    if row is None or call is None or call.plivo_account is None:
        return False
    why = _reason(_Given(*row), unwanted=suppression.is_suppressed(call.to_number), stopped=gate.stopped(), now=now)
    if not why:
        return False
    try:
        with client_for(call.plivo_account) as plivo:
            taken = plivo.cancel(call.plivo_request_uuid)
    except CarrierError as error:
        log.warning("call_not_taken_back", call=str(call.public_id), failure=error.failure.value)
        return False
    if taken:
        lifecycle.note(call=call, kind="taken_back", now=now, data={"why": why})
        facts = Facts(status=Call.Status.CANCELLED, end_reason=Call.EndReason.REFUSED)
        lifecycle.apply(call_id=call.pk, facts=facts)
    return taken


def _given() -> QuerySet[Call]:
    """Calls that Plivo has and that nobody has picked up."""
    waiting = Call.objects.filter(
        direction=Call.Direction.OUTBOUND, status__in=[Call.Status.QUEUED, Call.Status.RINGING]
    )
    return waiting.exclude(plivo_request_uuid="")


def _reason(call: _Given, *, unwanted: bool, stopped: str, now: datetime.datetime) -> str:
    """Why a call must not ring any more; what rings already is let ring but for who opted out."""
    if unwanted:
        return OPTED_OUT
    if call.status != Call.Status.QUEUED:
        return ""
    if stopped:
        return stopped
    if call.campaign__status not in {None, Campaign.Status.RUNNING}:
        return f"the campaign is {Campaign.Status(call.campaign__status).label.lower()}"
    if call.ring_by is not None and call.ring_by < now:
        return gate.HOURS_OVER
    return gate.REVOKED if call.one_off__api_key__revoked_at else ""

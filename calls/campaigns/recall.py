"""Calls that Plivo was given and that must not ring any more are taken back there: after an opt-out, a pause, a stop.

A phone that rings already after a pause rings on: whoever picks up is talked to. Whoever has opted out is not rung on.
Called by ``dialler``; what cannot be taken back is refused when it is picked up (``gate``).
"""

import datetime

import structlog
from django.db.models import QuerySet

from calls import lifecycle, suppression
from calls.campaigns import gate
from calls.models import Call, Campaign, OneOffCall
from calls.states import Facts
from calls.telephony.accounts import client_for
from calls.telephony.base import CarrierError

log = structlog.get_logger(__name__)

BATCH = 500
OPTED_OUT = "the person is on the do-not-call list"


def due() -> dict[int, str]:
    """Calls that are to be taken back, by their keys, and why."""
    calls = list(_given()[:BATCH])
    if not calls:
        return {}
    unwanted = suppression.suppressed({call.to_number for call in calls})
    stopped = gate.stopped()
    reasons = {call.pk: _reason(call, unwanted=call.to_number in unwanted, stopped=stopped) for call in calls}
    return {call_id: why for call_id, why in reasons.items() if why}


def take_back(call_id: int, *, now: datetime.datetime) -> bool:
    """Has Plivo forget a call that nobody has picked up, if it still is to be.

    False where it is not any more, when it was too late, or when Plivo could not be asked.
    """
    call = _given().filter(pk=call_id).first()
    if call is None or call.plivo_account is None:
        return False
    why = _reason(call, unwanted=suppression.is_suppressed(call.to_number), stopped=gate.stopped())
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
    return waiting.exclude(plivo_request_uuid="").select_related("campaign", "one_off__api_key", "plivo_account")


def _reason(call: Call, *, unwanted: bool, stopped: str) -> str:
    """Why a call must not ring any more; what rings already is let ring but for who opted out."""
    if unwanted:
        return OPTED_OUT
    if call.status != Call.Status.QUEUED:
        return ""
    return stopped or (_of_campaign(call.campaign) if call.campaign else _of_order(getattr(call, "one_off", None)))


def _of_campaign(campaign: Campaign) -> str:
    running = campaign.status == Campaign.Status.RUNNING
    return "" if running else f"the campaign is {campaign.get_status_display().lower()}"


def _of_order(order: OneOffCall | None) -> str:
    revoked = order is not None and order.api_key is not None and order.api_key.revoked_at is not None
    return gate.REVOKED if revoked else ""

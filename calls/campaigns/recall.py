"""Calls that Plivo was given and that must not ring any more are taken back there: after an opt-out, a pause, a stop.

A phone that rings already after a pause rings on: whoever picks up is talked to. Whoever has opted out is not rung on.
Called by ``dialler``; what cannot be taken back is refused when it is picked up (``gate``).
"""

import datetime

import structlog

from calls import lifecycle, suppression
from calls.campaigns import gate
from calls.models import Call, Campaign
from calls.states import Facts
from calls.telephony.accounts import client_for
from calls.telephony.base import CarrierError

log = structlog.get_logger(__name__)

BATCH = 500
OPTED_OUT = "the person is on the do-not-call list"


def due() -> dict[int, str]:
    """Calls that are to be taken back, by their keys, and why."""
    given = Call.objects.filter(
        direction=Call.Direction.OUTBOUND, status__in=[Call.Status.QUEUED, Call.Status.RINGING]
    ).exclude(plivo_request_uuid="")
    calls = list(given.select_related("campaign").only("pk", "status", "to_number", "campaign__status")[:BATCH])
    if not calls:
        return {}
    unwanted = suppression.suppressed({call.to_number for call in calls})
    stopped = gate.stopped()
    reasons = {
        call.pk: OPTED_OUT if call.to_number in unwanted else stopped or _not_running(call)
        for call in calls
        if call.to_number in unwanted or call.status == Call.Status.QUEUED
    }
    return {call_id: why for call_id, why in reasons.items() if why}


def take_back(call_id: int, why: str, *, now: datetime.datetime) -> bool:
    """Has Plivo forget a call that nobody has picked up; False when it was too late, or Plivo could not be asked."""
    call = Call.objects.select_related("plivo_account").get(pk=call_id)
    if call.plivo_account is None:
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


def _not_running(call: Call) -> str:
    campaign = call.campaign
    if campaign is None or campaign.status == Campaign.Status.RUNNING:
        return ""
    return f"the campaign is {campaign.get_status_display().lower()}"

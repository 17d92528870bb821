"""May this call still ring, or be answered? Asked right before the request that rings somebody, and when they pick up.

Between the claim and either of them somebody may have opted out, the campaign been paused, the hours have ended.
"""

import datetime

from calls import suppression
from calls.campaigns import own_law, schedule
from calls.models import Call, Campaign, Contact, Switch

SWITCHED_OFF = "all dialling is stopped by the kill switch"
NO_LIST = "the do-not-call list cannot be relied on"


def stopped() -> str:
    """Why nothing may be dialled by anybody; empty when it may."""
    if Switch.objects.exists():
        return SWITCHED_OFF
    return NO_LIST if suppression.trouble() else ""


def obstacle(call: Call, campaign: Campaign, *, now: datetime.datetime, rings: bool = False) -> str:
    """Why a call that was claimed must not ring, or not be answered, after all; empty when it may.

    Args:
        rings: it does already, and was picked up: a pause lets it go on, since nothing is worse than a silent call.
    """
    if why := stopped():
        return why
    campaign.refresh_from_db(fields=["status", "week", "countries", "on_holidays", "starts_at", "ends_at"])
    if campaign.status != Campaign.Status.RUNNING and not rings:
        return f"the campaign is {campaign.get_status_display().lower()}"
    # Read anew, like the campaign: what was claimed by is some moments old.
    person = call.campaign_person_id
    contact = Contact.objects.filter(campaigns_of__pk=person).first() if person is not None else None
    if contact is None:
        return "their data were erased"
    found = schedule.answer(
        campaign,
        contact,
        hours=schedule.hours_of(campaign, own=own_law.read(now=now)),
        suppressed=suppression.is_suppressed(call.to_number),
        history=schedule.History(),  # the caps were kept at the claim; this call is one of the person's
        now=now,
    )
    if isinstance(found, schedule.Due):
        return "" if found.at <= now else "the hours for calls are over"
    return found.why

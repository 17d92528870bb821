"""May this call still ring, or be answered? Asked right before the request that rings somebody, and when they pick up.

Between the claim and either of them somebody may have opted out, the campaign been paused, the hours have ended.
"""

import datetime

from calls import suppression
from calls.campaigns import own_law, schedule
from calls.models import Call, Campaign, Contact, OneOffCall, Switch
from calls.models.campaign import MOST_A_DAY
from calls.prepared import Prepared

SWITCHED_OFF = "all dialling is stopped by the kill switch"
# Hours and law are those of the number that the contact has now.
ANOTHER_NUMBER = "their number was changed after the launch"
NO_LIST = "the do-not-call list cannot be relied on"
# A single call is meant for now: one that could not be placed by then is let go.
PLACED_WITHIN = datetime.timedelta(minutes=5)
REVOKED = "the API key that asked for it was revoked"
HOURS_OVER = "the hours for calls are over"
LATE = "it could not be placed within 5 minutes"
ALL_WEEK = [[[0, 1440]]] * 7  # what the law leaves of it
TESTS_A_DAY = 20  # of their own campaigns operators hear as many as they try out

Plan = Campaign | OneOffCall
_SWITCH = Prepared(Switch.objects.order_by().values_list("pk")[:1])


def stopped() -> str:
    """Why nothing may be dialled by anybody; empty when it may."""
    if _SWITCH.rows():
        return SWITCHED_OFF
    return NO_LIST if suppression.trouble() else ""


def ringing(plan: Plan) -> datetime.timedelta:
    """How long its phones ring at most: a call must begin so long before its window closes."""
    return datetime.timedelta(seconds=plan.ring_s)


def plan_of(call: Call) -> Plan | None:
    """What a call is placed under: its campaign, or what it was ordered with; None when that is gone."""
    return call.campaign or OneOffCall.objects.filter(call=call).first()


def as_campaign(order: OneOffCall, *, number: str) -> tuple[Campaign, Contact]:
    """A single call as a campaign of one person (neither is saved), so that the same rules hold for it."""
    countries = order.api_key.countries if order.api_key else [order.country]
    campaign = Campaign(
        purpose=order.purpose,
        countries=countries,
        week=ALL_WEEK,
        on_holidays=order.purpose != Campaign.Purpose.PROMOTIONAL,  # who asks for this one call knows the date
        # None of its own: the one of all calls holds (``most_a_day``).
        gap_hours=0,
        most_a_day=0,
        most_a_week=0,
    )
    contact = Contact(
        number=number,
        country=order.country,
        zones=order.zones,
        time_zone=order.time_zone,
        region=order.region,
        consent=order.consent,
        consent_at=order.consent_at,
        consent_source=order.consent_source,
    )
    return campaign, contact


def most_a_day(order: OneOffCall) -> int:
    """How often within 24 hours its number may be called, by whomever."""
    return TESTS_A_DAY if order.origin == OneOffCall.Origin.TEST else MOST_A_DAY


def callers(order: OneOffCall, caller: str) -> list[str] | None:
    """From which number a single call is made, where that matters: of operators who ring themselves it does not."""
    return [caller] if order.origin == OneOffCall.Origin.API else None


def obstacle(call: Call, plan: Plan, *, now: datetime.datetime, rings: bool = False) -> str:
    """Why a call that was claimed must not ring, or not be answered, after all; empty when it may.

    Args:
        rings: it does already, and was picked up: a pause lets it go on, since nothing is worse than a silent call.
    """
    if why := stopped():
        return why
    if isinstance(plan, Campaign):
        return _of_campaign(call, plan, now=now, rings=rings)
    order = OneOffCall.objects.select_related("api_key").get(pk=plan.pk)
    if not rings and order.api_key is not None and order.api_key.revoked_at is not None:
        return REVOKED
    if not rings and now - call.created_at > PLACED_WITHIN:
        return LATE
    campaign, contact = as_campaign(order, number=call.to_number)
    return _of_person(
        call, campaign, contact, callers=callers(order, call.from_number), now=now, margin=_margin(order, rings=rings)
    )


def _margin(plan: Plan, *, rings: bool) -> datetime.timedelta:
    """What rings already may be talked to until the window closes."""
    return datetime.timedelta() if rings else ringing(plan)


def _of_campaign(call: Call, campaign: Campaign, *, now: datetime.datetime, rings: bool) -> str:
    campaign.refresh_from_db(fields=["status", "week", "countries", "on_holidays", "starts_at", "ends_at"])
    if campaign.status != Campaign.Status.RUNNING and not rings:
        return f"the campaign is {campaign.get_status_display().lower()}"
    # Read anew, like the campaign: what was claimed by is some moments old.
    person = call.campaign_person_id
    contact = Contact.objects.filter(campaigns_of__pk=person).first() if person is not None else None
    if contact is None:
        return "their data were erased"
    if contact.number != call.to_number:
        return ANOTHER_NUMBER
    margin = _margin(campaign, rings=rings)
    return _of_person(call, campaign, contact, callers=[call.from_number], now=now, margin=margin)


def _of_person(
    call: Call,
    campaign: Campaign,
    contact: Contact,
    *,
    callers: list[str] | None,
    now: datetime.datetime,
    margin: datetime.timedelta,
) -> str:
    found = schedule.answer(
        campaign,
        contact,
        hours=schedule.hours_of(campaign, own=own_law.read(now=now)),
        callers=callers,
        suppressed=suppression.is_suppressed(call.to_number),
        history=schedule.History(),  # the caps were kept at the claim; this call is one of the person's
        now=now,
        margin=margin,
    )
    if isinstance(found, schedule.Due):
        return "" if found.at <= now else HOURS_OVER
    return found.why

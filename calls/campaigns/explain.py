"""What the rules say of a person of a campaign at this moment, one by one, for an operator who asks why.

Reads only; called by the admin. Each rule is asked as ``schedule.answer`` asks it, and the verdict is the claim's own.
"""

import datetime

import msgspec

from calls import suppression
from calls.campaigns import claims, gate, own_law, schedule
from calls.campaigns.schedule import Answer, Due, Held, History
from calls.campaigns.windows import allows
from calls.models import Campaign, CampaignContact, Contact


class Check(msgspec.Struct, frozen=True):
    """A rule, whether it lets the person be called now, and why it does not or what it was asked about."""

    rule: str
    holds: bool
    detail: str


class Explanation(msgspec.Struct, frozen=True):
    """All rules, and what follows from them.

    Attributes:
        verdict: what the campaign does about the person if they wait, as a sentence.
        opens, closes: the next stretch in which they may be called, as the clocks show it where they may be; empty
            when there is none.
    """

    checks: list[Check]
    verdict: str
    opens: list[str] = []
    closes: list[str] = []


def explain(person: CampaignContact, *, now: datetime.datetime) -> Explanation:
    """What would be done about them now."""
    campaign, contact = person.campaign, person.contact
    checks = _of_campaign(campaign, now)
    if contact is not None:
        checks += _of_person(campaign, contact, person.number, now)
    found = claims.answer_for(campaign, person, now=now)
    if not isinstance(found, Due) or contact is None:
        return Explanation(checks, _verdict(found, now))
    zones = schedule.zones_of(contact)
    opens, closes = (schedule.local_times(zones, at) for at in (found.at, found.until))
    return Explanation(checks, _verdict(found, now), opens, closes)


def _verdict(found: Answer, now: datetime.datetime) -> str:
    if isinstance(found, Due):
        return "The rules allow a call now." if found.at <= now else f"Not now, but later: {found.why}."
    return f"{'Held' if isinstance(found, Held) else 'Not called'}: {found.why}."


def _of_campaign(campaign: Campaign, now: datetime.datetime) -> list[Check]:
    stopped = gate.stopped()
    running = campaign.status == Campaign.Status.RUNNING
    begun = campaign.starts_at is None or campaign.starts_at <= now
    lasts = campaign.ends_at is None or campaign.ends_at > now
    return [
        Check("All dialling", not stopped, stopped),
        Check("The campaign runs", running, f"it is {campaign.get_status_display().lower()}"),
        Check("It has begun, and not ended", begun and lasts, "" if begun and lasts else "see its dates"),
    ]


def _of_person(campaign: Campaign, contact: Contact, number: str, now: datetime.datetime) -> list[Check]:
    unwanted = suppression.is_suppressed(number)
    callers = list(campaign.caller_numbers.values_list("number", flat=True))
    missing = [name for name in claims.needed_variables(campaign) if not contact.variables.get(name)]
    hours = schedule.hours_of(campaign, own=own_law.read(now=now))
    zones = schedule.zones_of(contact)
    clocks = " or ".join(schedule.local_times(zones, now))
    history = claims.histories([number], now=now).get(number, History())
    free, why = schedule.after_earlier_calls(campaign, history, now, country=contact.country)
    until = " or ".join(schedule.local_times(zones, free))
    same = contact.number == number
    return [
        Check("The number of the launch", same, "" if same else gate.ANOTHER_NUMBER),
        Check("The do-not-call list", not unwanted, "they are on it" if unwanted else ""),
        *(
            Check(f"The {rule}", not obstacle, obstacle)
            for rule, obstacle in schedule.obstacles(campaign, contact, callers, missing, strict=True)
        ),
        *(
            Check(f"Hours: {rule.name}", allows([rule], zones, now), f"it is {clocks} there")
            for rule in (schedule.rules_of(hours, contact, at=now) if zones else ())
        ),
        Check("Earlier calls", free <= now, f"{why}, until {until}" if why else ""),
    ]

"""The rehearsal of a campaign: what would happen if it were launched now, before anything rings."""

import datetime
import itertools
import math
from collections import Counter
from zoneinfo import ZoneInfo

import msgspec
from django.utils import timezone

from agents.prompts import built_ins, render
from calls.campaigns import claims
from calls.campaigns.schedule import Due, Held, zones_of
from calls.models import Campaign, Contact

CHUNK = 2000
LOOKED_AT = ("number", "name", "country", "region", "time_zone", "zones", "consent", "variables")
SAMPLES = 3
MOST_ROWS = 12
TALK_S = 90  # what an attempt is taken to last, ringing included


class Reason(msgspec.Struct, frozen=True):
    """Why people are not called, and how many."""

    why: str
    people: int


class Sample(msgspec.Struct, frozen=True):
    """What one person would hear first."""

    name: str
    greeting: str


class Rehearsal(msgspec.Struct, frozen=True):
    """What is to be expected.

    Attributes:
        people: in the lists, each number once.
        due: of them may be called, sooner or later.
        held, skipped: why others may not; those that are held may be, once something is mended.
        doubles: rows of the lists whose number another row has already.
        first, last: the earliest and the latest of the hours in which the first attempts begin, on the clocks of those
            who are called, as "08:05"; empty when nobody is.
        begins_at: of the first attempt.
        takes: how long the first attempts take at least, at this campaign's pace, as "20 min".
        by_country, by_zone: how many are due, the most first; of the zones the first dozen.
    """

    people: int
    due: int
    held: list[Reason]
    skipped: list[Reason]
    doubles: int
    first: str
    last: str
    begins_at: datetime.datetime | None
    takes: str
    by_country: list[tuple[str, int]]
    by_zone: list[tuple[str, int]]
    samples: list[Sample]


def rehearse(campaign: Campaign, *, now: datetime.datetime) -> Rehearsal:
    """Looks at everybody in its lists; changes nothing."""
    held, skipped = Counter[str](), Counter[str]()
    countries, zones = Counter[str](), Counter[str]()
    clocks: list[datetime.time] = []
    seen: set[str] = set()
    samples: list[Sample] = []
    rows = due = 0
    begins_at: datetime.datetime | None = None
    contacts = Contact.objects.filter(contact_list__in=campaign.contact_lists.all()).order_by("pk")
    rest = contacts.only(*LOOKED_AT).iterator(chunk_size=CHUNK)
    while chunk := list(itertools.islice(rest, CHUNK)):
        rows += len(chunk)
        new = {contact.number: contact for contact in reversed(chunk) if contact.number not in seen}
        seen |= new.keys()
        for contact, found in claims.forecast(campaign, list(new.values()), now=now):
            if isinstance(found, Due):
                due += 1
                countries[contact.country] += 1
                where = zones_of(contact)
                zones[where[0] if len(where) == 1 else f"one of {len(where)} zones"] += 1
                clocks += [found.at.astimezone(ZoneInfo(zone)).time() for zone in where[:1]]
                begins_at = found.at if begins_at is None else min(begins_at, found.at)
                if len(samples) < SAMPLES:
                    samples.append(_sample(campaign, contact, now))
            else:
                (held if isinstance(found, Held) else skipped)[found.why] += 1
    return Rehearsal(
        people=len(seen),
        due=due,
        held=_reasons(held),
        skipped=_reasons(skipped),
        doubles=rows - len(seen),
        first=min(clocks).strftime("%H:%M") if clocks else "",
        last=max(clocks).strftime("%H:%M") if clocks else "",
        begins_at=begins_at,
        takes=_takes(campaign, due),
        by_country=countries.most_common(),
        by_zone=zones.most_common(MOST_ROWS),
        samples=samples,
    )


def _reasons(counted: Counter[str]) -> list[Reason]:
    return [Reason(why, people) for why, people in counted.most_common()]


def _takes(campaign: Campaign, due: int) -> str:
    """By the slower of the two: how many calls go on at once, and how many a second the accounts may start."""
    paces = {number.plivo_account_id: float(number.plivo_account.calls_per_second)
             for number in campaign.caller_numbers.select_related("plivo_account")}  # fmt: skip
    starts = due / sum(paces.values()) if paces else math.inf
    talks = due * TALK_S / max(1, campaign.concurrency)
    seconds = max(starts, talks) if due else 0.0
    if math.isinf(seconds):
        return "for ever: there is no number to call from"
    return f"{math.ceil(seconds / 60)} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _sample(campaign: Campaign, contact: Contact, now: datetime.datetime) -> Sample:
    version = campaign.agent_version or campaign.agent.published_version
    if version is None:
        return Sample(contact.name, "")
    spec = version.spec
    values = built_ins(
        caller_number="",
        called_number=contact.number,
        caller_name="",
        agent_name=spec.name,
        now=timezone.localtime(now),
    )
    return Sample(contact.name, render(spec.greeting, values | spec.variables | contact.variables))

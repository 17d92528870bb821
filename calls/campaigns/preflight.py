"""The rehearsal of a campaign: what would happen if it were launched now, before anything rings."""

import datetime
from collections import Counter
from collections.abc import Iterable, Iterator
from zoneinfo import ZoneInfo

import msgspec
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from agents.prompts import built_ins, instructions, render
from calls.campaigns import claims
from calls.campaigns.estimate import Estimate, estimate
from calls.campaigns.outlook import Outlook, Where, outlook
from calls.campaigns.schedule import Answer, Due, Held, Skipped, zones_of
from calls.models import Campaign, Contact
from calls.reports import masked

CHUNK = 2000
_VARIABLES = msgspec.json.Decoder(dict[str, str])
SAMPLES = 3
MOST_ROWS = 12
GROUPS: dict[str, type[Answer]] = {"due": Due, "held": Held, "skipped": Skipped, "doubles": Skipped}
IS_DOUBLE = Skipped("another row has the same number")


class Reason(msgspec.Struct, frozen=True):
    """Why people are not called, and how many."""

    why: str
    people: int


class Sample(msgspec.Struct, frozen=True):
    """What one person would hear first, and what the agent would be told about its call to them."""

    name: str
    greeting: str
    prompt: str


class Row(msgspec.Struct, frozen=True):
    """What counts of a ``Contact``, of which a hundred thousand are looked at."""

    number: str
    name: str
    country: str
    region: str
    time_zone: str
    zones: tuple[str, ...]
    consent: str
    consent_at: datetime.date | None
    consent_source: str
    variables: dict[str, str]


class Rehearsal(msgspec.Struct, frozen=True):
    """What is to be expected.

    Attributes:
        people: in the lists, each number once.
        due: of them may be called, sooner or later.
        held, skipped: why others may not; those that are held may be, once something is mended.
        doubles: rows of the lists whose number another row has already.
        missing: variables of the agent without a default, and how many people have no value for them.
        outlook: when the first attempts begin and end.
        cost: what they are thought to cost.
        by_country, by_zone: how many are due, the most first; of the zones the first dozen.
        samples: of the first few who are due; none for those who may not see people.
    """

    people: int
    due: int
    held: list[Reason]
    skipped: list[Reason]
    doubles: int
    missing: list[tuple[str, int]]
    outlook: Outlook
    cost: Estimate
    by_country: list[tuple[str, int]]
    by_zone: list[tuple[str, int]]
    samples: list[Sample]


def rehearse(
    campaign: Campaign, *, now: datetime.datetime, people_shown: bool = False, whole_numbers: bool = False
) -> Rehearsal:
    """Looks at everybody in its lists; changes nothing.

    Args:
        people_shown: whoever reads it may see people: their names, and what the lists say of them.
        whole_numbers: they may see numbers, too.
    """
    needed = claims.needed_variables(campaign)
    answers = Counter[tuple[Answer, Where]]()
    missing = Counter(dict.fromkeys(needed, 0))
    samples: list[Sample] = []
    for row, found in claims.forecast(campaign, _once(_rows(campaign)), now=now):
        answers[found, Where(row.country, row.region, row.time_zone, row.zones)] += 1
        if needed:
            missing.update(name for name in needed if not row.variables.get(name))
        if people_shown and len(samples) < SAMPLES and isinstance(found, Due):
            samples.append(_sample(campaign, row, now, whole_numbers=whole_numbers))
    held, skipped = Counter[str](), Counter[str]()
    countries, zones = Counter[str](), Counter[str]()
    dues = Counter[tuple[datetime.datetime, Where]]()
    for (found, where), people in answers.items():
        if isinstance(found, Due):
            may_be_in = zones_of(where)
            countries[where.country] += people
            zones[may_be_in[0] if len(may_be_in) == 1 else f"one of {len(may_be_in)} zones"] += people
            dues[found.at, where] += people
        else:
            (held if isinstance(found, Held) else skipped)[found.why] += people
    due, everybody = countries.total(), answers.total()
    return Rehearsal(
        people=everybody,
        due=due,
        held=_reasons(held),
        skipped=_reasons(skipped),
        doubles=_contacts(campaign).count() - everybody,
        missing=[(name, people) for name, people in missing.most_common() if people],
        outlook=outlook(campaign, dues, now=now),
        cost=estimate(campaign, countries.items(), now=now),
        by_country=countries.most_common(),
        by_zone=zones.most_common(MOST_ROWS),
        samples=samples,
    )


def group(
    campaign: Campaign, *, kind: str, why: str, now: datetime.datetime, whole_numbers: bool
) -> Iterator[list[str]]:
    """The people of one group of the rehearsal, below the headers.

    Args:
        kind: one of GROUPS.
        why: of those who are held or skipped.
        whole_numbers: whoever reads it may see them.
    """
    yield ["Name", "Number", "Country", "Time zone", "First call, on their clock", "Why"]
    people: Iterator[tuple[Row, Answer]]
    if kind == "doubles":
        people = ((row, IS_DOUBLE) for row in _doubles(_rows(campaign)))
    else:
        looked_at = claims.forecast(campaign, _once(_rows(campaign)), now=now)
        people = (
            (row, found)
            for row, found in looked_at
            if isinstance(found, GROUPS[kind]) and (kind == "due" or found.why == why)
        )
    for row, found in people:
        where = zones_of(row)
        at = found.at.astimezone(ZoneInfo(where[0])).isoformat(timespec="minutes") if isinstance(found, Due) else ""
        number = row.number if whole_numbers else masked(row.number)
        yield [row.name, number, row.country, " or ".join(where), at, found.why]


def _contacts(campaign: Campaign) -> "QuerySet[Contact]":
    return Contact.objects.filter(contact_list__in=campaign.contact_lists.all())


def _rows(campaign: Campaign) -> Iterator[Row]:
    """Everybody in its lists, each as often as they stand there. Plain values: to make models of them takes longest."""
    text = TextField()
    read = _contacts(campaign).order_by("contact_list_id", "pk")  # as they are put in (``enrolment``)
    read = read.annotate(zones_text=Cast("zones", text), variables_text=Cast("variables", text))
    columns = ("number", "name", "country", "region", "time_zone", "zones_text")
    further = ("consent", "consent_at", "consent_source", "variables_text")
    zones: dict[str, tuple[str, ...]] = {}
    for row in read.values_list(*columns, *further).iterator(CHUNK):
        number, name, country, region, time_zone, texts, consent, consent_at, source, own = row
        if texts not in zones:
            zones[texts] = msgspec.json.decode(texts, type=tuple[str, ...])
        variables = _VARIABLES.decode(own)
        yield Row(number, name, country, region, time_zone, zones[texts], consent, consent_at, source, variables)


def _once(rows: Iterable[Row]) -> Iterator[Row]:
    """The first of each number."""
    seen: set[str] = set()
    for row in rows:
        if row.number not in seen:
            seen.add(row.number)
            yield row


def _doubles(rows: Iterable[Row]) -> Iterator[Row]:
    """All but the first of each number."""
    seen: set[str] = set()
    for row in rows:
        if row.number in seen:
            yield row
        seen.add(row.number)


def _reasons(counted: Counter[str]) -> list[Reason]:
    return [Reason(why, people) for why, people in counted.most_common()]


def _sample(campaign: Campaign, person: Row, now: datetime.datetime, *, whole_numbers: bool) -> Sample:
    version = campaign.version
    if version is None:
        return Sample(person.name, "", "")
    spec = version.spec
    values = built_ins(
        caller_number="",
        called_number=person.number if whole_numbers else masked(person.number),
        caller_name="",
        agent_name=spec.name,
        now=timezone.localtime(now),
    )
    values |= spec.variables | person.variables
    return Sample(person.name, render(spec.greeting, values), instructions(spec.system_prompt, values))

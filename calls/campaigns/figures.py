"""What came of a campaign in figures: how far people came, when they were reached, what was said, how long it took.

A fixed number of queries; everything that counts is counted by the database or in one pass over the calls.
"""

import datetime
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from django.db.models import Count, Q, QuerySet, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from agents.spec import ExtractionField
from calls import costs
from calls.campaigns.claims import RUNG
from calls.campaigns.outcomes import OUTCOME
from calls.campaigns.schedule import zones_in
from calls.models import Call, CallSummary, Campaign
from calls.states import FINAL

TALKED_S = 30
OUTCOMES = {**dict(Call.Outcome.choices), "unknown": "Never known"}
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
NOT_SAID = "Not said"
CHUNK = 5000
_ZONES = msgspec.json.Decoder(tuple[str, ...])
QUARTER_S = 15 * 60  # clocks of the world differ by multiples of it


class Step(msgspec.Struct, frozen=True):
    """How many people came so far, and how many that is of all, in percent."""

    name: str
    people: int
    share: int


class Line(msgspec.Struct, frozen=True):
    """Attempts of one kind: how many came to each of ``Figures.outcomes``, and how many were answered, in percent."""

    name: str
    counts: list[int]
    attempts: int
    share: int


class Values(msgspec.Struct, frozen=True):
    """How often a field of the agent had each value: value, calls, percent of the calls in which it was looked for."""

    field: str
    rows: list[tuple[str, int, int]]


class Figures(msgspec.Struct, frozen=True):
    """What the page shows.

    Attributes:
        steps: each of those in the one before.
        outcomes: names, in the order of ``Line.counts``; only those that occurred.
        nowhere: attempts at people of whom it is not known what their clock showed: in none of the hours.
        talks: calls that a person answered; ``mean_s`` and ``median_s`` of how long they took.
    """

    steps: list[Step]
    outcomes: list[str]
    by_attempt: list[Line]
    by_hour: list[Line]
    by_weekday: list[Line]
    nowhere: int
    talks: int
    mean_s: float
    median_s: float
    values: list[Values]


def figures(campaign: Campaign, *, talked_s: int = TALKED_S) -> Figures:
    """What came of a campaign so far, an operator's corrections counted.

    Args:
        talked_s: how long a call must have taken to count as a talk, in s.
    """
    over = Call.objects.filter(RUNG | Q(status=Call.Status.REJECTED), campaign=campaign, status__in=FINAL)
    calls = over.annotate(came=OUTCOME)
    attempts, hours, weekdays = Counter[tuple[int, str]](), Counter[tuple[int, str]](), Counter[tuple[int, str]]()
    nowhere = 0
    for attempt, at, zones, came in _when(calls):
        attempts[attempt, came] += 1
        clock = _clock(zones, int(at.timestamp()) // QUARTER_S)
        if clock is None:
            nowhere += 1
        else:
            weekdays[clock[0], came] += 1
            hours[clock[1], came] += 1
    seen = {came for _, came in attempts}
    order = [came for came in OUTCOMES if came in seen]
    lengths = _lengths(calls)
    talks = sum(made for _, made in lengths)
    return Figures(
        steps=_steps(campaign, talked_s),
        outcomes=[OUTCOMES[came] for came in order],
        by_attempt=_lines(attempts, order, str),
        by_hour=_lines(hours, order, "{:02}:00".format),
        by_weekday=_lines(weekdays, order, WEEKDAYS.__getitem__),
        nowhere=nowhere,
        talks=talks,
        mean_s=sum(seconds * made for seconds, made in lengths) / talks if talks else 0.0,
        median_s=_median(lengths, talks),
        values=_values(campaign),
    )


def cost_each(found: Figures, usd: Decimal) -> list[str]:
    """What each person of each step has cost for a reader, of all that was spent (USD); empty where nobody came."""
    return [costs.shown(usd / step.people) if step.people else "" for step in found.steps]


def _steps(campaign: Campaign, talked_s: int) -> list[Step]:
    answered = Q(came=Call.Outcome.COMPLETED)
    talked = answered & Q(duration_s__gt=talked_s)

    def people(which: Q) -> Count:
        return Count("campaign_person", distinct=True, filter=which)

    reached = (
        Call.objects.filter(campaign=campaign)
        .annotate(came=OUTCOME)
        .aggregate(
            called=people(RUNG),
            answered=people(answered),
            talked=people(talked),
            success=people(talked & Q(summary__success=True)),
        )
    )
    total = campaign.people.count()
    counted = {
        "In the campaign": total,
        "Called at least once": reached["called"],
        "Answered by a person": reached["answered"],
        f"Talked longer than {talked_s} s": reached["talked"],
        "A success by the call's summary": reached["success"],
    }
    return [Step(name, count, _percent(count, total)) for name, count in counted.items()]


def _when(calls: "QuerySet[Any]") -> Iterator[tuple[int, datetime.datetime, tuple[str, ...], str]]:
    """Of each attempt its number, its moment, the zones in which the person might be at its claim, and its outcome."""
    contact, text = "campaign_person__contact__", TextField()
    told = calls.annotate(at_claim=Cast("zones", text), by_now=Cast(f"{contact}zones", text)).order_by()
    where = (f"{contact}country", f"{contact}region", f"{contact}time_zone")
    read: dict[tuple[str | None, ...], tuple[str, ...]] = {}
    rows = told.values_list("attempt", "created_at", "came", "at_claim", "by_now", *where)
    for attempt, at, came, *place in rows.iterator(chunk_size=CHUNK):
        key = tuple(place)
        if key not in read:  # of a thousand people many share it
            at_claim, by_now, country, region, own = (text or "" for text in place)
            listed = zones_in(_ZONES.decode(by_now or "[]"), country=country, region=region, time_zone=own)
            read[key] = _ZONES.decode(at_claim) or tuple(listed)  # calls from before it was kept have none
        yield attempt, at, read[key], came


@lru_cache(maxsize=50_000)
def _clock(zones: tuple[str, ...], quarter: int) -> tuple[int, int] | None:
    """Weekday and hour in a quarter of an hour since 1970; None where the zones do not agree, or none is known."""
    at = datetime.datetime.fromtimestamp(quarter * QUARTER_S, datetime.UTC)
    shown = {(local.weekday(), local.hour) for local in (at.astimezone(ZoneInfo(zone)) for zone in zones)}
    return shown.pop() if len(shown) == 1 else None


def _lengths(calls: "QuerySet[Any]") -> list[tuple[int, int]]:
    """Lengths of the calls that a person answered, in s and in order, and how many had each."""
    talks = calls.filter(came=Call.Outcome.COMPLETED, duration_s__isnull=False)
    return list(talks.order_by("duration_s").values_list("duration_s").annotate(made=Count("pk")))


def _median(lengths: list[tuple[int, int]], talks: int) -> float:
    """Of what ``_lengths`` gives."""
    middle = [(talks - 1) // 2, talks // 2]
    found, passed = [], 0
    for seconds, made in lengths:
        found += [seconds for at in middle if passed <= at < passed + made]
        passed += made
    return statistics.fmean(found) if talks else 0.0


def _lines(counted: Counter[tuple[int, str]], order: Sequence[str], names: Callable[[int], str]) -> list[Line]:
    found = []
    for key in sorted({key for key, _ in counted}):
        counts = [counted[key, came] for came in order]
        made = sum(counts)
        found.append(Line(names(key), counts, made, _percent(counted[key, Call.Outcome.COMPLETED], made)))
    return found


def _values(campaign: Campaign) -> list[Values]:
    """Of the fields that have few values: one query for all of them, since few combinations occur."""
    version = campaign.version
    fields = [field for field in version.spec.extraction if field.type in {"boolean", "choice"}] if version else []
    if not fields:
        return []
    told = CallSummary.objects.filter(call__campaign=campaign, status=CallSummary.Status.READY)
    columns = {f"value_{at}": KeyTextTransform(field.name, "extracted") for at, field in enumerate(fields)}
    rows = list(told.annotate(**columns).order_by().values_list(*columns).annotate(made=Count("pk")))
    return [_of_field(field, [(row[at], row[-1]) for row in rows]) for at, field in enumerate(fields)] if rows else []


def _of_field(field: ExtractionField, rows: list[tuple[str | None, int]]) -> Values:
    """Values that the field has now come first, whether they occurred or not."""
    names = {"true": "Yes", "false": "No"} if field.type == "boolean" else {name: name for name in field.choices}
    counted = Counter(dict.fromkeys(names.values(), 0))
    for value, made in rows:
        counted[NOT_SAID if value in {None, "null"} else names.get(str(value), str(value))] += made
    total = counted.total()
    return Values(field.name, [(value, made, _percent(made, total)) for value, made in counted.items()])


def _percent(part: int, whole: int) -> int:
    return round(100 * part / whole) if whole else 0

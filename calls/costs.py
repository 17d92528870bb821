"""What calls cost in USD: usage at the prices of the call's day, and Plivo's part.

Prices are rows of ``Price``; where one is missing the cost says which instead of leaving it out silently. Amounts are
exact until they are shown: a sum is rounded once, not its parts. Plivo's part is what Plivo reports of the call
(``Call.carrier_cost``, taken to be USD) and, until it does, an estimate by the minute.
"""

import datetime
import math
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec
from django.db.models import DateField, F, FloatField, IntegerField, Q, QuerySet, Sum, Value
from django.db.models.functions import Cast, Ceil, Coalesce, TruncDate
from django.utils import timezone

from calls.models import Call, Price, Usage
from calls.models.price import ANY, PLIVO
from calls.numbers import NumberRefused, parse
from calls.states import FINAL

MILLION, THOUSAND, MINUTE_MS, MINUTE_S = 1_000_000, 1_000, 60_000, 60
REPORTED, ESTIMATE = "Plivo", "Plivo, until it reports"
SHOWN = Decimal("0.0001")
_Unit = Price.Unit


class Line(msgspec.Struct, frozen=True):
    """A part of a cost.

    Attributes:
        what: whose it is, as "Language model: openai gpt-x".
        usd: exact; of what has a price.
        missing: sentences that name the prices that are not known.
        estimated: not what was billed.
    """

    what: str
    usd: Decimal
    missing: tuple[str, ...] = ()
    estimated: bool = False

    @property
    def shown(self) -> str:
        """For a reader, to a hundredth of a cent."""
        return shown(self.usd)


class Cost(msgspec.Struct, frozen=True):
    """What something cost, by its parts."""

    lines: tuple[Line, ...]

    @property
    def usd(self) -> Decimal:
        """The exact sum of what is known."""
        return sum((line.usd for line in self.lines), Decimal())

    @property
    def shown(self) -> str:
        """For a reader, to a hundredth of a cent; of the exact sum."""
        return shown(self.usd)

    @property
    def missing(self) -> tuple[str, ...]:
        """Each price that is not known, once."""
        return tuple(dict.fromkeys(text for line in self.lines for text in line.missing))

    @property
    def estimated(self) -> bool:
        """Whether a part of it is."""
        return any(line.estimated for line in self.lines)


class Prices:
    """The price table at one moment; each question is answered without a query."""

    def __init__(self, rows: Iterable[tuple[str, str, str, datetime.date, Decimal]]) -> None:
        self._rows: dict[tuple[str, str, str], list[tuple[datetime.date, Decimal]]] = {}
        for provider, model, unit, valid_from, usd in rows:
            self._rows.setdefault((provider, model, unit), []).append((valid_from, usd))
        for dated in self._rows.values():
            dated.sort()

    def find(self, provider: str, model: str, unit: str, day: datetime.date) -> Decimal | None:
        """USD of a unit on a day: the model's own price, else that of all models; None where there is none."""
        for name in (model, ANY):
            dated = self._rows.get((provider, name, unit), [])
            at = bisect_right(dated, day, key=lambda row: row[0])
            if at:
                return dated[at - 1][1]
        return None

    @property
    def none(self) -> bool:
        """Whether there are no prices at all."""
        return not self._rows


def prices() -> Prices:
    """The table as it is now, in one query."""
    return Prices(Price.objects.values_list("provider", "model", "unit", "valid_from", "usd"))


def of_call(call: Call, *, table: Prices, now: datetime.datetime) -> Cost:
    """What one call cost until now."""
    day = timezone.localdate(call.created_at)
    usage = _by_model(Usage.objects.filter(call=call))
    lines = [_usage_line(row, day, table) for row in usage]
    if call.direction == Call.Direction.BROWSER:
        return Cost(tuple(lines))
    if call.carrier_cost is not None:
        return Cost((*lines, Line(REPORTED, call.carrier_cost)))
    return Cost((*lines, *_carrier_estimate(call, day, table, now)))


def spend(calls: QuerySet[Call], *, table: Prices) -> Cost:
    """What many calls cost that are over: three queries, however many they are.

    Args:
        calls: such as those of a campaign.
    """
    return Cost(tuple(_merged(line for _, line in _spent(calls, table))))


def spend_by(calls: QuerySet[Call], field: str, *, table: Prices) -> dict[Any, Cost]:
    """What ``spend`` gives, apart for each value of a field: in as many queries.

    Args:
        field: of a call, such as "pk". Values whose calls have used nothing, or are not over, are not in the answer.
    """
    found: dict[Any, list[Line]] = {}
    for value, line in _spent(calls, table, field):
        found.setdefault(value, []).append(line)
    return {value: Cost(tuple(_merged(lines))) for value, lines in found.items()}


def _spent(calls: QuerySet[Call], table: Prices, field: str = "") -> Iterator[tuple[Any, Line]]:
    """Lines of cost, each with the value of the field to which it belongs; None without a field."""
    over = calls.filter(status__in=FINAL).order_by()
    day = TruncDate("call__created_at", output_field=DateField())
    of_call = F(f"call__{field}") if field else Value(None, output_field=IntegerField())
    usage = Usage.objects.filter(call__in=over.values("pk")).annotate(day=day, of=of_call)
    for row in _by_model(usage, "day", "of"):
        yield row["of"], _usage_line(row, row["day"], table)
    yield from _carrier_spend(over.annotate(of=F(field) if field else of_call), table)


def shown(usd: Decimal, places: Decimal = SHOWN) -> str:
    """An amount for a reader, half a step rounded up: "0.0123"."""
    return f"{usd.quantize(places, ROUND_HALF_UP):,f}"


# --- usage -----------------------------------------------------------------------------------------------------------


def _by_model(usage: QuerySet[Usage], *more: str) -> QuerySet[Usage, dict[str, Any]]:
    sums = {
        f"sum_{name}": Sum(name)
        for name in ("input_tokens", "cached_tokens", "output_tokens", "characters", "audio_ms")
    }
    return usage.order_by().values("stage", "provider", "model", *more).annotate(**sums).order_by("stage", "model")


def _usage_line(row: Mapping[str, Any], day: datetime.date, table: Prices) -> Line:
    """Linear in what was consumed, so that a sum over calls is the sum of their costs."""
    provider, model = str(row["provider"]), str(row["model"])

    def price(unit: _Unit) -> Decimal | None:
        return table.find(provider, model, unit, day)

    def consumed(name: str, per: int) -> Decimal:
        return Decimal(int(row[f"sum_{name}"] or 0)) / per

    parts: list[tuple[Decimal, _Unit]] = []
    match row["stage"]:
        case Usage.Stage.LLM:
            cached = consumed("cached_tokens", MILLION)  # among the input tokens; at their price without one of its own
            parts = [(consumed("input_tokens", MILLION) - cached, _Unit.INPUT)]
            parts += [(cached, _Unit.INPUT if price(_Unit.CACHED) is None else _Unit.CACHED)]
            parts += [(consumed("output_tokens", MILLION), _Unit.OUTPUT)]
        case Usage.Stage.STT:
            parts = [(consumed("audio_ms", MINUTE_MS), _Unit.MINUTE)]
        case _:  # voices are sold by the character or by the minute
            by_minute = price(_Unit.CHARACTERS) is None and price(_Unit.MINUTE) is not None
            minutes, characters = consumed("audio_ms", MINUTE_MS), consumed("characters", THOUSAND)
            parts = [(minutes, _Unit.MINUTE) if by_minute else (characters, _Unit.CHARACTERS)]
    usd, missing = Decimal(), []
    for amount, unit in parts:
        each = price(unit)
        if each is not None:
            usd += amount * each
        elif amount:
            missing.append(f"no price for {provider} {model} by {unit.label} on {day:%d %b %Y}: add one")
    stage = Usage.Stage(str(row["stage"])).label
    return Line(f"{stage}: {provider} {model}", usd, tuple(dict.fromkeys(missing)))


def _merged(lines: Iterable[Line]) -> list[Line]:
    """One line for what several days' lines are of."""
    found: dict[str, Line] = {}
    for line in lines:
        known = found.get(line.what) or Line(line.what, Decimal())
        missing = tuple(dict.fromkeys(known.missing + line.missing))
        found[line.what] = Line(line.what, known.usd + line.usd, missing, line.estimated)
    return list(found.values())


# --- Plivo -----------------------------------------------------------------------------------------------------------


def per_minute(table: Prices, country: str, day: datetime.date) -> Decimal | None:
    """What Plivo takes for a minute of a call to a country (ISO 3166), by the price table."""
    return table.find(PLIVO, country, _Unit.MINUTE, day)


def _carrier_line(minutes: Decimal, country: str, day: datetime.date, table: Prices) -> Line:
    each = per_minute(table, country, day)
    if each is None and minutes:
        where = country or "a country that is not known"
        return Line(
            ESTIMATE,
            Decimal(),
            (f"no price for {PLIVO} {where} by a minute on {day:%d %b %Y}: add one",),
            estimated=True,
        )
    return Line(ESTIMATE, minutes * (each or Decimal()), estimated=True)


def _carrier_estimate(call: Call, day: datetime.date, table: Prices, now: datetime.datetime) -> list[Line]:
    """Plivo bills each minute that was begun, from the answer on; who did not answer costs nothing."""
    seconds = call.bill_duration_s if call.bill_duration_s is not None else call.duration_s
    if seconds is None and call.answered_at is not None:
        seconds = max(0, int(((call.ended_at or now) - call.answered_at).total_seconds()))
    if not seconds:
        return []
    far = call.to_number if call.direction == Call.Direction.OUTBOUND else call.from_number
    try:
        country = parse(far).country
    except NumberRefused:
        country = ""
    return [_carrier_line(Decimal(math.ceil(seconds / MINUTE_S)), country, day, table)]


def _carrier_spend(over: QuerySet[Any], table: Prices) -> Iterator[tuple[Any, Line]]:
    """What Plivo has reported, and the minutes that it has not, by country and day; apart for each ``of``."""
    for row in over.exclude(carrier_cost=None).values("of").annotate(usd=Sum("carrier_cost")):
        if row["usd"] is not None:  # without a field there is a row even of no calls
            yield row["of"], Line(REPORTED, row["usd"])
    seconds = Coalesce("bill_duration_s", "duration_s")
    unknown = over.filter(Q(bill_duration_s__gt=0) | Q(bill_duration_s=None, duration_s__gt=0), carrier_cost=None)
    minutes = unknown.values(
        "of", day=TruncDate("created_at"), country=Coalesce("campaign_person__contact__country", Value(""))
    )
    for row in minutes.annotate(minutes=Sum(Ceil(Cast(seconds, FloatField()) / MINUTE_S))):
        yield row["of"], _carrier_line(Decimal(int(row["minutes"])), row["country"], row["day"], table)

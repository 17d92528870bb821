"""When a person may be called: rules in their local time, turned into stretches of absolute time.

Pure. A rule allows certain minutes of certain weekdays and closes certain dates (a campaign's own week, a country's or
state's law, a country's holidays). All rules must allow the moment, in every time zone in which the person may be; what
a clock in that zone would show decides, in the nights when it is put forward or back too.
"""

import datetime
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

DAY = 24 * 60  # minutes
# A stretch that is shorter, where several zones and laws meet, is not worth a call that may outlast it.
SHORTEST = datetime.timedelta(minutes=30)
_DAY = datetime.timedelta(days=1)
_HOUR = datetime.timedelta(hours=1)
_SECOND = datetime.timedelta(seconds=1)


class Span(NamedTuple):
    """Minutes of a local day, from ``start`` (0-1439) to before ``end`` (1-1440)."""

    start: int
    end: int


class Stretch(NamedTuple):
    """Absolute time (aware, UTC) from ``start`` to before ``end``."""

    start: datetime.datetime
    end: datetime.datetime


Week = tuple[tuple[Span, ...], ...]  # Monday first, the spans of a day in order and apart from each other


class Rule(msgspec.Struct, frozen=True):
    """Who says so, when it allows calls, and on which local dates it allows none."""

    name: str
    week: Week
    closed: frozenset[datetime.date] = frozenset()


def every_day(start: int, end: int, *, days: Iterable[int] = range(7)) -> Week:
    """The week with one span on each of ``days`` (0 is Monday)."""
    open_days = set(days)
    return tuple((Span(start, end),) if day in open_days else () for day in range(7))


def allows(rules: Sequence[Rule], zones: Sequence[str], at: datetime.datetime) -> bool:
    """Whether the moment is allowed; never where no zone is known. Raises ZoneInfoNotFoundError (a KeyError)."""
    if not zones:
        return False
    for zone in zones:
        local = at.astimezone(ZoneInfo(zone))
        minute = local.hour * 60 + local.minute
        if not any(span.start <= minute < span.end for span in _spans(rules, local.date())):
            return False
    return True


def stretches(
    rules: Sequence[Rule],
    zones: Sequence[str],
    begin: datetime.datetime,
    end: datetime.datetime,
    *,
    shortest: datetime.timedelta = SHORTEST,
) -> list[Stretch]:
    """All allowed time between two moments, in order; without a zone there is none.

    Args:
        zones: IANA names; the person may be in any of them.
        begin: aware, like ``end``.
        shortest: what is shorter is left out, unless ``begin`` or ``end`` cut it.

    Raises:
        ZoneInfoNotFoundError: (a KeyError) no such zone.
    """
    if not zones or begin >= end:
        return []
    # A day more at each side: whether a stretch is long enough must not depend on where the question begins.
    wide = Stretch(begin.astimezone(datetime.UTC) - _DAY, end.astimezone(datetime.UTC) + _DAY)
    found = [wide]
    for zone in dict.fromkeys(zones):
        found = _both(found, _in_zone(rules, ZoneInfo(zone), wide))
    long = (stretch for stretch in found if stretch.end - stretch.start >= shortest)
    return _both(list(long), [Stretch(begin.astimezone(datetime.UTC), end.astimezone(datetime.UTC))])


def open_at(found: Sequence[Stretch], at: datetime.datetime) -> Stretch | None:
    """The stretch, of those that ``stretches`` gave, in which the moment lies."""
    index = bisect_right(found, at, key=lambda stretch: stretch.start) - 1
    return found[index] if index >= 0 and at < found[index].end else None


def next_open(found: Sequence[Stretch], at: datetime.datetime) -> datetime.datetime | None:
    """``at`` if it is allowed, else the next moment that is; None when there is none any more."""
    if open_at(found, at) is not None:
        return at
    index = bisect_right(found, at, key=lambda stretch: stretch.start)
    return found[index].start if index < len(found) else None


def _spans(rules: Sequence[Rule], date: datetime.date) -> list[Span]:
    """What all rules allow on a local date."""
    allowed = [Span(0, DAY)]
    for rule in rules:
        of_day = () if date in rule.closed else rule.week[date.weekday()]
        allowed = [
            Span(max(a.start, b.start), min(a.end, b.end))
            for a in allowed
            for b in of_day
            if max(a.start, b.start) < min(a.end, b.end)
        ]
    return allowed


def _in_zone(rules: Sequence[Rule], zone: ZoneInfo, within: Stretch) -> list[Stretch]:
    """While the zone's offset stays the same its clock runs evenly, and its days and spans are plain sums."""
    found: list[Stretch] = []
    for part in _even_parts(zone, within):
        offset = part.start.astimezone(zone).utcoffset() or datetime.timedelta()
        first, last = (part.start + offset).date(), (part.end + offset).date()
        for day in range((last - first).days + 1):
            date = first + day * _DAY
            midnight = datetime.datetime.combine(date, datetime.time(), datetime.UTC) - offset
            for span in _spans(rules, date):
                start = max(part.start, midnight + datetime.timedelta(minutes=span.start))
                end = min(part.end, midnight + datetime.timedelta(minutes=span.end))
                if start < end:
                    _append(found, Stretch(start, end))
    return found


def _even_parts(zone: ZoneInfo, within: Stretch) -> list[Stretch]:
    """Cut where the zone's offset changes."""
    parts: list[Stretch] = []
    start, at = within.start, within.start
    while at < within.end:
        later = min(at + _HOUR, within.end)
        if at.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            change = _change(zone, at, later)
            parts.append(Stretch(start, change))
            start = change
        at = later
    parts.append(Stretch(start, within.end))
    return [part for part in parts if part.start < part.end]


def _change(zone: ZoneInfo, before: datetime.datetime, after: datetime.datetime) -> datetime.datetime:
    """The first second with the offset of ``after``."""
    offset = before.astimezone(zone).utcoffset()
    while after - before > _SECOND:
        middle = before + (after - before) // 2
        if middle.astimezone(zone).utcoffset() == offset:
            before = middle
        else:
            after = middle
    return after.replace(microsecond=0)


def _append(found: list[Stretch], stretch: Stretch) -> None:
    """Two that touch, as at midnight, are one."""
    if found and found[-1].end >= stretch.start:
        found[-1] = Stretch(found[-1].start, max(found[-1].end, stretch.end))
    else:
        found.append(stretch)


def _both(left: Sequence[Stretch], right: Sequence[Stretch]) -> list[Stretch]:
    """What lies in both."""
    found: list[Stretch] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i].start, right[j].start), min(left[i].end, right[j].end)
        if start < end:
            found.append(Stretch(start, end))
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1
    return found

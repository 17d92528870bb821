"""When the first attempts of a campaign would begin and end: by everybody's hours, and by its pace."""

import datetime
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from calls.campaigns import claims, own_law, schedule
from calls.campaigns.windows import Stretch
from calls.models import Campaign

TALK_S = 90  # what an attempt is taken to last, ringing included
NOBODY = 1e-6  # of a person, as sums of floats leave it
QUARTER_S = 15 * 60  # by which people are told apart who wait until some hours after their last call


class Where(msgspec.Struct, frozen=True):
    """A place as the schedule looks at it, of a thousand people the same."""

    country: str
    region: str
    time_zone: str
    zones: tuple[str, ...]


class Outlook(msgspec.Struct, frozen=True):
    """What is to be expected of the first attempts.

    Attributes:
        begins_at: of the first.
        first, last: between which times of day they begin, on the clocks of those who are called, as "08:05"; of who
            may be in several zones on any of theirs. Empty when nobody is called.
        takes: how long they take at least if everybody could be called at once, as "20 min".
        through_at: when everybody was called; None: that does not come to pass.
        left: people whom nobody calls then, and ``why_left``.
    """

    begins_at: datetime.datetime | None
    first: str
    last: str
    takes: str
    through_at: datetime.datetime | None
    left: int
    why_left: str


class Waiting(NamedTuple):
    """People who may be called in the same windows, in order and apart from each other."""

    people: int
    windows: tuple[Stretch, ...]


def outlook(
    campaign: Campaign, due: Mapping[tuple[datetime.datetime, Where], int], *, now: datetime.datetime
) -> Outlook:
    """Of people as the rehearsal counts them: by when they are due, and where they are."""
    pace, people = _pace(campaign), sum(due.values())
    places = _places(campaign, due, now)
    through_at, left = through(_kinds(due, places), pace)
    first, last = set[datetime.time](), set[datetime.time]()
    for where, windows in places.items():
        used = [each for each in windows if through_at is None or each.start <= through_at]
        for zone in map(ZoneInfo, schedule.zones_of(where)):
            first |= {each.start.astimezone(zone).time() for each in used}
            last |= {each.end.astimezone(zone).time() for each in used}
    return Outlook(
        begins_at=min((at for at, _ in due), default=None),
        first=min(first).strftime("%H:%M") if first else "",
        last=max(last).strftime("%H:%M") if last else "",
        takes=_takes(people, pace),
        through_at=through_at,
        left=left,
        why_left=_why_left(campaign, pace, now) if left else "",
    )


def through(waiting: Iterable[Waiting], pace: float) -> tuple[datetime.datetime | None, int]:
    """When everybody was called once, and how many are not when the last window closes: then the moment is None.

    As the claim takes them: first those whose window has been open longest; of several who wait as long each kind gets
    its share. People are a quantity here, in which a call more or less does not count.

    Args:
        pace: calls begun in a second.
    """
    same = Counter[tuple[Stretch, ...]]()
    for each in waiting:
        same[each.windows] += each.people
    if not same:
        return None, 0
    left = [float(people) for people in same.values()]
    opens, closes = defaultdict[datetime.datetime, list[int]](list), defaultdict[datetime.datetime, list[int]](list)
    for kind, windows in enumerate(same):
        for window in windows:
            opens[window.start].append(kind)
            closes[window.end].append(kind)
    open_since: dict[int, datetime.datetime] = {}
    for begin, end in pairwise(sorted({*opens, *closes})):
        for kind in closes[begin]:
            del open_since[kind]
        open_since |= dict.fromkeys(opens[begin], begin)
        room = _call(left, open_since, (end - begin).total_seconds() * pace)
        if not any(left):
            return end - datetime.timedelta(seconds=room / pace), 0
    return None, max(1, round(sum(left)))


def _call(left: list[float], open_since: Mapping[int, datetime.datetime], room: float) -> float:
    """Takes people off ``left`` for whom there is room; returns the room that nobody needs."""
    together = defaultdict[datetime.datetime, list[int]](list)
    for kind, since in open_since.items():
        if left[kind]:
            together[since].append(kind)
    for since in sorted(together):
        there = sum(left[kind] for kind in together[since])
        called = min(room, there)
        room -= called
        for kind in together[since]:
            rest = left[kind] * (1 - called / there)
            left[kind] = rest if rest > NOBODY else 0.0
    return room


def _places(
    campaign: Campaign, due: Iterable[tuple[datetime.datetime, Where]], now: datetime.datetime
) -> dict[Where, list[Stretch]]:
    """When people of each place may be called, from the first of them on."""
    hours, margin = schedule.hours_of(campaign, own=own_law.read(now=now)), claims.margin_of(campaign)
    first: dict[Where, datetime.datetime] = {}
    for at, where in due:
        first[where] = min(at, first.get(where, at))
    return {
        where: list(schedule.openings(campaign, where, hours=hours, begin=at, margin=margin))
        for where, at in first.items()
    }


def _kinds(
    due: Mapping[tuple[datetime.datetime, Where], int], places: Mapping[Where, list[Stretch]]
) -> Iterator[Waiting]:
    """People by place and the quarter of an hour in which they are due: else there may be as many kinds as people."""
    counted = Counter[tuple[float, Where]]()
    for (at, where), people in due.items():
        counted[at.timestamp() // QUARTER_S * QUARTER_S, where] += people
    for (moment, where), people in counted.items():
        at = datetime.datetime.fromtimestamp(moment, datetime.UTC)
        yield Waiting(people, tuple(Stretch(max(start, at), end) for start, end in places[where] if end > at))


def _pace(campaign: Campaign) -> float:
    """Calls begun in a second: as many as it and its accounts may start, and as many as end of those that go on."""
    numbers = campaign.caller_numbers.select_related("plivo_account")
    accounts = {number.plivo_account_id: number.plivo_account for number in numbers}.values()
    own = math.inf if campaign.calls_per_second is None else float(campaign.calls_per_second)
    started = min(own, sum(float(account.calls_per_second) for account in accounts))
    lines = sum(math.inf if account.max_calls is None else account.max_calls for account in accounts)
    return min(started, min(campaign.concurrency, lines) / TALK_S)


def _takes(people: int, pace: float) -> str:
    if people and not pace:
        return "for ever: there is no number to call from"
    seconds = people / pace if people else 0.0
    return f"{math.ceil(seconds / 60)} min" if seconds < 2 * 3600 else f"{seconds / 3600:.1f} h"


def _why_left(campaign: Campaign, pace: float, now: datetime.datetime) -> str:
    if not pace:
        return "there is no number to call from"
    begin = max(now, campaign.starts_at or now)
    if campaign.ends_at is not None and campaign.ends_at <= begin + schedule.AHEAD:
        return "the campaign ends first"
    return "at this pace two weeks are not enough"

"""When a person of a campaign is due, or why they are not called: one answer, for the claim, the last look and people.

Pure but for the models' types: everything that counts is handed in.
"""

import datetime
from collections.abc import Collection, Hashable, Iterator, Sequence
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

import msgspec

from calls.campaigns import caller_series, closed_days, consents, law, us_zones
from calls.campaigns.windows import DAY, Rule, Span, Stretch, Week, every_day, stretches
from calls.models import Campaign
from calls.models.campaign import MOST_A_DAY
from calls.numbers import NumberRefused, callable_number, country_refused

HOLIDAY = "a public holiday"
OUTSIDE = "outside the hours for calls"
LATELY = "called a short time ago"
SILENT = "met by silence on a call within 72 hours"
OFTEN = {1: "called as often as allowed this day", 7: "called as often as allowed this week"}  # by days
OFTEN |= {cap.days: f"called as often as the law allows in {cap.days} days" for cap in law.CAPS.values()}
ENDS = "the campaign ends before they may be called"
NO_HOUR = "no hour in the next two weeks is allowed by the campaign and the law"
AHEAD = datetime.timedelta(days=15)  # somebody who is not allowed within two weeks is held
_DAY = datetime.timedelta(days=1)
# Ofcom's policy on persistent misuse, from 1 March 2017: within 72 hours of an abandoned call only a person may ring.
AFTER_SILENCE = datetime.timedelta(hours=72)


class Due(msgspec.Struct, frozen=True):
    """They may be called from ``at`` until ``until`` (aware)."""

    at: datetime.datetime
    until: datetime.datetime
    why: str = ""


class Held(msgspec.Struct, frozen=True):
    """They are not called until something is changed: by an operator, who reads why."""

    why: str


class Skipped(msgspec.Struct, frozen=True):
    """They are not called in this campaign."""

    why: str


class History(msgspec.Struct, frozen=True):
    """When this person was called before, by any campaign or program: aware moments, in any order.

    Attributes:
        silent: of calls that they picked up and were met by silence on, where that counts: to the United Kingdom.
    """

    calls: tuple[datetime.datetime, ...] = ()
    silent: tuple[datetime.datetime, ...] = ()


class Hours(msgspec.Struct, frozen=True, cache_hash=True):
    """What decides over a campaign's hours besides where a person is; made once for many people.

    Attributes:
        week: the campaign's own.
        on_holidays: people are called on public holidays, too.
        own: what operators have added to the law.
    """

    week: Week
    on_holidays: bool
    own: law.Own


Answer = Due | Held | Skipped


def hours_of(campaign: Campaign, *, own: law.Own) -> Hours:
    """The campaign's hours, with what operators have added to the law."""
    week = tuple(tuple(Span(*span) for span in day) for day in campaign.week)
    return Hours(week, campaign.on_holidays, own)


class Place(Protocol):
    """Where a person is, on which their hours rest."""

    @property
    def country(self) -> str: ...
    @property
    def region(self) -> str: ...
    @property
    def time_zone(self) -> str: ...
    @property
    def zones(self) -> Sequence[str]: ...


class Callee(Place, consents.Consenting, Protocol):
    """What of a person the answer rests on: of a ``Contact``, or of a row that was read of many."""

    @property
    def number(self) -> str: ...


def alike(person: Callee) -> Hashable:
    """What ``answer`` looks at of a person unless it is ``strict``: where it is equal, so are the answers."""
    consent = person.consent, person.consent_at is None, not person.consent_source  # not when and where: all differ
    return person.country, person.region, person.time_zone, tuple(person.zones), consent


def zones_of(place: Place) -> list[str]:
    """Where the person may be; empty when nothing is known."""
    return list(
        zones_in(place.zones, country=place.country, region=place.region, time_zone=place.time_zone),
    )


def zones_in(zones: Sequence[str], *, country: str, region: str, time_zone: str) -> Sequence[str]:
    """Where somebody may be: their own time zone beats their state, and that the zones of their number.

    Of a number that says nothing of a place (toll-free) a state says nothing either.
    """
    if time_zone:
        return [time_zone]
    return (us_zones.of(region) if country == "US" and zones else ()) or zones


def answer(
    campaign: Campaign,
    contact: Callee,
    *,
    hours: Hours,
    callers: Collection[str] | None,
    suppressed: bool,
    history: History,
    now: datetime.datetime,
    margin: datetime.timedelta = datetime.timedelta(),
    missing: Collection[str] = (),
    most_a_day: int = MOST_A_DAY,
    strict: bool = True,
) -> Answer:
    """What is to be done about a person now.

    Args:
        hours: of the campaign, as ``hours_of`` gives them.
        callers: numbers (E.164) from which they can be called; None: it does not matter from which.
        suppressed: they are on the do-not-call list.
        margin: a call must be able to begin so long before its window closes.
        missing: variables that the agent's texts need and the contact does not have.
        most_a_day: as of ``after_earlier_calls``.
        strict: look the number up in the numbering plans, too; without it the country of the import counts, which is
            enough for a forecast.
    """
    if never := refusal(campaign, contact, callers=callers, suppressed=suppressed, missing=missing, strict=strict):
        return never
    begin = max(now, campaign.starts_at or now)
    free = after_earlier_calls(campaign, history, begin, country=contact.country, most_a_day=most_a_day)
    return when(campaign, contact, hours=hours, free=free, now=now, margin=margin)


def refusal(
    campaign: Campaign,
    contact: Callee,
    *,
    callers: Collection[str] | None,
    suppressed: bool,
    missing: Collection[str],
    strict: bool,
) -> Held | Skipped | None:
    """Why somebody is not called at any hour; None: they may be. Arguments as of ``answer``."""
    if suppressed:
        return Skipped("on the do-not-call list")
    for _, why in obstacles(campaign, contact, callers, missing, strict=strict):
        if why:
            return Held(why)
    return None


def obstacles(
    campaign: Campaign, contact: Callee, callers: Collection[str] | None, missing: Collection[str], *, strict: bool
) -> Iterator[tuple[str, str]]:
    """What no hour of the day changes, in order: of each rule its name, and how it stands in the way; "": not."""
    yield "number", _number(campaign, contact, strict=strict)
    yield "caller number", "" if callers is None else _caller(campaign, contact, callers)
    yield "consent", consents.obstacle(contact, purpose=campaign.purpose)
    yield "variables", f"without a value for {', '.join(sorted(missing))}" if missing else ""
    yield "time zone", "" if zones_of(contact) else "the time zone is not known"
    yield "state", "" if contact.time_zone else _state(contact)


def _state(contact: Callee) -> str:
    """Their number may be of where they lived before: a state that cannot be read is not taken for none."""
    if contact.country != "US" or not contact.region.strip() or law.state_of(contact.region):
        return ""
    return "their region is no state of the United States: two letters or its name"


def _caller(campaign: Campaign, contact: Callee, callers: Collection[str]) -> str:
    if not callers:
        return "the campaign has no number to call from"
    return caller_series.obstacle(callers, country=contact.country, purpose=campaign.purpose)


def _number(campaign: Campaign, contact: Callee, *, strict: bool) -> str:
    if strict:
        try:
            callable_number(contact.number, countries=campaign.countries)
        except NumberRefused as refused:
            return f"the number: {refused}"
    elif contact.country not in campaign.countries:
        return f"the number: {country_refused(contact.country)}"
    return ""


def when(
    campaign: Campaign,
    contact: Place,
    *,
    hours: Hours,
    free: tuple[datetime.datetime, str],
    now: datetime.datetime,
    margin: datetime.timedelta,
) -> Answer:
    """What is to be done about somebody whom nothing but the hour keeps from being called.

    Args:
        free: from when the caps allow a call, and why not before, as ``after_earlier_calls`` says.
    """
    begin, why = free
    if opening := next(openings(campaign, contact, hours=hours, begin=begin, margin=margin), None):
        if opening.start <= now:
            return Due(*opening)
        if not why or opening.start > begin:
            why = HOLIDAY if _on_a_holiday(hours, contact, begin) else OUTSIDE
        return Due(*opening, why)
    last = campaign.ends_at
    if last is not None and last <= begin + AHEAD:
        return Skipped(ENDS)
    return Held(NO_HOUR)


def openings(
    campaign: Campaign, place: Place, *, hours: Hours, begin: datetime.datetime, margin: datetime.timedelta
) -> Iterator[Stretch]:
    """When a call to somebody may begin, for two weeks from a moment on or until the campaign ends, in order.

    Args:
        margin: a call must be able to begin so long before a window closes.
    """
    last = campaign.ends_at
    end = begin + AHEAD if last is None else min(begin + AHEAD, last)
    allowed, _ = _allowed(hours, place.country, place.region, tuple(zones_of(place)), _midnight(begin))
    for start, closes in allowed:
        at, until = max(start, begin), min(closes, end) - margin
        if until > at:
            yield Stretch(at, until)


def _on_a_holiday(hours: Hours, place: Place, at: datetime.datetime) -> bool:
    zones = tuple(zones_of(place))
    _, closed = _allowed(hours, place.country, place.region, zones, _midnight(at))
    return bool(closed) and any(at.astimezone(ZoneInfo(zone)).date() in closed for zone in zones)


def rules_of(hours: Hours, contact: Callee, *, at: datetime.datetime) -> tuple[Rule, ...]:
    """The rules of the hours that hold for a person about a moment, all of them at once."""
    return _rules(hours, contact.country, contact.region, (at - _DAY).date(), (at + _DAY).date())


def _rules(hours: Hours, country: str, region: str, first: datetime.date, last: datetime.date) -> tuple[Rule, ...]:
    """The campaign's week, the holidays from ``first`` to ``last``, and the law's."""
    own = (Rule("the campaign's week", hours.week), *law.rules(country=country, region=region, own=hours.own))
    if hours.on_holidays and not law.of_country(country).closed_on_holidays:
        return own
    found = closed_days.closed(country=country, region=region, first=first.year, last=last.year, own=hours.own)
    closed = frozenset(date for date in found if first <= date <= last)
    return *own, Rule(HOLIDAY, every_day(0, DAY), closed)


@lru_cache(maxsize=10_000)
def _allowed(
    hours: Hours, country: str, region: str, zones: tuple[str, ...], midnight: datetime.datetime
) -> tuple[list[Stretch], frozenset[datetime.date]]:
    """Of a day and all that lies ahead, and the holidays in it: the same for thousands of people."""
    end = midnight + AHEAD + datetime.timedelta(days=2)
    rules = _rules(hours, country, region, (midnight - _DAY).date(), (end + _DAY).date())
    return stretches(rules, zones, midnight, end), rules[-1].closed


def _midnight(at: datetime.datetime) -> datetime.datetime:
    return at.astimezone(datetime.UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def after_earlier_calls(
    campaign: Campaign, history: History, begin: datetime.datetime, *, country: str, most_a_day: int = MOST_A_DAY
) -> tuple[datetime.datetime, str]:
    """The first moment at which the caps on calls to one person are kept, and which of them made it later.

    Args:
        campaign: its own caps; 0: it has none.
        country: of the person's number; of some the law caps calls for promotion.
        most_a_day: what nobody is called more often than within 24 hours, whatever the campaign says.
    """
    why = ""
    if history.silent and (over := max(history.silent) + AFTER_SILENCE) > begin:
        begin, why = over, SILENT
    earlier = sorted(history.calls)
    if earlier and (gap := earlier[-1] + datetime.timedelta(hours=campaign.gap_hours)) > begin:
        begin, why = gap, LATELY
    caps = [(campaign.most_a_day, 1), (most_a_day, 1), (campaign.most_a_week, 7)]
    if campaign.purpose == Campaign.Purpose.PROMOTIONAL and (legal := law.CAPS.get(country)):
        caps.append((legal.most, legal.days))
    for most, days in caps:
        span = datetime.timedelta(days=days)
        # The last ``most`` calls must not all lie within the span before the next one.
        if most and len(earlier) >= most and (free := earlier[-most] + span) > begin:
            begin, why = free, OFTEN[days]
    return begin, why


def local_times(zones: Sequence[str], at: datetime.datetime) -> list[str]:
    """What clocks show where the person may be, for an operator."""
    return list(dict.fromkeys(at.astimezone(ZoneInfo(zone)).strftime("%a %H:%M") for zone in zones))

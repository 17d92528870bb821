"""The hours in which the law of a person's country, and state, lets them be called: ceilings that no campaign widens.

Data, each with its source and date; not legal advice. Where no rule is known the cautious default holds, and where a
state's rule might apply and the state is not known, the strictest of all. What operators add (``own_law``) counts
beside it: a moment must be allowed by every rule, so that nothing they write allows what was not allowed before.
"""

import datetime
import re
from functools import lru_cache

import holidays
import msgspec

from calls.campaigns.windows import Rule, Span, Week, every_day

_WEEKDAYS, _NO_SUNDAY = range(5), range(6)


class Ceiling(msgspec.Struct, frozen=True):
    """When calls are allowed in a place (ISO 3166, a state as US-FL), who says so, and when that was looked up.

    Attributes:
        closed_on_holidays: it allows none on public holidays, whatever a campaign says.
    """

    place: str
    week: Week
    source: str
    looked_up: datetime.date = datetime.date(2026, 11, 23)
    closed_on_holidays: bool = False


class Cap(msgspec.Struct, frozen=True):
    """How many calls for promotion a country allows to one person within so many days (of 24 hours)."""

    most: int
    days: int
    source: str
    looked_up: datetime.date


class Own(msgspec.Struct, frozen=True, cache_hash=True):
    """What operators have added.

    Attributes:
        windows: hours of places, beside the shipped ones.
        holidays: place and date; the empty place is everywhere.
    """

    windows: tuple[Ceiling, ...] = ()
    holidays: tuple[tuple[str, datetime.date], ...] = ()


NOTHING = Own()


def _hours(start: int, end: int, days: range = range(7)) -> Week:
    return every_day(start * 60, end * 60, days=days)


def _days(weekday: tuple[int, int], saturday: tuple[int, int], sunday: tuple[int, int] | None = None) -> Week:
    """From and to which minute of the day; None: not at all."""
    return (*((Span(*weekday),) for _ in _WEEKDAYS), (Span(*saturday),), (Span(*sunday),) if sunday else ())


_LATER = datetime.date(2026, 11, 27)
_FRENCH_DAY = (Span(10 * 60, 13 * 60), Span(14 * 60, 20 * 60))
CEILINGS = {
    each.place: each
    for each in (
        Ceiling("US", _hours(8, 21), "47 CFR 64.1200(c)(1)"),
        Ceiling("US-AL", _hours(8, 20, _NO_SUNDAY), "Alabama, telephone solicitations"),
        Ceiling("US-CT", _hours(9, 20), "Connecticut, telemarketing"),
        Ceiling("US-FL", _hours(8, 20), "Florida Telephone Solicitation Act"),
        Ceiling("US-KY", _hours(10, 21), "Kentucky, telephone solicitations"),
        Ceiling("US-LA", _hours(8, 20, _NO_SUNDAY), "Louisiana, telephonic solicitation"),
        Ceiling("US-MA", _hours(8, 20), "Massachusetts, telemarketing"),
        Ceiling("US-MD", _hours(8, 20), "Maryland, Stop the Spam Calls Act"),
        Ceiling("US-MN", _hours(9, 21), "Minn. Stat. 325E.30, not read in the statute", _LATER),
        Ceiling("US-MS", _hours(8, 20, _NO_SUNDAY), "Miss. Code 77-3-723", _LATER),
        Ceiling("US-NM", _hours(9, 21), "N.M. Stat. 57-12-22", _LATER),
        Ceiling("US-NV", _hours(9, 20), "Nevada, telephone solicitation"),
        Ceiling("US-OK", _hours(8, 20), "Oklahoma Telephone Solicitation Act"),
        Ceiling("US-RI", _hours(9, 18, _WEEKDAYS), "Rhode Island, telephone sales"),
        Ceiling("US-SD", _hours(9, 21, _WEEKDAYS), "S.D. Codified Laws 37-30-28", _LATER),
        Ceiling(
            "US-TX",
            _days((9 * 60, 21 * 60), (9 * 60, 21 * 60), (12 * 60, 21 * 60)),
            "Tex. Bus. & Com. Code 301.051",
            _LATER,
        ),
        Ceiling("US-UT", _hours(8, 21, _NO_SUNDAY), "Utah Code 13-25a-103", _LATER),
        Ceiling("US-WA", _hours(8, 20), "Washington, commercial telephone solicitation"),
        Ceiling(
            "AU",
            _days((9 * 60, 20 * 60), (9 * 60, 17 * 60)),
            "Telecommunications (Telemarketing and Research Calls) Industry Standard 2017",
            _LATER,
            closed_on_holidays=True,
        ),
        Ceiling(
            "CA",
            _days((9 * 60, 21 * 60 + 30), (10 * 60, 18 * 60), (10 * 60, 18 * 60)),
            "CRTC Unsolicited Telecommunications Rules",
            _LATER,
        ),
        Ceiling(
            "FR",
            (*(_FRENCH_DAY for _ in _WEEKDAYS), (), ()),
            "France, décret 2022-1313",
            _LATER,
            closed_on_holidays=True,
        ),
        Ceiling("IN", _hours(9, 21), "TCCCPR"),
    )
}
# Narrower than what nobody is called more often than. By country, counted over all campaigns and programs.
CAPS = {"FR": Cap(4, 30, "France, Code de la consommation, D. 223-9", _LATER)}
DEFAULT = Ceiling("", _days((9 * 60, 20 * 60), (10 * 60, 17 * 60)), "no rule known here: a cautious default")
# Of somebody in the United States whose state is not known any state's law may hold.
UNKNOWN_STATE = Ceiling("US-?", _hours(10, 18, _WEEKDAYS), "the strictest of the states, where the state is not known")
# With their territories, where federal rules hold and whose numbers are in the National Do Not Call Registry, too.
UNITED_STATES = frozenset({"US", "AS", "GU", "MP", "PR", "VI"})
US_STATES = frozenset(
    re.findall(
        r"[A-Z]{2}",
        "AK AL AR AZ CA CO CT DC DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM NV NY OH "
        "OK OR PA PR RI SC SD TN TX UT VA VT WA WI WV WY",
    )
)


@lru_cache(maxsize=10_000)
def state_of(region: str) -> str:
    """The two letters of a state of the United States, of which a list gives those or the name; empty: it is none."""
    text = " ".join(region.split())
    state = text.upper().removeprefix("US-")
    return state if state in US_STATES else _STATE_NAMES.get(text.casefold(), "")


_STATE_NAMES = {
    name.casefold(): state
    for name, state in holidays.country_holidays("US").subdivisions_aliases.items()
    if state in US_STATES
}


def may_hold(place: str, *, country: str, region: str) -> bool:
    """Whether what is said of a place counts for a person: of an unknown state every state's rules may."""
    if country != "US" or place == country:
        return place == country
    return place == f"US-{state}" if (state := state_of(region)) else place.startswith("US-")


def of_country(country: str) -> Ceiling:
    """What holds for all of a country."""
    return CEILINGS.get(country, DEFAULT)


@lru_cache(maxsize=10_000)
def rules(*, country: str, region: str, own: Own = NOTHING) -> tuple[Rule, ...]:
    """What holds for a person.

    Args:
        country: ISO 3166, of their number.
        region: as the list gives it; of the United States two letters or the name count.
        own: narrows what is known here.
    """
    found = [of_country(country)]
    if country == "US":
        state = state_of(region)
        if not state:
            found.append(UNKNOWN_STATE)
        elif f"US-{state}" in CEILINGS:
            found.append(CEILINGS[f"US-{state}"])
    found += [window for window in own.windows if may_hold(window.place, country=country, region=region)]
    return tuple(Rule(f"law of {ceiling.place or country}: {ceiling.source}", ceiling.week) for ceiling in found)

"""Public holidays: the dates on which nobody of a country, or of a state of it, is called.

Known to the ``holidays`` library by country and subdivision, and what operators have added. A region counts where it is
a code or a name of the library's (BY, DE-BY, Bayern); of an unknown one only what the whole country celebrates.
"""

import datetime
from functools import lru_cache

import holidays

from calls.campaigns.law import NOTHING, Own, may_hold


@lru_cache(maxsize=1)
def known_countries() -> frozenset[str]:
    """ISO 3166, of those whose holidays the library knows."""
    return frozenset(holidays.list_supported_countries(include_aliases=False))


@lru_cache(maxsize=10_000)
def closed(*, country: str, region: str, first: int, last: int, own: Own = NOTHING) -> frozenset[datetime.date]:
    """Dates that are holidays for a person, on their own calendar.

    Args:
        country: ISO 3166, of their number.
        region: as the list gives it.
        first: a year, as ``last``: what lies between and in them is looked up.
        own: what operators have added.
    """
    added = {date for place, date in own.holidays if not place or may_hold(place, country=country, region=region)}
    return frozenset(added).union(*(_public(country, region, year) for year in range(first, last + 1)))


@lru_cache(maxsize=10_000)
def _public(country: str, region: str, year: int) -> frozenset[datetime.date]:
    if country not in known_countries():
        return frozenset()
    return frozenset(holidays.country_holidays(country, subdiv=_subdivision(country, region), years=year))


def _subdivision(country: str, region: str) -> str | None:
    text = region.strip()
    code = text.upper().removeprefix(f"{country}-")
    found = holidays.country_holidays(country)
    if code in found.subdivisions:
        return code
    names: dict[str, str] = {name.casefold(): code for name, code in found.subdivisions_aliases.items()}
    return names.get(text.casefold())

"""From which numbers a country lets people be called, by what the call is for: data, each with its source and date.

Not legal advice. Where no series is prescribed every number of a campaign will do.
"""

import datetime
from collections.abc import Collection

import msgspec

from calls.models import Campaign

_Purpose = Campaign.Purpose


class Series(msgspec.Struct, frozen=True):
    """How numbers begin (E.164) from which a country (ISO 3166) may be called for some purposes, and who says so."""

    country: str
    purposes: frozenset[_Purpose]
    prefixes: tuple[str, ...]
    source: str
    looked_up: datetime.date = datetime.date(2026, 11, 26)


SERIES = (
    Series("IN", frozenset({_Purpose.PROMOTIONAL}), ("+91140",), "TCCCPR as amended on 12 February 2025"),
    # Landlines of Mumbai (22) and Bengaluru (80): those that Plivo rents for it.
    Series(
        "IN",
        frozenset({_Purpose.SERVICE, _Purpose.TRANSACTIONAL}),
        ("+911600", "+9122", "+9180"),
        "TCCCPR as amended on 12 February 2025; Plivo's rules for India",
    ),
)


def prefixes(*, country: str, purpose: str) -> tuple[str, ...]:
    """How the numbers must begin from which people there are called; empty: as they like."""
    return next((each.prefixes for each in SERIES if each.country == country and purpose in each.purposes), ())


def obstacle(callers: Collection[str], *, country: str, purpose: str) -> str:
    """Why none of the numbers (E.164) may call people there; empty when one may."""
    begins = prefixes(country=country, purpose=purpose)
    if not begins or any(number.startswith(begins) for number in callers):
        return ""
    listed = " or ".join(begins)
    return f"{purpose} calls to {country} must come from a number that begins with {listed}, and there is none"

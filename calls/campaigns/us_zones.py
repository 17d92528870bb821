"""In which time zones people of a state of the United States live: they keep their number when they move.

Of a state that is split every zone counts, and a call is allowed only where all their clocks allow it. IANA names, by
the boundaries in 49 CFR 71; Arizona has the Navajo Nation, which keeps summer time.
"""

from functools import lru_cache

from calls.campaigns.law import state_of

_EASTERN, _CENTRAL, _MOUNTAIN, _PACIFIC = (
    f"America/{city}" for city in ("New_York", "Chicago", "Denver", "Los_Angeles")
)
_STATES = {
    (_EASTERN,): "CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
    (_EASTERN, _CENTRAL): "FL IN KY MI TN",
    (_CENTRAL,): "AL AR IA IL LA MN MO MS OK WI",
    (_CENTRAL, _MOUNTAIN): "KS ND NE SD TX",
    (_MOUNTAIN,): "CO MT NM UT WY",
    (_MOUNTAIN, _PACIFIC): "ID NV OR",
    (_PACIFIC,): "CA WA",
    (_MOUNTAIN, "America/Phoenix"): "AZ",
    ("America/Anchorage", "America/Adak"): "AK",
    ("Pacific/Honolulu",): "HI",
    ("America/Puerto_Rico",): "PR VI",
}
BY_STATE = {state: zones for zones, states in _STATES.items() for state in states.split()}


@lru_cache(maxsize=10_000)
def of(region: str) -> tuple[str, ...]:
    """The zones of a state, as a list gives it ("CA", "US-CA"); none where it is no state of the United States."""
    return BY_STATE.get(state_of(region), ())

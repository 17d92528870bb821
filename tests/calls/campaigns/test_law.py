"""The hours that come with Parley: of each place by example, and the strictest of the states by all of them."""

import datetime

import pytest

from calls.campaigns import closed_days, law
from calls.campaigns.windows import Week, allows

pytestmark = pytest.mark.pure

WEEKDAY, SATURDAY, SUNDAY = (datetime.date(2026, 11, day) for day in (25, 28, 29))
NEVER = (24, 24)


def hours_of(country: str, region: str, date: datetime.date) -> list[float]:
    """The first and the last-but-one half hour of a day, on the clock, that are allowed all through; NEVER."""
    rules = law.rules(country=country, region=region)
    midnight = datetime.datetime.combine(date, datetime.time(), datetime.UTC)
    halves = [
        half / 2 for half in range(48) if allows(rules, ["UTC"], midnight + half * datetime.timedelta(minutes=30))
    ]
    return [halves[0], halves[-1] + 0.5] if halves else list(NEVER)


@pytest.mark.parametrize(
    ("place", "weekday", "saturday", "sunday"),
    [
        ("US-NY", (8, 21), (8, 21), (8, 21)),
        ("US-TX", (9, 21), (9, 21), (12, 21)),
        ("US-FL", (8, 20), (8, 20), (8, 20)),
        ("US-Florida", (8, 20), (8, 20), (8, 20)),
        ("US-rhode  island", (9, 18), NEVER, NEVER),
        ("US-MN", (9, 21), (9, 21), (9, 21)),
        ("US-MS", (8, 20), (8, 20), NEVER),
        ("US-NM", (9, 21), (9, 21), (9, 21)),
        ("US-SD", (9, 21), NEVER, NEVER),
        ("US-UT", (8, 21), (8, 21), NEVER),
        ("US-RI", (9, 18), NEVER, NEVER),
        ("US-", (10, 18), NEVER, NEVER),
        ("CA-ON", (9, 21.5), (10, 18), (10, 18)),
        ("AU-NSW", (9, 20), (9, 17), NEVER),
        ("FR-", (10, 20), NEVER, NEVER),
        ("IN-", (9, 21), (9, 21), (9, 21)),
        ("BR-", (9, 20), (10, 17), NEVER),
    ],
)
def test_each_place_has_its_hours(place, weekday, saturday, sunday) -> None:
    country, region = place.split("-")
    for date, expected in ((WEEKDAY, weekday), (SATURDAY, saturday), (SUNDAY, sunday)):
        assert tuple(hours_of(country, region, date)) == expected, date


def minutes(week: Week) -> set[tuple[int, int]]:
    return {(day, minute) for day, spans in enumerate(week) for span in spans for minute in range(*span)}


def test_of_an_unknown_state_nothing_is_allowed_that_any_state_forbids() -> None:
    everywhere = [minutes(each.week) for each in law.CEILINGS.values() if each.place.startswith("US")]
    assert len(everywhere) > 12
    assert minutes(law.UNKNOWN_STATE.week) <= set.intersection(*everywhere)


def test_each_rule_is_a_week_and_says_where_it_comes_from() -> None:
    for each in (*law.CEILINGS.values(), law.UNKNOWN_STATE, law.DEFAULT):
        assert len(each.week) == 7
        assert each.source
        assert each.looked_up <= datetime.date(2026, 11, 27)
    known = closed_days.known_countries()
    assert all(each.place in known for each in law.CEILINGS.values() if each.closed_on_holidays)

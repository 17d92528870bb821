"""When a person may be called, against a reference that asks a clock for every minute."""

import datetime
import itertools
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calls.campaigns.windows import Rule, Span, Stretch, allows, every_day, next_open, open_at, stretches

pytestmark = pytest.mark.pure

UTC = datetime.UTC
MINUTE = datetime.timedelta(minutes=1)
DAYTIME = Rule("law", every_day(8 * 60, 21 * 60))
OFFICE = Rule("campaign", every_day(9 * 60, 18 * 60, days=range(5)))


def at(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)


def found(rules, zones, begin: str, end: str, **options) -> list[tuple[str, str]]:
    return [
        (f"{stretch.start:%m-%d %H:%M}", f"{stretch.end:%m-%d %H:%M}")
        for stretch in stretches(rules, zones, at(begin), at(end), **options)
    ]


def test_the_rules_meet_in_the_persons_own_time() -> None:
    assert found([DAYTIME, OFFICE], ["America/New_York"], "2026-07-03T00:00", "2026-07-07T00:00") == [
        ("07-03 13:00", "07-03 22:00"),
        ("07-06 13:00", "07-06 22:00"),
    ]


def test_somebody_who_may_be_in_several_zones_is_called_when_it_is_allowed_in_all() -> None:
    zones = ["America/New_York", "America/Los_Angeles"]
    assert found([DAYTIME], zones, "2026-07-03T05:00", "2026-07-04T05:00") == [("07-03 15:00", "07-04 01:00")]


def test_zones_that_leave_less_than_half_an_hour_leave_nothing() -> None:
    short = Rule("campaign", every_day(8 * 60, 11 * 60 + 20))
    zones = ["America/New_York", "America/Los_Angeles"]
    assert found([short], zones, "2026-07-03T05:00", "2026-07-04T05:00") == []
    assert found([short], zones, "2026-07-03T05:00", "2026-07-04T05:00", shortest=MINUTE) == [
        ("07-03 15:00", "07-03 15:20")
    ]


def test_a_question_in_the_middle_of_a_stretch_does_not_make_it_short() -> None:
    assert found([DAYTIME], ["Europe/Berlin"], "2026-07-03T18:50", "2026-07-03T23:00") == [
        ("07-03 18:50", "07-03 19:00")
    ]


def test_without_a_known_zone_nobody_is_called() -> None:
    assert stretches([], [], at("2026-07-03T00:00"), at("2026-07-10T00:00")) == []
    assert not allows([], [], at("2026-07-03T12:00"))


def test_a_name_that_is_no_zone_is_an_error() -> None:
    with pytest.raises(KeyError):
        stretches([], ["Mars/Olympus"], at("2026-07-03T00:00"), at("2026-07-10T00:00"))


def test_a_holiday_is_that_of_the_persons_own_date() -> None:
    closed = Rule("holidays", every_day(0, 24 * 60), frozenset({datetime.date(2026, 12, 25)}))
    assert found([closed, DAYTIME], ["Asia/Tokyo"], "2026-12-24T00:00", "2026-12-26T00:00") == [
        ("12-24 00:00", "12-24 12:00"),
        ("12-25 23:00", "12-26 00:00"),
    ]


def test_days_that_touch_at_midnight_are_one_stretch() -> None:
    always = Rule("always", every_day(0, 24 * 60))
    assert found([always], ["Europe/Berlin"], "2026-07-01T00:00", "2026-07-04T00:00") == [
        ("07-01 00:00", "07-04 00:00")
    ]


def test_in_the_night_in_which_the_clock_is_put_forward_the_missing_hour_is_not_made_up() -> None:
    night = Rule("night", every_day(60, 4 * 60))
    assert found([night], ["Europe/Berlin"], "2026-03-28T12:00", "2026-03-29T12:00") == [("03-29 00:00", "03-29 02:00")]


def test_in_the_night_in_which_it_is_put_back_the_clock_is_right_twice() -> None:
    night = Rule("night", every_day(90, 150))
    assert found([night], ["America/New_York"], "2026-10-31T12:00", "2026-11-01T12:00", shortest=MINUTE) == [
        ("11-01 05:30", "11-01 06:00"),
        ("11-01 06:30", "11-01 07:30"),
    ]


def test_what_comes_next_is_found_among_the_stretches() -> None:
    allowed = stretches([OFFICE], ["Europe/Berlin"], at("2026-07-03T00:00"), at("2026-07-07T00:00"))
    friday, monday = allowed
    assert next_open(allowed, at("2026-07-03T01:00")) == friday.start
    assert next_open(allowed, at("2026-07-03T10:00")) == at("2026-07-03T10:00")
    assert next_open(allowed, friday.end) == monday.start
    assert next_open(allowed, monday.end) is None
    assert open_at(allowed, friday.end - MINUTE) == friday
    assert open_at(allowed, friday.end) is None
    assert open_at([], friday.start) is None


# --- against a reference ---------------------------------------------------------------------------------------------

ZONES = [
    "America/New_York",
    "America/Los_Angeles",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Europe/Berlin",
    "Europe/London",
    "Asia/Calcutta",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Australia/Sydney",
    "Pacific/Auckland",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Africa/Casablanca",
    "Antarctica/Troll",
    "UTC",
]
# Nights in which one of them puts its clock forward or back, and a year's other days.
NIGHTS = [
    "2026-03-08",
    "2026-03-29",
    "2026-04-05",
    "2026-10-04",
    "2026-10-25",
    "2026-11-01",
    "2027-03-14",
    "2027-02-08",
]


@st.composite
def weeks(draw):
    days = []
    for _ in range(7):
        marks = sorted(draw(st.sets(st.integers(0, 1440), max_size=6)))
        days.append(tuple(Span(*pair) for pair in zip(marks[::2], marks[1::2], strict=False)))
    return tuple(days)


dates = st.dates(datetime.date(2026, 1, 1), datetime.date(2027, 12, 31))
near_a_change = st.sampled_from(NIGHTS).map(datetime.date.fromisoformat)
moments = st.builds(
    lambda date, seconds: datetime.datetime.combine(date, datetime.time(), UTC) + datetime.timedelta(seconds=seconds),
    dates | near_a_change,
    st.integers(-86_400, 2 * 86_400),
)
rules = st.lists(st.builds(Rule, st.just("r"), weeks(), st.frozensets(dates | near_a_change, max_size=3)), max_size=3)
zone_lists = st.lists(st.sampled_from(ZONES), min_size=1, max_size=3)


def by_the_clock(rules, zones, moment: datetime.datetime) -> bool:
    """Independent of the code's ways: what each clock on the wall shows at this very second."""
    for zone in zones:
        wall = datetime.datetime.fromtimestamp(moment.timestamp(), ZoneInfo(zone))
        shown = wall.hour * 60 + wall.minute
        for rule in rules:
            if wall.date() in rule.closed:
                return False
            if all(not (span.start <= shown and shown < span.end) for span in rule.week[wall.isoweekday() - 1]):
                return False
    return True


@given(rules, zone_lists, moments)
@example([Rule("night", every_day(90, 150))], ["America/New_York"], at("2026-11-01T06:10"))
def test_a_moment_is_allowed_when_every_clock_and_every_rule_allows_it(rules, zones, moment) -> None:
    allowed = by_the_clock(rules, zones, moment)
    assert allows(rules, zones, moment) == allowed
    day = datetime.timedelta(days=1)
    all_of_it = stretches(rules, zones, moment - day, moment + day, shortest=datetime.timedelta())
    assert (open_at(all_of_it, moment) is not None) == allowed


@given(rules, zone_lists, moments)
def test_no_stretch_holds_a_moment_that_is_not_allowed_and_none_is_short(rules, zones, moment) -> None:
    end = moment + datetime.timedelta(days=4)
    allowed = stretches(rules, zones, moment, end)
    assert allowed == sorted(allowed)
    for earlier, later in itertools.pairwise(allowed):
        assert earlier.end < later.start
    for stretch in allowed:
        assert isinstance(stretch, Stretch)
        assert moment <= stretch.start < stretch.end <= end
        if stretch.start > moment and stretch.end < end:
            assert stretch.end - stretch.start >= datetime.timedelta(minutes=30)
        for inside in (stretch.start, stretch.start + (stretch.end - stretch.start) / 2, stretch.end - MINUTE / 60):
            assert by_the_clock(rules, zones, inside)

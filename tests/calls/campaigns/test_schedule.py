"""When a person is due, or why they are not called."""

import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calls.campaigns import claims, law, schedule, us_zones
from calls.campaigns.schedule import Due, Held, History, Skipped, zones_of
from calls.campaigns.windows import allows
from calls.models import Campaign, Contact
from tests.calls.campaigns.conftest import NOON

pytestmark = pytest.mark.db

HOUR = datetime.timedelta(hours=1)
ALL_DAY = [[[0, 1440]]] * 7


def person(**fields) -> Contact:
    where = {"country": "US", "time_zone": "America/New_York", "region": "NY"}
    return Contact(**({"number": "+12125552671", "consent": "written"} | where | fields))


def campaign(**fields) -> Campaign:
    return Campaign(**({"purpose": "service", "countries": ["US"], "week": ALL_DAY, "on_holidays": True} | fields))


def answer(
    contact=None, of=None, *, now=NOON, callers=("+14155550100",), suppressed=False, history=(), own=law.NOTHING, **more
):
    of = of or campaign()
    hours = schedule.hours_of(of, own=own)
    return schedule.answer(
        of,
        contact or person(),
        hours=hours,
        callers=callers,
        suppressed=suppressed,
        history=History(tuple(history)),
        now=now,
        **more,
    )


def local(text: str) -> datetime.datetime:
    """In New York, in winter."""
    return datetime.datetime.fromisoformat(f"{text}-05:00")


def test_somebody_who_may_be_called_is_due_now_until_the_law_says_so() -> None:
    assert answer() == Due(NOON, local("2026-11-26T21:00"))


def test_whoever_is_on_the_do_not_call_list_is_skipped_whatever_else_holds() -> None:
    assert answer(person(number="+19005551234", consent=""), suppressed=True) == Skipped("on the do-not-call list")


@pytest.mark.parametrize(
    ("fields", "of", "why"),
    [
        ({"number": "+19005551234"}, {}, "premium-rate"),
        ({"number": "+4930123456"}, {}, "calls to DE are not allowed"),
        ({}, {"countries": []}, "calls to US are not allowed"),
        ({"consent": ""}, {}, "no express consent is known, which service calls need"),
        ({"consent": "express"}, {"purpose": "promotional"}, "no written consent is known"),
        ({}, {"purpose": "promotional"}, "no date and source of the written consent is known"),
        ({"time_zone": "", "zones": []}, {}, "the time zone is not known"),
        ({}, {"week": [[]] * 7}, "no hour in the next two weeks"),
    ],
)
def test_whoever_cannot_be_called_is_held_with_the_reason(fields, of, why) -> None:
    found = answer(person(**fields), campaign(**of))
    assert isinstance(found, Held)
    assert why in found.why


def test_a_text_without_its_value_is_not_spoken() -> None:
    assert answer(missing=["order_no", "amount"]) == Held("without a value for amount, order_no")


def test_a_person_waits_for_their_own_morning() -> None:
    found = answer(person(time_zone="America/Los_Angeles", region="CA"), now=local("2026-11-26T09:00"))
    assert found == Due(local("2026-11-26T11:00"), local("2026-11-27T00:00"), "outside the hours for calls")


def test_zones_of_the_number_count_where_the_list_names_neither_a_zone_nor_a_state() -> None:
    both = person(time_zone="", zones=["America/New_York", "America/Los_Angeles"], region="")
    assert answer(both, now=local("2026-11-26T12:00")) == Due(
        local("2026-11-26T13:00"), local("2026-11-26T18:00"), "outside the hours for calls"
    )


def test_who_has_moved_with_their_number_is_called_by_the_clocks_of_their_state() -> None:
    moved = person(time_zone="", zones=["America/New_York"], region="us-ca")
    assert answer(moved, now=local("2026-11-26T09:00")) == Due(
        local("2026-11-26T11:00"), local("2026-11-27T00:00"), "outside the hours for calls"
    )


@pytest.mark.parametrize("place", sorted(law.US_STATES))
def test_of_every_state_the_zones_are_known_and_each_of_them_must_allow_the_call(place: str) -> None:
    zones = us_zones.of(place)
    assert zones_of(person(time_zone="", zones=["America/New_York"], region=place)) == list(zones)
    found = answer(person(time_zone="", zones=["America/New_York"], region=place), now=local("2026-11-26T06:00"))
    assert isinstance(found, Due)
    for at in (found.at, found.until):
        clocks = [at.astimezone(ZoneInfo(zone)) for zone in zones]
        assert all(8 <= clock.hour + clock.minute / 60 <= 21 for clock in clocks)
    assert zones_of(person(time_zone="America/Denver", zones=[], region=place)) == ["America/Denver"]
    assert zones_of(person(time_zone="", zones=[], region=place)) == [], "of a toll-free number nothing is known"
    abroad = person(number="+4930123456", country="DE", time_zone="", zones=["Europe/Berlin"], region=place)
    assert zones_of(abroad) == ["Europe/Berlin"]


def test_a_call_must_be_able_to_begin_some_time_before_its_window_closes() -> None:
    minute = datetime.timedelta(minutes=1)
    late = local("2026-11-26T20:59")
    assert isinstance(answer(now=late), Due)
    assert answer(now=late, margin=2 * minute).at == local("2026-11-27T08:00")


@pytest.mark.parametrize(
    ("history", "due", "why"),
    [
        ([NOON - HOUR], NOON + 3 * HOUR, "called a short time ago"),
        ([NOON - 5 * HOUR], NOON, ""),
        ([NOON - 5 * HOUR, NOON - 9 * HOUR], local("2026-11-27T08:00"), "outside the hours for calls"),
        (
            [NOON - datetime.timedelta(days=days, hours=1) for days in range(1, 6)],
            NOON + datetime.timedelta(days=1, hours=23),
            "called as often as allowed this week",
        ),
    ],
)
def test_nobody_is_called_more_often_than_allowed_by_all_campaigns_together(history, due, why) -> None:
    found = answer(history=history)
    assert (found.at, found.why) == (due, why)


def rings_until(day: int, *, caps: Campaign, most_a_day: int) -> list[datetime.datetime]:
    """When a person is rung who is called whenever the caps let them, for so many days."""
    made: list[datetime.datetime] = []
    at = NOON
    while at < NOON + day * 24 * HOUR:
        known = History(tuple(reversed(made)))
        at, _ = schedule.after_earlier_calls(caps, known, at, country="US", most_a_day=most_a_day)
        made.append(at)
        at += HOUR / 60
    return made


CAPS = {"gap_hours": st.integers(0, 200), "most_a_day": st.integers(0, 99), "most_a_week": st.integers(0, 99)}


@pytest.mark.pure
@given(st.fixed_dictionaries(CAPS), st.sampled_from([3, 20]))
def test_whatever_a_campaign_says_nobody_is_rung_more_often_than_all_may_within_a_day(caps, ceiling) -> None:
    own = campaign(**caps)
    made = rings_until(9, caps=own, most_a_day=ceiling)
    for at, first in enumerate(made):
        for most, hours in ((ceiling, 24), (own.most_a_day, 24), (own.most_a_week, 7 * 24)):
            within = [each for each in made[at:] if each < first + hours * HOUR]
            assert not most or len(within) <= most
        assert at == 0 or first - made[at - 1] >= own.gap_hours * HOUR


@pytest.mark.pure
@given(
    st.lists(st.integers(0, 40 * 24 * 60), max_size=30, unique=True),
    st.builds(
        campaign,
        purpose=st.sampled_from(["service", "promotional"]),
        gap_hours=st.integers(0, 168),
        most_a_day=st.integers(1, 3),
        most_a_week=st.integers(1, 21),
    ),
    st.sampled_from(["US", *law.CAPS]),
)
@example([7 * 24 * 60 - 1], campaign(gap_hours=168), "US")
@example([day * 24 * 60 - 1 for day in (20, 25, 28, 30)], campaign(purpose="promotional"), "FR")
def test_no_cap_that_may_hold_reaches_back_further_than_calls_are_read(minutes, own, country) -> None:
    calls = [NOON - each * HOUR / 60 for each in minutes]
    read = [at for at in calls if at >= NOON - claims.LOOK_BACK + HOUR]
    answers = {
        schedule.after_earlier_calls(own, History(tuple(known)), NOON, country=country) for known in (calls, read)
    }
    assert len(answers) == 1


@pytest.mark.parametrize(("purpose", "waits"), [("promotional", True), ("service", False)])
def test_nobody_in_france_is_called_for_promotion_more_than_four_times_in_thirty_days(purpose, waits) -> None:
    own = campaign(purpose=purpose, gap_hours=0)
    before = [NOON - datetime.timedelta(days=days) for days in (3, 10, 20, 29)]
    for calls, free in ((before, NOON + 24 * HOUR), (before[:3], NOON)):
        at, why = schedule.after_earlier_calls(own, History(tuple(calls)), NOON, country="FR")
        assert at == (free if waits else NOON)
        assert why == ("called as often as the law allows in 30 days" if waits and free > NOON else "")
    assert schedule.after_earlier_calls(own, History(tuple(before)), NOON, country="US") == (NOON, "")


def test_somebody_who_was_met_by_silence_waits_three_days_from_the_last_such_call() -> None:
    silent = (NOON - 71 * HOUR, NOON - 80 * HOUR)
    found, why = schedule.after_earlier_calls(campaign(gap_hours=0), History(silent=silent), NOON, country="GB")
    assert (found, why) == (NOON + HOUR, "met by silence on a call within 72 hours")


def test_a_campaign_calls_nobody_before_it_begins_or_after_it_ends() -> None:
    begins = campaign(starts_at=local("2026-12-01T12:00"))
    assert answer(of=begins).at == local("2026-12-01T12:00")
    ends = campaign(ends_at=NOON + HOUR)
    assert answer(of=ends) == Due(NOON, NOON + HOUR)
    assert answer(of=ends, now=NOON + HOUR) == Skipped("the campaign ends before they may be called")


@pytest.mark.parametrize(
    ("region", "opens", "closes"),
    [("NY", 8, 21), ("us-ct", 9, 20), ("KY", 10, 21), ("", 10, 18), ("Nowhere", 10, 18)],
)
def test_a_state_narrows_the_hours_and_an_unknown_one_leaves_those_that_all_allow(region, opens, closes) -> None:
    rules = law.rules(country="US", region=region)
    for hour in range(24):
        at = local(f"2026-11-25T{hour:02}:30")
        assert allows(rules, ["America/New_York"], at) == (opens <= hour < closes), hour


def test_no_campaign_widens_what_the_law_says() -> None:
    for hour in range(24):
        at = local(f"2026-11-29T{hour:02}:30")  # a Sunday
        found = answer(person(region="AL"), now=at)
        assert found.at > at


@pytest.mark.parametrize("purpose", Campaign.Purpose.values)
def test_where_the_law_closes_holidays_a_campaign_that_calls_on_them_waits(purpose) -> None:
    # A Saturday. In Britain, of which no such rule is known, the campaign decides.
    boxing_day = datetime.datetime(2026, 12, 26, 13, tzinfo=ZoneInfo("Australia/Sydney"))
    known = {"consent_at": NOON.date(), "consent_source": "web form", "region": ""}
    for country, zone, opens in (
        ("AU", "Australia/Sydney", "2026-12-28T09:00+11:00"),
        ("FR", "Europe/Paris", "2026-12-28T10:00+01:00"),
        ("GB", "Europe/London", "2026-12-26T10:00+00:00"),
    ):
        of = campaign(purpose=purpose, countries=[country])
        found = answer(person(country=country, time_zone=zone, **known), of, now=boxing_day, strict=False)
        assert found.at == datetime.datetime.fromisoformat(opens), country

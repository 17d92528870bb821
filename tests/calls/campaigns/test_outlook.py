"""When the first attempts begin and end: by everybody's hours and the campaign's pace."""

import datetime
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calls.campaigns import outlook as outlooks
from calls.campaigns.outlook import Outlook, Waiting, Where, outlook, through
from calls.campaigns.windows import Stretch
from calls.models import PlivoAccount
from tests.calls.campaigns.conftest import NOON, ZONE

MINUTE, HOUR = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)
NINE_TO_SIX = [[[540, 1080]]] * 7
NEW_YORK = Where("US", "NY", ZONE, ())
EITHER = Where("CA", "", "", ("America/Toronto", "America/Vancouver"))
MARGIN = 70 * datetime.timedelta(seconds=1)  # until a call has left Plivo's queue and has rung
LAST = HOUR - MARGIN  # of an hour after which nobody is called


# --- everybody's hours and a pace ------------------------------------------------------------------------------------

Kind = tuple[int, list[tuple[int, int]]]


@st.composite
def kinds(draw) -> Kind:
    """People, and windows in minutes that do not touch."""
    edges = sorted(draw(st.sets(st.integers(0, 80), min_size=2, max_size=6)))
    return draw(st.integers(1, 300)), list(zip(edges[::2], edges[1::2], strict=False))


def naive(waiting: list[Kind], pace: int) -> tuple[int | None, Fraction]:
    """The minute in which the last of them is called, a minute after the other; else how many are left."""
    left = [Fraction(people) for people, _ in waiting]
    for minute in range(81):
        room, open_since = Fraction(pace), {}
        for kind, (_, windows) in enumerate(waiting):
            for start, end in windows:
                if start <= minute < end and left[kind]:
                    open_since.setdefault(start, []).append(kind)
        for since in sorted(open_since):
            there = sum(left[kind] for kind in open_since[since])
            called = min(room, there)
            room -= called
            for kind in open_since[since]:
                left[kind] -= called * left[kind] / there
        if not any(left):
            return minute, Fraction(0)
    return None, sum(left, Fraction(0))


@given(st.lists(kinds(), min_size=1, max_size=5), st.integers(1, 20))
@example([(600, [(0, 60)])], 10)  # to the last second
@example([(90, [(0, 10), (20, 30)]), (30, [(5, 30)])], 10)  # whose window opened first are called first
@example([(150, [(0, 10)]), (50, [(0, 30)])], 10)  # and else in turns, though some of them can wait
@example([(5, [(0, 10)]), (5, [(0, 10)])], 1)
def test_everybody_is_called_when_a_look_at_each_minute_says_so(waiting: list[Kind], pace: int) -> None:
    people = [
        Waiting(count, tuple(Stretch(NOON + start * MINUTE, NOON + end * MINUTE) for start, end in windows))
        for count, windows in waiting
    ]
    minute, rest = naive(waiting, pace)
    at, left = through(people, pace / 60)
    if minute is None:
        assert at is None
        assert abs(left - max(1, rest)) <= Fraction(51, 100)
    else:
        assert left == 0
        assert at is not None
        almost = datetime.timedelta(milliseconds=1)
        assert NOON + minute * MINUTE - almost <= at <= NOON + (minute + 1) * MINUTE + almost


def test_nobody_is_never_through() -> None:
    assert through([], 1.0) == (None, 0)


# --- of a campaign ---------------------------------------------------------------------------------------------------


@pytest.fixture
def campaign(make):
    """Calls one after the other, from nine to six, each for a minute and a half."""
    return make.campaign(launched=False, week=NINE_TO_SIX, concurrency=1, ring_s=40)


def at_eight(day: int = 26) -> datetime.datetime:
    """In New York."""
    return datetime.datetime(2026, 11, day, 13, tzinfo=datetime.UTC)


def asked(campaign, people: int, now: datetime.datetime, at=None, where: Where = NEW_YORK) -> Outlook:
    return outlook(campaign, {(at or now, where): people}, now=now)


pytestmark = [pytest.mark.db, pytest.mark.django_db]


def test_launched_an_hour_early_the_last_call_is_not_the_first(campaign):
    found = asked(campaign, 40, at_eight(), at_eight() + HOUR)
    assert (found.first, found.last) == ("09:00", "17:58")
    assert (found.begins_at, found.through_at) == (at_eight() + HOUR, at_eight() + 2 * HOUR)
    assert (found.takes, found.left, found.why_left) == ("60 min", 0, "")


def test_who_may_be_in_several_zones_is_called_between_the_times_of_all_of_them(campaign):
    found = asked(campaign, 40, at_eight(), NOON, EITHER)
    assert (found.first, found.last, found.through_at) == ("09:00", "17:58", NOON + HOUR)


def test_what_a_day_leaves_is_called_on_the_next_from_its_first_hour_on(campaign):
    almost_six = at_eight() + 10 * HOUR - MARGIN - 45 * MINUTE
    found = asked(campaign, 30, almost_six)
    assert (found.first, found.last, found.through_at) == ("17:13", "17:58", almost_six + 45 * MINUTE)
    more = asked(campaign, 70, almost_six)
    assert (more.first, more.last, more.through_at) == ("09:00", "17:58", at_eight(27) + 2 * HOUR)
    campaign.week = [*NINE_TO_SIX[:4], [[600, 1200]], *NINE_TO_SIX[5:]]
    longer = asked(campaign, 70, almost_six)
    assert (longer.first, longer.last, longer.through_at) == ("10:00", "19:58", at_eight(27) + 3 * HOUR)


def test_a_campaign_that_ends_first_leaves_people_uncalled(campaign):
    campaign.ends_at = at_eight() + 3 * HOUR + MARGIN
    found = asked(campaign, 100, at_eight(), at_eight() + HOUR)
    assert (found.through_at, found.left, found.why_left) == (None, 20, "the campaign ends first")
    assert found.last == "11:00"
    campaign.ends_at = at_eight(30)
    assert asked(campaign, 100, at_eight(), at_eight() + HOUR).left == 0


def test_a_pace_for_which_two_weeks_are_too_short_is_told(campaign):
    found = asked(campaign, 100_000, at_eight(), at_eight() + HOUR)
    a_day = (9 * HOUR - MARGIN).total_seconds() / 90
    assert (found.through_at, found.why_left) == (None, "at this pace two weeks are not enough")
    assert found.left == round(100_000 - 15 * a_day)
    assert found.takes == "2500.0 h"


def test_the_slower_of_talks_and_starts_is_the_pace(campaign):
    campaign.concurrency = 900
    assert asked(campaign, 60, NOON).takes == "1 min"
    PlivoAccount.objects.update(calls_per_second="0.1")
    found = asked(campaign, 60, NOON)
    assert (found.takes, found.through_at) == ("10 min", NOON + 10 * MINUTE)


def test_without_a_number_to_call_from_nobody_is_called(campaign):
    campaign.caller_numbers.clear()
    found = asked(campaign, 3, NOON)
    assert found.takes == "for ever: there is no number to call from"
    assert (found.through_at, found.left, found.why_left) == (None, 3, "there is no number to call from")


def test_nobody_to_be_called_has_no_outlook(campaign):
    assert outlook(campaign, {}, now=NOON) == Outlook(None, "", "", "0 min", None, 0, "")


def test_people_who_wait_for_the_end_of_a_gap_are_through_after_it(campaign):
    """Of each another moment: they are no more kinds than there are quarters of an hour."""
    waits = {(NOON + HOUR + at * datetime.timedelta(seconds=1), NEW_YORK): 1 for at in range(20)}
    found = outlook(campaign, waits | {(NOON, NEW_YORK): 4}, now=NOON)
    assert (found.begins_at, found.first) == (NOON, "12:00")
    assert found.through_at == NOON + HOUR + 30 * MINUTE
    (kind,) = outlooks._kinds(waits, {NEW_YORK: [Stretch(NOON, NOON + 5 * HOUR)]})
    assert kind == Waiting(20, (Stretch(NOON + HOUR, NOON + 5 * HOUR),))


def test_a_campaign_that_starts_later_is_reckoned_from_then_on(campaign):
    campaign.starts_at = at_eight(28)
    found = asked(campaign, 40, NOON, at_eight(28) + HOUR)
    assert found.through_at == at_eight(28) + 2 * HOUR

"""What came of a campaign in figures."""

import datetime
import itertools

import pytest

from agents import services
from calls.campaigns import outcomes
from calls.campaigns.figures import figures
from calls.models import Call, CallSummary
from calls.states import FINAL
from tests.calls.campaigns.conftest import NOON, rung

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def summed_up(call: Call, **fields) -> Call:
    CallSummary.objects.create(call=call, **({"status": "ready"} | fields))
    return call


def test_each_step_is_of_those_in_the_one_before(make):
    campaign = make.campaign(make.people(8))
    rejected, cancelled, unanswered, machine, short, long, happy, _ = campaign.people.order_by("pk")
    rung(rejected, status="rejected", outcome="failed")
    rung(cancelled, status="cancelled", outcome="cancelled")
    rung(unanswered, outcome="no_answer", duration_s=0)
    summed_up(rung(machine, outcome="machine", duration_s=90), success=True)
    summed_up(rung(short, duration_s=30), success=True)
    summed_up(rung(long, duration_s=31), success=False)
    rung(happy, outcome="busy", duration_s=None)
    summed_up(rung(happy, attempt=2, duration_s=31), success=True)
    found = figures(campaign)
    assert [step.people for step in found.steps] == [8, 5, 3, 2, 1]
    assert [step.share for step in found.steps] == [100, 62, 38, 25, 12]
    assert [step.people for step in figures(campaign, talked_s=20).steps] == [8, 5, 3, 3, 2]
    assert (found.talks, found.mean_s, found.median_s) == (3, 92 / 3, 31)


@pytest.mark.parametrize(("lengths", "median"), [([5], 5), ([1, 2], 1.5), ([9, 1, 1], 1), ([4, 4, 6, 8], 5)])
def test_the_median_is_the_middle_of_all_calls(make, lengths, median):
    campaign = make.campaign(make.people(len(lengths)))
    for person, seconds in zip(campaign.people.all(), lengths, strict=True):
        rung(person, duration_s=seconds)
    assert figures(campaign).median_s == median


def test_attempts_are_counted_by_their_outcome_and_what_never_rang_is_no_attempt(make):
    campaign = make.campaign(make.people(4))
    one, two, three, four = campaign.people.all()
    rung(one, outcome="no_answer")
    rung(one, attempt=2)
    rung(two, status="rejected", outcome="failed")
    rung(three, status="cancelled", outcome="cancelled")
    rung(four, status="ringing", outcome="")
    found = figures(campaign)
    assert found.outcomes == ["Completed", "No answer", "Failed"]
    first, second = found.by_attempt
    assert (first.name, first.counts, first.attempts, first.share) == ("1", [0, 1, 1], 2, 0)
    assert (second.name, second.counts, second.attempts, second.share) == ("2", [1, 0, 0], 1, 100)


def test_hours_and_weekdays_are_those_on_the_persons_clock(make):
    zones = {
        "America/New_York": ("12:00", "Thursday"),
        "Asia/Kathmandu": ("22:00", "Thursday"),  # 22:45
        "Pacific/Auckland": ("06:00", "Friday"),
    }
    for zone, shown in zones.items():
        campaign = make.campaign(make.people(time_zone="", region="", zones=[zone]))
        rung(campaign.people.get())
        found = figures(campaign)
        assert ([line.name for line in found.by_hour], [line.name for line in found.by_weekday]) == (
            [shown[0]],
            [shown[1]],
        )
        assert found.nowhere == 0


def test_a_persons_own_zone_beats_that_of_their_number_and_zones_that_disagree_are_in_no_hour(make):
    west = ["America/Los_Angeles", "America/New_York"]
    own = make.campaign(make.people(time_zone="America/Chicago", zones=west))
    either = make.campaign(make.people(time_zone="", region="", zones=west))
    agreeing = make.campaign(make.people(time_zone="", region="", zones=["America/New_York", "America/Toronto"]))
    unknown = make.campaign(make.people(time_zone="", zones=[]))
    moved = make.campaign(make.people(time_zone="", region="CA", zones=["America/New_York"]))
    erased = make.campaign()
    for campaign in (own, either, agreeing, unknown, moved, erased):
        rung(campaign.people.get())
    erased.people.get().contact.delete()
    hours = [[line.name for line in figures(each).by_hour] for each in (own, either, agreeing, unknown, moved, erased)]
    assert hours == [["11:00"], [], ["12:00"], [], ["09:00"], []]
    assert [figures(each).nowhere for each in (own, either, agreeing, unknown, moved, erased)] == [0, 1, 0, 1, 0, 1]


def test_an_attempt_counts_in_the_hour_of_the_zone_that_it_was_claimed_by(make):
    changed, erased = make.campaign(), make.campaign()
    for campaign in (changed, erased):
        rung(campaign.people.get(), zones=["America/Denver"])
    erased.people.get().contact.delete()
    assert [[line.name for line in figures(each).by_hour] for each in (changed, erased)] == [["10:00"], ["10:00"]]


def test_what_an_operator_has_corrected_counts_in_every_figure(make):
    campaign = make.campaign()
    rung(campaign.people.get(), corrected_outcome="machine")
    found = figures(campaign)
    assert [step.people for step in found.steps] == [1, 1, 0, 0, 0]
    assert (found.outcomes, found.by_hour[0].counts, found.talks) == (["Machine"], [1], 0)


def test_the_database_tells_outcomes_as_the_rule_does(make):
    person = make.campaign().people.get()
    combinations = itertools.product(sorted(FINAL), ["", "busy", "machine"], ["", "completed"])
    for attempt, (status, outcome, corrected) in enumerate(combinations, 1):
        rung(person, attempt=attempt, status=status, outcome=outcome, corrected_outcome=corrected)
    calls = Call.objects.annotate(came=outcomes.OUTCOME)
    assert [call.came for call in calls] == [outcomes.outcome_of(call) for call in calls]
    assert {call.came for call in calls} == {"completed", "machine", "busy", "failed", "unknown"}


def test_values_are_counted_of_the_fields_that_have_few(make):
    campaign = make.campaign(make.people(4))
    agent = campaign.agent
    agent.extraction = [
        {"name": "interested", "type": "boolean", "description": "whether they want it"},
        {"name": "the__plan", "type": "choice", "choices": ["basic", "pro", "max"], "description": "which"},
        {"name": "words", "type": "text", "description": "what they said"},
    ]
    agent.save()
    services.publish(agent=agent, user=None)
    campaign.refresh_from_db()
    told = [
        {"interested": True, "the__plan": "pro"}, {"interested": True, "the__plan": None},
        {"interested": False, "the__plan": "gold"}, {},
    ]  # fmt: skip
    assert figures(campaign).values == []
    for person, extracted in zip(campaign.people.all(), told, strict=True):
        summed_up(rung(person), extracted=extracted)
    interested, plan = figures(campaign).values
    assert (interested.field, interested.rows) == ("interested", [("Yes", 2, 50), ("No", 1, 25), ("Not said", 1, 25)])
    assert {value: calls for value, calls, _ in plan.rows} == {
        "basic": 0, "pro": 1, "max": 0, "gold": 1, "Not said": 2,
    }  # fmt: skip


def test_figures_take_as_many_queries_however_many_were_called(make, django_assert_num_queries):
    campaign = make.campaign(make.people(30))
    for at, person in enumerate(campaign.people.all()):
        rung(person, at=NOON - datetime.timedelta(hours=at))
    with django_assert_num_queries(5):  # and the version of the agent
        assert figures(campaign).steps[1].people == 30

"""What the rules say of a person now, and what happened to them."""

import datetime

import pytest
from django.db import IntegrityError, transaction

from calls import suppression
from calls.campaigns import claims, control, outcomes, rounds
from calls.campaigns.control import throw_switch
from calls.campaigns.explain import Explanation, explain
from calls.campaigns.schedule import Due
from calls.campaigns.trace import moments
from calls.models import Campaign, CampaignEvent, Contact, DoNotCall
from tests import factories
from tests.calls.campaigns.conftest import NOON, only_person, rung

pytestmark = [pytest.mark.db, pytest.mark.django_db]

HOUR = datetime.timedelta(hours=1)
MINUTE = datetime.timedelta(minutes=1)


def forbidden(found: Explanation) -> dict[str, str]:
    return {check.rule: check.detail for check in found.checks if not check.holds}


def test_of_somebody_who_may_be_called_every_rule_holds_and_the_stretch_is_told_on_their_clock(make):
    make.campaign(week=[[[0, 1440]]] * 7)
    found = explain(only_person(), now=NOON)
    assert forbidden(found) == {}
    assert found.verdict == "The rules allow a call now."
    assert (found.opens, found.closes) == (["Thu 12:00"], ["Thu 20:58"])
    assert [check.rule for check in found.checks] == [
        "All dialling", "The campaign runs", "It has begun, and not ended",
        "The number of the launch", "The do-not-call list", "The number",
        "The caller number", "The consent", "The variables", "The time zone", "The state", "Hours: the campaign's week",
        "Hours: law of US: 47 CFR 64.1200(c)(1)", "Earlier calls",
    ]  # fmt: skip


def test_at_night_the_rules_that_forbid_a_call_are_named_and_the_next_stretch_is_told(make):
    make.campaign()
    found = explain(only_person(), now=NOON + 11 * HOUR)
    assert forbidden(found) == {
        "Hours: the campaign's week": "it is Thu 23:00 there",
        "Hours: law of US: 47 CFR 64.1200(c)(1)": "it is Thu 23:00 there",
    }
    assert found.verdict == "Not now, but later: outside the hours for calls."
    assert found.opens == ["Fri 09:00"]


@pytest.mark.parametrize(
    ("change", "rule", "why"),
    [
        ({"consent": ""}, "The consent", "no express consent is known"),
        ({"time_zone": "", "zones": []}, "The time zone", "not known"),
        ({"number": "+4930123456"}, "The number", "calls to DE are not allowed"),
    ],
)
def test_the_rule_that_holds_a_person_is_named(make, change, rule, why):
    make.campaign(make.people(1, **change))
    found = explain(only_person(), now=NOON)
    assert why in forbidden(found)[rule]
    assert found.verdict.startswith("Held: ")
    assert why in found.verdict


def test_an_earlier_call_and_the_do_not_call_list_are_named(make):
    make.campaign()
    person = only_person()
    rung(person, at=NOON - HOUR)
    found = explain(person, now=NOON)
    assert forbidden(found) == {"Earlier calls": "called a short time ago, until Thu 15:00"}
    suppression.add(suppression.Entry(person.number, NOON), source=DoNotCall.Source.OPERATOR)
    found = explain(person, now=NOON)
    assert "The do-not-call list" in forbidden(found)
    assert (found.verdict, found.opens) == ("Not called: on the do-not-call list.", [])


def test_a_pause_the_switch_and_dates_are_named(make):
    campaign = make.campaign()
    Campaign.objects.filter(pk=campaign.pk).update(status="paused", ends_at=NOON - HOUR)
    throw_switch(user_id=None, why="", now=NOON)
    assert forbidden(explain(only_person(), now=NOON)) == {
        "All dialling": "all dialling is stopped by the kill switch",
        "The campaign runs": "it is paused",
        "It has begun, and not ended": "see its dates",
    }


def test_of_somebody_whose_data_were_erased_that_is_said(make):
    make.campaign()
    Contact.objects.all().delete()
    found = explain(only_person(), now=NOON)
    assert found.verdict == "Not called: their data were erased."
    assert [moment.theirs for moment in moments(only_person())] == [[], []]


@pytest.mark.parametrize("hours", range(0, 48, 5))
def test_the_verdict_is_that_of_the_claim(make, hours):
    make.campaign()
    person, now = only_person(), NOON + hours * HOUR
    answer, found = claims.answer_for(person.campaign, person, now=now), explain(person, now=now)
    assert isinstance(answer, Due)
    assert (answer.at <= now) == (found.verdict == "The rules allow a call now.") == (forbidden(found) == {})


def test_what_happened_is_told_in_the_order_of_time_with_what_their_clock_showed(make):
    make.campaign()
    person = only_person()
    first = rung(person, at=NOON, queued_at=NOON, ended_at=NOON + MINUTE, outcome="busy", hangup_cause="USER_BUSY")
    first.events.create(at=NOON, kind="dial_unknown", data={"detail": "HTTP 500"})
    first.events.create(at=NOON, kind="reprompt", data={"number": 1})
    person.state, person.attempts, person.next_due = "calling", 1, None
    person.save()
    outcomes.settle(now=NOON + 2 * MINUTE)
    second = rung(
        person, attempt=2, at=NOON + 20 * MINUTE, answered_at=NOON + 21 * MINUTE, ended_at=NOON + 22 * MINUTE,
        end_reason="agent_ended",
    )  # fmt: skip
    told = moments(only_person())
    assert [(moment.what, moment.detail) for moment in told] == [
        ("The campaign was launched", ""),
        ("Attempt 1: claimed", ""),
        ("Attempt 1: taken by Plivo", ""),
        ("Attempt 1: sent, and not known whether it rings", "HTTP 500"),
        ("Attempt 1: ended", "Busy, USER_BUSY"),
        ("Since then: waiting", "to be called again"),
        ("Attempt 2: claimed", ""),
        ("Attempt 2: picked up", ""),
        ("Attempt 2: ended", "Completed, Agent ended the call"),
    ]
    assert told[1].theirs == ["Thu 12:00"]
    assert {moment.call_id for moment in told} == {None, first.pk, second.pk}


def test_an_attempt_shows_the_clocks_by_which_it_was_made_whatever_is_changed_or_erased_later(make):
    campaign = make.campaign()
    assert claims.claim(campaign.pk, now=NOON).call_ids
    Contact.objects.update(time_zone="America/Los_Angeles")
    assert [(moment.what, moment.theirs) for moment in moments(only_person())][:2] == [
        ("The campaign was launched", ["Thu 09:00"]),
        ("Attempt 1: claimed", ["Thu 12:00"]),
    ]
    Contact.objects.all().delete()
    assert [moment.theirs for moment in moments(only_person())][:2] == [[], ["Thu 12:00"]]


def test_each_time_that_somebody_was_due_and_not_called_is_told_with_its_reason(make):
    campaign = make.campaign()
    night = NOON + 11 * HOUR
    assert claims.claim(campaign.pk, now=night).more
    Contact.objects.update(consent="")
    assert claims.claim(campaign.pk, now=night + 10 * HOUR).more
    assert [(moment.what, moment.detail, moment.at) for moment in moments(only_person())[1:]] == [
        ("Not called: waiting", "outside the hours for calls; again Fri 09:00", night),
        ("Not called: held", "no express consent is known, which service calls need", night + 10 * HOUR),
    ]


def test_all_that_happened_takes_few_queries(make, django_assert_num_queries):
    make.campaign()
    person = only_person()
    for attempt in range(1, 9):
        rung(person, attempt=attempt)
    with django_assert_num_queries(5):
        assert len(moments(person)) == 18


def test_what_was_done_to_the_campaign_meanwhile_is_told_with_who_did_it_and_why(make):
    throw_switch(user_id=None, why="before there was a campaign", now=NOON - HOUR)
    control.throw_back(now=NOON - HOUR, user_id=None)
    campaign, anna = make.campaign(), factories.UserFactory(username="anna")
    control.pause(campaign, now=NOON + HOUR, user_id=anna.pk)
    control.resume(campaign, now=NOON + 2 * HOUR, user_id=anna.pk)
    campaign.refresh_from_db()
    assert control.break_off(campaign, why="3 of the last 5 calls failed", now=NOON + 3 * HOUR)
    control.resume(campaign, now=NOON + 4 * HOUR, user_id=None)
    for _ in range(2):  # pressed twice, or by two
        throw_switch(user_id=anna.pk, why="a complaint", now=NOON + 5 * HOUR)
    for _ in range(2):
        control.throw_back(now=NOON + 6 * HOUR, user_id=anna.pk)
    control.look_again(campaign, now=NOON + 7 * HOUR, user_id=anna.pk)
    control.stop(campaign, now=NOON + 8 * HOUR, user_id=anna.pk)
    told = [(moment.what, moment.detail, (moment.at - NOON) // HOUR) for moment in moments(only_person())]
    assert told == [
        ("The campaign was launched", "", 0),
        ("Since then: waiting", "", 0),
        ("The campaign was paused", "by anna", 1),
        ("The campaign was resumed", "by anna", 2),
        ("The campaign was paused", "3 of the last 5 calls failed", 3),
        ("The campaign was resumed", "", 4),
        ("All dialling was stopped", "a complaint, by anna", 5),
        ("Dialling was let go on", "by anna", 6),
        ("Whoever was held was to be looked at again", "by anna", 7),
        ("The campaign was stopped for good", "by anna", 8),
    ]


def test_why_somebody_was_held_from_the_beginning_stays_told_after_another_look(make):
    campaign = make.campaign(make.people(2, consent=""), launched=True)
    for hours in (1, 2):
        control.look_again(campaign, now=NOON + hours * HOUR)
        rounds.run(str(campaign.pk), clock=lambda at=NOON + hours * HOUR: at)
        while claims.claim(campaign.pk, now=NOON + hours * HOUR + MINUTE, most=8).more:
            pass
    why = "no express consent is known, which service calls need"
    for person in campaign.people.all():
        held = [(moment.detail, moment.at - NOON) for moment in moments(person) if moment.what == "Not called: held"]
        assert held == [(why, 0 * HOUR), (why, HOUR + MINUTE), (why, 2 * HOUR + MINUTE)]


def test_what_was_done_after_somebody_was_called_for_the_last_time_is_not_their_story(make):
    campaign = make.campaign()
    control.pause(campaign, now=NOON + HOUR)
    campaign.people.update(state="done", next_due=None, changed_at=NOON + HOUR)
    control.resume(campaign, now=NOON + 2 * HOUR)
    assert [moment.what for moment in moments(only_person())][1:] == ["The campaign was paused", "Since then: done"]


def test_a_change_of_the_campaigns_hours_or_pace_is_told_and_none_that_was_before_the_launch(make):
    campaign, anna = make.campaign(launched=False), factories.UserFactory(username="anna")
    campaign.concurrency = 7
    campaign.save()
    campaign.history.update(history_date=NOON - HOUR)
    control.launch(campaign, now=NOON)
    rounds.run(str(campaign.pk), clock=lambda: NOON)
    campaign.refresh_from_db()
    campaign.week, campaign.concurrency, campaign._history_user = [[[0, 1440]]] * 7, 2, anna
    campaign.save()
    campaign.save()  # nothing was changed
    changes = [moment for moment in moments(only_person()) if moment.what == "The campaign was changed"]
    assert [moment.detail for moment in changes] == ["calls at once, week, by anna"]


@pytest.mark.parametrize(("kind", "its"), [("paused", False), ("switch_back", True)])
def test_the_switch_is_thrown_for_all_campaigns_and_a_pause_is_of_one(make, kind, its):
    campaign = make.campaign() if its else None
    with pytest.raises(IntegrityError), transaction.atomic():
        CampaignEvent.objects.create(campaign=campaign, kind=kind, at=NOON)

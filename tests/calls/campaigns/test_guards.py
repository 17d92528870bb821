"""What pauses a campaign by itself: its budget, failing calls, silence; and what only warns."""

import datetime
import threading
from decimal import Decimal

import pytest
from django.db import connections

from calls import lifecycle
from calls.campaigns import budget, claims, control, dialler, guards, measures
from calls.models import Call, Campaign, CampaignWatch, Price, Turn, Usage
from calls.states import Facts
from tests import factories
from tests.calls.campaigns.conftest import NOON

pytestmark = [pytest.mark.db, pytest.mark.django_db]

SECOND, MINUTE = datetime.timedelta(seconds=1), datetime.timedelta(minutes=1)
FAILED = {"outcome": "failed"}


def ended(campaign, count: int = 1, *, at: datetime.datetime = NOON, **fields) -> list[Call]:
    """Calls of a campaign that ended at a moment, after half a minute of talk unless told otherwise."""
    began = at - 30 * SECOND
    known = {"direction": "outbound", "status": "ended", "outcome": "completed", "created_at": began, "ended_at": at}
    known |= {"answered_at": began, "live_at": began, "duration_s": 30, "agent": campaign.agent}
    known |= {"agent_version": campaign.agent.published_version, "to_number": "+14155559999"}
    account = campaign.caller_numbers.get().plivo_account
    return [Call.objects.create(campaign=campaign, plivo_account=account, **(known | fields)) for _ in range(count)]


def greeted(calls: list[Call], first_heard_ms: int | None) -> None:
    for call in calls:
        Turn.objects.create(
            call=call,
            index=0,
            role="agent",
            kind="greeting",
            started_ms=0,
            ended_ms=9000,
            first_heard_ms=first_heard_ms,
        )


def watched(campaign, now: datetime.datetime = NOON) -> Campaign:
    guards.watch(now=now)
    return Campaign.objects.get(pk=campaign.pk)


def price(provider: str, model: str, unit: str, usd: str) -> None:
    Price.objects.create(
        provider=provider, model=model, unit=unit, usd=usd, valid_from=datetime.date(2026, 1, 1), source="a list"
    )


@pytest.fixture(autouse=True)
def _some_price():
    """Without any a campaign with a budget is not launched."""
    price("openai", "another", "input", "1")
    Price.history.update(history_date=NOON - datetime.timedelta(days=1))  # long before anything was summed up


def test_a_campaign_that_cannot_be_watched_keeps_no_other_from_it(make, monkeypatch):
    campaigns = [make.campaign(), make.campaign()]
    for campaign in campaigns:
        ended(campaign, 6, **FAILED)
    broken = guards._breaker
    monkeypatch.setattr(guards, "_breaker", lambda each, now: 1 // (each.pk != campaigns[1].pk) and broken(each, now))
    assert guards.watch(now=NOON) == [campaigns[0]]


# --- the circuit breaker ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("good", "bad", "percent", "paused"),
    [(2, 3, 50, True), (3, 3, 50, True), (4, 3, 50, False), (0, 4, 50, False), (1, 5, 90, False), (0, 5, 100, True)],
)
def test_too_many_failing_calls_among_at_least_five_pause_a_campaign(make, good, bad, percent, paused):
    campaign = make.campaign(breaker_percent=percent)
    ended(campaign, good)
    ended(campaign, bad, **FAILED)
    found = watched(campaign)
    assert (found.status == "paused") == paused
    if paused:
        assert found.paused_why == f"{bad} of the last {good + bad} calls failed, within 120 s"
        assert (found.paused_at, found.paused_by) == (NOON, None)


@pytest.mark.parametrize(
    "fields",
    [
        FAILED,
        {"end_reason": "provider_failure"},
        {"end_reason": "stream_lost"},
        {"status": "rejected", "ended_at": None, "outcome": "failed"},
    ],
)
def test_whatever_the_fault_is_it_counts(make, fields):
    campaign = make.campaign()
    ended(campaign, 5, **fields)
    assert watched(campaign).status == "paused"


@pytest.mark.parametrize("fields", [{"outcome": "busy"}, {"status": "cancelled", "outcome": "cancelled"}])
def test_who_is_busy_and_who_was_let_go_is_no_fault(make, fields):
    campaign = make.campaign()
    ended(campaign, 9, **fields)
    assert watched(campaign).status == "running"


def test_what_failed_before_the_window_or_in_another_campaign_is_forgotten(make):
    campaign = make.campaign(breaker_window_s=60)
    ended(campaign, 9, at=NOON - 61 * SECOND, **FAILED)
    ended(make.campaign(breaker_percent=100), 9, **FAILED)
    assert watched(campaign).status == "running"
    ended(campaign, 5, at=NOON - 59 * SECOND, **FAILED)
    assert watched(campaign, NOON + 4 * SECOND).status == "running", "they are 63 s old by now"
    assert measures.failures(campaign, now=NOON).fraction == 1


def test_a_resume_clears_the_reason_and_counts_anew(make, superuser):
    campaign = make.campaign()
    ended(campaign, 9, **FAILED)
    campaign = watched(campaign)
    control.resume(campaign, now=NOON + SECOND)
    campaign = watched(campaign, NOON + 5 * SECOND)
    assert (campaign.status, campaign.paused_why, campaign.paused_at) == ("running", "", None)
    ended(campaign, 5, at=NOON + 6 * SECOND, **FAILED)
    assert watched(campaign, NOON + 9 * SECOND).status == "paused"
    control.resume(campaign, now=NOON + 10 * SECOND)
    control.pause(campaign, now=NOON + MINUTE, user_id=superuser.pk)
    campaign.refresh_from_db()
    assert (campaign.paused_why, campaign.paused_by) == ("", superuser)


def test_a_campaign_that_somebody_has_resumed_meanwhile_is_left_alone(make):
    campaign = make.campaign()
    before = Campaign.objects.get()
    control.pause(campaign, now=NOON)
    control.resume(campaign, now=NOON + SECOND)
    assert not control.break_off(before, why="what was before", now=NOON + SECOND)
    assert Campaign.objects.get().status == "running"


def test_of_many_workers_one_looks_and_again_only_after_a_while(make, django_assert_max_num_queries):
    campaign = make.campaign()
    assert watched(campaign).status == "running"
    ended(campaign, 9, **FAILED)
    with django_assert_max_num_queries(3):
        assert watched(campaign, NOON + 2 * SECOND).status == "running"
    assert watched(campaign, NOON + 3 * SECOND).status == "paused"


def test_a_dialler_asks_the_guards_before_it_calls_anybody(make):
    campaign = make.campaign()
    ended(campaign, 9, **FAILED)
    assert (
        dialler.work(clock=lambda: NOON, shift=dialler.Shift(0.05), place=lambda _: pytest.fail("nobody is to be rung"))
        == 0
    )
    assert Campaign.objects.get().status == "paused"


@pytest.mark.django_db(transaction=True)
def test_workers_that_look_at_once_pause_a_campaign_once(make):
    campaign = make.campaign()
    ended(campaign, 9, **FAILED)
    found: list[list[Campaign]] = []

    def work():
        found.append(guards.watch(now=NOON))
        connections.close_all()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4
    assert sum(len(paused) for paused in found) == 1


# --- the budget ------------------------------------------------------------------------------------------------------


def claim(campaign, at: datetime.datetime) -> Call | None:
    found = claims.claim(campaign.pk, now=at)
    return Call.objects.filter(pk__in=found.call_ids).first()


def test_a_budget_is_not_overrun_by_more_than_the_calls_under_way(make):
    campaign = make.campaign(make.people(30), budget=Decimal("5.00"), concurrency=3)
    at, going_on = NOON, []
    for _ in range(20):
        at += SECOND
        guards.watch(now=at)
        while call := claim(campaign, at):
            going_on.append(call)
        if going_on:
            call = going_on.pop(0)
            facts = Facts(status="ended", ended_at=at, answered_at=at, duration_s=9, carrier_cost=Decimal("0.70"))
            lifecycle.apply(call_id=call.pk, facts=facts)
    campaign.refresh_from_db()
    spent = campaign.calls.count() * Decimal("0.70")
    assert Decimal("4.20") <= spent <= Decimal("5.00") + 3 * Decimal("0.70")
    assert campaign.status == "paused"
    assert campaign.paused_why.startswith("its budget of 5.00 USD is used up: ")
    with pytest.raises(control.Refused, match="It would pause again at once: its budget"):
        control.resume(campaign, now=at)
    campaign.budget = Decimal("50.00")
    campaign.save()
    control.resume(campaign, now=at)
    assert claim(campaign, at + SECOND) is not None


def test_a_claim_counts_what_was_begun_since_the_sums_were_made(make):
    campaign = make.campaign(make.people(9), budget=Decimal("3.00"), concurrency=9)
    ended(campaign, 1, at=NOON - MINUTE, carrier_cost="1.00")
    budget.reckon(campaign, now=NOON)
    claimed = [claim(campaign, NOON + n * SECOND) for n in range(1, 6)]
    assert [bool(call) for call in claimed] == [True, True, False, False, False]


def test_before_the_first_call_is_over_plivos_minutes_are_the_guess(make):
    price("plivo", "US", "minute", "0.50")
    campaign = make.campaign(make.people(9), budget=Decimal("2.00"), concurrency=9)
    claimed = [claim(campaign, NOON + n * SECOND) for n in range(4)]
    assert [bool(call) for call in claimed] == [True, True, False, False]


def test_a_budget_that_cannot_be_kept_for_want_of_a_price_pauses_the_campaign(make, from_noon):
    campaign = make.campaign(budget=Decimal("100.00"))
    (call,) = ended(campaign, 1, carrier_cost="0.01")
    Usage.objects.create(call=call, stage="llm", provider="openai", model="gpt-x", output_tokens=5)
    found = watched(campaign)
    assert found.paused_why.startswith("its budget cannot be kept: no price for openai gpt-x by a million output")
    price("openai", "gpt-x", "output", "1")
    control.resume(found, now=NOON + SECOND)
    assert found.status == "running"


def test_a_campaign_without_a_budget_shows_what_it_has_spent_and_goes_on(make):
    campaign = make.campaign()
    ended(campaign, 2, carrier_cost="4.00")
    assert watched(campaign).status == "running"
    found = budget.spent(campaign, now=NOON)
    assert (found.usd, found.mean_usd) == (8, 4)


@pytest.mark.parametrize("status", ["finished", "stopped", "paused"])
def test_what_ends_after_the_guards_have_left_a_campaign_is_spent_too(make, status):
    campaign = make.campaign()
    (first,) = ended(campaign, 1, carrier_cost="4.00")
    watched(campaign)
    Campaign.objects.update(status=status)
    campaign.refresh_from_db()
    ended(campaign, 1, at=NOON + SECOND, carrier_cost="2.00")
    assert budget.spent(campaign, now=NOON + 2 * SECOND) == budget.Spent(Decimal(6), 2, ())
    Usage.objects.create(call=first, stage="llm", provider="openai", model="gpt-x", output_tokens=1_000_000)
    (missing,) = budget.spent(campaign, now=NOON + 2 * MINUTE).missing
    assert missing.startswith("no price for openai gpt-x"), "a summary is made after its call"
    price("openai", "gpt-x", "output", "10")
    Price.history.filter(model="gpt-x").update(history_date=NOON + 2 * MINUTE + SECOND)
    assert budget.spent(campaign, now=NOON + 2 * MINUTE + 2 * SECOND) == budget.Spent(Decimal(16), 2, ())


def test_a_campaign_is_summed_up_again_only_when_something_may_have_changed(make):
    campaign = make.campaign()
    ended(campaign, 1, carrier_cost="4.00")
    Campaign.objects.update(status="finished")
    campaign.refresh_from_db()

    def reckoned(at: datetime.datetime) -> datetime.datetime | None:
        budget.spent(campaign, now=at)
        return CampaignWatch.objects.get().reckoned_at

    day, hour = datetime.timedelta(days=1), datetime.timedelta(hours=1)
    assert reckoned(NOON) == NOON
    assert reckoned(NOON + MINUTE) == NOON, "a page that is looked at again and again does not sum up each time"
    assert reckoned(NOON + 61 * SECOND) == NOON + 61 * SECOND, "what comes late to a call that has just ended"
    assert reckoned(NOON + day + hour) == NOON + day + hour
    assert reckoned(NOON + 2 * day) == NOON + day + hour, "nothing ended within the day before"
    assert reckoned(NOON + 3 * day) == NOON + 3 * day, "but something may have come very late"
    Campaign.objects.update(status="running")
    campaign.refresh_from_db()
    ended(campaign, 1, at=NOON + 3 * day)
    assert reckoned(NOON + 3 * day + 5 * MINUTE) == NOON + 3 * day, "its guards do it while it runs"
    assert reckoned(NOON + 3 * day + 11 * MINUTE) == NOON + 3 * day + 11 * MINUTE, "unless they are away"


# --- silence ---------------------------------------------------------------------------------------------------------


def test_people_who_are_met_by_silence_pause_a_campaign(make):
    campaign = make.campaign()
    greeted(ended(campaign, 38), 800)
    greeted(ended(campaign, 1), 2001)
    assert watched(campaign).status == "running", "39 are too few to judge"
    greeted(ended(campaign, 1), 2000)
    assert measures.silences(campaign, now=NOON) == measures.Share(1, 40)
    assert watched(campaign, NOON + MINUTE).status == "running", "2.5 % and not more"
    greeted(ended(campaign, 1), None)
    found = watched(campaign, NOON + 2 * MINUTE)
    assert found.status == "paused"
    assert found.paused_why.startswith("2 of 41 people who answered heard nothing for more than 2 s")
    control.resume(found, now=NOON + 3 * MINUTE)
    assert watched(campaign, NOON + 10 * MINUTE).status == "running"


@pytest.mark.parametrize(
    ("heard_ms", "fields", "silent"),
    [
        (1500, {"live_at": NOON - 29.5 * SECOND}, False),
        (1600, {"live_at": NOON - 29.5 * SECOND}, True),  # from the answer on, not from the stream's start
        (None, {}, True),
        (None, {"live_at": None}, True),
        (None, {"ended_at": NOON - 28 * SECOND}, False),  # hung up within two seconds
        (None, {"ended_at": NOON - 30 * SECOND, "status": "cancelled", "end_reason": "refused"}, True),
        (None, {"outcome": "machine"}, None),
        (None, {"answered_at": None}, None),
        (None, {"ended_at": None, "status": "live"}, None),
        (None, {"created_at": NOON - 40 * 24 * 60 * MINUTE, "ended_at": NOON - 31 * 24 * 60 * MINUTE}, None),
    ],
)
def test_silence_is_reckoned_from_the_answer_to_the_first_sound(make, heard_ms, fields, silent):
    campaign = make.campaign()
    greeted(ended(campaign, 1, **fields), heard_ms)
    assert measures.silences(campaign, now=NOON) == measures.Share(int(bool(silent)), int(silent is not None))


def test_an_agent_that_waits_for_the_caller_to_speak_is_not_judged(make):
    agent = factories.AgentFactory(speaks_first="caller")
    agent = factories.AgentVersionFactory(agent=agent).agent
    agent.refresh_from_db()
    campaign = make.campaign(caller=factories.PhoneNumberFactory(agent=agent))
    greeted(ended(campaign, 3), None)
    assert measures.silences(campaign, now=NOON) == measures.Share(0, 0)


# --- short calls -----------------------------------------------------------------------------------------------------


def test_many_short_calls_in_a_month_are_warned_of_and_pause_nothing(make):
    campaign = make.campaign()
    ended(campaign, 17)
    ended(campaign, 2, duration_s=6)
    assert watched(campaign).status == "running"
    assert CampaignWatch.objects.get().warning == "", "19 are too few"
    ended(campaign, 1, duration_s=2)
    ended(campaign, 9, duration_s=2, created_at=NOON - datetime.timedelta(days=30))  # last month's
    assert watched(campaign, NOON + MINUTE).status == "running"
    account = campaign.caller_numbers.get().plivo_account
    assert CampaignWatch.objects.get().warning == (
        f"15% of this month's 20 answered calls of {account.name} lasted 6 s or less; from 20 % on Plivo charges more"
    )

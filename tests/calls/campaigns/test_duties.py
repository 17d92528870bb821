"""What a launch needs whoever is called: an agent that says what it is, a register that is not old."""

import datetime

import pytest

from calls.campaigns import claims, control, duties, guards
from calls.models import Campaign, DoNotCallImport
from tests import factories
from tests.calls.campaigns.conftest import NOON, only_person

pytestmark = [pytest.mark.db, pytest.mark.django_db]

DAY, SECOND = datetime.timedelta(days=1), datetime.timedelta(seconds=1)
PROVED = {"consent_at": datetime.date(2026, 5, 3), "consent_source": "web form"}


def scrubbed(at: datetime.datetime | None = NOON, **fields) -> DoNotCallImport:
    """An import of a register that ended then."""
    known = {"file": "register.txt", "file_name": "register.txt", "kind": "txt", "status": "done", "finished_at": at}
    known |= {"added": 1}
    return DoNotCallImport.objects.create(**(known | fields))


def selling(make, **fields) -> Campaign:
    return make.campaign(make.people(**PROVED), purpose="promotional", **fields)


def published(disclosure: str):
    agent = factories.AgentVersionFactory(agent=factories.AgentFactory(disclosure=disclosure)).agent
    agent.refresh_from_db()
    return agent


# --- the register ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "fresh"),
    [
        ({"at": NOON}, True),
        ({"at": NOON - 31 * DAY}, True),
        ({"at": NOON - 31 * DAY - SECOND}, False),
        ({"at": NOON, "status": "failed"}, False),
        ({"at": None, "status": "running"}, False),
        ({"at": NOON, "added": 0, "rejected": 9}, False),
        ({"at": NOON, "added": 0, "known": 9}, True),
        (None, False),
    ],
)
def test_nothing_is_sold_to_the_united_states_without_a_register_of_the_last_31_days(make, fields, fresh):
    campaign = selling(make, launched=False)
    if fields is not None:
        scrubbed(**fields)
    if fresh:
        control.launch(campaign, now=NOON)
        return
    with pytest.raises(control.Refused, match="at most 31 days old: import its numbers under Do not call"):
        control.launch(campaign, now=NOON)


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, True),
        ({"countries": ["DE", "PR"]}, True),
        ({"countries": ["DE", "CA"]}, False),
        ({"purpose": "service"}, False),
        ({"purpose": "transactional"}, False),
    ],
)
def test_who_sells_nothing_or_not_to_the_united_states_needs_none(fields, needs):
    asked = {"purpose": "promotional", "countries": ["US"]} | fields
    assert bool(duties.unscrubbed(**asked, now=NOON)) is needs


def test_a_register_that_grows_old_pauses_the_campaign_until_there_is_another(make):
    scrubbed(NOON - 30 * DAY)
    campaign = selling(make)
    assert guards.watch(now=NOON) == []
    assert guards.watch(now=NOON + 2 * DAY) == [campaign]
    campaign.refresh_from_db()
    assert campaign.paused_why.startswith("Promotional calls to the United States need")
    with pytest.raises(control.Refused, match="at most 31 days old"):
        control.resume(campaign, now=NOON + 2 * DAY)
    scrubbed(NOON + 2 * DAY)
    control.resume(campaign, now=NOON + 2 * DAY)
    assert guards.watch(now=NOON + 3 * DAY) == []


# --- the disclosure --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disclosure", ["", "  "])
@pytest.mark.parametrize("purpose", Campaign.Purpose.values)
def test_no_campaign_is_launched_whose_agent_does_not_say_that_an_ai_speaks(make, purpose, disclosure):
    scrubbed()
    agent = published(disclosure)
    campaign = make.campaign(agent=agent, purpose=purpose, launched=False)
    with pytest.raises(control.Refused, match="does not say that an AI speaks: write its AI disclosure and publish it"):
        control.launch(campaign, now=NOON)
    agent.disclosure = "An AI speaks."
    agent.save()
    factories.AgentVersionFactory(agent=agent)
    control.launch(campaign, now=NOON)


def test_the_version_that_the_campaign_holds_to_is_the_one_that_counts(make):
    agent = published("")
    before = agent.published_version
    agent.disclosure = "An AI speaks."
    agent.save()
    factories.AgentVersionFactory(agent=agent)
    campaign = make.campaign(agent=agent, agent_version=before, launched=False)
    assert control.faults(campaign, now=NOON) == [duties.undisclosed(before)] != [""]


def test_whoever_is_due_after_the_disclosure_was_taken_away_is_held(make):
    campaign = make.campaign()
    campaign.agent.disclosure = ""
    campaign.agent.save()
    factories.AgentVersionFactory(agent=campaign.agent)
    assert claims.claim(campaign.pk, now=NOON).call_ids == []
    assert only_person().state == "held"
    assert "does not say that an AI speaks" in only_person().why

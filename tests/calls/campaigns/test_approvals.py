"""A large campaign is launched after a second person's yes to exactly this plan, and by nobody who gave it."""

import datetime
from decimal import Decimal

import pytest

from calls.campaigns import approvals, control
from calls.models import Approval, Campaign, Contact, ContactImport, ContactList, Price
from tests import factories
from tests.calls.campaigns.conftest import NOON

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _three_people_are_many(settings):
    settings.APPROVAL_ABOVE = 2


@pytest.fixture
def planner(db):
    return factories.UserFactory()


@pytest.fixture
def approver(db):
    return factories.UserFactory()


@pytest.fixture
def launcher(db):
    return factories.UserFactory()


@pytest.fixture
def campaign(make, planner) -> Campaign:
    made = make.campaign(make.people(3), launched=False, created_by=planner)
    return Campaign.objects.get(pk=made.pk)


def approve(campaign: Campaign, user) -> None:
    fresh = Campaign.objects.get(pk=campaign.pk)
    control.approve(fresh, seen=approvals.fingerprint(fresh), user_id=user.pk, now=NOON)


def launched(campaign: Campaign, user) -> bool:
    try:
        control.launch(campaign, now=NOON, user_id=user.pk if user else None)
    except control.Refused as refused:
        if "needs the approval of a second person" not in str(refused):
            raise
        return False
    return Campaign.objects.get().status == "running"


def test_a_large_campaign_is_launched_only_once_somebody_else_has_approved_it(campaign, approver, launcher):
    assert not launched(campaign, launcher)
    assert not launched(campaign, None)
    approve(campaign, approver)
    assert not launched(campaign, approver), "who approved it does not launch it"
    assert launched(campaign, launcher)


def test_who_planned_it_may_launch_what_somebody_else_approved_but_approves_nothing(campaign, planner, approver):
    with pytest.raises(control.Refused, match="planned it yourself"):
        approve(campaign, planner)
    Approval.objects.create(
        campaign=campaign, fingerprint=approvals.fingerprint(campaign), people=3, approved_by=planner, approved_at=NOON
    )
    assert not launched(campaign, approver), "not even if it were in the table"
    approve(campaign, approver)
    assert launched(campaign, planner)


def test_two_who_approved_it_may_each_launch_it_by_the_others_word(campaign, approver, launcher):
    approve(campaign, approver)
    approve(campaign, launcher)
    approve(campaign, launcher)
    assert Approval.objects.count() == 2
    assert launched(campaign, launcher)


def test_a_small_campaign_needs_none_and_at_nought_every_one_does(make, settings, launcher):
    small = make.campaign(make.people(2), launched=False)
    settings.APPROVAL_ABOVE = 0
    assert not launched(small, launcher)
    settings.APPROVAL_ABOVE = 2
    assert launched(small, launcher)


def republish(campaign):
    campaign.agent.greeting = "Buy now."
    campaign.agent.save()
    factories.AgentVersionFactory(agent=campaign.agent)


def add_somebody(campaign):
    people = campaign.contact_lists.first()
    Contact.objects.create(contact_list=people, number="+14155559876", country="US", consent="written")


def exchange(campaign):
    Contact.objects.filter(contact_list__campaigns=campaign).first().delete()
    add_somebody(campaign)


CHANGES = {
    "its hours": lambda campaign: Campaign.objects.update(week=[[[0, 1440]]] * 7),
    "its purpose": lambda campaign: Campaign.objects.update(purpose="transactional"),
    "its pace": lambda campaign: Campaign.objects.update(concurrency=60),
    "its countries": lambda campaign: Campaign.objects.update(countries=["US", "CA"]),
    "its budget": lambda campaign: Campaign.objects.update(budget=Decimal("10000.00")),
    "its beginning": lambda campaign: Campaign.objects.update(starts_at=NOON),
    "holidays": lambda campaign: Campaign.objects.update(on_holidays=False),
    "its agent's words": republish,
    "another list": lambda campaign: campaign.contact_lists.add(ContactList.objects.create(name="Another")),
    "a grown list": add_somebody,
    "somebody else in its list": exchange,
    "another number to call from": lambda campaign: campaign.caller_numbers.add(factories.PhoneNumberFactory()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_is_changed_after_the_approval_voids_it(campaign, approver, launcher, name):
    Price.objects.create(
        provider="plivo", model="US", unit="minute", usd=1, valid_from=datetime.date(2026, 1, 1), source="a list"
    )
    approve(campaign, approver)
    assert approvals.standing(campaign).allows(launcher.pk)
    CHANGES[name](campaign)
    fresh = Campaign.objects.get(pk=campaign.pk)
    assert (approvals.standing(fresh).valid, len(approvals.standing(fresh).void)) == ([], 1)
    assert not launched(fresh, launcher)
    approve(fresh, approver)
    assert launched(fresh, launcher)


def test_a_plan_that_was_changed_while_somebody_looked_at_it_is_not_approved(campaign, approver):
    seen = approvals.fingerprint(campaign)
    Campaign.objects.update(concurrency=60)
    with pytest.raises(control.Refused, match="changed since you looked"):
        control.approve(campaign, seen=seen, user_id=approver.pk, now=NOON)
    assert not Approval.objects.exists()


def test_what_is_launched_already_cannot_be_approved(campaign, approver, launcher):
    approve(campaign, approver)
    assert launched(campaign, launcher)
    with pytest.raises(control.Refused, match="is running"):
        approve(campaign, launcher)


def test_the_approval_of_somebody_whose_account_is_gone_counts_no_more(campaign, approver, launcher):
    approve(campaign, approver)
    approver.delete()
    assert not launched(campaign, launcher)


def test_a_campaign_is_not_launched_while_its_lists_grow_or_its_budget_has_no_prices(campaign):
    people = campaign.contact_lists.get()
    table = ContactImport.objects.create(
        contact_list=people, status="running", file="people.csv", file_name="p", kind="csv"
    )
    campaign.budget = Decimal("10.00")
    assert control.faults(campaign, now=NOON) == [
        "People are still being imported into its lists: wait until that is done.",
        "A budget needs prices: add them under Prices, or leave the budget empty.",
    ]
    ContactImport.objects.filter(pk=table.pk).update(status="done")
    campaign.budget = None
    assert control.faults(campaign, now=NOON) == []

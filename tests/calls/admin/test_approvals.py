"""The second person's part of the rehearsal."""

import re

import pytest
from django.test import Client

from calls.models import Approval, Campaign
from tests import factories
from tests.calls.admin.test_campaigns import page, staff, text_of
from tests.calls.campaigns.conftest import make  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

APPROVER = ("view_campaign", "approve_campaign")


@pytest.fixture
def campaign(make, settings) -> Campaign:  # noqa: F811
    settings.APPROVAL_ABOVE = 2
    return make.campaign(make.people(3), launched=False)


def rehearsal(client: Client, campaign: Campaign) -> str:
    return client.get(page(campaign, "rehearsal")).content.decode()


def seen(client: Client, campaign: Campaign) -> dict[str, str]:
    found = re.search(r'name="seen" value="([0-9a-f]{64})"', rehearsal(client, campaign))
    return {"seen": found[1]} if found else {}


def test_the_rehearsal_asks_for_a_second_person_and_offers_them_the_button(campaign):
    launcher, approver = staff("view_campaign", "launch_campaign"), staff(*APPROVER)
    shown = text_of(rehearsal(launcher, campaign))
    assert "Needs approval" in shown
    assert "Its lists hold 3 people; above 2 a second person must approve it" in shown
    assert "Launch: call" not in shown
    assert seen(launcher, campaign) == {}
    answer = approver.post(page(campaign, "approve"), seen(approver, campaign), follow=True)
    assert "approved. Somebody else may launch it as it is." in answer.content.decode()
    given = Approval.objects.get()
    assert f"Approved by {given.approved_by}" in text_of(rehearsal(launcher, campaign))
    assert "Launch: call" in rehearsal(launcher, campaign)
    launcher.post(page(campaign, "launch"))
    assert Campaign.objects.get().status == "running"


def test_a_change_voids_the_approval_on_the_page_too(campaign):
    launcher, approver = staff("view_campaign", "launch_campaign"), staff(*APPROVER)
    shown = seen(approver, campaign)
    Campaign.objects.update(concurrency=50)
    answer = approver.post(page(campaign, "approve"), shown, follow=True)
    assert "It was changed since you looked" in answer.content.decode()
    approver.post(page(campaign, "approve"), seen(approver, campaign))
    Campaign.objects.update(concurrency=60)
    assert "Void, since it was changed: approved by" in text_of(rehearsal(launcher, campaign))
    html = launcher.post(page(campaign, "launch"), follow=True).content.decode()
    assert "It needs the approval of a second person" in html


def test_who_planned_it_or_approved_it_cannot_do_the_others_part(campaign):
    both = staff(*APPROVER, "launch_campaign")
    both.post(page(campaign, "approve"), seen(both, campaign))
    assert "You have approved it: somebody else must launch it." in text_of(rehearsal(both, campaign))
    both.post(page(campaign, "launch"))
    assert Campaign.objects.get().status == "draft"
    planner = factories.UserFactory(permissions=[f"calls.{name}" for name in APPROVER])
    Campaign.objects.update(created_by=planner)
    client = Client()
    client.force_login(planner)
    assert "You have planned it yourself" in rehearsal(client, campaign)


def test_approving_is_a_permission_of_its_own_and_asked_for_by_post(campaign):
    for client in (staff("view_campaign", "launch_campaign", "change_campaign"), staff("approve_campaign")):
        assert client.post(page(campaign, "approve"), {"seen": "x"}).status_code == 403
    assert staff(*APPROVER).get(page(campaign, "approve")).status_code == 405
    assert not Approval.objects.exists()

"""What the guards of a campaign have found, on its page and in the list."""

import re

import pytest
from django.urls import reverse

from calls.campaigns import guards
from calls.models import Call, Campaign, CampaignWatch
from tests import factories
from tests.calls.admin.test_campaigns import LIST, form, page, staff, text_of
from tests.calls.campaigns.conftest import NOON, make  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def failing(campaign, count: int) -> list[Call]:
    return [
        Call.objects.create(
            campaign=campaign, direction="outbound", status="ended", outcome="failed", end_reason="provider_failure",
            created_at=NOON, ended_at=NOON, to_number="+14155559999",
        )
        for _ in range(count)
    ]  # fmt: skip


def test_why_a_campaign_was_paused_is_on_its_page_with_the_failing_calls_and_in_the_list(admin_page, make):  # noqa: F811
    campaign = make.campaign()
    calls = failing(campaign, 25)
    guards.watch(now=NOON)
    html = admin_page.get(page(campaign, "standing")).content.decode()
    assert "25 of the last 25 calls failed, within 120 s" in html
    links = re.findall(r'href="(/admin/calls/call/\d+/change/)"', html)
    assert links == [reverse("admin:calls_call_change", args=[call.pk]) for call in reversed(calls[5:])]
    assert "25 of the last 25 calls failed" in text_of(admin_page.get(LIST).content.decode())
    assert "Resume, although its guards paused it?" in html
    alone = staff("view_campaign").get(page(campaign, "standing")).content.decode()
    assert "25 of the last 25" in alone
    assert "/admin/calls/call/" not in alone
    shown = text_of(admin_page.post(page(campaign, "resume"), follow=True).content.decode())
    assert "Paused by its guards" not in shown
    assert "The campaign was paused: 25 of the last 25 calls failed, within 120 s" in shown
    assert Campaign.objects.get().status == "running"


def test_who_paused_a_campaign_and_when_is_said(make):  # noqa: F811
    campaign = make.campaign()
    client = staff("view_campaign", "pause_campaign")
    shown = text_of(client.post(page(campaign, "pause"), follow=True).content.decode())
    campaign.refresh_from_db()
    assert f", by {campaign.paused_by}." in shown
    assert campaign.paused_at is not None


def test_spending_missing_prices_and_warnings_are_shown(admin_page, make):  # noqa: F811
    campaign = make.campaign()
    Campaign.objects.update(budget="50.00")
    CampaignWatch.objects.create(
        campaign=campaign, looked_at=NOON, thorough_at=NOON, reckoned_at=NOON, spent_usd="12.345", calls=10,
        missing="no price for openai gpt-x by a minute on 26 Nov 2026: add one", warning="15% were short",
    )  # fmt: skip
    shown = text_of(admin_page.get(page(campaign)).content.decode())
    assert "Spent (USD) 12.35 of 50.00" in shown
    assert "A call costs (USD) 1.2345" in shown
    assert "No price for openai gpt-x by a minute on 26 Nov 2026: add one." in shown
    assert "15% were short." in shown


def test_the_guards_are_set_in_the_plan_and_can_be_changed_later(admin_page, make):  # noqa: F811
    people, caller = make.people(), factories.PhoneNumberFactory()
    for wrong in ({"budget": "0"}, {"breaker_percent": "101"}, {"breaker_window_s": "5"}):
        html = admin_page.post(f"{LIST}add/", form(people, caller, **wrong)).content.decode()
        assert "Ensure this value is" in html
    admin_page.post(f"{LIST}add/", form(people, caller, budget="25.50", breaker_percent="30"))
    campaign = Campaign.objects.get()
    assert (str(campaign.budget), campaign.breaker_percent) == ("25.50", 30)
    Campaign.objects.update(status="running")
    admin_page.post(page(campaign), form(people, caller, budget="", breaker_window_s="60"))
    campaign.refresh_from_db()
    assert (campaign.budget, campaign.breaker_window_s) == (None, 60)

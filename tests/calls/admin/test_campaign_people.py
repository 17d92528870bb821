"""People of campaigns in the admin: found by their number, and why they were or were not called."""

import pytest
from django.urls import reverse

from tests.calls.admin.test_campaigns import staff, text_of
from tests.calls.campaigns.conftest import make, rung  # noqa: F401  (make is a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LIST = "/admin/calls/campaigncontact/"


def page(person) -> str:
    return reverse("admin:calls_campaigncontact_change", args=[person.pk])


def test_a_persons_page_shows_every_attempt_with_its_reason_and_what_the_rules_say(make):  # noqa: F811
    campaign = make.campaign(make.people(name="Jane"))
    person = campaign.people.get()
    call = rung(person, status="cancelled", outcome="cancelled")
    call.events.create(at=call.created_at, kind="dial_cancelled", data={"why": "the campaign is paused"})
    html = staff("view_campaigncontact").get(page(person)).content.decode()
    shown = text_of(html)
    assert "Attempt 1: let go before it rang the campaign is paused" in shown
    assert "26 Nov 2026, 17:00:00" in shown
    assert "Thu 12:00" in shown
    assert "Hours: law of US: 47 CFR 64.1200(c)(1)" in shown
    assert reverse("admin:calls_call_change", args=[call.pk]) in html
    assert person.number not in html
    assert "Jane +1415•••••" in shown
    assert person.number in staff("view_campaigncontact", "view_numbers").get(page(person)).content.decode()


def test_of_somebody_who_is_done_it_is_said_that_nobody_rings_them(make):  # noqa: F811
    person = make.campaign().people.get()
    client = staff("view_campaigncontact")
    assert "This person is done" not in client.get(page(person)).content.decode()
    person.state, person.next_due = "done", None
    person.save()
    assert "This person is done: this campaign does not ring them again" in client.get(page(person)).content.decode()


def test_a_whole_number_finds_its_people_for_those_who_may_see_it(make):  # noqa: F811
    campaign = make.campaign(make.people(3, name="Jane"))
    first, *others = campaign.people.all()
    written = f"{first.number[:2]} ({first.number[2:5]}) {first.number[5:]}"
    found = staff("view_campaigncontact", "view_numbers").get(LIST, {"q": written}).content.decode()
    assert first.number in found
    assert not any(each.number in found for each in others)
    blind = staff("view_campaigncontact")
    for query in (first.number, first.number[:8]):
        assert page(first) not in blind.get(LIST, {"q": query}).content.decode()
    assert page(first) in blind.get(LIST, {"q": "jane"}).content.decode()
    assert page(first) in staff("view_campaigncontact", "view_numbers").get(LIST, {"q": "jane"}).content.decode()

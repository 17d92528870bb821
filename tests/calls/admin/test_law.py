"""The law in the admin: what is shipped is read, what is added narrows, each by its permission."""

import datetime
import re

import pytest
from django.test import Client

from calls.admin.law import shipped, written_week
from calls.campaigns import law
from calls.models import Campaign, CampaignRound, Holiday, LegalWindow
from tests import factories
from tests.calls.campaigns.conftest import make  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

WINDOWS, HOLIDAYS = "/admin/calls/legalwindow/", "/admin/calls/holiday/"


def form(**changes):
    days = {f"day_{at}": "9:00-17:30" for at in range(5)} | {"day_5": "", "day_6": ""}
    return {"place": "US-NY", "source": "a new law", "looked_up": "2026-11-20", "note": ""} | days | changes


def text_of(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_a_week_is_written_for_a_reader():
    assert written_week([[[540, 720], [780, 1080]]] * 5 + [[[540, 720]], []]) == (
        "Mon-Fri 9:00-12:00, 13:00-18:00; Sat 9:00-12:00; Sun none"
    )


def test_the_page_lists_what_is_shipped_with_source_and_date_and_what_was_added(admin_page):
    LegalWindow.objects.create(place="DE", week=[[[600, 960]]] * 7, source="our own rule", note="a promise")
    shown = text_of(admin_page.get(WINDOWS))
    assert "US-FL Mon-Sun 8:00-20:00 Florida Telephone Solicitation Act 23 Nov 2026" in shown
    assert "Every other country Mon-Fri 9:00-20:00; Sat 10:00-17:00; Sun none" in shown
    assert "AU Mon-Fri 9:00-20:00; Sat 9:00-17:00; Sun none; public holidays none" in shown
    assert "public holidays none; at most 4 calls for promotion in 30 days" in shown
    assert "our own rule" in shown
    assert len(shipped()) == len(law.CEILINGS) + 2


def test_hours_are_added_and_changed_as_people_write_them(admin_page):
    empty = text_of(admin_page.get(WINDOWS))
    assert "You have added none" in empty
    assert "What holds without you" in empty
    admin_page.post(f"{WINDOWS}add/", form())
    row = LegalWindow.objects.get()
    assert (row.place, row.looked_up) == ("US-NY", datetime.date(2026, 11, 20))
    assert row.week == [[[540, 1050]]] * 5 + [[], []]
    page = f"{WINDOWS}{row.pk}/change/"
    assert 'value="9:00-17:30"' in admin_page.get(page).content.decode()
    admin_page.post(page, form(day_0=""))
    row.refresh_from_db()
    assert row.week[:2] == [[], [[540, 1050]]]
    assert row.history.count() == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"day_2": "nine to five"}, "Write it as 9:00-12:00, 13:00-18:00."),
        ({"place": "Florida"}, "Select a valid choice"),
        ({"source": ""}, "This field is required"),
    ],
)
def test_what_cannot_be_read_is_said_at_its_field(admin_page, changes, why):
    assert why in text_of(admin_page.post(f"{WINDOWS}add/", form(**changes)))
    assert not LegalWindow.objects.exists()


def test_a_holiday_is_added_once_for_its_place_with_who_did(admin_page, superuser):
    assert "countries whose holidays are not known" in text_of(admin_page.get(HOLIDAYS))
    day = {"date": "2026-12-24", "place": "", "name": "Christmas Eve"}
    admin_page.post(f"{HOLIDAYS}add/", day)
    row = Holiday.objects.get()
    assert (row.place, row.added_by) == ("", superuser)
    assert "already exists" in text_of(admin_page.post(f"{HOLIDAYS}add/", day))
    admin_page.post(f"{HOLIDAYS}add/", day | {"place": "US-NY"})
    assert "Christmas Eve Everywhere" in text_of(admin_page.get(HOLIDAYS))
    assert Holiday.objects.count() == 2


def test_whoever_may_look_may_not_add():
    client = Client()
    client.force_login(factories.UserFactory(permissions=["calls.view_legalwindow", "calls.view_holiday"]))
    assert client.get(WINDOWS).status_code == client.get(HOLIDAYS).status_code == 200
    assert client.post(f"{WINDOWS}add/", form()).status_code == 403
    assert client.post(f"{HOLIDAYS}add/", {}).status_code == 403


def test_after_a_change_of_the_law_people_of_all_campaigns_that_go_on_are_looked_at_again(admin_page, make):  # noqa: F811
    running, paused, _ = make.campaign(), make.campaign(), make.campaign(launched=False)
    Campaign.objects.filter(pk=paused.pk).update(status="paused")

    def post(address, data):
        CampaignRound.objects.all().delete()
        admin_page.post(address, data)
        return {each.campaign for each in CampaignRound.objects.filter(kind="changed")} == {running, paused}

    assert post(f"{WINDOWS}add/", form())
    row = LegalWindow.objects.get()
    assert post(f"{WINDOWS}{row.pk}/change/", form(day_0=""))
    assert post(f"{WINDOWS}{row.pk}/delete/", {"post": "yes"})
    assert post(f"{HOLIDAYS}add/", {"date": "2026-12-24", "place": "US", "name": "ours"})
    chosen = {"action": "delete_selected", "_selected_action": Holiday.objects.get().pk, "post": "yes"}
    assert post(HOLIDAYS, chosen)
    assert not Holiday.objects.exists()

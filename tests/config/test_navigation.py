"""The start page, the sidebar and empty lists: what is there, for whom, and what to do first."""

import pytest
import redis
from django.apps import apps
from django.contrib import admin
from django.test import Client
from django.urls import reverse
from django.utils.html import strip_tags

from calls.admission import StreamLoad
from config import navigation
from config.navigation import NAVIGATION
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

PAGES = [item for group in NAVIGATION for item in group["items"]]
OURS = [model for model in admin.site._registry if model._meta.app_label in {"agents", "calls"}]


def list_of(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=list(permissions)))
    return client


def test_the_start_page_says_what_each_page_is_for(admin_page):
    html = admin_page.get("/admin/").content.decode()
    for page in PAGES:
        assert html.count(f'href="{page["link"]}"') == 2, page["title"]  # in the sidebar and on the page
        assert page["description"] in html


def test_the_start_page_and_the_sidebar_offer_what_a_user_may_see_and_nothing_else():
    html = staff("calls.view_call", "agents.change_agent").get("/admin/").content.decode()
    offered = {page["title"] for page in PAGES if f'href="{page["link"]}"' in html}
    assert offered == {"Call log", "Agents"}


LOADS = {
    "host-1": StreamLoad(live_calls=3),
    "host-2": StreamLoad(live_calls=8, max_calls=8),
    "host-3": StreamLoad(live_calls=40, lag_ms=312.4),
    "host-4": StreamLoad(live_calls=1, draining=True),
}


def text_of(html: str) -> str:
    return " ".join(strip_tags(html).split())


def test_the_start_page_shows_what_each_stream_process_carries_and_why_one_takes_no_call(monkeypatch):
    monkeypatch.setattr(navigation, "published_loads", lambda: LOADS)
    shown = text_of(staff("calls.view_call").get("/admin/").content.decode())
    for row in (
        "host-1 3 until 200 ms late 0 ms Yes",
        "host-2 8 8 0 ms No: it is full",
        "host-3 40 until 200 ms late 312 ms No: it runs too late",
        "host-4 1 until 200 ms late 0 ms No: it is about to stop",
    ):
        assert row in shown
    assert "host-1" not in text_of(staff("agents.view_agent").get("/admin/").content.decode())


def test_the_start_page_says_when_no_call_can_be_taken_or_nobody_knows(monkeypatch):
    monkeypatch.setattr(navigation, "published_loads", dict)
    assert "No stream process is running" in text_of(staff("calls.view_call").get("/admin/").content.decode())

    def gone() -> None:
        raise redis.ConnectionError

    monkeypatch.setattr(navigation, "published_loads", gone)
    assert "Redis does not answer" in text_of(staff("calls.view_call").get("/admin/").content.decode())


def test_who_may_see_nothing_is_told_so():
    assert "may not see anything yet" in staff().get("/admin/").content.decode()
    assert "may not see anything yet" not in staff("calls.view_call").get("/admin/").content.decode()


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_an_empty_list_says_what_to_do(admin_page, model):
    assert model.objects.count() == 0
    html = admin_page.get(list_of(model)).content.decode()
    assert str(admin.site._registry[model].nothing_yet) in html.replace("&#x27;", "'")
    assert "Nothing matches" not in html


def test_a_search_without_a_match_offers_the_way_back(admin_page):
    factories.AgentFactory(name="Front desk")
    html = admin_page.get(list_of(apps.get_model("agents", "Agent")), {"q": "nobody"}).content.decode()
    assert "Nothing matches the search and the filters." in html
    assert "No agents yet" not in html

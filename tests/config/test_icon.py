"""The icon of the browser's tab: what a browser asks for by itself, and what the admin's pages point at."""

from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage
from django.test import Client

ICON = "agents/favicon.ico"


def found(url: str) -> bytes:
    return Path(finders.find(url.removeprefix("/static/"))).read_bytes()


def test_a_browser_that_asks_for_the_icon_by_itself_gets_one():
    response = Client().get("/favicon.ico")
    assert (response.status_code, response["Location"]) == (302, f"/static/{ICON}")
    assert found(response["Location"]).startswith(b"\0\0\1\0"), "no icon file"


def test_the_icon_is_found_under_the_name_that_collectstatic_gave_it(monkeypatch):
    monkeypatch.setattr(StaticFilesStorage, "url", lambda _self, name: f"/static/{name}?hash")
    assert Client().get("/favicon.ico")["Location"] == f"/static/{ICON}?hash"


@pytest.mark.db
@pytest.mark.django_db
def test_every_page_of_the_admin_links_the_icon(admin_page):
    for client, address in ((Client(), "/admin/login/"), (admin_page, "/admin/")):
        html = " ".join(client.get(address).content.decode().split())
        assert '<link rel="icon" href="/static/agents/icon.svg" type="image/svg+xml"' in html
        assert '<link rel="icon" href="/static/agents/favicon.ico" sizes="32x32"' in html
    assert found("/static/agents/icon.svg").startswith(b"<svg")

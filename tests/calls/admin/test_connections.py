"""Phone numbers, Plivo accounts and the edge in the admin: pages, write-only tokens, permissions."""

import datetime

import pytest
from django.test import Client
from django.urls import reverse

from calls import phone
from calls.models import EdgeRefusal, PhoneNumber, PlivoAccount, WebhookEvent
from calls.telephony.base import CarrierError, Failure
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

TOKEN = "canary-token-778899"
AUTH_ID = "MA" + "B" * 18


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=list(permissions)))
    return client


def form(**changes):
    return {"name": "Main", "auth_id": AUTH_ID, "auth_token": TOKEN, "api_url": "", **changes}


def test_a_token_goes_in_and_never_comes_out(admin_page):
    admin_page.post("/admin/calls/plivoaccount/add/", form())
    account = PlivoAccount.objects.get()
    assert (str(account.auth_token), account.token_hint) == (TOKEN, "8899")
    address = reverse("admin:calls_plivoaccount_change", args=[account.pk])
    for page in (address, "/admin/calls/plivoaccount/", reverse("admin:calls_plivoaccount_history", args=[account.pk])):
        assert TOKEN not in admin_page.get(page).content.decode()
    admin_page.post(address, form(name="Renamed", auth_token=""))
    account.refresh_from_db()
    assert (account.name, str(account.auth_token)) == ("Renamed", TOKEN)


def test_an_account_needs_a_token_and_a_well_formed_id(admin_page):
    html = admin_page.post("/admin/calls/plivoaccount/add/", form(auth_token="", auth_id="XX1")).content.decode()
    assert "Copy the auth token" in html
    assert "MA or SA and 18 capital letters or digits." in html
    assert not PlivoAccount.objects.exists()


def test_only_those_who_may_test_a_connection(monkeypatch):
    account = factories.PlivoAccountFactory()
    asked = []
    monkeypatch.setattr(phone, "test_account", lambda each: asked.append(each) or (False, "Plivo says no."))
    address = f"/admin/calls/plivoaccount/{account.pk}/test/"
    staff("calls.view_plivoaccount").get(address)
    assert asked == []
    html = staff("calls.view_plivoaccount", "calls.test_plivoaccount").get(address, follow=True).content.decode()
    assert asked == [account]
    assert "Plivo says no." in html


def test_a_numbers_page_shows_what_plivo_must_call(admin_page, settings):
    number = factories.PhoneNumberFactory()
    html = admin_page.get(reverse("admin:calls_phonenumber_change", args=[number.pk])).content.decode()
    for path in ("/plivo/answer/", "/plivo/hangup/", "/plivo/fallback/"):
        assert settings.PUBLIC_URL + path in html


def test_a_number_that_is_no_number_is_refused(admin_page):
    account = factories.PlivoAccountFactory()
    for wrong in ("0123", "+1415<+1900", "sip:a@b", "+1 415 555 0100"):
        admin_page.post("/admin/calls/phonenumber/add/", {"number": wrong, "plivo_account": account.pk})
    assert not PhoneNumber.objects.exists()


def test_connecting_says_what_went_wrong(admin_page, monkeypatch):
    def refuse(_number):
        raise CarrierError(Failure.UNREACHABLE)

    monkeypatch.setattr(phone, "connect_number", refuse)
    number = factories.PhoneNumberFactory()
    html = admin_page.get(f"/admin/calls/phonenumber/{number.pk}/connect/", follow=True).content.decode()
    assert "Plivo could not be reached" in html


def test_numbers_are_fetched_for_every_account_only_by_those_who_may_change_them(monkeypatch):
    factories.PlivoAccountFactory.create_batch(2)
    none = phone.Synced(added=0, known=0, gone=0)
    asked = []
    monkeypatch.setattr(phone, "sync_numbers", lambda account: asked.append(account) or none)
    staff("calls.view_phonenumber").get("/admin/calls/phonenumber/fetch/")
    assert asked == []
    staff("calls.view_phonenumber", "calls.change_phonenumber").get("/admin/calls/phonenumber/fetch/")
    assert len(asked) == 2


def test_webhooks_show_masked_numbers_to_those_who_may_not_see_them():
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    event = WebhookEvent.objects.create(
        kind="answer", nonce="n", body_sha256="x", params={"From": "+14155550123", "Event": "StartApp"}, received_at=now
    )
    address = reverse("admin:calls_webhookevent_change", args=[event.pk])
    assert "+14155550123" not in staff("calls.view_webhookevent").get(address).content.decode()
    assert "+14155550123" in staff("calls.view_webhookevent", "calls.view_numbers").get(address).content.decode()


def test_refusals_show_their_remedy(admin_page):
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    refusal = EdgeRefusal.objects.create(edge="stream", reason="signature", minute=now, remedy="Check PUBLIC_URL.")
    assert "Check PUBLIC_URL." in admin_page.get("/admin/calls/edgerefusal/").content.decode()
    assert admin_page.get(reverse("admin:calls_edgerefusal_change", args=[refusal.pk])).status_code == 200

"""Phone numbers, Plivo accounts and the edge in the admin: pages, write-only tokens, permissions."""

import datetime

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from calls import phone
from calls.admin.phone_number import CONNECT
from calls.admin.plivo_account import TEST
from calls.models import EdgeRefusal, PhoneNumber, PlivoAccount, WebhookEvent
from calls.telephony.base import CarrierError, Failure
from tests import factories
from tests.conftest import LOST_KEYS

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


def test_a_stored_token_is_said_to_be_there_even_without_a_hint(admin_page, account):
    account.token_hint = ""
    assert admin.site._registry[PlivoAccount].show_token(account) == "stored"
    assert "Stored token" in admin_page.get(account_page(account)).content.decode()
    assert "Stored token" not in admin_page.get("/admin/calls/plivoaccount/add/").content.decode()


def test_the_list_tells_a_simulated_network_from_plivo(admin_page, account):
    columns = admin.site._registry[PlivoAccount]
    assert columns.show_network(account) == "Plivo"
    account.is_sandbox = True
    assert columns.show_network(account) == "Sandbox"


def test_an_account_needs_a_token_and_a_well_formed_id(admin_page):
    html = admin_page.post("/admin/calls/plivoaccount/add/", form(auth_token="", auth_id="XX1")).content.decode()
    assert "Copy the auth token" in html
    assert "MA or SA and 18 capital letters or digits." in html
    assert not PlivoAccount.objects.exists()


@pytest.mark.parametrize("token", ["with blanks in it", "“quoted-by-a-mail”", "tokén-0123456789"])
@pytest.mark.django_db(transaction=True)
def test_what_cannot_be_a_token_is_refused_by_the_form_and_never_sent(admin_page, account, settings, token):
    html = admin_page.post(account_page(account), form(auth_token=token)).content.decode()
    assert "This is no auth token" in html
    assert token not in html
    account.auth_token = ""
    account.save()
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = AUTH_ID, token
    tested = admin_page.post(account_page(account), form(auth_token="") | {TEST: ""}, follow=True).content.decode()
    assert "copy both again from Plivo&#x27;s console" in tested


@pytest.mark.parametrize("moved", [{"api_url": "https://collector.example.com"}, {"auth_id": "MA" + "C" * 18}])
@pytest.mark.parametrize("hint", ["8899", ""])
def test_a_stored_token_is_not_sent_to_another_address_or_account(admin_page, account, moved, hint):
    PlivoAccount.objects.update(auth_token=TOKEN, token_hint=hint, test_ok=True, test_message="Connected.")
    html = admin_page.post(account_page(account), form(auth_token="", **moved)).content.decode()
    assert "Enter the token again" in html
    row = PlivoAccount.objects.get()
    assert (row.auth_id, row.api_url, row.test_ok) == (AUTH_ID, "", True)
    assert admin_page.post(account_page(account), form(auth_token="another-token-4321", **moved)).status_code == 302
    row = PlivoAccount.objects.get()
    assert (str(row.auth_token), row.test_ok, row.test_message) == ("another-token-4321", None, "")


def test_renaming_an_account_keeps_what_its_test_found(admin_page, account):
    PlivoAccount.objects.update(test_ok=True, test_message="Connected.")
    admin_page.post(account_page(account), form(name="Renamed", auth_token=""))
    row = PlivoAccount.objects.get()
    assert (row.name, row.test_ok, row.test_message) == ("Renamed", True, "Connected.")


def test_the_environments_token_serves_its_account_at_the_installations_address_alone(admin_page, settings):
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = AUTH_ID, TOKEN
    account = phone.environment_account()
    page = admin_page.get(account_page(account)).content.decode()
    assert "from the environment" in page
    assert admin_page.post(account_page(account), form(name="Renamed", auth_token="")).status_code == 302
    elsewhere = form(auth_token="", api_url="https://collector.example.com")
    assert "Copy the auth token" in admin_page.post(account_page(account), elsewhere).content.decode()
    assert PlivoAccount.objects.get().api_url == ""


def test_the_environments_account_is_listed_and_offered_to_a_number_before_any_webhook_has_come(admin_page, settings):
    settings.PLIVO_AUTH_ID, settings.PLIVO_AUTH_TOKEN = AUTH_ID, TOKEN
    for page in ("/admin/calls/plivoaccount/", "/admin/calls/phonenumber/add/"):
        PlivoAccount.objects.all().delete()
        assert f"{AUTH_ID} (environment)" in admin_page.get(page).content.decode(), page


def test_who_may_only_look_at_an_account_does_not_see_its_token(account):
    html = staff("calls.view_plivoaccount").get(account_page(account)).content.decode()
    assert "Stored token" in html
    assert str(account.auth_token) not in html


FETCH = "/admin/calls/phonenumber/fetch/"
MAY_TEST = ("calls.view_plivoaccount", "calls.change_plivoaccount", "calls.test_plivoaccount")
MAY_CONNECT = ("calls.view_phonenumber", "calls.change_phonenumber")
MAY_FETCH = (*MAY_CONNECT, "calls.add_phonenumber")


@pytest.fixture
def sent(monkeypatch):
    """What Plivo would have been asked for, in order; Plivo refuses the test and grants the rest."""
    asked: list[tuple[str, object]] = []
    synced = phone.Synced(added=0, known=0, gone=0)
    monkeypatch.setattr(phone, "test_account", lambda row: asked.append(("test", row)) or (False, "Plivo says no."))
    monkeypatch.setattr(phone, "connect_number", lambda row: asked.append(("connect", row)) or "Plivo calls us now.")
    monkeypatch.setattr(phone, "sync_numbers", lambda row: asked.append(("fetch", row)) or synced)
    return asked


@pytest.fixture
def account():
    return factories.PlivoAccountFactory(name="Main", auth_id=AUTH_ID)


@pytest.fixture
def number(account):
    return factories.PhoneNumberFactory(plivo_account=account)


def account_page(account: PlivoAccount) -> str:
    return reverse("admin:calls_plivoaccount_change", args=[account.pk])


def number_page(number: PhoneNumber) -> str:
    return reverse("admin:calls_phonenumber_change", args=[number.pk])


@pytest.mark.django_db(transaction=True)
def test_the_button_tests_the_account_as_it_was_just_saved(account, sent):
    client = staff(*MAY_TEST)
    assert TEST in client.get(account_page(account)).content.decode()
    response = client.post(account_page(account), form(name="Renamed") | {TEST: ""}, follow=True)
    assert [(what, row.name, str(row.auth_token)) for what, row in sent] == [("test", "Renamed", TOKEN)]
    assert response.redirect_chain[-1][0] == account_page(account)
    assert "Plivo says no." in response.content.decode()


@pytest.mark.django_db(transaction=True)
def test_the_button_connects_the_number_and_stays_on_its_page(number, sent):
    client = staff(*MAY_CONNECT)
    assert CONNECT in client.get(number_page(number)).content.decode()
    response = client.post(number_page(number), {"alias": "Front door", CONNECT: ""}, follow=True)
    assert [(what, row.alias) for what, row in sent] == [("connect", "Front door")]
    assert response.redirect_chain[-1][0] == number_page(number)
    assert "Plivo calls us now." in response.content.decode()


def test_the_button_above_the_list_fetches_the_numbers_of_every_account(account, sent):
    other = factories.PlivoAccountFactory()
    client = staff(*MAY_FETCH)
    assert f'action="{FETCH}"' in client.get("/admin/calls/phonenumber/").content.decode()
    html = client.post(FETCH, follow=True).content.decode()
    assert sent == [("fetch", account), ("fetch", other)]
    assert "Main: 0 new numbers, 0 known, 0 gone." in html


def test_fetching_without_an_account_says_where_to_add_one(admin_page):
    assert "There is no Plivo account yet" in admin_page.post(FETCH, follow=True).content.decode()


@pytest.mark.django_db(transaction=True)
def test_a_link_changes_nothing_and_sends_nothing(admin_page, account, number, sent):
    assert admin_page.get(FETCH).status_code == 405
    for address in (
        f"/admin/calls/plivoaccount/{account.pk}/test/",
        f"/admin/calls/phonenumber/{number.pk}/connect/",
        f"{account_page(account)}?{TEST}=",
        f"{number_page(number)}?{CONNECT}=",
    ):
        admin_page.get(address, follow=True)
    assert sent == []


def test_no_button_of_ours_acts_on_a_link():
    """The theme's other buttons are links: what they call, a foreign page or a prefetch could call too."""
    for model, model_admin in admin.site._registry.items():
        for kind in ("actions_list", "actions_row", "actions_detail"):
            assert not getattr(model_admin, kind, ()), f"{model.__name__}: {kind}"


@pytest.mark.django_db(transaction=True)
def test_another_site_cannot_press_a_button(account, number, sent):
    client = Client(enforce_csrf_checks=True)
    client.force_login(factories.UserFactory(is_superuser=True))
    assert client.post(account_page(account), form() | {TEST: ""}).status_code == 403
    assert client.post(number_page(number), {"alias": "", CONNECT: ""}).status_code == 403
    assert client.post(FETCH).status_code == 403
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_who_may_not_press_a_button_does_not_see_it_and_sends_nothing(account, number, sent):
    looks_only = staff("calls.view_plivoaccount", "calls.view_phonenumber", "calls.test_plivoaccount")
    assert TEST not in looks_only.get(account_page(account)).content.decode()
    assert looks_only.post(account_page(account), form() | {TEST: ""}).status_code == 403
    assert CONNECT not in looks_only.get(number_page(number)).content.decode()
    assert looks_only.post(number_page(number), {"alias": "", CONNECT: ""}).status_code == 403
    for client in (looks_only, staff(*MAY_CONNECT)):
        assert FETCH not in client.get("/admin/calls/phonenumber/").content.decode()
        assert client.post(FETCH).status_code == 403
    assert sent == []


@pytest.mark.django_db(transaction=True)
def test_who_may_change_an_account_but_not_test_it_saves_it_and_sends_nothing(account, sent):
    client = staff("calls.view_plivoaccount", "calls.change_plivoaccount")
    assert TEST not in client.get(account_page(account)).content.decode()
    assert client.post(account_page(account), form(name="Renamed") | {TEST: ""}).status_code == 302
    account.refresh_from_db()
    assert (account.name, sent) == ("Renamed", [])


@pytest.mark.django_db(transaction=True)
def test_a_lost_encryption_key_takes_no_page_away_and_the_token_can_be_entered_again(admin_page, number, settings):
    account, found = number.plivo_account, "cannot be decrypted"
    call = factories.CallFactory(phone_number=number, plivo_account=account)
    settings.ENCRYPTION_KEYS = LOST_KEYS
    for url in (
        "/admin/calls/plivoaccount/",
        account_page(account),
        reverse("admin:calls_plivoaccount_history", args=[account.pk]),
        "/admin/calls/phonenumber/",
        "/admin/calls/phonenumber/add/",
        number_page(number),
        reverse("admin:calls_phonenumber_history", args=[number.pk]),
        reverse("admin:calls_call_change", args=[call.pk]),
    ):
        assert admin_page.get(url).status_code == 200, url
    added = {"number": "+15550001234", "alias": "", "plivo_account": str(account.pk)}
    assert admin_page.post("/admin/calls/phonenumber/add/", added).status_code == 302
    for url, sent in (
        (FETCH, {}),
        (number_page(number), {"alias": "Front door", CONNECT: ""}),
        (account_page(account), form(name="Renamed", auth_token="") | {TEST: ""}),
    ):
        assert found in admin_page.post(url, sent, follow=True).content.decode(), url
    number.refresh_from_db()
    assert (number.alias, PlivoAccount.objects.get().name) == ("Front door", "Renamed")
    assert admin_page.post(account_page(account), form()).status_code == 302
    assert str(PlivoAccount.objects.get().auth_token) == TOKEN


def test_the_numbers_take_the_same_queries_however_many_accounts_they_have(admin_page, django_assert_num_queries):
    factories.PhoneNumberFactory()
    admin_page.get("/admin/calls/phonenumber/")
    with CaptureQueriesContext(connection) as few:
        admin_page.get("/admin/calls/phonenumber/")
    factories.PhoneNumberFactory.create_batch(5)
    with django_assert_num_queries(len(few)):
        admin_page.get("/admin/calls/phonenumber/")


def test_a_numbers_page_shows_what_plivo_must_call(admin_page, settings, number):
    html = admin_page.get(number_page(number)).content.decode()
    for path in ("/plivo/answer/", "/plivo/hangup/", "/plivo/fallback/"):
        assert settings.PUBLIC_URL + path in html


def test_a_number_that_is_no_number_is_refused(admin_page):
    account = factories.PlivoAccountFactory()
    for wrong in ("0123", "+1415<+1900", "sip:a@b", "+1 415 555 0100"):
        admin_page.post("/admin/calls/phonenumber/add/", {"number": wrong, "plivo_account": account.pk})
    assert not PhoneNumber.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_connecting_says_what_went_wrong(admin_page, number, monkeypatch):
    def refuse(_number):
        raise CarrierError(Failure.UNREACHABLE)

    monkeypatch.setattr(phone, "connect_number", refuse)
    html = admin_page.post(number_page(number), {"alias": "", CONNECT: ""}, follow=True).content.decode()
    assert "Plivo could not be reached" in html


def webhook() -> WebhookEvent:
    return WebhookEvent.objects.create(
        kind="answer",
        nonce="n",
        body_sha256="x",
        params={"From": "+14155550123", "Event": "StartApp"},
        received_at=datetime.datetime(2026, 3, 1, 9, 8, 7, tzinfo=datetime.UTC),
    )


def test_webhooks_show_masked_numbers_to_those_who_may_not_see_them():
    address = reverse("admin:calls_webhookevent_change", args=[webhook().pk])
    assert "+14155550123" not in staff("calls.view_webhookevent").get(address).content.decode()
    assert "From: +14155550123" in staff("calls.view_webhookevent", "calls.view_numbers").get(address).content.decode()


def test_webhooks_are_told_apart_by_the_second(admin_page):
    webhook()
    assert "01 Mar 2026, 09:08:07" in admin_page.get("/admin/calls/webhookevent/").content.decode()


def test_what_only_machines_write_offers_no_history_of_edits(admin_page, number):
    assert "/history/" in admin_page.get(number_page(number)).content.decode()
    address = reverse("admin:calls_webhookevent_change", args=[webhook().pk])
    assert "/history/" not in admin_page.get(address).content.decode()


def test_refusals_show_their_remedy(admin_page):
    now = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
    refusal = EdgeRefusal.objects.create(
        edge="stream",
        reason="signature",
        minute=now,
        remedy="Check PUBLIC_URL.",
        sample={"tried": ["wss://a", "wss://b"]},
    )
    assert "Check PUBLIC_URL." in admin_page.get("/admin/calls/edgerefusal/").content.decode()
    html = admin_page.get(reverse("admin:calls_edgerefusal_change", args=[refusal.pk])).content.decode()
    assert "tried: wss://a, wss://b" in html


def test_a_number_whose_callers_would_be_turned_away_says_so_when_it_is_saved(admin_page, number):
    draft, published = factories.AgentFactory(name="Draft desk"), factories.AgentVersionFactory().agent
    published.published_version = published.versions.get()
    published.save()

    def saved(agent: str) -> str:
        return admin_page.post(number_page(number), {"alias": "", "agent": agent}, follow=True).content.decode()

    assert f"No agent answers {number.number}" in saved("")
    assert "Draft desk was never published" in saved(str(draft.pk))
    assert "turned away" not in saved(str(published.pk))

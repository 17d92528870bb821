"""API keys and test numbers in the admin: a key and a code are shown once, each to whoever may have it."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls import verifying
from calls.api import keys
from calls.models import ApiKey, Call, Contact, OneOffCall, VerifiedNumber
from tests import factories
from tests.calls.campaigns.conftest import NOON, make  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

KEYS, NUMBERS = "/admin/calls/apikey/", "/admin/calls/verifiednumber/"
ANNA = "+14155552671"


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch):
    monkeypatch.setattr(timezone, "now", lambda: NOON)


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=[f"calls.{name}" for name in permissions]))
    return client


def key_form(**changes):
    return {"name": "CRM", "can_read": "on"} | changes


# --- keys ------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_and_never_again(admin_page, superuser):
    assert "No keys yet." in admin_page.get(KEYS).content.decode()
    response = admin_page.post(f"{KEYS}add/", key_form(can_call="on", countries=["US", "DE"]))
    (key,) = re.findall(r'value="(parley_[^"]+)"', response.content.decode())
    row = keys.find(key, now=NOON)
    assert row is not None
    assert (row.can_read, row.can_call, row.can_opt_out, row.countries) == (True, True, False, ["US", "DE"])
    assert row.created_by == superuser
    assert "no-store" in response["Cache-Control"]
    assert set(response.cookies) <= {"csrftoken"}
    for address in (KEYS, f"{KEYS}{row.pk}/change/", f"{KEYS}{row.pk}/history/"):
        html = admin_page.get(address).content.decode()
        assert key not in html
        assert row.key_hash not in html
    assert key not in str(list(LogEntry.objects.values()))
    assert row.prefix in admin_page.get(KEYS).content.decode()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"can_call": "on"}, "Choose the countries that it may have called."),
        ({"can_call": "on", "countries": ["XX"]}, "Select a valid choice"),
        ({"name": ""}, "This field is required"),
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(admin_page, changes, why):
    assert why in admin_page.post(f"{KEYS}add/", key_form(**changes)).content.decode()
    assert not ApiKey.objects.exists()


def test_nobody_gives_a_program_what_they_may_not_do_themselves():
    maker = staff("add_apikey", "view_apikey", "change_apikey", "view_call")
    html = maker.post(f"{KEYS}add/", key_form(can_see_numbers="on", can_opt_out="on")).content.decode()
    assert html.count("You may not do this yourself.") == 2
    maker.post(f"{KEYS}add/", key_form())
    row = ApiKey.objects.get()
    ApiKey.objects.update(can_opt_out=True)
    maker.post(f"{KEYS}{row.pk}/change/", key_form(name="Shop", can_opt_out="on"))
    row.refresh_from_db()
    assert (row.name, row.can_opt_out) == ("Shop", True), "what it may already do stays"


def test_other_countries_of_a_key_that_calls_are_for_those_who_may_launch():
    changer = ("add_apikey", "view_apikey", "change_apikey")
    row = ApiKey(name="CRM", can_call=True, countries=["US"])
    keys.give(row)
    row.save()
    address, wider = f"{KEYS}{row.pk}/change/", key_form(can_read="", can_call="on", countries=["US", "DE"])
    assert "You may not do this yourself." in staff(*changer).post(address, wider).content.decode()
    staff(*changer).post(address, wider | {"name": "Shop", "countries": ["US"]})
    row.refresh_from_db()
    assert (row.name, row.countries) == ("Shop", ["US"])
    staff(*changer, "launch_campaign").post(address, wider)
    row.refresh_from_db()
    assert row.countries == ["US", "DE"]


def test_a_key_is_revoked_for_good_by_those_who_may(admin_page):
    row = ApiKey(name="CRM", can_read=True)
    key = keys.give(row)
    row.save()
    revoke = reverse("admin:calls_apikey_revoke", args=[row.pk])
    assert staff("view_apikey").post(revoke).status_code == 403
    assert admin_page.get(revoke).status_code == 405
    assert keys.find(key, now=NOON)
    assert "Revoke this key" in admin_page.get(f"{KEYS}{row.pk}/change/").content.decode()
    html = admin_page.post(revoke, follow=True).content.decode()
    assert keys.find(key, now=NOON) is None
    assert "Revoke this key" not in html
    assert admin_page.post(f"{KEYS}{row.pk}/change/", key_form(name="Again")).status_code == 403
    assert admin_page.get(f"{KEYS}{row.pk}/delete/").status_code == 403
    assert "Revoked" in admin_page.get(KEYS).content.decode()


def test_an_older_state_of_a_key_can_be_read_and_not_written_back(admin_page):
    row = ApiKey(name="CRM", countries=["US"])
    keys.give(row)
    row.save()
    address = reverse("admin:calls_apikey_simple_history", args=[row.pk, row.history.get().pk])
    html = admin_page.get(address).content.decode()
    assert "This is how it was." in html
    assert row.key_hash not in html
    assert admin_page.post(address, key_form()).status_code == 405


# --- test numbers ----------------------------------------------------------------------------------------------------


def own(client, **fields) -> VerifiedNumber:
    user_id = client.session["_auth_user_id"]
    defaults = {"number": ANNA, "country": "US", "zones": ["America/New_York"], "region": "NY"}
    return VerifiedNumber.objects.create(user_id=user_id, **(defaults | fields))


def test_a_number_is_added_rung_and_its_code_shown(admin_page, superuser, monkeypatch):
    assert "No test number yet." in admin_page.get(NUMBERS).content.decode()
    caller = factories.PhoneNumberFactory()
    html = admin_page.post(
        f"{NUMBERS}add/", {"number": "+1 415 555 2671", "time_zone": "america/new_york", "region": "NY"}, follow=True
    ).content.decode()
    number = VerifiedNumber.objects.get()
    assert (number.user, number.number, number.time_zone) == (superuser, ANNA, "America/New_York")
    assert f'<option value="{caller.number}">' in html
    ring = reverse("admin:calls_verifiednumber_ring", args=[number.pk])
    response = admin_page.post(ring, {"caller": caller.number})
    (code,) = re.findall(r'aria-label="Code">(\d{6})<', response.content.decode())
    number.refresh_from_db()
    assert verifying._hashed(number, number.call, code) == number.code_hash
    assert "no-store" in response["Cache-Control"]
    assert 'data-status="running"' in response.content.decode()
    standing = reverse("admin:calls_verifiednumber_standing", args=[number.pk])
    assert code not in admin_page.get(standing).content.decode()
    VerifiedNumber.objects.update(verified_at=NOON)
    assert "The number is confirmed." in admin_page.get(standing).content.decode()
    assert "under way" in admin_page.post(ring, {"caller": caller.number}, follow=True).content.decode()
    assert admin_page.post(ring, {"caller": "+1"}).status_code == 404


@pytest.mark.parametrize(
    ("changes", "why"),
    [({"number": "415"}, "This cannot be called"), ({"number": "+19005550123"}, "This cannot be called"),
     ({"time_zone": "EST"}, "not a time zone"), ({"number": ANNA}, "one of your test numbers already")],
)  # fmt: skip
def test_what_is_wrong_with_a_number_is_said(admin_page, changes, why):
    own(admin_page)
    data = {"number": "+14155552672", "time_zone": "", "region": ""} | changes
    assert why in admin_page.post(f"{NUMBERS}add/", data).content.decode()
    assert VerifiedNumber.objects.count() == 1


def test_everybody_sees_and_rings_their_own_numbers_only(admin_page):
    other = staff("view_verifiednumber", "change_verifiednumber")
    number = own(admin_page)
    caller = factories.PhoneNumberFactory()
    assert ANNA not in other.get(NUMBERS).content.decode()
    for name in ("ring", "standing"):
        address = reverse(f"admin:calls_verifiednumber_{name}", args=[number.pk])
        response = other.post(address, {"caller": caller.number}) if name == "ring" else other.get(address)
        assert response.status_code == 404
    looks = staff("view_verifiednumber")
    address = reverse("admin:calls_verifiednumber_ring", args=[own(looks).pk])
    assert looks.post(address, {"caller": caller.number}).status_code == 403
    assert not Call.objects.exists()


def test_saving_a_number_takes_nothing_back_that_its_call_has_brought(admin_page):
    number = own(admin_page)
    VerifiedNumber.objects.update(verified_at=NOON)
    admin_page.post(f"{NUMBERS}{number.pk}/change/", {"number": "+14155552672", "time_zone": "", "region": "CA"})
    number.refresh_from_db()
    assert (number.number, number.region, number.verified_at) == (ANNA, "CA", NOON)


# --- the test call ---------------------------------------------------------------------------------------------------


def test_a_campaign_is_heard_before_it_is_launched(admin_page, make):  # noqa: F811
    campaign = make.campaign(make.people(2, name="Jane", variables={"order_no": "A-17"}), launched=False)
    rehearsal = reverse("admin:calls_campaign_rehearsal", args=[campaign.pk])
    address = reverse("admin:calls_campaign_test_call", args=[campaign.pk])
    assert "Confirm a number of your own" in admin_page.get(rehearsal).content.decode()
    number = own(admin_page, verified_at=NOON)
    html = admin_page.get(rehearsal).content.decode()
    assert "Test call" in html
    person = Contact.objects.first()
    form = {"number": str(number.pk), "person": str(person.pk)}
    assert f"{ANNA} rings within seconds." in admin_page.post(address, form, follow=True).content.decode()
    assert OneOffCall.objects.get().call.variables == {"order_no": "A-17"}
    assert "under way" in admin_page.post(address, form, follow=True).content.decode()
    stranger = make.people().contacts.get()
    for wrong in ({"person": str(stranger.pk)}, {"person": "x"}, {"number": str(person.pk)}, {"number": ""}):
        assert admin_page.post(address, form | wrong).status_code == 404
    assert LogEntry.objects.filter(change_message="Asked for a test call.").exists()


def test_a_test_call_is_for_those_who_may_launch(make):  # noqa: F811
    campaign = make.campaign(launched=False)
    viewer = staff("view_campaign", "pause_campaign")
    number = own(viewer, verified_at=NOON)
    assert (
        "Hear it first"
        not in viewer.get(reverse("admin:calls_campaign_rehearsal", args=[campaign.pk])).content.decode()
    )
    address = reverse("admin:calls_campaign_test_call", args=[campaign.pk])
    form = {"number": str(number.pk), "person": str(Contact.objects.get().pk)}
    assert viewer.post(address, form).status_code == 403
    blind = staff("view_campaign", "launch_campaign")
    theirs = form | {"number": str(own(blind, verified_at=NOON).pk)}
    assert blind.post(address, theirs).status_code == 403, "the agent would say to them what they may not see"
    launcher = staff("view_campaign", "launch_campaign", "view_contact")
    assert launcher.post(address, form).status_code == 404, "not their number"
    mine = own(launcher, verified_at=NOON)
    assert launcher.get(address).status_code == 405
    response = launcher.post(address, form | {"number": str(mine.pk)})
    assert response["Location"] == reverse("admin:calls_campaign_rehearsal", args=[campaign.pk])
    assert Call.objects.get().to_number == ANNA


def test_the_lists_take_as_many_queries_however_long_they_are(admin_page, django_assert_max_num_queries):
    for at in range(8):
        row = ApiKey(name=f"Program {at}", created_by=factories.UserFactory())
        keys.give(row)
        row.save()
        own(admin_page, number=f"+1415555267{at}")
    for address in (KEYS, NUMBERS):
        with django_assert_max_num_queries(12):
            admin_page.get(address)

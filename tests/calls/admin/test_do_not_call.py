"""The do-not-call list in the admin: numbers go in by the line, and are found by whoever knows them."""

import datetime

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls import suppression
from calls.campaigns import do_not_call_imports
from calls.models import DoNotCall, DoNotCallImport
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LIST = "/admin/calls/donotcall/"
ADD = f"{LIST}add/"
ANNA, BEN = "+14155552671", "+4930123456"


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=[f"calls.{name}" for name in permissions]))
    return client


def form(numbers: str, **changes):
    return {"numbers": numbers, "evidence": "asked by mail", "since_0": "", "since_1": ""} | changes


def listed(number: str = ANNA) -> DoNotCall:
    row, _ = suppression.add(
        suppression.Entry(number, datetime.datetime(2026, 5, 3, tzinfo=datetime.UTC), "asked by mail"),
        source=DoNotCall.Source.OPERATOR,
    )
    return row


def test_an_empty_list_says_what_it_is_for(admin_page):
    assert "Nobody is on the list." in admin_page.get(LIST).content.decode()


def test_several_numbers_are_added_at_once(admin_page):
    html = admin_page.post(ADD, form(f"+1 (415) 555-2671\n\n{BEN}\n{ANNA}\n"), follow=True).content.decode()
    assert "2 numbers are on the list now." in html
    assert suppression.suppressed([ANNA, BEN]) == {ANNA, BEN}
    assert {row.evidence for row in DoNotCall.objects.all()} == {"asked by mail"}
    assert all(row.added_by is not None and row.source == "operator" for row in DoNotCall.objects.all())


def test_what_is_no_number_is_named_by_its_line_and_nothing_is_lost_or_written(admin_page):
    html = admin_page.post(ADD, form(f"{ANNA}\nAnna\n0151 234")).content.decode()
    assert "Line 2: it holds what no phone number holds." in html
    assert "Line 3: it has no country code" in html
    assert f"{ANNA}\nAnna\n0151 234" in html.replace("\r\n", "\n"), "what was typed is still there"
    assert not DoNotCall.objects.exists()


def test_a_long_list_of_errors_is_cut_short(admin_page):
    html = admin_page.post(ADD, form("\n".join(["x"] * 12))).content.decode()
    assert html.count("it holds what no phone number holds") == 5
    assert "And 7 more lines." in html


def test_a_number_that_is_on_the_list_is_said_to_be(admin_page):
    listed()
    assert "On the list already." in admin_page.post(ADD, form(ANNA)).content.decode()
    admin_page.post(ADD, form(f"{ANNA}\n{BEN}", evidence="second"))
    assert (suppression.find(ANNA).evidence, suppression.find(BEN).evidence) == ("asked by mail", "second")


def test_the_day_on_which_somebody_asked_is_kept_and_cannot_be_to_come(admin_page):
    admin_page.post(ADD, form(ANNA, since_0="2026-05-03", since_1="10:00"))
    assert DoNotCall.objects.get().since.date() == datetime.date(2026, 5, 3)
    assert "in the future" in admin_page.post(ADD, form(BEN, since_0="2099-05-03", since_1="10:00")).content.decode()


def test_a_reason_is_asked_for(admin_page):
    assert "This field is required" in admin_page.post(ADD, form(ANNA, evidence="")).content.decode()
    assert not DoNotCall.objects.exists()


@pytest.mark.parametrize("typed", [ANNA, "+1 415 555 2671", " +1 (415) 555-2671 "])
def test_a_whole_number_finds_its_entry_and_a_part_of_it_finds_nobody(admin_page, typed):
    row = listed()
    listed(BEN)
    change = reverse("admin:calls_donotcall_change", args=[row.pk])
    html = admin_page.get(LIST, {"q": typed}).content.decode()
    assert change in html
    assert html.count("/change/") == 1
    assert change not in admin_page.get(LIST, {"q": "+1415555267"}).content.decode()
    assert change in admin_page.get(LIST, {"q": "mail"}).content.decode()


def test_no_page_shows_a_whole_number(admin_page):
    row = listed()
    for page in (LIST, reverse("admin:calls_donotcall_change", args=[row.pk])):
        html = admin_page.get(page).content.decode()
        assert "+1415•••••71" in html
        assert ANNA.lstrip("+") not in html


def test_an_entry_is_looked_at_added_and_taken_away_each_by_its_own_permission():
    row = listed()
    change = reverse("admin:calls_donotcall_change", args=[row.pk])
    delete = reverse("admin:calls_donotcall_delete", args=[row.pk])
    viewer, adder, remover = (
        staff("view_donotcall"),
        staff("view_donotcall", "add_donotcall"),
        staff("view_donotcall", "delete_donotcall"),
    )
    assert [viewer.get(page).status_code for page in (LIST, change, ADD, delete)] == [200, 200, 403, 403]
    assert [adder.get(page).status_code for page in (ADD, delete)] == [200, 403]
    assert staff("view_call").get(LIST).status_code == 403
    assert staff("change_donotcall", "view_donotcall").post(change, form(BEN)).status_code == 403
    assert "Are you sure" in remover.get(delete).content.decode()
    assert DoNotCall.objects.exists()
    remover.post(delete, {"post": "yes"})
    assert not DoNotCall.objects.exists()


def test_a_list_under_another_key_is_said_to_be_useless_and_takes_nothing(admin_page, settings):
    listed()
    settings.SUPPRESSION_KEY = "another key"
    assert "nothing is dialled until the old key is put back" in admin_page.get(LIST).content.decode()
    assert "nothing is dialled until the old key is put back" in admin_page.post(ADD, form(BEN)).content.decode()
    assert DoNotCall.objects.count() == 1


def test_the_list_is_read_in_as_many_queries_however_long_it_is(admin_page, django_assert_max_num_queries):
    for n in range(30):
        listed(f"+1415555{n:04}")
    with django_assert_max_num_queries(14):
        admin_page.get(LIST)


# --- imports ---------------------------------------------------------------------------------------------------------

UPLOAD = f"{LIST}import/"
IMPORTER = ("view_donotcall", "add_donotcall", "view_donotcallimport", "add_donotcallimport", "view_numbers")


def table(client: Client, text: str, **fields):
    file = SimpleUploadedFile("register.csv", text.encode())
    return client.post(UPLOAD, {"file": file, "evidence": "national register", "since": "", "country": ""} | fields)


def import_page(name: str = "change") -> str:
    return reverse(f"admin:calls_donotcallimport_{name}", args=[DoNotCallImport.objects.get().pk])


def run() -> None:
    do_not_call_imports.run(str(DoNotCallImport.objects.get().pk), clock=timezone.now)


def test_a_table_is_uploaded_looked_at_and_imported_with_its_progress(monkeypatch):
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    client = staff(*IMPORTER)
    assert UPLOAD in client.get(LIST).content.decode()
    assert client.get(UPLOAD).status_code == 200
    answer = table(client, f"phone,since\n{ANNA},2026-05-03\nnobody,\n")
    assert answer.status_code == 302
    html = client.get(import_page()).content.decode()
    assert "it holds what no phone number holds" in html
    columns = {"number_column": "0", "date_column": "1", "country": ""}
    assert client.post(import_page(), {**columns, "_start": ""}).status_code == 302
    assert 'data-status="running"' in client.get(import_page("progress")).content.decode()
    run()
    html = client.get(import_page()).content.decode()
    assert "On the list already" in html
    assert "1: it holds what no phone number holds" in html
    assert "nobody" in b"".join(client.get(import_page("rejected")).streaming_content).decode()
    row = DoNotCall.objects.get()
    assert (row.source, row.evidence, row.since.date().isoformat()) == ("import", "national register", "2026-05-03")
    assert row.added_by is not None


@pytest.mark.parametrize(
    ("text", "fields", "why"),
    [
        ("", {}, "The submitted file is empty"),
        ("phone\n", {}, "no rows"),
        (ANNA, {"evidence": ""}, "This field is required"),
        (ANNA, {"since": "2099-01-01"}, "in the future"),
    ],
)
def test_what_cannot_be_imported_is_said_and_nothing_is_kept(admin_page, text, fields, why):
    assert why in table(admin_page, text, **fields).content.decode()
    assert not DoNotCallImport.objects.exists()


def test_an_import_that_is_not_wanted_after_all_leaves_nothing_behind(admin_page):
    table(admin_page, ANNA)
    kept = DoNotCallImport.objects.get().file
    answer = admin_page.post(import_page(), {"_discard": ""}, follow=True)
    assert "Nothing was imported from it." in answer.content.decode()
    assert not DoNotCallImport.objects.exists()
    assert not kept.storage.exists(kept.name)


def test_who_may_not_import_or_see_numbers_does_not(admin_page):
    table(admin_page, f"{ANNA}\n")
    looks_only = staff("view_donotcall", "view_donotcallimport")
    assert UPLOAD not in looks_only.get(LIST).content.decode()
    assert looks_only.get(UPLOAD).status_code == 403
    for permission in ("add_donotcall", "add_donotcallimport"):
        assert table(staff(permission), ANNA).status_code == 403
    html = looks_only.get(import_page()).content.decode()
    assert (ANNA in html, "+1415•••••71" in html) == (False, True)
    assert looks_only.post(import_page(), {"_start": ""}).status_code == 403
    assert looks_only.get(import_page("rejected")).status_code == 403

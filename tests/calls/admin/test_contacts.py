"""Lists of people in the admin: made, filled from a table, looked through; each step by its own permission."""

import datetime
import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from calls import suppression
from calls.campaigns import imports
from calls.models import Contact, ContactImport, ContactList, DoNotCall
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
ANNA = "+14155552671"
TABLE = "Phone,Name,Order no.\n+1 415 555 2671,Jane <b>Doe</b>,A-17\nwrong,=HYPERLINK(1),B\n"


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def people() -> ContactList:
    return ContactList.objects.create(name="Spring")


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=[f"calls.{name}" for name in permissions]))
    return client


IMPORTER = ("view_contactlist", "view_contactimport", "add_contactimport", "view_numbers")


def upload_page(people: ContactList) -> str:
    return reverse("admin:calls_contactlist_import", args=[people.pk])


def page(contact_import: ContactImport, name: str = "change") -> str:
    return reverse(f"admin:calls_contactimport_{name}", args=[contact_import.pk])


def upload(client: Client, people: ContactList, table: str | bytes = TABLE, **fields):
    data = table.encode() if isinstance(table, str) else table
    file = SimpleUploadedFile("people.csv", data)
    return client.post(upload_page(people), {"file": file, "country": ""} | fields, follow=True)


def columns(*meanings: tuple[str, str], **more: str) -> dict[str, str]:
    data = {"encoding": "utf-8", "delimiter": ",", "country": ""} | more
    for at, (meaning, variable) in enumerate(meanings):
        data |= {f"meaning_{at}": meaning, f"variable_{at}": variable}
    return data


AS_GUESSED = columns(("number", ""), ("name", ""), ("variable", "order_no"))


def run(contact_import: ContactImport) -> None:
    while imports.run(str(contact_import.pk), clock=lambda: NOW):
        pass


# --- lists -----------------------------------------------------------------------------------------------------------


def test_a_new_list_leads_to_its_page_where_people_are_imported(admin_page):
    assert "No lists yet." in admin_page.get("/admin/calls/contactlist/").content.decode()
    html = admin_page.post("/admin/calls/contactlist/add/", {"name": "Spring"}, follow=True).content.decode()
    people = ContactList.objects.get()
    assert people.created_by is not None
    assert "Nobody is in this list yet." in html
    assert f'href="{upload_page(people)}"' in html


def test_a_list_goes_with_its_people_and_its_imports(admin_page, people):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""})
    run(contact_import)
    admin_page.post(f"/admin/calls/contactlist/{people.pk}/delete/", {"post": "yes"})
    assert not ContactList.objects.exists()
    assert not Contact.objects.exists()
    assert not ContactImport.objects.exists()


def test_what_goes_with_a_list_is_counted_and_nobody_deletes_people_by_it_who_may_not(
    admin_page, django_assert_max_num_queries
):
    people = ContactList.objects.create(name="Spring")
    Contact.objects.bulk_create(
        Contact(contact_list=people, number=f"+1415555{n:04}", country="US", name="Jane") for n in range(300)
    )
    address = f"/admin/calls/contactlist/{people.pk}/delete/"
    with django_assert_max_num_queries(15):
        html = admin_page.get(address).content.decode()
    assert re.search(r"People:?\s*300", html, re.IGNORECASE)
    assert "Jane" not in html
    keeper = staff("view_contactlist", "delete_contactlist")
    keeper.post(address, {"post": "yes"})
    assert people.contacts.count() == 300
    owner = staff("view_contactlist", "delete_contactlist", "delete_contact")
    assert owner.post(address, {"post": "yes"}).status_code == 302
    assert not ContactList.objects.exists()


def test_the_lists_are_counted_in_as_many_queries_however_many_there_are(admin_page, django_assert_max_num_queries):
    for n in range(20):
        ContactList.objects.create(name=f"List {n}")
    with django_assert_max_num_queries(12):
        admin_page.get("/admin/calls/contactlist/")


def test_an_address_that_is_no_list_is_answered_in_words(admin_page):
    for wrong in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        html = admin_page.get(f"/admin/calls/contactlist/{wrong}/change/", follow=True).content.decode()
        assert "t exist" in html
        html = admin_page.get(f"/admin/calls/contactimport/{wrong}/change/", follow=True).content.decode()
        assert "t exist" in html


# --- an import, from the table to the people -------------------------------------------------------------------------


def test_a_table_is_uploaded_looked_at_and_imported(admin_page, people):
    html = upload(admin_page, people).content.decode()
    contact_import = ContactImport.objects.get()
    assert "Import 2 rows" in html
    assert "it holds what no phone number holds" in html
    assert "Jane &lt;b&gt;Doe&lt;/b&gt;" in html
    html = admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""}, follow=True).content.decode()
    assert "Row 0 of 2 is read." in html
    run(contact_import)
    html = admin_page.get(page(contact_import)).content.decode()
    assert "All 2 rows were read." in html
    assert "1: Phone number: it holds what no phone number holds" in html
    assert Contact.objects.get().variables == {"order_no": "A-17"}
    assert "1 person" in admin_page.get(f"/admin/calls/contactlist/{people.pk}/change/").content.decode()


def test_the_part_that_moves_is_fetched_by_itself(admin_page, people):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""})
    html = admin_page.get(page(contact_import, "progress")).content.decode()
    assert 'data-status="running"' in html
    assert "<html" not in html
    run(contact_import)
    assert 'data-status="done"' in admin_page.get(page(contact_import, "progress")).content.decode()


def test_looking_again_keeps_the_choice_and_imports_nobody(admin_page, people):
    upload(admin_page, people, "Phone,Name\n4155552671,Jane\n")
    contact_import = ContactImport.objects.get()
    assert "it has no country code" in admin_page.get(page(contact_import)).content.decode()
    choice = columns(("number", ""), ("", ""), country="US")
    html = admin_page.post(page(contact_import), choice | {"_look": ""}, follow=True).content.decode()
    assert "it has no country code" not in html
    contact_import.refresh_from_db()
    assert (contact_import.status, contact_import.country) == ("uploaded", "US")
    assert contact_import.meanings == [["number", ""], ["", ""]]


def test_a_choice_by_which_nothing_can_be_imported_is_named_and_not_started(admin_page, people):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    choice = columns(("", ""), ("name", ""), ("variable", "Order No"))
    html = admin_page.post(page(contact_import), choice | {"_start": ""}).content.decode()
    assert "Choose the column that holds the phone number." in html
    assert "cannot name a variable" in html
    contact_import.refresh_from_db()
    assert contact_import.status == "uploaded"


def test_an_import_is_started_once_however_often_the_button_is_pressed(admin_page, people):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    for _ in range(2):
        admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""})
    run(contact_import)
    admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""})
    run(contact_import)
    assert Contact.objects.count() == 1


def test_a_table_that_is_not_wanted_after_all_leaves_nothing_behind(admin_page, people, tmp_path):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    html = admin_page.post(page(contact_import), {"_discard": ""}, follow=True).content.decode()
    assert "Nothing was imported from it." in html
    assert not ContactImport.objects.exists()
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (b"", "empty"),
        (b"Phone\n", "no rows"),
        (b"\x89PNG\x00\x00", "neither a CSV nor an XLSX"),
        (b"PK\x03\x04", "XLSX"),
    ],
)
def test_a_file_that_is_no_table_is_named(admin_page, people, table, why):
    answer = upload(admin_page, people, table)
    assert answer.status_code == 422
    assert why in answer.content.decode()
    assert not ContactImport.objects.exists()


def test_a_file_that_is_gone_is_said_to_be(admin_page, people):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    contact_import.file.storage.delete(contact_import.file.name)
    assert "The file can no longer be read: upload it again." in admin_page.get(page(contact_import)).content.decode()


def test_what_was_rejected_can_be_downloaded_without_becoming_a_formula(admin_page, people):
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""})
    run(contact_import)
    answer = admin_page.get(page(contact_import, "rejected"))
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    assert text.splitlines()[0] == "Phone,Name,Order no.,Row,Why it was not imported"
    assert text.splitlines()[1].startswith("wrong,'=HYPERLINK(1),B,3,")
    assert "no-store" in answer["Cache-Control"]


def test_somebody_on_the_do_not_call_list_is_counted(admin_page, people):
    suppression.add(suppression.Entry(ANNA, NOW), source=DoNotCall.Source.OPERATOR)
    upload(admin_page, people)
    contact_import = ContactImport.objects.get()
    admin_page.post(page(contact_import), AS_GUESSED | {"_start": ""})
    run(contact_import)
    html = " ".join(admin_page.get(page(contact_import)).content.decode().split())
    assert "Added, but on the do-not-call list</dt><dd>1</dd>" in html


# --- who may ---------------------------------------------------------------------------------------------------------


def test_each_step_of_an_import_is_for_those_who_may_take_it(people):
    upload(staff(*IMPORTER), people)
    contact_import = ContactImport.objects.get()
    viewer, stranger = staff("view_contactlist", "view_contactimport"), staff("view_call")
    assert viewer.get(upload_page(people)).status_code == 403
    assert viewer.get(page(contact_import)).status_code == 200
    assert "Import 2 rows" not in viewer.get(page(contact_import)).content.decode()
    for data in ({"_start": ""}, {"_look": ""}, {"_discard": ""}):
        assert viewer.post(page(contact_import), AS_GUESSED | data).status_code == 403
    for address in (
        upload_page(people),
        page(contact_import),
        page(contact_import, "progress"),
        page(contact_import, "rejected"),
    ):
        assert stranger.get(address).status_code == 403, address
        assert Client().get(address).status_code == 302, address
    assert viewer.get(page(contact_import, "rejected")).status_code == 403
    assert staff(*IMPORTER).post(page(contact_import), AS_GUESSED | {"_start": ""}).status_code == 302


def test_numbers_are_whole_only_for_those_who_may_see_them(people):
    upload(staff(*IMPORTER), people)
    contact_import = ContactImport.objects.get()
    viewer = staff("view_contactlist", "view_contactimport", "view_contact", "change_contact")
    assert "415 555 2671" not in viewer.get(page(contact_import)).content.decode()
    imports.start(contact_import, now=NOW)
    run(contact_import)
    contact = Contact.objects.get()
    change = reverse("admin:calls_contact_change", args=[contact.pk])
    for address in ("/admin/calls/contact/", change):
        html = viewer.get(address).content.decode()
        assert ANNA not in html, address
        assert "+1415•••••71" in html, address
    assert ANNA in staff("view_contact", "view_numbers").get("/admin/calls/contact/").content.decode()
    html = viewer.get("/admin/calls/contact/", {"q": "+1415555"}).content.decode()
    assert change not in html, "digits cannot be found out one by one"
    assert change in viewer.get("/admin/calls/contact/", {"q": "+1 415 555 2671"}).content.decode()


# --- one person ------------------------------------------------------------------------------------------------------


def person(people: ContactList, **changes) -> dict[str, str]:
    fields = {
        "contact_list": str(people.pk), "number": "+1 415 555 2671", "name": "Jane", "time_zone": "", "region": "",
        "language": "", "consent": "", "consent_at": "", "consent_source": "", "variables": "{}",
    }  # fmt: skip
    return fields | changes


def test_a_person_is_typed_in_and_the_number_says_where_they_are(admin_page, people):
    data = person(people, language="en_us", variables='{"order_no": 17}')
    admin_page.post("/admin/calls/contact/add/", data)
    jane = Contact.objects.get()
    assert (jane.number, jane.country, jane.zones) == (ANNA, "US", ["America/Los_Angeles"])
    assert (jane.language, jane.variables) == ("en-US", {"order_no": "17"})
    address = reverse("admin:calls_contact_change", args=[jane.pk])
    assert "America/Los_Angeles" in admin_page.get(address).content.decode()
    admin_page.post(address, person(people, time_zone="europe/berlin", number="+1 800 555 1234"))
    jane.refresh_from_db()
    assert (jane.number, jane.zones, jane.time_zone) == ("+18005551234", [], "Europe/Berlin")
    admin_page.post(address, person(people, number="+1 800 555 1234"))
    assert "unknown: cannot be called" in admin_page.get(address).content.decode()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"number": "4155552671"}, "This cannot be called: it has no country code"),
        ({"number": "+19005551234"}, "This cannot be called: it is a premium-rate number."),
        ({"time_zone": "EST"}, "This is not a time zone"),
        ({"language": "English"}, "This is not a language"),
        ({"variables": "[1]"}, "Write names and values"),
        ({"variables": '{"Order No": "1"}'}, "cannot name a variable"),
        ({"variables": '{"order": {"a": 1}}'}, "A value is a text or a number."),
        ({"variables": json.dumps({"date": "1"})}, "already"),
    ],
)
def test_what_is_wrong_with_a_person_is_said(admin_page, people, changes, why):
    html = admin_page.post("/admin/calls/contact/add/", person(people, **changes)).content.decode()
    assert why in html
    assert not Contact.objects.exists()


def test_nobody_is_in_a_list_twice(admin_page, people):
    admin_page.post("/admin/calls/contact/add/", person(people))
    html = admin_page.post("/admin/calls/contact/add/", person(people, number="+1 (415) 555-2671")).content.decode()
    assert "already exists" in html
    assert Contact.objects.count() == 1


def test_the_people_are_read_in_as_many_queries_however_many_there_are(
    admin_page, people, django_assert_max_num_queries
):
    for n in range(30):
        Contact.objects.create(contact_list=people, number=f"+1415555{n:04}", country="US")
    with django_assert_max_num_queries(14):
        admin_page.get("/admin/calls/contact/")

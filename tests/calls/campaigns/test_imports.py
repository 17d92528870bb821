"""An import of people: everything in the table ends as a contact or as a row with its reason, once, whatever breaks."""

import csv
import datetime
import io
import random

import pytest
from django.core.files.base import ContentFile
from django.db import IntegrityError, connection, transaction

from calls import retention, suppression
from calls.campaigns import additions, imports, table_imports
from calls.campaigns.imports import Refused
from calls.campaigns.people import IGNORED, VARIABLE, Meaning, Person
from calls.campaigns.tables import Form, TableError
from calls.models import Contact, ContactImport, ContactList, DoNotCall, RejectedRow
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
UTF_8 = Form("csv", "utf-8", ",")


@pytest.fixture(autouse=True)
def media(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def people() -> ContactList:
    return ContactList.objects.create(name="Spring")


def number(n: int) -> str:
    return f"+1415555{n:04}"


def uploaded(people: ContactList, *table, name: str = "people.csv", country: str = "") -> ContactImport:
    out = io.StringIO()
    csv.writer(out).writerows(table)
    file = ContentFile(out.getvalue().encode(), name)
    return imports.upload(contact_list=people, file=file, country=country, created_by_id=None)


def ran(contact_import: ContactImport) -> ContactImport:
    imports.start(contact_import, now=NOW)
    while imports.run(str(contact_import.pk), clock=lambda: NOW):
        pass
    contact_import.refresh_from_db()
    return contact_import


def counts(contact_import: ContactImport) -> tuple[int, ...]:
    return contact_import.added, contact_import.known, contact_import.rejected, contact_import.suppressed


def test_rows_become_contacts_with_all_that_the_table_says_of_them(people) -> None:
    done = ran(
        uploaded(
            people,
            ["Phone", "Name", "Time zone", "State", "Consent", "Consent date", "Order no."],
            ["+1 415 555 2671", "Jane", "America/New_York", "NY", "written", "2026-05-03", "A-17"],
        )
    )
    assert (done.status, done.total, done.done, counts(done)) == ("done", 1, 1, (1, 0, 0, 0))
    jane = Contact.objects.get()
    assert (jane.number, jane.name, jane.time_zone, jane.region) == ("+14155552671", "Jane", "America/New_York", "NY")
    assert (jane.country, jane.zones, jane.consent) == ("US", ["America/Los_Angeles"], "written")
    assert (jane.consent_at, jane.variables) == (datetime.date(2026, 5, 3), {"order_no": "A-17"})


def test_what_cannot_be_called_is_kept_with_its_reason_and_its_row(people) -> None:
    Contact.objects.create(contact_list=people, number=number(9), country="US")
    done = ran(
        uploaded(people, ["Phone"], [number(1)], ["+19005551234"], ["=1+1"], [number(1)], [number(9)], [number(2)])
    )
    assert counts(done) == (2, 1, 3, 0)
    assert [(row.row, row.cells, row.why) for row in RejectedRow.objects.order_by("row")] == [
        (3, ["+19005551234"], "Phone number: it is a premium-rate number"),
        (4, ["=1+1"], "Phone number: it holds what no phone number holds"),
        (5, [number(1)], "the number stands in row 2 already"),
        (6, [number(9)], "the number is in the list already"),
    ]


def test_somebody_not_to_be_called_is_counted_and_stays_visible_in_the_list(people) -> None:
    suppression.add(suppression.Entry(number(1), NOW), source=DoNotCall.Source.OPERATOR)
    done = ran(uploaded(people, ["Phone"], [number(1)], [number(2)]))
    assert counts(done) == (2, 0, 0, 1)


def test_the_same_person_may_be_in_two_lists(people) -> None:
    other = ContactList.objects.create(name="Autumn")
    assert counts(ran(uploaded(people, ["Phone"], [number(1)]))) == (1, 0, 0, 0)
    assert counts(ran(uploaded(other, ["Phone"], [number(1)]))) == (1, 0, 0, 0)


def test_the_file_is_deleted_with_its_last_row(people) -> None:
    contact_import = uploaded(people, ["Phone"], [number(1)])
    path = contact_import.file.path
    assert open(path, "rb").read()  # noqa: PTH123, SIM115
    ran(contact_import)
    with pytest.raises(FileNotFoundError):
        open(path, "rb")  # noqa: PTH123, SIM115


# --- choosing what columns mean --------------------------------------------------------------------------------------


def test_a_preview_shows_the_first_rows_and_what_is_wrong_with_them(people) -> None:
    contact_import = uploaded(people, ["Phone", "Name"], *[[number(n), "x"] for n in range(30)], [" ", "nobody"])
    shown = imports.preview(contact_import)
    assert shown.headers == ["Phone", "Name"]
    assert len(shown.rows) == imports.SHOWN
    assert shown.rows[0] == (2, [number(0), "x"], "")
    contact_import = uploaded(people, ["Phone", "Name"], ["4155552671", "x"])
    assert "no country code" in imports.preview(contact_import).rows[0][2]
    imports.choose(contact_import, form=UTF_8, country="US", meanings=imports.meanings_of(contact_import))
    assert imports.preview(contact_import).rows[0][2] == ""


def test_an_operators_choice_beats_the_guess(people) -> None:
    contact_import = uploaded(people, ["A", "Phone"], [number(1), number(2)])
    choice = [Meaning("number"), Meaning(VARIABLE, "second_number")]
    imports.choose(contact_import, form=UTF_8, country="", meanings=choice)
    ran(contact_import)
    assert [(each.number, each.variables) for each in Contact.objects.all()] == [
        (number(1), {"second_number": number(2)})
    ]


def test_another_delimiter_makes_other_columns_which_are_guessed_again(people) -> None:
    file = ContentFile(f"Phone;Name\n{number(1)};Jane, Dr\n".encode(), "people.csv")
    contact_import = imports.upload(contact_list=people, file=file, country="", created_by_id=None)
    assert contact_import.delimiter == ";"
    imports.choose(contact_import, form=Form("csv", "utf-8", ","), country="", meanings=[])
    assert len(contact_import.meanings) == 1
    imports.choose(contact_import, form=Form("csv", "utf-8", ";"), country="", meanings=[])
    assert imports.meanings_of(contact_import) == [Meaning("number"), Meaning("name")]


def test_an_import_without_a_number_or_that_has_begun_is_not_started(people) -> None:
    contact_import = uploaded(people, ["Name"], ["Jane"])
    with pytest.raises(Refused, match="Choose the column that holds the phone number"):
        imports.start(contact_import, now=NOW)
    imports.choose(contact_import, form=UTF_8, country="", meanings=[Meaning("number")])
    imports.start(contact_import, now=NOW)
    for again in (
        lambda: imports.start(contact_import, now=NOW),
        lambda: imports.choose(contact_import, form=UTF_8, country="", meanings=[Meaning(IGNORED)]),
    ):
        with pytest.raises(Refused, match="started already"):
            again()


@pytest.mark.parametrize("table", [b"", b"\n\n", b"Phone\n", b"\x89PNG\r\n\x1a\n\x00\x00"])
def test_a_file_that_is_no_table_leaves_no_import_behind(people, table: bytes) -> None:
    with pytest.raises(TableError):
        imports.upload(contact_list=people, file=ContentFile(table, "x"), country="", created_by_id=None)
    assert not ContactImport.objects.exists()


# --- in the background -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As by kill -9: nothing after it runs."""


def test_a_worker_that_dies_anywhere_loses_and_doubles_nobody(people, monkeypatch) -> None:
    rng = random.Random(7)
    monkeypatch.setattr(table_imports, "CHUNK", 10)
    rows = [[number(n)] if n % 7 else ["wrong"] for n in range(200)]
    contact_import = uploaded(people, ["Phone"], *rows)
    imports.start(contact_import, now=NOW)
    wrap = connection.execute_wrapper

    def dying(execute, sql, params, many, context):
        if rng.random() < 0.04:
            raise Killed
        return execute(sql, params, many, context)

    deaths = 0
    for _ in range(500):
        try:
            with wrap(dying):
                imports.run(str(contact_import.pk), clock=lambda: NOW)
            break
        except Killed:
            deaths += 1
    contact_import.refresh_from_db()
    assert deaths > 3
    assert (contact_import.status, contact_import.done) == ("done", 200)
    assert {each.number for each in Contact.objects.all()} == {number(n) for n in range(200) if n % 7}
    assert sorted(RejectedRow.objects.values_list("row", flat=True)) == [n + 2 for n in range(200) if not n % 7]
    assert counts(contact_import) == (171, 0, 29, 0)


def test_of_two_workers_on_one_import_one_stops(people, monkeypatch) -> None:
    monkeypatch.setattr(table_imports, "CHUNK", 10)
    contact_import = uploaded(people, ["Phone"], *[[number(n)] for n in range(50)])
    imports.start(contact_import, now=NOW)
    read, other = imports.suppressed, []

    def overtaken(numbers):
        if not other:
            other.append(True)
            imports.run(str(contact_import.pk), clock=lambda: NOW)
        return read(numbers)

    monkeypatch.setattr(imports, "suppressed", overtaken)
    assert imports.run(str(contact_import.pk), clock=lambda: NOW) is False
    contact_import.refresh_from_db()
    assert (contact_import.status, counts(contact_import)) == ("done", (50, 0, 0, 0))


def test_whom_a_program_adds_while_their_row_is_read_is_in_the_list_already(people) -> None:
    contact_import = uploaded(people, ["Phone"], [number(3)], [number(1)], [number(2)])
    imports.start(contact_import, now=NOW)
    in_time: list[additions.Addition] = []

    def overtaking(execute, sql, params, many, context):
        if not in_time and sql.startswith("INSERT") and ' INTO "calls_contact" ' in sql:
            in_time.append(additions.Addition())
            in_time[:] = additions.add(people, [Person(number=number(2), country="US", zones=())])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(overtaking):
        assert imports.run(str(contact_import.pk), clock=lambda: NOW) is False
    contact_import.refresh_from_db()
    assert in_time[0].contact == Contact.objects.get(number=number(2))
    assert (contact_import.status, counts(contact_import)) == ("done", (2, 1, 0, 0))
    assert Contact.objects.count() == 3
    row = RejectedRow.objects.get()
    assert (row.row, row.why) == (4, imports.IN_LIST)


def test_a_long_import_is_read_in_several_tasks(people, monkeypatch) -> None:
    monkeypatch.setattr(table_imports, "CHUNK", 10)
    contact_import = uploaded(people, ["Phone"], *[[number(n)] for n in range(35)])
    imports.start(contact_import, now=NOW)
    goes_on = [imports.run(str(contact_import.pk), clock=lambda: NOW, seconds=-1) for _ in range(5)]
    assert goes_on == [True, True, True, True, False]
    assert Contact.objects.count() == 35


def test_one_that_stands_still_is_due_again(people) -> None:
    contact_import = uploaded(people, ["Phone"], [number(1)])
    assert table_imports.due(ContactImport, NOW) == []
    imports.start(contact_import, now=NOW)
    assert table_imports.due(ContactImport, NOW + datetime.timedelta(seconds=59)) == []
    assert table_imports.due(ContactImport, NOW + datetime.timedelta(seconds=61)) == [str(contact_import.pk)]


def test_starting_hints_at_it_once_the_row_says_so(people, monkeypatch, django_capture_on_commit_callbacks) -> None:
    hinted = []
    monkeypatch.setattr(table_imports, "hint", lambda *message: hinted.append(message))
    contact_import = uploaded(people, ["Phone"], [number(1)])
    with django_capture_on_commit_callbacks(execute=True):
        imports.start(contact_import, now=NOW)
        assert hinted == []
    assert hinted == [(imports.TASK, str(contact_import.pk))]


def test_a_file_that_is_gone_or_damaged_ends_it_with_the_reason(people) -> None:
    contact_import = uploaded(people, ["Phone"], [number(1)])
    contact_import.file.storage.delete(contact_import.file.name)
    done = ran(contact_import)
    assert (done.status, done.error) == ("failed", "The file can no longer be read.")


def test_one_that_was_deleted_meanwhile_is_nobodys(people) -> None:
    contact_import = uploaded(people, ["Phone"], [number(1)])
    imports.start(contact_import, now=NOW)
    pk = str(contact_import.pk)
    people.delete()
    assert imports.run(pk, clock=lambda: NOW) is False


def test_a_contact_can_be_in_a_list_once_and_has_a_number(people) -> None:
    Contact.objects.create(contact_list=people, number=number(1), country="US")
    for wrong in (number(1), "sip:a@b", "4155552671"):
        with pytest.raises(IntegrityError), transaction.atomic():
            Contact.objects.create(contact_list=people, number=wrong, country="US")


def test_a_reader_of_the_list_pays_no_query_per_row(people, django_assert_max_num_queries) -> None:
    factories.UserFactory()
    contact_import = uploaded(people, ["Phone"], *[[number(n)] for n in range(400)])
    imports.start(contact_import, now=NOW)
    with django_assert_max_num_queries(14):
        imports.run(str(contact_import.pk), clock=lambda: NOW)


def test_the_table_of_a_list_that_was_deleted_is_deleted_later(people, tmp_path) -> None:
    kept, gone = uploaded(people, ["Phone"], [number(1)]), uploaded(people, ["Phone"], [number(2)])
    ContactImport.objects.filter(pk=gone.pk).delete()
    now = datetime.datetime.now(datetime.UTC)
    assert retention._orphaned_files(now) == 0, "it may be a new one whose row is not written yet"
    assert retention._orphaned_files(now + datetime.timedelta(hours=2)) == 1
    assert [each.name for each in tmp_path.rglob("*.csv")] == [kept.file.name.rsplit("/", 1)[-1]]

"""An import of do-not-call numbers: each row ends on the list or with its reason, once, whatever breaks."""

import datetime
import io
import random

import openpyxl
import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone

from calls import retention, suppression
from calls.campaigns import do_not_call_imports as imports
from calls.campaigns import table_imports
from calls.campaigns.table_imports import Refused
from calls.campaigns.tables import TableError
from calls.models import DoNotCall, DoNotCallImport, RejectedNumber
from calls.tasks import campaigns as tasks
from calls.tasks import maintenance

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
SOURCE = "national register, 2026-11-20"


@pytest.fixture(autouse=True)
def _no_broker(monkeypatch):
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)


def number(n: int) -> str:
    return f"+1415555{n:04}"


def uploaded(content: str | bytes, *, name: str = "register.csv", country: str = "", since=None) -> DoNotCallImport:
    raw = content.encode() if isinstance(content, str) else content
    file = ContentFile(raw, name)
    row = imports.upload(file=file, country=country, since=since, evidence=SOURCE, created_by_id=None)
    DoNotCallImport.objects.filter(pk=row.pk).update(created_at=NOW)
    row.refresh_from_db()
    return row


def ran(row: DoNotCallImport) -> DoNotCallImport:
    imports.start(row, now=NOW)
    while imports.run(str(row.pk), clock=lambda: NOW):
        pass
    row.refresh_from_db()
    return row


def since_of(e164: str) -> datetime.date:
    return timezone.localdate(suppression.find(e164).since)


def test_numbers_are_listed_with_their_date_and_where_they_come_from() -> None:
    table = (
        f"Name,Phone,Listed since\nAnna,{number(1)},2025-03-01\nBen,{number(2)},\nCid,(415) 555-0003,2026-01-02T10:00\n"
    )
    row = ran(uploaded(table, country="US", since=datetime.date(2026, 11, 20)))
    assert (row.status, row.total, row.added, row.known, row.rejected) == ("done", 3, 3, 0, 0)
    assert since_of(number(1)) == datetime.date(2025, 3, 1)
    assert since_of(number(2)) == datetime.date(2026, 11, 20)
    assert since_of(number(3)) == datetime.date(2026, 1, 2)
    assert {(each.source, each.evidence) for each in DoNotCall.objects.all()} == {("import", SOURCE)}
    assert not row.file.storage.exists(row.file.name)


@pytest.mark.parametrize("name", ["numbers.txt", "numbers.csv"])
def test_a_list_of_numbers_alone_needs_no_header(name) -> None:
    row = uploaded("".join(f"{number(n)}\r\n" for n in range(3)), name=name)
    assert (row.has_header, row.total, row.headers) == (False, 3, ["Column 1"])
    assert ran(row).added == 3
    assert suppression.suppressed([number(0)]) == {number(0)}


def test_numbers_of_a_workbook_are_read_as_they_stand_there() -> None:
    book = openpyxl.Workbook()
    for cells in [["msisdn", "date"], [4155550001, datetime.date(2025, 5, 3)], [number(2), None]]:
        book.active.append(cells)
    out = io.BytesIO()
    book.save(out)
    row = ran(uploaded(out.getvalue(), name="register.xlsx", country="US"))
    assert (row.added, row.rejected) == (2, 0)
    assert since_of(number(1)) == datetime.date(2025, 5, 3)
    assert suppression.find(number(2)).since == NOW


def test_the_column_with_the_most_numbers_is_taken_until_somebody_chooses_another() -> None:
    row = uploaded(f"id,first,second\n7,{number(1)},\n8,{number(2)},{number(12)}\n")
    assert (row.number_column, row.date_column) == (1, None)
    imports.choose(row, number_column=2, date_column=None, country="")
    shown = imports.preview(row, now=NOW)
    assert [each.why for each in shown] == ["there is no number", ""]
    assert ran(row).added == 1
    assert suppression.suppressed([number(1), number(12)]) == {number(12)}


def test_a_first_number_that_only_its_country_tells_is_no_header() -> None:
    row = uploaded("4155550001\n4155550002\n4155550003\n", name="numbers.txt")
    assert row.has_header, "without a country it is no number"
    imports.choose(row, number_column=0, date_column=None, country="US")
    assert (row.has_header, row.total, row.headers) == (False, 3, ["Column 1"])
    assert [each.row for each in imports.preview(row, now=NOW)] == [1, 2, 3]
    assert ran(row).added == 3
    assert suppression.suppressed([number(1)]) == {number(1)}


@pytest.mark.parametrize("country", ["US", ""])
@pytest.mark.parametrize("header", ["", "Area code,Number\n"])
def test_the_registry_of_the_united_states_gives_area_code_and_number_apart(country, header) -> None:
    row = uploaded(f"{header}415,5550001\n415,5550002\n415,555-0003\n", name="2026-11-27.txt", country=country)
    if not country:
        imports.choose(row, number_column=1, date_column=None, country="US")
    assert (row.number_column, row.total) == (1, 3)
    assert ran(row).added == 3
    assert suppression.suppressed([number(n) for n in range(4)]) == {number(1), number(2), number(3)}


def test_what_cannot_be_listed_is_kept_with_its_reason() -> None:
    suppression.add(suppression.Entry(number(5), NOW), source=DoNotCall.Source.SPOKEN)
    rows = [
        "phone,date",
        "nobody,2026-01-01",
        "0151 23456,",
        f"{number(1)},yesterday",
        f"{number(2)},2027-01-01",
        f"{number(3)},0001-01-01",
        f"{number(4)},2026-01-01",
        f"{number(4)},2026-01-02",
        f"{number(5)},2026-01-01",
    ]
    row = ran(uploaded("\n".join(rows)))
    assert (row.total, row.added, row.known, row.rejected) == (8, 1, 2, 5)
    assert [(each.row, each.why.partition(":")[0]) for each in RejectedNumber.objects.all()] == [
        (2, "it holds what no phone number holds"),
        (3, "it has no country code"),
        (4, "not a date"),
        (5, "the date is in the future"),
        (6, "not a date"),
    ]
    assert table_imports.reasons(row)[0] == (imports.NO_DATE, 2)
    assert suppression.find(number(5)).source == "spoken"


@pytest.mark.parametrize(
    ("content", "why"),
    [("", "empty"), ("phone\n", "no rows"), (b"\xd0\xcf\x11\xe0rest", "old Excel"), ("a\x00b", "neither")],
)
def test_what_is_no_list_is_refused_when_it_is_uploaded(content, why) -> None:
    with pytest.raises(TableError, match=why):
        uploaded(content)
    assert not DoNotCallImport.objects.exists()


def test_nothing_is_chosen_that_is_not_there_or_after_it_has_begun() -> None:
    row = uploaded(f"phone,date\n{number(1)},2026-01-01\n")
    for number_column, date_column in ((2, None), (-1, None), (0, 5)):
        with pytest.raises(Refused, match="that the table has"):
            imports.choose(row, number_column=number_column, date_column=date_column, country="")
    with pytest.raises(Refused, match="different"):
        imports.choose(row, number_column=1, date_column=1, country="")
    ran(row)
    for late in (
        lambda: imports.start(row, now=NOW),
        lambda: imports.choose(row, number_column=0, date_column=1, country=""),
    ):
        with pytest.raises(Refused, match="started already"):
            late()


def test_under_another_key_nothing_is_written_that_could_not_be_found_again(settings) -> None:
    suppression.add(suppression.Entry(number(9), NOW), source=DoNotCall.Source.SPOKEN)
    row, late = uploaded(f"phone\n{number(1)}\n"), uploaded(f"phone\n{number(2)}\n")
    imports.start(late, now=NOW)
    settings.SUPPRESSION_KEY = "another"
    with pytest.raises(Refused, match="SUPPRESSION_KEY"):
        imports.start(row, now=NOW)
    assert not imports.run(str(late.pk), clock=lambda: NOW)
    late.refresh_from_db()
    assert (late.status, "SUPPRESSION_KEY" in late.error, DoNotCall.objects.count()) == ("failed", True, 1)


class Killed(BaseException):
    """Nothing catches it."""


def test_a_worker_that_dies_anywhere_loses_and_doubles_nobody(monkeypatch) -> None:
    monkeypatch.setattr(table_imports, "CHUNK", 10)
    rng = random.Random(7)
    row = uploaded("phone\n" + "".join(f"{number(n) if n % 7 else 'wrong'}\n" for n in range(150)))
    imports.start(row, now=NOW)

    def dying(execute, sql, params, many, context):
        # Who is dead rolls nothing back by hand: there the database does, here the test's own transaction goes on.
        if rng.random() < 0.04 and not sql.startswith("ROLLBACK"):
            raise Killed
        return execute(sql, params, many, context)

    deaths = 0
    for _ in range(500):
        try:
            with connection.execute_wrapper(dying):
                imports.run(str(row.pk), clock=lambda: NOW)
            break
        except Killed:
            deaths += 1
    row.refresh_from_db()
    assert deaths > 3
    assert (row.status, row.done, row.added, row.known, row.rejected) == ("done", 150, 128, 0, 22)
    assert (DoNotCall.objects.count(), RejectedNumber.objects.count()) == (128, 22)


def test_one_that_stands_still_is_found_by_the_sweep_and_its_file_is_no_orphan(monkeypatch, settings) -> None:
    sent = []
    monkeypatch.setattr(tasks.import_do_not_call, "delay", sent.append)
    monkeypatch.setattr("calls.sweeper.sweep", lambda **_: maintenance.sweeper.Due())
    row = uploaded(f"phone\n{number(1)}\n")
    imports.start(row, now=timezone.now() - datetime.timedelta(minutes=2))
    later = timezone.now() + datetime.timedelta(hours=2)
    assert retention.prune(now=later, webhooks_kept=datetime.timedelta(days=30)) == {}
    maintenance.sweep_calls()
    assert sent == [str(row.pk)]
    tasks.import_do_not_call(str(row.pk))
    assert suppression.is_suppressed(number(1))

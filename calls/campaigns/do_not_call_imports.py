"""An import of do-not-call numbers: a list of a register or of another system, with a date and where it comes from."""

import datetime
import itertools
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec
from django.core.files.base import File
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from calls import suppression
from calls.campaigns import table_imports, tables
from calls.campaigns.table_imports import AT_ONCE_S, MAX_WHY, Refused
from calls.models import DoNotCall, DoNotCallImport, RejectedNumber
from calls.numbers import NumberRefused, parse

SHOWN = 20  # rows of a preview
EARLIEST = 1970  # year; what is before it is a slip, or a cell that was empty
TASK = "calls.tasks.campaigns.import_do_not_call"
NO_DATE = "not a date: write it as 2026-05-03"
_DATES = re.compile(r"date|since|datum|seit|fecha|depuis|opt.?out", re.IGNORECASE)
_AREA, _LOCAL = re.compile(r"[2-9][0-9]{2}", re.ASCII), re.compile(r"[0-9]{3}-?[0-9]{4}", re.ASCII)
_Status = DoNotCallImport.Status


class Shown(msgspec.Struct, frozen=True):
    """One of the first rows: its number in the file, its cells, and why it would be rejected ("" if it would not)."""

    row: int
    cells: list[str]
    why: str


def upload(
    *, file: "File[bytes]", country: str, since: datetime.date | None, evidence: str, created_by_id: int | None
) -> DoNotCallImport:
    """Keeps the file and guesses which columns hold numbers and dates; a list of numbers alone needs no header.

    Args:
        country: ISO 3166, of numbers without a country code; empty: all have one.
        since: of rows without a date of their own; None: now.

    Raises:
        TableError: it is no table.
    """
    form = tables.probe(file)
    first, following = table_imports.measured(file, form)
    at = next((at for at in range(len(first)) if _has_number(first, at, country)), None)
    with tables.rows(file, form) as rows:
        later = [cells for _, cells in itertools.islice(rows, 1, 1 + SHOWN)]
    numbers = [sum(_has_number(row, column, country) for row in later) for column in range(len(first))]
    headers = tables.headers(first) if at is None else _unnamed(first)
    total = following + (at is not None)
    if not total:
        raise tables.TableError("The file has a header and no rows.")
    made = DoNotCallImport(
        country=country,
        since=since,
        evidence=evidence,
        has_header=at is None,
        number_column=at if at is not None else max(range(len(first)), key=numbers.__getitem__),
        date_column=next((n for n, name in enumerate(headers) if _DATES.search(name)), None),
        created_by_id=created_by_id,
    )
    return table_imports.keep(made, file, form, headers=headers, total=total)


def preview(row: DoNotCallImport, *, now: datetime.datetime) -> list[Shown]:
    """The first rows. Raises TableError and OSError: the file can no longer be read."""
    shown = []
    with table_imports.opened(row) as rows:
        for number, cells in itertools.islice(rows, row.has_header, row.has_header + SHOWN):
            found = _entry(row, cells, now=now)
            shown.append(Shown(number, cells, found if isinstance(found, str) else ""))
    return shown


def choose(row: DoNotCallImport, *, number_column: int, date_column: int | None, country: str) -> None:
    """Notes which columns count. By the country what was taken for a header may be the first number.

    Raises:
        Refused: it has begun, or there are no such columns.
        TableError, OSError: the file can no longer be read.
    """
    columns = range(len(row.headers))
    if number_column not in columns or (date_column is not None and date_column not in columns):
        raise Refused("Choose columns that the table has.")
    if number_column == date_column:
        raise Refused("Choose different columns for number and date.")
    chosen: dict[str, Any] = {"number_column": number_column, "date_column": date_column, "country": country}
    if row.has_header and row.status == _Status.UPLOADED:
        with table_imports.opened(row) as rows:
            _, first = next(rows)
        if _has_number(first, number_column, country):
            chosen |= {"has_header": False, "total": row.total + 1, "headers": _unnamed(first)}
    waiting = DoNotCallImport.objects.filter(pk=row.pk, status=_Status.UPLOADED, has_header=row.has_header)
    if not waiting.update(**chosen):
        raise Refused("This import has been started already.")
    row.refresh_from_db()


def start(row: DoNotCallImport, *, now: datetime.datetime) -> None:
    """Has it read in the background. Raises Refused: it was started already, or the list cannot be relied on."""
    if trouble := suppression.trouble():
        raise Refused(trouble)
    table_imports.start(row, task=TASK, now=now)


def run(import_id: str, *, clock: Callable[[], datetime.datetime], seconds: float = AT_ONCE_S) -> bool:
    """Reads on from where it stands, for so long at most; does nothing to one that does not run.

    Returns:
        whether there is more to read.
    """
    row = DoNotCallImport.objects.filter(pk=import_id, status=_Status.RUNNING).first()
    if row is None:
        return False
    if trouble := suppression.trouble():
        table_imports.finish(row, _Status.FAILED, now=clock(), error=trouble)
        return False
    return table_imports.read_on(row, partial(_take, row), headers=int(row.has_header), clock=clock, seconds=seconds)


def _take(row: DoNotCallImport, chunk: list[tables.Row], *, done: int, now: datetime.datetime) -> bool:
    """Writes what some rows hold; False when they were written by somebody else."""
    read = [(number, cells, _entry(row, cells, now=now)) for number, cells in chunk]
    entries = [found for _, _, found in read if isinstance(found, suppression.Entry)]
    rejected = [
        RejectedNumber(do_not_call_import=row, row=number, cells=cells, why=why[:MAX_WHY], reason=why[:MAX_WHY])
        for number, cells, why in read
        if isinstance(why, str)
    ]
    with transaction.atomic():
        if not table_imports.advance(row, done=done, by=len(chunk), now=now):
            return False
        added = suppression.add_all(entries, source=DoNotCall.Source.IMPORT, added_by_id=row.created_by_id)
        RejectedNumber.objects.bulk_create(rejected)
        DoNotCallImport.objects.filter(pk=row.pk).update(
            added=F("added") + added,
            known=F("known") + len(entries) - added,
            rejected=F("rejected") + len(rejected),
        )
    return True


def _entry(row: DoNotCallImport, cells: Sequence[str], *, now: datetime.datetime) -> suppression.Entry | str:
    """What a row says, or why it says nothing."""
    try:
        number = parse(_written(cells, row.number_column), country=row.country).e164
    except NumberRefused as refused:
        return str(refused)
    date = row.since
    if row.date_column is not None and (cell := cells[row.date_column]):
        try:
            date = datetime.datetime.fromisoformat(cell).date()
        except ValueError:
            return NO_DATE
        if date.year < EARLIEST:
            return NO_DATE
    zone = timezone.get_default_timezone()
    since = datetime.datetime.combine(date, datetime.time(), zone) if date else row.created_at
    if since > now:
        return "the date is in the future"
    return suppression.Entry(number, since, row.evidence)


def _written(cells: Sequence[str], column: int) -> str:
    """The number in a column; the registers of the USA and Canada may give its area code in the column before."""
    number = cells[column]
    if column and _LOCAL.fullmatch(number) and _AREA.fullmatch(cells[column - 1]):
        return cells[column - 1] + number
    return number


def _unnamed(first: Sequence[str]) -> list[str]:
    return [f"Column {n}" for n in range(1, len(first) + 1)]


def _has_number(cells: Sequence[str], column: int, country: str) -> bool:
    try:
        parse(_written(cells, column), country=country)
    except NumberRefused:
        return False
    return True

"""An import of people: the table is looked at, its columns are given a meaning, its rows become contacts.

The rows are read in the background (``calls.tasks.campaigns``), 500 in a transaction that also notes how far it has
come: a worker that dies loses nothing and doubles nothing, and of two that work on the same import one stops.
"""

import datetime
import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import msgspec
from django.core.files.base import File
from django.db import transaction
from django.db.models import Count, F

from calls.campaigns import tables
from calls.campaigns.people import Meaning, Person, RowRefused, faults, guess, person
from calls.campaigns.tables import Form, TableError
from calls.hints import hint
from calls.models import Contact, ContactImport, ContactList, RejectedRow
from calls.suppression import suppressed

CHUNK = 500
SHOWN = 20  # rows of a preview
AT_ONCE_S = 150.0  # a task has 240 s
STUCK_AFTER = datetime.timedelta(seconds=60)
MAX_WHY = 600
IN_LIST = "the number is in the list already"
TASK = "calls.tasks.campaigns.import_contacts"


class Preview(msgspec.Struct, frozen=True):
    """The first rows of a table as they would be read: cells, and why a row would be rejected ("" if it would not)."""

    headers: list[str]
    rows: list[tuple[int, list[str], str]]


class Refused(ValueError):  # noqa: N818  (as an operator would say it)
    """The import cannot go on like this; its text says why."""


def upload(*, contact_list: ContactList, file: "File[bytes]", country: str, created_by_id: int | None) -> ContactImport:
    """Keeps the file and guesses what it is.

    Raises:
        TableError: it is no table.
    """
    form = tables.probe(file)
    headers, total = _measured(file, form)
    file.seek(0)
    upload_ = ContactImport(
        contact_list=contact_list,
        file_name=(file.name or "table")[-200:],
        kind=form.kind,
        encoding=form.encoding,
        delimiter=form.delimiter,
        country=country,
        headers=headers,
        meanings=[[meaning.field, meaning.variable] for meaning in guess(headers)],
        total=total,
        created_by_id=created_by_id,
    )
    upload_.file.save(f"{upload_.pk}.{form.kind}", file, save=False)
    upload_.save()
    return upload_


def _measured(file: IO[bytes], form: Form) -> tuple[list[str], int]:
    """The columns' names, and how many rows follow."""
    with tables.rows(file, form) as rows:
        first = next(rows, None)
        if first is None:
            raise TableError("The file is empty.")
        total = sum(1 for _ in rows)
    if not total:
        raise TableError("The file has a header and no rows.")
    return tables.headers(first[1]), total


@contextmanager
def _opened(contact_import: ContactImport) -> Iterator[Iterator[tables.Row]]:
    form = Form(contact_import.kind, contact_import.encoding, contact_import.delimiter)
    with contact_import.file.open("rb") as file, tables.rows(file, form) as rows:
        yield rows


def meanings_of(contact_import: ContactImport) -> list[Meaning]:
    """What its columns were chosen to mean."""
    return [Meaning(*pair) for pair in contact_import.meanings]


def preview(contact_import: ContactImport) -> Preview:
    """Raises TableError: the file can no longer be read."""
    meanings = meanings_of(contact_import)
    readable = not faults(meanings)
    shown: list[tuple[int, list[str], str]] = []
    with _opened(contact_import) as rows:
        _, first = next(rows)
        for number, cells in itertools.islice(rows, SHOWN):
            why = ""
            if readable:
                try:
                    person(cells, meanings, country=contact_import.country)
                except RowRefused as refused:
                    why = str(refused)
            shown.append((number, cells, why))
    return Preview(tables.headers(first), shown)


def choose(contact_import: ContactImport, *, form: Form, country: str, meanings: list[Meaning]) -> None:
    """Notes how the file is to be read; an import that has begun stays as it is.

    Raises:
        Refused: it has begun already.
        TableError: the file cannot be read so.
    """
    with contact_import.file.open("rb") as file:
        headers, total = _measured(file, form)
    if len(meanings) != len(headers):
        meanings = guess(headers)
    columns = {
        "encoding": form.encoding,
        "delimiter": form.delimiter,
        "country": country,
        "headers": headers,
        "meanings": [[meaning.field, meaning.variable] for meaning in meanings],
        "total": total,
    }
    waiting = ContactImport.objects.filter(pk=contact_import.pk, status=ContactImport.Status.UPLOADED)
    if not waiting.update(**columns):
        raise Refused("This import has been started already.")
    contact_import.refresh_from_db()


def start(contact_import: ContactImport, *, now: datetime.datetime) -> None:
    """Has it read in the background.

    Raises:
        Refused: nothing can be read by the meanings of its columns, or it was started already.
    """
    if found := faults(meanings_of(contact_import)):
        raise Refused(" ".join(found))
    waiting = ContactImport.objects.filter(pk=contact_import.pk, status=ContactImport.Status.UPLOADED)
    if not waiting.update(status=ContactImport.Status.RUNNING, moved_at=now):
        raise Refused("This import has been started already.")
    transaction.on_commit(lambda: hint(TASK, str(contact_import.pk)))


def discard(contact_import: ContactImport) -> None:
    """Forgets one that was not started, with its file.

    Raises:
        Refused: it was.
    """
    with transaction.atomic():
        if not ContactImport.objects.filter(pk=contact_import.pk, status=ContactImport.Status.UPLOADED).delete()[0]:
            raise Refused("This import has been started already.")
    contact_import.file.delete(save=False)


def reasons(contact_import: ContactImport) -> list[tuple[str, int]]:
    """Why rows were rejected and how many for each reason, the most frequent first."""
    rows = contact_import.rejected_rows.order_by().values_list("reason").annotate(rows=Count("id"))
    return sorted(((str(reason), count) for reason, count in rows), key=lambda pair: (-pair[1], pair[0]))


def due(now: datetime.datetime) -> list[str]:
    """Ids of those that run and have not moved for a minute: their worker is gone, or was never told."""
    stuck = ContactImport.objects.filter(status=ContactImport.Status.RUNNING, moved_at__lt=now - STUCK_AFTER)
    return [str(pk) for pk in stuck.values_list("pk", flat=True)]


def run(import_id: str, *, clock: Callable[[], datetime.datetime], seconds: float = AT_ONCE_S) -> bool:
    """Reads on from where it stands, for so long at most; does nothing to one that does not run.

    Returns:
        whether there is more to read.
    """
    contact_import = ContactImport.objects.filter(pk=import_id, status=ContactImport.Status.RUNNING).first()
    if contact_import is None:
        return False
    until = time.monotonic() + seconds
    try:
        with _opened(contact_import) as rows:
            next(rows, None)  # the header
            rest = itertools.islice(rows, contact_import.done, None)
            done = contact_import.done
            while chunk := list(itertools.islice(rest, CHUNK)):
                if not _take(contact_import, chunk, done=done, now=clock()):
                    return False  # another worker has it
                done += len(chunk)
                if time.monotonic() > until:
                    return True
    except (TableError, OSError) as error:
        text = str(error) if isinstance(error, TableError) else "The file can no longer be read."
        _finish(contact_import, ContactImport.Status.FAILED, now=clock(), error=text)
        return False
    _finish(contact_import, ContactImport.Status.DONE, now=clock())
    return False


def _take(contact_import: ContactImport, chunk: list[tables.Row], *, done: int, now: datetime.datetime) -> bool:
    """Writes what some rows hold; False when they were written by somebody else."""
    meanings = meanings_of(contact_import)
    people: dict[str, tuple[tables.Row, Person]] = {}
    rejected: list[tuple[tables.Row, str, str]] = []  # with the reason, and how that shows here
    for row in chunk:
        try:
            found = person(row[1], meanings, country=contact_import.country)
        except RowRefused as refused:
            rejected.append((row, str(refused), str(refused)))
            continue
        if found.number in people:
            why = f"the number stands in row {people[found.number][0][0]} already"
            rejected.append((row, "the number stands in an earlier row", why))
        else:
            people[found.number] = (row, found)
    unwanted = suppressed(people)
    with transaction.atomic():
        mine = ContactImport.objects.filter(pk=contact_import.pk, status=ContactImport.Status.RUNNING, done=done)
        if not mine.update(done=done + len(chunk), moved_at=now):
            return False
        in_list = Contact.objects.filter(contact_list=contact_import.contact_list_id, number__in=people)
        known = set(in_list.values_list("number", flat=True))
        rejected += [(row, IN_LIST, IN_LIST) for row, found in people.values() if found.number in known]
        new = [found for _, found in people.values() if found.number not in known]
        Contact.objects.bulk_create([contact_of(found, contact_import.contact_list_id) for found in new])
        RejectedRow.objects.bulk_create(
            RejectedRow(
                contact_import=contact_import, row=number, cells=cells, why=why[:MAX_WHY], reason=reason[:MAX_WHY]
            )
            for (number, cells), reason, why in rejected
        )
        ContactImport.objects.filter(pk=contact_import.pk).update(
            added=F("added") + len(new),
            known=F("known") + len(known),
            rejected=F("rejected") + len(rejected) - len(known),
            suppressed=F("suppressed") + len(unwanted - known),
        )
    return True


def contact_of(found: Person, contact_list_id: uuid.UUID) -> Contact:
    """The unsaved row of a person in a list."""
    return Contact(contact_list_id=contact_list_id, **(msgspec.structs.asdict(found) | {"zones": list(found.zones)}))


def _finish(
    contact_import: ContactImport, status: ContactImport.Status, *, now: datetime.datetime, error: str = ""
) -> None:
    running = ContactImport.objects.filter(pk=contact_import.pk, status=ContactImport.Status.RUNNING)
    if running.update(status=status, finished_at=now, moved_at=now, error=error[:300]):
        contact_import.file.delete(save=False)  # people's data; what could not be used of it is kept row by row

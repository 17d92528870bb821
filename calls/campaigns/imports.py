"""An import of people: the table is looked at, its columns are given a meaning, its rows become contacts."""

import datetime
import itertools
import uuid
from collections.abc import Callable
from functools import partial
from typing import IO

import msgspec
from django.core.files.base import File
from django.db import transaction
from django.db.models import F

from calls.campaigns import table_imports, tables
from calls.campaigns.people import Meaning, Person, RowRefused, faults, guess, person
from calls.campaigns.table_imports import AT_ONCE_S, MAX_WHY, Refused
from calls.campaigns.tables import Form, TableError
from calls.models import Contact, ContactImport, ContactList, RejectedRow
from calls.suppression import suppressed

SHOWN = 20  # rows of a preview
IN_LIST = "the number is in the list already"
TASK = "calls.tasks.campaigns.import_contacts"


class Preview(msgspec.Struct, frozen=True):
    """The first rows of a table as they would be read: cells, and why a row would be rejected ("" if it would not)."""

    headers: list[str]
    rows: list[tuple[int, list[str], str]]


def upload(*, contact_list: ContactList, file: "File[bytes]", country: str, created_by_id: int | None) -> ContactImport:
    """Keeps the file and guesses what it is.

    Raises:
        TableError: it is no table.
    """
    form = tables.probe(file)
    headers, total = _measured(file, form)
    meanings = [[meaning.field, meaning.variable] for meaning in guess(headers)]
    made = ContactImport(contact_list=contact_list, country=country, meanings=meanings, created_by_id=created_by_id)
    return table_imports.keep(made, file, form, headers=headers, total=total)


def _measured(file: IO[bytes], form: Form) -> tuple[list[str], int]:
    """The columns' names, and how many rows follow."""
    first, total = table_imports.measured(file, form)
    if not total:
        raise TableError("The file has a header and no rows.")
    return tables.headers(first), total


def meanings_of(contact_import: ContactImport) -> list[Meaning]:
    """What its columns were chosen to mean."""
    return [Meaning(*pair) for pair in contact_import.meanings]


def preview(contact_import: ContactImport) -> Preview:
    """Raises TableError: the file can no longer be read."""
    meanings = meanings_of(contact_import)
    readable = not faults(meanings)
    shown: list[tuple[int, list[str], str]] = []
    with table_imports.opened(contact_import) as rows:
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
    table_imports.start(contact_import, task=TASK, now=now)


def run(import_id: str, *, clock: Callable[[], datetime.datetime], seconds: float = AT_ONCE_S) -> bool:
    """Reads on from where it stands, for so long at most; does nothing to one that does not run.

    Returns:
        whether there is more to read.
    """
    contact_import = ContactImport.objects.filter(pk=import_id, status=ContactImport.Status.RUNNING).first()
    if contact_import is None:
        return False
    take = partial(_take, contact_import)
    return table_imports.read_on(contact_import, take, headers=1, clock=clock, seconds=seconds)


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
        if not table_imports.advance(contact_import, done=done, by=len(chunk), now=now):
            return False
        # Whoever a program adds meanwhile is in the list, too; in one order for all who add to it, so that of two at
        # once neither waits for the other in turn.
        new = [contact_of(people[number][1], contact_import.contact_list_id) for number in sorted(people)]
        Contact.objects.bulk_create(new, ignore_conflicts=True)
        added = set(Contact.objects.filter(pk__in=[each.pk for each in new]).values_list("number", flat=True))
        known = people.keys() - added
        rejected += [(row, IN_LIST, IN_LIST) for row, found in people.values() if found.number in known]
        RejectedRow.objects.bulk_create(
            RejectedRow(
                contact_import=contact_import, row=number, cells=cells, why=why[:MAX_WHY], reason=reason[:MAX_WHY]
            )
            for (number, cells), reason, why in rejected
        )
        ContactImport.objects.filter(pk=contact_import.pk).update(
            added=F("added") + len(added),
            known=F("known") + len(known),
            rejected=F("rejected") + len(rejected) - len(known),
            suppressed=F("suppressed") + len(unwanted - known),
        )
    return True


def contact_of(found: Person, contact_list_id: uuid.UUID) -> Contact:
    """The unsaved row of a person in a list."""
    return Contact(contact_list_id=contact_list_id, **(msgspec.structs.asdict(found) | {"zones": list(found.zones)}))

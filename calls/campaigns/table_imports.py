"""What the imports of all tables do: the file is kept and measured, its rows are read on in the background.

The rows are read by ``calls.tasks.campaigns``, 500 in a transaction that also notes how far it has come: a worker that
dies loses nothing and doubles nothing, and of two that work on the same import one stops.
"""

import datetime
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Protocol, TypeVar

from django.core.files.base import File
from django.db import transaction
from django.db.models import Count, QuerySet

from calls.campaigns import tables
from calls.campaigns.tables import Form, TableError
from calls.hints import hint
from calls.models import TableImport

CHUNK = 500
AT_ONCE_S = 150.0  # a task has 240 s
STUCK_AFTER = datetime.timedelta(seconds=60)
MAX_WHY = 600
_Status = TableImport.Status
Made = TypeVar("Made", bound=TableImport)


class Take(Protocol):
    """Writes what some rows hold; False when they were written by somebody else."""

    def __call__(self, chunk: list[tables.Row], *, done: int, now: datetime.datetime) -> bool: ...


class Refused(ValueError):  # noqa: N818  (as an operator would say it)
    """The import cannot go on like this; its text says why."""


def keep(made: Made, file: "File[bytes]", form: Form, *, headers: list[str], total: int) -> Made:
    """Saves a new import with its file."""
    made.file_name = (file.name or "table")[-200:]
    made.kind, made.encoding, made.delimiter = form.kind, form.encoding, form.delimiter
    made.headers, made.total = headers, total
    file.seek(0)
    made.file.save(f"{made.pk}.{form.kind}", file, save=False)
    made.save()
    return made


def measured(file: IO[bytes], form: Form) -> tuple[list[str], int]:
    """The first row, and how many follow. Raises TableError."""
    with tables.rows(file, form) as rows:
        first = next(rows, None)
        if first is None:
            raise TableError("The file is empty.")
        return first[1], sum(1 for _ in rows)


@contextmanager
def opened(row: TableImport) -> Iterator[Iterator[tables.Row]]:
    """The rows of its file. Raises TableError and OSError."""
    form = Form(row.kind, row.encoding, row.delimiter)
    with row.file.open("rb") as file, tables.rows(file, form) as rows:
        yield rows


def start(row: TableImport, *, task: str, now: datetime.datetime) -> None:
    """Has it read in the background. Raises Refused: it was started already."""
    if not _of(row, _Status.UPLOADED).update(status=_Status.RUNNING, moved_at=now):
        raise Refused("This import has been started already.")
    transaction.on_commit(lambda: hint(task, str(row.pk)))


def discard(row: TableImport) -> None:
    """Forgets one that was not started, with its file.

    Raises:
        Refused: it was.
    """
    with transaction.atomic():
        if not _of(row, _Status.UPLOADED).delete()[0]:
            raise Refused("This import has been started already.")
    row.file.delete(save=False)


def reasons(row: TableImport) -> list[tuple[str, int]]:
    """Why rows were rejected and how many for each reason, the most frequent first."""
    rejected = row.rejected_rows  # type: ignore[attr-defined]  # of each kind
    rows = rejected.order_by().values_list("reason").annotate(rows=Count("id"))
    return sorted(((str(reason), count) for reason, count in rows), key=lambda pair: (-pair[1], pair[0]))


def due(kind: type[TableImport], now: datetime.datetime) -> list[str]:
    """Ids of those that run and have not moved for a minute: their worker is gone, or was never told."""
    stuck = kind._default_manager.filter(status=_Status.RUNNING, moved_at__lt=now - STUCK_AFTER)
    return [str(pk) for pk in stuck.values_list("pk", flat=True)]


def read_on(
    row: TableImport, take: Take, *, headers: int, clock: Callable[[], datetime.datetime], seconds: float
) -> bool:
    """Reads on from where a running import stands, for so long at most.

    Args:
        headers: how many rows come before the first that counts.

    Returns:
        whether there is more to read.
    """
    until = time.monotonic() + seconds
    try:
        with opened(row) as rows:
            done = row.done
            rest = itertools.islice(rows, headers + done, None)
            while chunk := list(itertools.islice(rest, CHUNK)):
                if not take(chunk, done=done, now=clock()):
                    return False  # another worker has it
                done += len(chunk)
                if time.monotonic() > until:
                    return True
    except (TableError, OSError) as error:
        text = str(error) if isinstance(error, TableError) else "The file can no longer be read."
        finish(row, _Status.FAILED, now=clock(), error=text)
        return False
    finish(row, _Status.DONE, now=clock())
    return False


def advance(row: TableImport, *, done: int, by: int, now: datetime.datetime) -> bool:
    """Notes that rows are read, in the transaction that writes them; False when somebody else has read them."""
    mine = _of(row, _Status.RUNNING).filter(done=done)
    return bool(mine.update(done=done + by, moved_at=now))


def finish(row: TableImport, status: TableImport.Status, *, now: datetime.datetime, error: str = "") -> None:
    """Ends a running one; its file goes."""
    if _of(row, _Status.RUNNING).update(status=status, finished_at=now, moved_at=now, error=error[:300]):
        row.file.delete(save=False)  # people's data; what could not be used of it is kept row by row


def _of(row: TableImport, status: TableImport.Status) -> QuerySet[TableImport]:
    return type(row)._default_manager.filter(pk=row.pk, status=status)

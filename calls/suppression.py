"""The do-not-call list: who is on it, and what goes onto it. It beats everything that would ring somebody.

Numbers are kept as HMAC-SHA256 under SUPPRESSION_KEY, so that the list says nothing of anybody and still holds after a
person's data were erased. Under another key nobody would be found on it: while a row bears another key's mark nothing
may be dialled (``trouble``).
"""

import datetime
import hmac
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice

import msgspec
from django.conf import settings
from django.db import transaction
from django.db.models import CharField, Q
from django.utils import timezone

from calls.hooks import events
from calls.models import Call, DoNotCall
from calls.numbers import E164
from calls.prepared import Given, Prepared, among, numbered
from calls.reports import masked

BATCH = 500  # rows of one transaction
MAX_EVIDENCE = 1000
TROUBLE = (
    "SUPPRESSION_KEY is not the one under which the do-not-call list was written, so nobody can be found on it: "
    "nothing is dialled until the old key is put back."
)


# Not "another than": that would read the whole index.
_OTHERS = Prepared(
    DoNotCall.objects.order_by()
    .filter(Q(key_mark__lt=Given("mark", CharField())) | Q(key_mark__gt=Given("mark", CharField())))
    .values_list("pk")[:1]
)


class Entry(msgspec.Struct, frozen=True):
    """A number that is not to be called: E.164, since when (aware), and what shows it."""

    number: str
    since: datetime.datetime
    evidence: str = ""


def _hmac(text: str) -> str:
    return hmac.digest(settings.SUPPRESSION_KEY.encode(), text.encode(), "sha256").hex()


def number_hash(e164: str) -> str:
    """64 hex digits. Raises ValueError for anything but E.164: another spelling would be another hash."""
    if not E164.fullmatch(e164):
        raise ValueError("not a number in E.164")
    return _hmac(e164)


def _key_mark() -> str:
    """Cannot be the beginning of any number's hash, which it would give away: no number begins like this."""
    return _hmac("key of the do-not-call list")[:16]


def trouble() -> str:
    """Why the list cannot be relied on, for an operator; empty when it can."""
    return TROUBLE if _OTHERS.rows(mark=_key_mark()) else ""


def is_suppressed(e164: str) -> bool:
    """Whether the number is on the list. Raises ValueError as ``number_hash``."""
    return DoNotCall.objects.filter(number_hash=number_hash(e164)).exists()


def suppressed(numbers: Collection[str]) -> set[str]:
    """Those of the numbers (E.164) that are on the list."""
    found: set[str] = set()
    if len(numbers) > BATCH and not DoNotCall.objects.exists():
        return found
    by_hash = {number_hash(number): number for number in numbers}
    for part in _batches(by_hash):
        found.update(by_hash[hit] for hit in _hits(len(part)).rows(**numbered(part)))
    return found


@lru_cache(maxsize=16)
def _hits(count: int) -> "Prepared[str]":
    listed = DoNotCall.objects.order_by().filter(number_hash__in=among(count, CharField()))
    return Prepared(listed.values_list("number_hash", flat=True))


def add(
    entry: Entry, *, source: DoNotCall.Source, call: Call | None = None, added_by_id: int | None = None
) -> tuple[DoNotCall, bool]:
    """Puts a number onto the list, at once and for every campaign; the first entry of a number stays as it is.

    Returns:
        The row, and whether it is new.

    Raises:
        ValueError: the number is not E.164.
    """
    with transaction.atomic():
        row, new = DoNotCall.objects.get_or_create(
            number_hash=number_hash(entry.number),
            defaults=_columns(entry, source=source, added_by_id=added_by_id) | {"call": call},
        )
        if new:
            events.opted_out([(row, entry.number)], now=timezone.now())
    return row, new


def add_all(entries: Iterable[Entry], *, source: DoNotCall.Source, added_by_id: int | None = None) -> int:
    """Puts many onto the list, in transactions of 500; what is on it stays as it is.

    Returns:
        how many are new.

    Raises:
        ValueError: a number is not E.164; those of earlier batches are on the list by then.
    """
    added = 0
    rest = iter(entries)
    while batch := list(islice(rest, BATCH)):
        rows = {
            number_hash(entry.number): DoNotCall(
                number_hash=number_hash(entry.number), **_columns(entry, source=source, added_by_id=added_by_id)
            )
            for entry in reversed(batch)  # of a number that comes twice the first entry counts
        }
        numbers = {number_hash(entry.number): entry.number for entry in batch}
        with transaction.atomic():
            known = set(DoNotCall.objects.filter(number_hash__in=rows).values_list("number_hash", flat=True))
            # In one order for all, so that of two at once neither waits for the other in turn.
            new = [row for number, row in sorted(rows.items()) if number not in known]
            DoNotCall.objects.bulk_create(new, ignore_conflicts=True)
            events.opted_out([(row, numbers[row.number_hash]) for row in new], now=timezone.now())
        added += len(new)
    return added


def find(text: str) -> DoNotCall | None:
    """The row of a number that somebody has typed in full, E.164."""
    return DoNotCall.objects.filter(number_hash=number_hash(text)).first() if E164.fullmatch(text) else None


def _columns(entry: Entry, *, source: DoNotCall.Source, added_by_id: int | None) -> dict[str, object]:
    return {
        "key_mark": _key_mark(),
        "masked": masked(entry.number),
        "source": source,
        "since": entry.since,
        "evidence": entry.evidence[:MAX_EVIDENCE],
        "added_by_id": added_by_id,
    }


def _batches(keys: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(keys)
    while batch := list(islice(rest, BATCH)):
        yield batch

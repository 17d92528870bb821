"""Refusals at the edge: forged webhooks and strangers' sockets, counted so that an operator sees them and why.

Called by the webhooks and, from a thread, by the stream's handshake.
"""

import datetime
import threading
import unicodedata
from typing import Any, Literal

import structlog
from django.db import DatabaseError, IntegrityError, transaction
from django.db.models import F

from calls.models import EdgeRefusal

log = structlog.get_logger(__name__)

WRITTEN_AT_ONCE = 20  # refusals of one reason and minute; beyond them a flood is written once a second
MAX_SAMPLE_VALUE = 300


class _Counter:
    """Refusals of one process that are not written yet, so that a flood costs one write a second, not one each."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._minute: dict[tuple[str, str], tuple[datetime.datetime, int, int, datetime.datetime]] = {}

    def due(self, key: tuple[str, str], now: datetime.datetime) -> int:
        """How many refusals, this one included, are to be written now; 0: later."""
        minute = now.replace(second=0, microsecond=0)
        with self._lock:
            begun, seen, waiting, written = self._minute.get(key, (minute, 0, 0, now))
            if begun != minute:
                seen = 0
            seen, waiting = seen + 1, waiting + 1
            is_due = seen <= WRITTEN_AT_ONCE or abs(now - written) >= datetime.timedelta(seconds=1)
            self._minute[key] = (minute, seen, 0 if is_due else waiting, now if is_due else written)
            return waiting if is_due else 0


_counter = _Counter()


def record_refusal(
    *, edge: Literal["webhook", "stream"], reason: str, sample: dict[str, Any], remedy: str, now: datetime.datetime
) -> None:
    """Counts a refusal; never raises, since it must not stand in the way of the refusal itself.

    Args:
        reason: one of a few fixed words.
        sample: what was refused, such as the URL forms tried; never a token, key or whole number.
        remedy: what an operator can do about it, one sentence.
    """
    log.warning("edge_refused", edge=edge, reason=reason)
    count = _counter.due((edge, reason), now)
    if not count:
        return
    row = {"edge": edge, "reason": reason[:40], "minute": now.replace(second=0, microsecond=0)}
    values = {"sample": printable(sample), "remedy": remedy[:300]}
    try:
        if EdgeRefusal.objects.filter(**row).update(count=F("count") + count, **values):
            return
        try:
            with transaction.atomic():
                EdgeRefusal.objects.create(**row, count=count, **values)
        except IntegrityError:
            EdgeRefusal.objects.filter(**row).update(count=F("count") + count, **values)
    except DatabaseError as error:
        log.error("edge_refusal_not_written", reason=reason, error=type(error).__name__)


def printable(value: Any, limit: int = MAX_SAMPLE_VALUE) -> Any:
    """The value without characters that a database or a page cannot hold, its texts cut at ``limit`` characters."""
    if isinstance(value, str):
        kept = (c for c in value[:limit] if c in "\n\t" or unicodedata.category(c) not in {"Cc", "Cs"})
        return "".join(kept)
    if isinstance(value, dict):
        return {printable(str(key), 80): printable(item, limit) for key, item in list(value.items())[:100]}
    if isinstance(value, list | tuple):
        return [printable(item, limit) for item in value[:100]]
    return value

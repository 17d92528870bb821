"""What the provider calls of one call consumed, on its way to the journal.

``listener``, ``thinker`` and ``speaker`` make an entry per provider call; written again, it replaces: reports of a
running provider call grow.
"""

import uuid
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from agents.providers.base import UsageReport

Purpose = Literal["turn", "speculative", "phrase"]


class UsageEntry(msgspec.Struct, frozen=True):
    """One provider call: the key of its row, and when (ms on the call's clock) it began."""

    key: str
    purpose: Purpose
    offset_ms: int


class UsageBook:
    """Turns reports into rows of ``calls.models.Usage``.

    Args:
        write: takes a row; does not wait.
        now_ms: the call's clock.
    """

    def __init__(self, *, write: Callable[[dict[str, Any]], None], now_ms: Callable[[], int]) -> None:
        self._write = write
        self._now_ms = now_ms

    def entry(self, purpose: Purpose) -> UsageEntry:
        """Begins the account of a provider call."""
        return UsageEntry(str(uuid.uuid4()), purpose, self._now_ms())

    def write(self, entry: UsageEntry, report: UsageReport) -> None:
        """Writes what the provider call has consumed so far; one that consumed nothing and did not fail is left out."""
        consumed = report.input_tokens or report.output_tokens or report.characters or report.audio_ms
        if not consumed and not report.error:
            return
        row: dict[str, Any] = msgspec.structs.asdict(report)
        row.update(key=entry.key, purpose=entry.purpose, offset_ms=entry.offset_ms)
        self._write(row)

"""The journal: everything that a live call has to say to the database, written by a thread of its own.

Sessions hand in turns, events, usage and their end without waiting. An end is written at once, turns within a tenth of
a second, events and usage within a quarter, those of all calls together: a statement costs more than a row. What the
database does not take is kept in a file under ``VAR_DIR/journal`` and written later, however long that takes: before
what is newer of its kind and call, and holding up nothing else.
"""

import asyncio
import datetime
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import structlog
from django.db import DataError, Error, IntegrityError, close_old_connections, connections

from streaming.backlog import Backlog, Entry, Key, Kind, by_key, by_kind, must_wait
from streaming.patience import Patience
from streaming.threads import keep_connections

log = structlog.get_logger(__name__)

# How long an entry may wait for company. A turn that ended 250 ms before the process dies is to be there.
WAIT_S: Mapping[Kind, float] = {"ended": 0.0, "turn": 0.1, "event": 0.25, "usage": 0.25}
MAX_QUEUED = 20_000
# What a batch may spend on a database that fails: pauses before new tries, and the tries with their pauses together.
RETRY_S = (0.05, 0.25, 1.0)
BATCH_FAILING_S = 2.0
# The same for one round through the backlog, and the pauses between rounds: each doubles the last.
ROUND_FAILING_S = 0.5
ROUND_FIRST_S = 0.5
ROUND_LAST_S = 5.0

Row = dict[str, Any]
End = tuple[int, str]  # a call, and when it was handed in


class Store(Protocol):
    """What the journal needs of ``calls.live_calls``: blocking functions on the database, rows by the ids of calls."""

    def write_turns(self, turns: Mapping[int, Sequence[Row]]) -> None:
        """Writes turns, all or none; a turn that exists already is left alone or replaced."""

    def write_events(self, events: Mapping[int, Sequence[Row]]) -> None:
        """Writes timeline events, all or none; one that exists already is left alone."""

    def write_usage(self, usage: Mapping[int, Sequence[Row]]) -> None:
        """Writes usage, all or none; a row of the same key is replaced."""

    def stream_ended(
        self,
        *,
        call_id: int,
        session: str,
        reason: str | None,
        normal: bool,
        now: datetime.datetime,
        transfer_to: str = "",
        answered_by: str = "",
    ) -> object:
        """Notes that the stream of a session has ended."""


class Journal:
    """Writes for all live calls of this process.

    Args:
        store: where to; ``calls.live_calls`` outside tests.
        folder: for what the database would not take.
        clock: the time of ends.
    """

    def __init__(self, *, store: Store, folder: Path, clock: Callable[[], datetime.datetime]) -> None:
        self._store = store
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[Entry] = deque()
        self._due = math.inf  # when what is queued is to be written
        self._overflow: list[Entry] = []
        self._overflowing = False
        self._ends: dict[End, asyncio.Future[None]] = {}
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._backlog = Backlog(folder)
        self._overflowed = Backlog(folder)
        self._round_s = ROUND_FIRST_S
        self._round_at = 0.0
        self._threads: list[threading.Thread] = []
        self.spilled = 0

    # --- on the event loop -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Starts the threads; first writes what a crashed process of this host has left."""
        self._loop = asyncio.get_running_loop()
        for name, target in (("journal", self._write_for_ever), ("journal-spill", self._spill_for_ever)):
            thread = threading.Thread(target=target, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    async def close(self, within: float = 10.0) -> None:
        """Writes what is left and ends the threads; after ``within`` s what is left goes to the file."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        loop = asyncio.get_running_loop()
        writer, spiller = self._threads
        await loop.run_in_executor(None, writer.join, within)
        if writer.is_alive():
            with self._changed:
                self._overflow += self._queue
                self._queue.clear()
                self._changed.notify_all()
        await loop.run_in_executor(None, spiller.join, 2.0)

    def turn(self, call_id: int, row: Row) -> None:
        """A turn has ended."""
        self._put(Entry("turn", call_id, row))

    def event(self, call_id: int, row: Row) -> None:
        """Something for the call's timeline."""
        self._put(Entry("event", call_id, row))

    def usage(self, call_id: int, row: Row) -> None:
        """What a provider call has consumed; with the same ``key`` again, it replaces."""
        self._put(Entry("usage", call_id, row))

    async def ended(
        self,
        call_id: int,
        *,
        session: str,
        reason: str | None,
        normal: bool,
        within: float,
        transfer_to: str = "",
        answered_by: str = "",
    ) -> bool:
        """The call's stream has ended; everything handed in before is written first.

        Args:
            transfer_to: name of the destination that the caller is put through to; empty: nobody.
            answered_by: a ``Call.AnsweredBy``.
            within: s to wait; the end is written later all the same.

        Returns:
            whether it was written in time.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        now = self._clock().isoformat()
        self._ends[call_id, now] = done
        row = {"session": session, "reason": reason, "normal": normal, "now": now}
        self._put(Entry("ended", call_id, row | {"transfer_to": transfer_to, "answered_by": answered_by}))
        finished, _ = await asyncio.wait([done], timeout=within)
        self._ends.pop((call_id, now), None)
        return bool(finished)

    def _end_written(self, end: End) -> None:
        done = self._ends.pop(end, None)
        if done is not None and not done.done():
            done.set_result(None)

    def _put(self, entry: Entry) -> None:
        due = time.monotonic() + WAIT_S[entry.kind]
        with self._changed:
            # Once something has overflowed, all that is newer follows it until it is in the backlog.
            self._overflowing = self._overflowing or len(self._queue) >= MAX_QUEUED
            (self._overflow if self._overflowing else self._queue).append(entry)
            if due < self._due or self._overflowing:  # else the thread wakes in time
                self._due = min(due, self._due)
                self._changed.notify_all()

    # --- in the writing thread ---------------------------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        keep_connections()
        try:
            self._backlog.recover()
        except OSError:
            log.exception("journal_backlog_not_taken_over")  # the next start tries again
        while True:
            if self._backlog and time.monotonic() >= self._round_at:
                self._write_backlog()
            batch, closing = self._next_batch(until=self._round_at if self._backlog else None)
            if batch:
                self._write(batch)
            self._take_overflow()
            if closing and not batch:
                break
        if self._backlog:
            self._write_backlog()
        self._backlog.close()
        connections.close_all()

    def _next_batch(self, *, until: float | None) -> tuple[list[Entry], bool]:
        """Waits until entries are due, or for the moment ``until``."""
        with self._changed:
            while not self._closing and not self._overflow_is_kept:
                left = min(self._due, math.inf if until is None else until) - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(None if left == math.inf else left)
            batch = list(self._queue)
            self._queue.clear()
            self._due = math.inf
            return batch, self._closing

    def _write(self, batch: list[Entry]) -> None:
        left = self._write_groups(batch, Patience(RETRY_S, BATCH_FAILING_S), self._backlog.waiting)
        if left:
            if not self._backlog:
                self._round_at = time.monotonic() + self._round_s
            self._keep(self._backlog, left)

    def _write_groups(self, entries: list[Entry], patience: Patience, waiting: set[Key]) -> list[Entry]:
        """Writes entries except those behind ``waiting``; returns what is left for later and adds its keys there."""
        left: list[Entry] = []
        for alike in by_kind(entries):
            rest = [entry for entry in alike if must_wait(entry.key, waiting)]
            rest += self._write_alike([entry for entry in alike if not must_wait(entry.key, waiting)], patience)
            waiting.update(entry.key for entry in rest)
            left += rest
        if left and patience.error:
            log.error("journal_write_failed", rows=len(left), error=patience.error)
        return left

    def _write_alike(self, entries: list[Entry], patience: Patience) -> list[Entry]:
        """Writes entries of one kind; returns what is left for later."""
        groups = by_key(entries)
        if len(groups) > 1 and not patience.over and self._written_together(entries, patience):
            return []
        return [entry for group in groups for entry in self._write_group(group, patience)]

    def _written_together(self, entries: list[Entry], patience: Patience) -> bool:
        """Whether entries of several calls could be written in one go; otherwise none was."""
        began = time.monotonic()
        try:
            close_old_connections()
            self._store_entries(entries)
        except Exception as error:  # noqa: BLE001  (whose fault it is shows when each call's are written by themselves)
            patience.spend(error, time.monotonic() - began)
            return False
        return True

    def _write_group(self, group: list[Entry], patience: Patience) -> list[Entry]:
        """Writes entries of one key; returns what is left for later. What is refused for good is set aside."""
        while not patience.over:
            began = time.monotonic()
            try:
                close_old_connections()
                self._store_entries(group)
            except Error as error:
                if isinstance(error, IntegrityError | DataError):  # the same write would fail for ever
                    return self._write_one_by_one(group, patience, error)
                pause = patience.failed(error, time.monotonic() - began)
                if pause is None:
                    return group
                time.sleep(pause)
            except Exception as error:
                log.exception("journal_write_impossible", kind=group[0].kind, rows=len(group))
                return self._write_one_by_one(group, patience, error)
            else:
                return []
        return group

    def _write_one_by_one(self, group: list[Entry], patience: Patience, error: Exception) -> list[Entry]:
        """Writes what is not at fault of a group that was refused, and sets aside what is."""
        if len(group) == 1:
            self._set_aside(group[0], error)
            return []
        for position, entry in enumerate(group):
            if self._write_group([entry], patience):
                return group[position:]
        return []

    def _store_entries(self, entries: list[Entry]) -> None:
        rows: dict[int, list[Row]] = {}
        for entry in entries:
            rows.setdefault(entry.call_id, []).append(entry.row)
        match entries[0].kind:
            case "turn":
                self._store.write_turns(rows)
            case "event":
                self._store.write_events(rows)
            case "usage":
                self._store.write_usage(rows)
            case "ended":
                for entry in entries:
                    self._store_end(entry)

    def _store_end(self, entry: Entry) -> None:
        now = entry.row["now"]
        self._store.stream_ended(call_id=entry.call_id, **(entry.row | {"now": datetime.datetime.fromisoformat(now)}))
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._end_written, (entry.call_id, now))

    # --- what the database would not take ----------------------------------------------------------------------------

    def _write_backlog(self) -> None:
        """One round through the backlog, oldest first; what the database still does not take stays for the next."""
        patience = Patience((), ROUND_FAILING_S)
        waiting: set[Key] = set()
        written = 0
        try:
            for part in self._backlog.parts:
                if patience.over:
                    break
                entries = part.file.read(Entry)
                left = self._write_groups(entries, patience, waiting)
                if len(left) < len(entries) or not entries:
                    self._backlog.settle(part, left)
                written += len(entries) - len(left)
        except OSError:
            log.exception("journal_backlog_failed")
        if written:
            log.info("journal_backlog_written", rows=written)
        self._round_s = min(ROUND_LAST_S, self._round_s * 2) if self._backlog else ROUND_FIRST_S
        self._round_at = time.monotonic() + self._round_s

    def _keep(self, backlog: Backlog, entries: list[Entry]) -> None:
        try:
            backlog.append(entries)
        except OSError:
            log.exception("journal_rows_lost", rows=len(entries))
        else:
            self.spilled += len(entries)

    def _set_aside(self, entry: Entry, error: Exception) -> None:
        try:
            path = self._backlog.set_aside([entry])
        except OSError:
            log.exception("journal_rows_lost", rows=1)
        else:
            log.error("journal_row_refused", kind=entry.kind, error=type(error).__name__, kept_in=path.name)

    @property
    def _overflow_is_kept(self) -> bool:
        return self._overflowing and not self._overflow

    def _take_overflow(self) -> None:
        """Puts what has overflowed behind the backlog, once all that is older has been tried and it is in files."""
        with self._changed:
            if self._queue or not self._overflow_is_kept:
                return
            self._overflowing = False
            self._backlog.take_over(self._overflowed)
        self._round_at = 0.0

    def _spill_for_ever(self) -> None:
        """Takes what the queue cannot hold, while the writing thread is held up in the database."""
        while True:
            with self._changed:
                while not self._overflow and not self._closing:
                    self._changed.wait()
                entries = list(self._overflow)
                over = self._closing and not self._threads[0].is_alive()
            if entries:
                self._keep(self._overflowed, entries)
                log.error("journal_overflow_spilled", rows=len(entries))
                with self._changed:
                    del self._overflow[: len(entries)]
                    self._changed.notify_all()
            elif over:
                self._overflowed.close()
                return
            elif self._closing:
                self._threads[0].join(0.05)

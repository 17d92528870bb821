"""The journal: everything that a live call has to say to the database, written by a thread of its own.

Sessions hand in turns, events, usage and their end without waiting. Turns are written at once, events within a
quarter of a second; what the database does not take is kept in a file under ``VAR_DIR/journal`` and written later.
"""

import asyncio
import datetime
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import structlog
from django.db import DatabaseError, Error, close_old_connections, connections

from streaming.spill import SpillFile, abandoned_spills

log = structlog.get_logger(__name__)

BATCH_S = 0.25
HEARTBEAT_S = 3.0
MAX_QUEUED = 20_000
RETRY_S = (0.05, 0.25, 1.0)

Row = dict[str, Any]


class Store(Protocol):
    """What the journal needs of ``calls.live_calls``: blocking functions on the database."""

    def write_turns(self, call_id: int, rows: Sequence[Row]) -> None:
        """Writes turns; a turn that exists already is left alone or replaced."""

    def write_events(self, call_id: int, rows: Sequence[Row]) -> None:
        """Writes timeline events."""

    def write_usage(self, call_id: int, rows: Sequence[Row]) -> None:
        """Writes usage; a row of the same key is replaced."""

    def heartbeat(self, *, call_ids: Sequence[int], now: datetime.datetime) -> object:
        """Notes that these calls live."""

    def stream_ended(self, *, call_id: int, reason: Any, normal: bool, now: datetime.datetime) -> object:
        """Notes that a call's stream has ended."""


class Entry(msgspec.Struct, frozen=True):
    """One thing to write; ``row`` is what the database's row will hold."""

    kind: Literal["turn", "event", "usage", "ended"]
    call_id: int
    row: Row


class Journal:
    """Writes for all live calls of this process.

    Args:
        store: where to; ``calls.live_calls`` outside tests.
        folder: for what the database would not take.
        clock: the time of heartbeats.
    """

    def __init__(self, *, store: Store, folder: Path, clock: Callable[[], datetime.datetime]) -> None:
        self._store = store
        self._folder = folder
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: deque[tuple[Entry, asyncio.Future[None] | None]] = deque()
        self._overflow: list[Entry] = []
        self._live: frozenset[int] = frozenset()
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._spill = SpillFile(folder)
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
                self._overflow += [entry for entry, _ in self._queue]
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

    async def ended(self, call_id: int, *, reason: str | None, normal: bool, within: float) -> bool:
        """The call's stream has ended; everything handed in before is written first.

        Args:
            within: s to wait; the end is written later all the same.

        Returns:
            whether it was written in time.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        row = {"reason": reason, "normal": normal, "now": self._clock().isoformat()}
        self._put(Entry("ended", call_id, row), done)
        finished, _ = await asyncio.wait([done], timeout=within)
        return bool(finished)

    def live(self, call_ids: Iterable[int]) -> None:
        """The calls that get a heartbeat from now on."""
        self._live = frozenset(call_ids)

    def _put(self, entry: Entry, done: asyncio.Future[None] | None = None) -> None:
        with self._changed:
            if len(self._queue) < MAX_QUEUED:
                self._queue.append((entry, done))
            else:
                self._overflow.append(entry)
            self._changed.notify_all()

    # --- in the writing thread ---------------------------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        self._replay(abandoned_spills(self._folder))
        beat = 0.0
        while True:
            batch, closing = self._next_batch(until=beat)
            if batch:
                self._write(batch)
            if closing and not batch:
                break
            if time.monotonic() >= beat and not closing:
                self._beat()
                beat = time.monotonic() + HEARTBEAT_S
        connections.close_all()

    def _next_batch(self, *, until: float) -> tuple[list[tuple[Entry, asyncio.Future[None] | None]], bool]:
        """Waits for entries, or for the moment ``until``; events wait a little for company, turns do not."""
        with self._changed:
            while not self._queue and not self._closing:
                left = until - time.monotonic()
                if left <= 0:
                    return [], False
                self._changed.wait(left)
            patience = time.monotonic() + BATCH_S
            while not self._closing and all(entry.kind in {"event", "usage"} for entry, _ in self._queue):
                left = patience - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            batch = list(self._queue)
            self._queue.clear()
            return batch, self._closing

    def _write(self, batch: list[tuple[Entry, asyncio.Future[None] | None]]) -> None:
        entries = [entry for entry, _ in batch]
        for group in _grouped(entries):
            if not self._write_group(group):
                self._keep(group)
        for _, done in batch:
            if done is not None and self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(_resolve, done)
        if self._spill.holds_something and not self._overflow:
            self._replay([self._spill.close()])

    def _write_group(self, group: list[Entry]) -> bool:
        """Writes entries of one call and kind; False when the database would not take them."""
        for pause in (*RETRY_S, None):
            close_old_connections()
            try:
                self._store_group(group)
            except (DatabaseError, Error) as error:
                if pause is None:
                    log.error("journal_write_failed", kind=group[0].kind, rows=len(group), error=type(error).__name__)
                    return False
                time.sleep(pause)
            except Exception:
                log.exception("journal_write_impossible", kind=group[0].kind, rows=len(group))
                return False
            else:
                return True
        return False

    def _store_group(self, group: list[Entry]) -> None:
        first = group[0]
        rows = [entry.row for entry in group]
        match first.kind:
            case "turn":
                self._store.write_turns(first.call_id, rows)
            case "event":
                self._store.write_events(first.call_id, rows)
            case "usage":
                self._store.write_usage(first.call_id, rows)
            case "ended":
                for row in rows:
                    now = datetime.datetime.fromisoformat(row["now"])
                    self._store.stream_ended(call_id=first.call_id, reason=row["reason"], normal=row["normal"], now=now)

    def _beat(self) -> None:
        live = sorted(self._live)
        if not live:
            return
        close_old_connections()
        try:
            self._store.heartbeat(call_ids=live, now=self._clock())
        except (DatabaseError, Error) as error:
            log.warning("heartbeat_failed", calls=len(live), error=type(error).__name__)

    # --- what the database would not take ----------------------------------------------------------------------------

    def _keep(self, entries: list[Entry]) -> None:
        try:
            self._spill.write(entries)
        except OSError:
            log.exception("journal_rows_lost", rows=len(entries))
        else:
            self.spilled += len(entries)

    def _spill_for_ever(self) -> None:
        """Takes what the queue cannot hold, while the writing thread is held up in the database."""
        while True:
            with self._changed:
                while not self._overflow and not self._closing:
                    self._changed.wait()
                entries, self._overflow = self._overflow, []
                over = self._closing and not self._threads[0].is_alive()
            if entries:
                self._keep(entries)
                log.error("journal_overflow_spilled", rows=len(entries))
            elif over:
                return
            elif self._closing:
                self._threads[0].join(0.05)

    def _replay(self, files: list[Path]) -> None:
        """Writes the entries of spill files; what the database refuses for good is set aside."""
        for path in files:
            entries = SpillFile.read(path, Entry)
            failed = [entry for group in _grouped(entries) if not self._write_group(group) for entry in group]
            refused = [entry for entry in failed if not self._write_group([entry])]
            SpillFile.finish(path, refused)
            log.info("journal_replayed", rows=len(entries), refused=len(refused))


def _grouped(entries: list[Entry]) -> list[list[Entry]]:
    """Entries of the same call and kind together, groups in the order of their first entry; an end comes last."""
    groups: dict[tuple[bool, int, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.kind == "ended", entry.call_id, entry.kind), []).append(entry)
    return [groups[key] for key in sorted(groups, key=lambda key: key[0])]


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)

"""Opt-outs on their way to the database: whoever asks not to be called again has asked, whatever breaks meanwhile.

What the database does not take at once goes to a file of this host under ``VAR_DIR/opt-outs``, on the disk before
anybody is told that it is written, and is tried again every second: by this process, or by the next that starts after
it. It waits behind nothing, neither behind the journal's backlog nor behind an opt-out that keeps failing. Owned by
``resources``.
"""

import asyncio
import datetime
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec

import msgspec
import structlog
from django.core.exceptions import ObjectDoesNotExist
from django.db import Error

from calls import live_calls
from calls.models import DoNotCall
from streaming.spill import SUFFIX, SpillFile
from streaming.threads import Overloaded, Worker

log = structlog.get_logger(__name__)

P = ParamSpec("P")
WITHIN_S = 2.0  # of one try
TAKEN_OVER_WITHIN_S = 60.0
TRIES = 5  # to bring it to the disk before it is said that it is not written
PAUSE_S = 1.0
LIMIT = 1000  # that may wait for the disk
_AWAY = (Error, OSError, TimeoutError, Overloaded)
_NEVER = (ValueError, ObjectDoesNotExist)  # the other end has no number, or the call is gone and the number with it


class OptOut(msgspec.Struct, frozen=True):
    """What ``live_calls.opt_out`` is given; ``now``: when it was asked for (aware)."""

    call_id: int
    source: DoNotCall.Source
    evidence: str
    now: datetime.datetime


class Late:
    """An opt-out that the database may not have yet.

    Attributes:
        settled: nothing is left to do: the database has it, or never will.
        written: the database has it.
        error: by name, of the last try.
    """

    def __init__(self, asked: OptOut, file: SpillFile | None = None) -> None:
        self.asked = asked
        self.settled = self.written = False
        self.error = ""
        self._file = file  # touched in the disk's thread alone

    @property
    def kept(self) -> bool:
        """Whether it outlives this process."""
        return self._file is not None

    def keep(self, folder: Path) -> None:
        """Brings it to the disk, where it is not there yet. Raises OSError."""
        if self._file is None:
            file = SpillFile.create(folder)
            try:
                file.append([self.asked])
            except OSError:
                file.delete()
                raise
            self._file = file

    def forget(self) -> None:
        """Deletes it from the disk. Raises OSError."""
        if self._file is not None:
            self._file.delete()

    def leave(self) -> None:
        """Leaves it to another process."""
        if self._file is not None:
            self._file.close()


class OptOuts:
    """Those of one process; to be used on its event loop.

    Args:
        folder: for what the database does not take at once.
        database: the thread that asks it.
        clock: the time of day.
    """

    def __init__(self, *, folder: Path, database: Worker, clock: Callable[[], datetime.datetime]) -> None:
        self._folder = folder
        self._database = database
        self._disk = Worker("opt-outs", limit=LIMIT)
        self._clock = clock
        self._late: deque[Late] = deque()
        self._some = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """From now on what is late is written; first what dead processes of this host have left."""
        self._task = asyncio.create_task(self._write_late(), name="opt-outs")

    async def close(self) -> None:
        """Leaves what the database still has not taken to the next process."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._on_disk(WITHIN_S, self._leave)
        await self._disk.close()

    async def write(self, *, call_id: int, source: DoNotCall.Source, evidence: str) -> bool:
        """Whether it is written: in the database, or on the disk and so before long in the database.

        What could be brought to neither for some seconds is tried on until the process ends.
        """
        late = Late(OptOut(call_id, source, evidence, self._clock()))
        await self._try(late)
        if late.settled:
            return late.written
        self._late.append(late)
        self._some.set()
        for _ in range(TRIES):
            if late.settled or await self._on_disk(WITHIN_S, late.keep, self._folder):
                break
            await asyncio.sleep(PAUSE_S)
        return late.written or late.kept

    async def _write_late(self) -> None:
        """For as long as the process lives; one that fails goes behind the others."""
        await self._on_disk(TAKEN_OVER_WITHIN_S, self._take_over)
        while True:
            if not self._late:
                self._some.clear()
                await self._some.wait()
            late = self._late[0]
            await self._try(late)
            if late.settled:
                self._late.popleft()
                log.info("opt_out_settled_late", call_id=late.asked.call_id, written=late.written)
                await self._on_disk(WITHIN_S, late.forget)
            else:
                self._late.rotate(-1)
                await asyncio.sleep(PAUSE_S)

    async def _try(self, late: Late) -> None:
        try:
            await self._database.run(WITHIN_S, live_calls.opt_out, **msgspec.structs.asdict(late.asked))
        except _NEVER as error:
            log.warning("opt_out_without_number", call_id=late.asked.call_id, error=type(error).__name__)
            late.settled = True
        except Exception as error:  # whatever it is, who asked has asked
            name = type(error).__name__
            if name != late.error:  # else it would be told every second
                unknown = not isinstance(error, _AWAY)
                log.error("opt_out_not_written", call_id=late.asked.call_id, error=name, exc_info=unknown)
            late.error = name
        else:
            late.settled = late.written = True

    async def _on_disk(self, within: float, work: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> bool:
        """Whether it was done in time; what was begun is done later all the same."""
        try:
            await self._disk.run(within, work, *args, **kwargs)
        except (OSError, TimeoutError, Overloaded) as error:
            log.error("opt_outs_disk_fails", error=type(error).__name__)
            return False
        return True

    # --- in the disk's thread ----------------------------------------------------------------------------------------

    def _take_over(self) -> None:
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                file = SpillFile.take(path)
                if file is not None:
                    self._late += self._read(file)
            except OSError:
                log.exception("opt_out_not_taken_over", file=path.name)  # the next start tries again

    def _read(self, file: SpillFile) -> list[Late]:
        """What a file holds; one that cannot be read is left for a person to look at."""
        match file.read(OptOut):
            case [asked]:
                return [Late(asked, file)]
            case _:
                kept_in = file.path.rename(file.path.with_suffix(".refused"))
                file.close()
                log.error("opt_out_unreadable", kept_in=kept_in.name)
                return []

    def _leave(self) -> None:
        for late in self._late:
            try:
                late.keep(self._folder)
            except OSError:
                log.exception("opt_out_lost", call_id=late.asked.call_id)
            late.leave()

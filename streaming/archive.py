"""Recordings of live calls, from the first sample to Storage: owned by ``resources``, used by each session.

A stream writes raw tracks into a folder of this host, one per call, so that a call whose stream was lost goes on in the
same recording. Once the call is over its folder becomes a WAV in Storage; folders that a crash has left are found in
the same way.
"""

import asyncio
import contextlib
import datetime
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

import structlog
from django.db import Error

from agents.providers.base import AudioFormat
from calls import recordings
from calls.models import Call
from calls.states import is_over
from streaming.audio.recorder import Recorder, Recording
from streaming.audio.recording_files import Finished, RecordingError, assemble, discard, left_behind, read_header
from streaming.threads import Overloaded, Worker

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
TRY_AGAIN_S = 30.0
GIVEN_UP_S = 24 * 3600.0  # a call whose end nobody ever learned of still gets its recording
LOOK_WITHIN_S = 900.0  # a long recording on a slow store
OWNER = "owner.lock"  # locked by the process that records
CLOSED = "closed"  # the stream ended in an orderly way: nothing needs repair


class Vault(Protocol):
    """What the archive needs of ``calls``: blocking functions on the database and Storage."""

    def open(self, *, call_id: int, rate: int) -> None:
        """Notes that the call is being recorded here."""

    def over(self, call_id: int) -> bool:
        """Whether no further stream of the call can come."""
        ...

    def keep(self, call_id: int, finished: Finished) -> None:
        """Stores a finished recording."""

    def fail(self, call_id: int, error: str) -> None:
        """Notes why there is none."""


class CallsVault:
    """The real one."""

    def open(self, *, call_id: int, rate: int) -> None:
        """See ``Vault``."""
        recordings.open_recording(call_id=call_id, host=socket.gethostname(), rate=rate)

    def over(self, call_id: int) -> bool:
        """See ``Vault``."""
        row = Call.objects.filter(pk=call_id).values_list("status", "stream_ended_at").first()
        return row is None or is_over(row[0]) or row[1] is not None

    def keep(self, call_id: int, finished: Finished) -> None:
        """See ``Vault``."""
        recordings.attach_recording(
            call_id=call_id,
            path=finished.path,
            duration_ms=finished.duration_ms,
            rate=finished.rate,
            channels=finished.channels,
            peaks=finished.peaks,
            repaired=finished.repaired,
        )

    def fail(self, call_id: int, error: str) -> None:
        """See ``Vault``."""
        recordings.fail_recording(call_id=call_id, error=error)


class LiveRecording:
    """One stream being recorded; nothing waits."""

    def __init__(self, recording: Recording, leave: Callable[[], None]) -> None:
        self._recording = recording
        self._leave = leave

    def caller(self, audio: bytes, *, timestamp: int | None, chunk: int | None, now_ms: int) -> None:
        """The caller's next audio; its place follows from the caller's own numbering."""
        self._recording.caller(audio, chunk, timestamp, now_ms=now_ms)

    def agent(self, audio: bytes, *, plays_at_ms: int) -> None:
        """Audio that the caller has heard from ``plays_at_ms`` of the call's clock on."""
        self._recording.agent(plays_at_ms, audio)

    def leave(self) -> None:
        """The stream is over; the archive does the rest."""
        self._leave()


class Archive:
    """All recordings of this process.

    Args:
        folder: of this host, shared by its processes.
        clock: the time of day.
    """

    def __init__(self, *, folder: Path, clock: Callable[[], datetime.datetime], vault: Vault | None = None) -> None:
        self._folder = folder
        self._clock = clock
        self._vault: Vault = vault if vault is not None else CallsVault()
        self._worker = Worker("stream-archive", limit=1000)
        self._recorder: Recorder | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._noting: set[asyncio.Future[None]] = set()
        self._locks: dict[str, int] = {}  # by call; used in the writer thread alone
        self._not_before: dict[str, float] = {}  # used in the archive's thread alone

    async def open(self) -> None:
        """Starts the writer, and looks for what an earlier process has left."""
        self._recorder = await asyncio.to_thread(self._new_recorder)
        self._task = asyncio.create_task(self._look_for_ever(), name="archive")

    def _new_recorder(self) -> Recorder:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Recorder(self._folder)

    async def close(self) -> None:
        """Writes what waits; recordings of calls that are over are stored first, as far as time allows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._recorder is not None:
            await self._written()
            with contextlib.suppress(TimeoutError, Overloaded):
                await self._worker.run(10.0, self.settle)
            await asyncio.to_thread(self._recorder.close)
        await self._worker.close()

    def begin(self, *, call_id: int, fmt: AudioFormat) -> LiveRecording:
        """Records a stream; goes on with the recording of an earlier stream of the call."""
        recorder = self._recorder
        if recorder is None:
            raise RuntimeError("the archive is not open")
        name = str(call_id)
        recording = recorder.open(name, fmt, wall_ms=round(self._clock().timestamp() * 1000))
        recorder.submit(lambda: self._own(name))
        self._note_open(call_id, fmt.rate)

        def leave() -> None:
            recording.leave()
            loop = asyncio.get_running_loop()
            recorder.submit(lambda: self._disown(name))
            recorder.submit(lambda: _call_on(loop, self._wake.set))

        return LiveRecording(recording, leave)

    def _note_open(self, call_id: int, rate: int) -> None:
        noting = asyncio.ensure_future(self._worker.run(30.0, self._vault.open, call_id=call_id, rate=rate))
        self._noting.add(noting)
        noting.add_done_callback(self._noted)

    def _noted(self, noting: "asyncio.Future[None]") -> None:
        self._noting.discard(noting)
        if not noting.cancelled() and (error := noting.exception()) is not None:
            log.error("recording_not_noted", error=type(error).__name__)

    async def _written(self) -> None:
        """Waits until the writer has done what was handed to it so far."""
        done: Future[None] = Future()
        if self._recorder is not None:
            self._recorder.submit(lambda: done.set_result(None))
            await asyncio.wait([asyncio.wrap_future(done)], timeout=5.0)

    async def _look_for_ever(self) -> None:
        while True:
            try:
                await self._worker.run(LOOK_WITHIN_S, self.settle)
            except (TimeoutError, Overloaded, Error, OSError) as error:
                log.error("archive_look_failed", error=type(error).__name__)
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()

    # --- in the writer thread ----------------------------------------------------------------------------------------

    def _own(self, name: str) -> None:
        """Tells the other processes of this host that the folder is being written."""
        try:
            lock = os.open(self._folder / name / OWNER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            (self._folder / name / CLOSED).unlink(missing_ok=True)
        except OSError as error:
            log.error("recording_not_owned", error=type(error).__name__)
        else:
            self._release(name)
            self._locks[name] = lock

    def _disown(self, name: str) -> None:
        with contextlib.suppress(OSError):
            (self._folder / name / CLOSED).touch(mode=0o600)
        self._release(name)

    def _release(self, name: str) -> None:
        lock = self._locks.pop(name, None)
        if lock is not None:
            os.close(lock)

    # --- in the archive's thread -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Stores the recordings of all calls that are over and that nobody is writing any more (blocking)."""
        for folder in left_behind(self._folder):
            if time.monotonic() < self._not_before.get(folder.name, 0.0):
                continue
            with _sole_owner(folder) as ours:
                if ours:
                    self._settle(folder)

    def _settle(self, folder: Path) -> None:
        call_id = int(folder.name)
        try:
            if not self._vault.over(call_id) and self._age(folder) < GIVEN_UP_S:
                return
            finished = assemble(folder, repaired=not (folder / CLOSED).exists())
            self._vault.keep(call_id, finished)
        except RecordingError as error:
            self._vault.fail(call_id, str(error))
        except (OSError, Error) as error:
            log.error("recording_not_stored", error=type(error).__name__)
            self._not_before[folder.name] = time.monotonic() + TRY_AGAIN_S
            return
        discard(folder)
        self._not_before.pop(folder.name, None)

    def _age(self, folder: Path) -> float:
        return self._clock().timestamp() - read_header(folder).started_ms / 1000


@contextlib.contextmanager
def _sole_owner(folder: Path) -> Iterator[bool]:
    """Holds the folder's lock; False when a process is recording into it."""
    try:
        lock = os.open(folder / OWNER, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileNotFoundError:
        yield False  # another process has just stored and removed it
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(lock)


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)

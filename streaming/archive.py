"""Recordings of live calls, from the first sample to Storage: owned by ``resources``, used by each session.

A stream writes raw tracks into a folder of this host, one per call, so that a call whose stream was lost goes on in the
same recording. Once the call is over its folder becomes a WAV in Storage, joined with what other hosts had of the call;
folders that a crash has left are found in the same way. Why something is missing is told to the vault at once.
"""

import asyncio
import contextlib
import datetime
import fcntl
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

import structlog
from django.db import Error

from agents.providers.base import AudioFormat
from calls import recording_parts
from calls.models import Call
from calls.states import is_over
from streaming.audio.recorder import Recorder, Recording
from streaming.audio.recording_files import HEADER, RecordingError, discard, left_behind
from streaming.audio.recording_wav import Take
from streaming.threads import Overloaded, Worker

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
TRY_AGAIN_S = 30.0
GIVEN_UP_S = 24 * 3600.0  # a call whose end nobody ever learned of still gets its recording
LOOK_WITHIN_S = 900.0  # a long recording on a slow store


class Vault(Protocol):
    """What the archive needs of ``calls``: blocking functions on the database and Storage."""

    def open(self, *, call_id: int, host: str, rate: int) -> None:
        """Notes that the call is being recorded on this host."""

    def over(self, call_ids: Collection[int]) -> set[int]:
        """Those of which no further stream can come."""
        ...

    def keep(self, call_id: int, take: Take) -> None:
        """Joins a part to what is stored of the call; a part that is there already changes nothing."""

    def fail(self, call_id: int, *, host: str, error: str, held: bool) -> None:
        """Notes why something is missing, and whether the host still holds something else of the call."""


class CallsVault:
    """The real one."""

    def open(self, *, call_id: int, host: str, rate: int) -> None:
        """See ``Vault``."""
        recording_parts.open_recording(call_id=call_id, host=host, rate=rate)

    def over(self, call_ids: Collection[int]) -> set[int]:
        """See ``Vault``."""
        rows = Call.objects.filter(pk__in=call_ids).values_list("pk", "status", "stream_ended_at")
        return set(call_ids) - {pk for pk, status, ended_at in rows if not is_over(status) and ended_at is None}

    def keep(self, call_id: int, take: Take) -> None:
        """See ``Vault``."""
        recording_parts.attach_recording(
            call_id=call_id,
            host=take.header.host,
            started_ms=take.header.started_ms,
            join=take.wav,
            repaired=take.repaired,
            error=take.error,
        )

    def fail(self, call_id: int, *, host: str, error: str, held: bool) -> None:
        """See ``Vault``."""
        recording_parts.fail_recording(call_id=call_id, host=host, error=error, held=held)


class LiveRecording:
    """One stream being recorded; nothing waits."""

    def __init__(self, recording: Recording, leave: Callable[[bool], None]) -> None:
        self._recording = recording
        self._leave = leave

    def caller(self, audio: bytes, *, timestamp: int | None, chunk: int | None, now_ms: int) -> None:
        """The caller's next audio; its place follows from the caller's own numbering."""
        self._recording.caller(audio, chunk, timestamp, now_ms=now_ms)

    def agent(self, audio: bytes, *, plays_at_ms: int) -> None:
        """Audio that the caller has heard from ``plays_at_ms`` of the call's clock on."""
        self._recording.agent(plays_at_ms, audio)

    def leave(self, *, goes_on: bool = False) -> None:
        """The stream is over; the archive does the rest. See ``Recording.leave``."""
        self._leave(goes_on)


class _Lock:
    """Tells the processes of this host, this one too, that a folder is being written; for the writer thread alone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: int | None = None

    def take(self) -> None:
        """Makes the folder if need be; one that cannot be made or locked is written all the same, as far as it goes."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._held = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(self._held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            log.error("recording_not_owned", error=type(error).__name__)

    def release(self) -> None:
        """Leaves the folder to whoever stores it."""
        if self._held is not None:
            os.close(self._held)
            self._held = None


class Archive:
    """All recordings of this process.

    Args:
        folder: of this host, shared by its processes.
        clock: the time of day.
        host: name of this host; the system's own where none is given.
    """

    def __init__(
        self, *, folder: Path, clock: Callable[[], datetime.datetime], vault: Vault | None = None, host: str = ""
    ) -> None:
        self._folder = folder
        self._host = host or socket.gethostname()
        self._clock = clock
        self._vault: Vault = vault if vault is not None else CallsVault()
        self._worker = Worker("stream-archive", limit=1000)
        self._recorder: Recorder | None = None
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._noting: set[asyncio.Future[None]] = set()
        self._untold: deque[Recording] = deque()  # failures to be told again; used in the archive's thread alone
        self._stored: set[str] = set()  # folders that could not be deleted; used in the archive's thread alone
        self._not_before: dict[str, float] = {}  # used in the archive's thread alone

    async def open(self) -> None:
        """Starts the writer, and looks for what an earlier process has left."""
        self._recorder = await asyncio.to_thread(self._new_recorder, asyncio.get_running_loop())
        self._task = asyncio.create_task(self._look_for_ever(), name="archive")

    def _new_recorder(self, loop: asyncio.AbstractEventLoop) -> Recorder:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

        def failed(recording: Recording) -> None:
            _call_on(loop, lambda: self._in_order(self._tell, recording))

        return Recorder(self._folder, host=self._host, on_failure=failed)

    async def close(self) -> None:
        """Writes what waits; recordings of calls that are over are stored first, as far as time allows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._recorder is not None:
            await self._written()
            with contextlib.suppress(TimeoutError, Overloaded, Error, OSError):
                await self._worker.run(10.0, self.settle)
            await asyncio.to_thread(self._recorder.close)
        await self._worker.close()

    def begin(self, *, call_id: int, fmt: AudioFormat, waited_s: float = 0.0) -> LiveRecording:
        """Records a stream; goes on with the recording of an earlier stream of the call.

        Args:
            waited_s: so long ago the caller's first audio was sent.
        """
        recorder = self._recorder
        if recorder is None:
            raise RuntimeError("the archive is not open")
        name = str(call_id)
        # First, so that it comes before anything else that the archive says of the call.
        self._in_order(self._vault.open, call_id=call_id, host=self._host, rate=fmt.rate)
        lock = _Lock(self._folder / name)
        recorder.submit(lock.take)  # before there is anything to be taken for what an earlier process has left
        recording = recorder.open(name, fmt, wall_ms=round((self._clock().timestamp() - waited_s) * 1000))

        def leave(goes_on: bool) -> None:
            recording.leave(goes_on=goes_on)
            loop = asyncio.get_running_loop()
            recorder.submit(lock.release)
            recorder.submit(lambda: _call_on(loop, self._wake.set))

        return LiveRecording(recording, leave)

    def _in_order(self, note: Callable[..., None], *args: Any, **kwargs: Any) -> None:
        """Has the archive's thread note something; behind a long store it waits as long as that takes."""
        noting = asyncio.ensure_future(self._worker.run(LOOK_WITHIN_S, note, *args, **kwargs))
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
            self._wake.clear()  # before it looks: what is over meanwhile asks for another look
            try:
                await self._worker.run(LOOK_WITHIN_S, self.settle)
            except (TimeoutError, Overloaded, Error, OSError) as error:
                log.error("archive_look_failed", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._wake.wait()

    # --- in the archive's thread -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Stores the recordings of all calls that are over and written no more, and tells untold failures (blocking).

        What cannot be told or stored now comes again.
        """
        for _ in range(len(self._untold)):
            self._tell(self._untold.popleft())
        now = time.monotonic()
        folders = [folder for folder in left_behind(self._folder) if now >= self._not_before.get(folder.name, 0.0)]
        over = self._vault.over([int(folder.name) for folder in folders if folder.name.isdecimal()]) if folders else ()
        for folder in folders:
            self._settle(folder, over)

    def _tell(self, recording: Recording) -> None:
        """Says why a recording broke off."""
        try:
            held = (self._folder / recording.call / HEADER).exists()
            self._vault.fail(int(recording.call), host=self._host, error=recording.failed, held=held)
        except (OSError, Error) as error:
            self._untold.append(recording)
            log.error("recording_failure_not_told", error=type(error).__name__)

    def _settle(self, folder: Path, over: Collection[int]) -> None:
        """One folder; whatever is wrong with it, the others' turn comes."""
        try:
            if int(folder.name) not in over and self._age_s(folder) < GIVEN_UP_S:
                return
            with _sole_owner(folder) as ours:
                if ours:
                    self._store(folder)
        except Exception as error:
            expected = isinstance(error, OSError | Error)
            log.error("recording_not_stored", error=type(error).__name__, exc_info=not expected)
            self._not_before[folder.name] = time.monotonic() + TRY_AGAIN_S
        else:
            self._not_before.pop(folder.name, None)

    def _store(self, folder: Path) -> None:
        call_id = int(folder.name)
        if folder.name not in self._stored:
            try:
                self._vault.keep(call_id, Take.of(folder))
            except RecordingError as error:
                self._vault.fail(call_id, host=self._host, error=str(error), held=False)
        self._stored.add(folder.name)
        discard(folder)
        self._stored.discard(folder.name)

    def _age_s(self, folder: Path) -> float:
        return self._clock().timestamp() - (folder / HEADER).stat().st_mtime


@contextlib.contextmanager
def _sole_owner(folder: Path) -> Iterator[bool]:
    """Holds the folder's lock; False when a process is recording into it, or another has just stored and removed it."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield (folder / HEADER).exists()
    finally:
        os.close(lock)


def _call_on(loop: asyncio.AbstractEventLoop, function: Callable[[], object]) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(function)

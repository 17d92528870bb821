"""Records calls on the stream host: the session gives it audio, one thread per process brings it to the disk.

``streaming.archive`` opens a ``Recording`` per stream and never waits for it, and later has ``recording_wav`` put it
together. A recording that fails never disturbs its call: it says why in ``failed``, and its folder says it too.
"""

import queue
import re
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from agents.providers.base import AudioFormat
from streaming.audio.recording_clock import AgentClock, CallerClock
from streaming.audio.recording_files import (
    HEADER,
    TRACKS,
    Header,
    Mark,
    RecordingError,
    TrackFile,
    discard,
    read_header,
    set_mark,
    write_header,
)

CALLER, AGENT = 0, 1
# Audio goes to the writer in stretches of this length: a hand-over costs more than a frame.
STRETCH_MS = 500
SYNC_S = 1.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Stretch:
    position: int
    audio: bytearray


class Recording:
    """One stream of a call being recorded; all methods return at once. Made by ``Recorder.open``.

    Attributes:
        failed: why something is missing, empty while all is well; set by the writer thread, which writes no more then.
        dropped_bytes: given up because the writer could not keep up; silence stands in their place.
    """

    def __init__(self, recorder: "Recorder", call: str, fmt: AudioFormat) -> None:
        self.call = call
        self.failed = ""
        self.dropped_bytes = 0
        self.caller_clock = CallerClock(fmt.rate)
        self._recorder = recorder
        self._bytes = 1 if fmt.encoding == "mulaw" else 2
        self._stretch_bytes = STRETCH_MS * fmt.bytes_per_ms
        self._bytes_per_ms = fmt.bytes_per_ms
        self._agent_clock = AgentClock(fmt.rate)
        self._stretches: list[_Stretch | None] = [None, None]
        self._over = False

    def caller(self, audio: bytes, chunk: int | None, timestamp_ms: int | None, *, now_ms: int | None = None) -> None:
        """Audio of one media message of the caller; gaps in the numbering become silence, repeats are left out.

        Args:
            now_ms: the call's clock; says how it and the caller's samples compare, for placing the agent, and bounds
                what the message may claim of gaps.
        """
        if self.failed or self._over:
            return
        position = self.caller_clock.place(
            len(audio) // self._bytes, chunk=chunk, timestamp_ms=timestamp_ms, now_ms=now_ms
        )
        if position is None:
            return
        if now_ms is not None:
            self._agent_clock.arrived(now_ms, self.caller_clock.end)
        self._put(CALLER, position, audio)

    def agent(self, plays_at_ms: int, audio: bytes) -> None:
        """Audio of the agent that was heard from ``plays_at_ms`` on, on the call's clock (``Pacer.heard``)."""
        if not self.failed and not self._over:
            self._put(AGENT, self._agent_clock.place(plays_at_ms, len(audio) // self._bytes), audio)

    def leave(self, *, goes_on: bool = False) -> None:
        """The stream is over: writes the rest and closes the files; a later ``open`` continues them.

        What the writer is given after this finds the files complete: ``recording_wav.Take.of`` may be called.

        Args:
            goes_on: another stream has the recording by now, in another process perhaps: how it stands is that one's.
        """
        self._hand_over_all()
        self._over = True
        self._recorder.submit(lambda: self._recorder.leave(self, goes_on=goes_on))

    @property
    def dropped_ms(self) -> int:
        """Audio given up, of both tracks together."""
        return self.dropped_bytes // self._bytes_per_ms

    def _put(self, track: int, position: int, audio: bytes) -> None:
        stretch = self._stretches[track]
        if stretch is not None and position != stretch.position + len(stretch.audio) // self._bytes:
            self._hand_over(track)
            stretch = None
        if stretch is None:
            self._stretches[track] = stretch = _Stretch(position, bytearray())
        stretch.audio += audio
        if len(stretch.audio) >= self._stretch_bytes:
            self._hand_over_all()

    def _hand_over_all(self) -> None:
        self._hand_over(CALLER)
        self._hand_over(AGENT)

    def _hand_over(self, track: int) -> None:
        stretch = self._stretches[track]
        self._stretches[track] = None
        if stretch is None or self.failed:
            return
        audio = bytes(stretch.audio)
        if not self._recorder.reserve(len(audio)):
            self.dropped_bytes += len(audio)
            return
        self._recorder.submit(lambda: self._recorder.write(self, track, stretch.position, audio))


@dataclass(slots=True)
class _Files:
    header: Header
    tracks: list[TrackFile]
    base: int  # position in the files of the stream's first sample


class Recorder:
    """The writer thread of a process.

    Args:
        root: folder with one subfolder for each call being recorded.
        host: name of this host, kept with the tracks; the system's own where none is given.
        on_failure: called once in the writer thread for each recording that has ``failed``.
        limit_bytes: audio that may wait for the disk; more is dropped and counted, by recording and here.
    """

    def __init__(
        self,
        root: Path,
        *,
        host: str = "",
        on_failure: Callable[[Recording], None] | None = None,
        limit_bytes: int = 16 << 20,
    ) -> None:
        self.root = root
        self.dropped_bytes = 0
        self._host = host or socket.gethostname()
        self._on_failure = on_failure
        self._limit = limit_bytes
        self._waiting = 0
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._open: dict[Recording, _Files] = {}
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    # --- called by the event loop ------------------------------------------------------------------------------------

    def open(self, call: str, fmt: AudioFormat, *, wall_ms: int) -> Recording:
        """Starts recording a stream, or goes on with the recording of a call whose earlier stream was lost.

        The time between the streams becomes silence, by the wall clock.

        Args:
            call: names the folder: letters, digits, hyphens and underscores (else ValueError).
            wall_ms: now, ms since 1970.
        """
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", call):
            message = "the call's name does not do for a folder"
            raise ValueError(message)
        recording = Recording(self, call, fmt)
        header = Header(call=call, encoding=fmt.encoding, rate=fmt.rate, started_ms=wall_ms, host=self._host)
        self.submit(lambda: self._start(recording, header))
        return recording

    def close(self, timeout_s: float = 10.0) -> bool:
        """Writes what waits, leaves running recordings to be continued or repaired, ends the thread; True if in time.

        Blocks: not for the event loop.
        """
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def folder(self, call: str) -> Path:
        """Where a call's recording lies."""
        return self.root / call

    def reserve(self, count: int) -> bool:
        """Takes room for bytes that will wait for the disk; False when there is none left."""
        with self._lock:
            if self._waiting + count > self._limit:
                self.dropped_bytes += count
                return False
            self._waiting += count
            return True

    def submit(self, job: Callable[[], None]) -> None:
        """Queues a job for the writer thread."""
        self._jobs.put(job)

    # --- in the writer thread ----------------------------------------------------------------------------------------

    def _run(self) -> None:
        sync_at = time.monotonic() + SYNC_S
        while True:
            try:
                job = self._jobs.get(timeout=max(0.0, sync_at - time.monotonic()))
            except queue.Empty:
                self._sync()
                sync_at = time.monotonic() + SYNC_S
                continue
            if job is None:
                break
            try:
                job()
            except Exception:
                log.exception("recorder_job_failed")  # the thread serves all calls
            if time.monotonic() >= sync_at:
                self._sync()
                sync_at = time.monotonic() + SYNC_S
        for recording in list(self._open):
            self._close_files(recording)

    def _start(self, recording: Recording, header: Header) -> None:
        folder = self.folder(recording.call)
        tracks: list[TrackFile] = []
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            base = 0
            if (folder / HEADER).exists():
                earlier = read_header(folder)
                if earlier.format != header.format:
                    raise RecordingError("the call came back in another codec")
                base = max(0, header.started_ms - earlier.started_ms) * header.rate // 1000
                header = earlier
                set_mark(folder, Mark.RUNNING)
            else:
                write_header(folder, header)
            tracks += (TrackFile(folder / name, header) for name in TRACKS)
            self._open[recording] = _Files(header, tracks, max(base, tracks[CALLER].length))
        except (OSError, RecordingError) as error:
            for track in tracks:
                track.close()
            self._fail(recording, _sentence(error))

    def write(self, recording: Recording, track: int, position: int, audio: bytes) -> None:
        """Writes a stretch of audio, position counted from the stream's first sample."""
        with self._lock:
            self._waiting -= len(audio)
        files = self._open.get(recording)
        if files is not None:
            try:
                files.tracks[track].write(files.base + position, audio)
            except OSError as error:
                self._fail(recording, _sentence(error))

    def leave(self, recording: Recording, *, goes_on: bool = False) -> None:
        """Closes the files of a recording, its audio safe on the disk."""
        if recording not in self._open:
            return
        self._close_files(recording)
        if recording.dropped_bytes and not recording.failed:
            self._fail(recording, f"the disk was too slow: {recording.dropped_ms} ms of audio are missing")
        goes_on = goes_on or any(other.call == recording.call for other in self._open)
        if not recording.failed and not goes_on:
            self._mark(recording, Mark.CLOSED)

    def _close_files(self, recording: Recording) -> None:
        for track in self._open.pop(recording).tracks:
            try:
                track.sync()
            except OSError as error:
                self._fail(recording, _sentence(error))
            track.close()

    def _sync(self) -> None:
        for recording, files in list(self._open.items()):
            try:
                for track in files.tracks:
                    track.sync()
            except OSError as error:
                self._fail(recording, _sentence(error))

    def _fail(self, recording: Recording, reason: str) -> None:
        """Ends the recording for a reason; what was written stays."""
        files = self._open.pop(recording, None)
        if files is not None:
            for track in files.tracks:
                track.close()
        if recording.failed:
            return
        recording.failed = reason
        log.error("recording_failed", call=recording.call, reason=reason)
        self._mark(recording, Mark.BROKEN)
        if self._on_failure is not None:
            self._on_failure(recording)

    def _mark(self, recording: Recording, mark: Mark) -> None:
        folder = self.folder(recording.call)
        try:
            if (folder / HEADER).exists():
                set_mark(folder, mark, recording.failed)
            else:
                discard(folder)  # nothing of the call could be written
        except OSError as error:
            log.error("recording_not_marked", call=recording.call, error=type(error).__name__)


def _sentence(error: OSError | RecordingError) -> str:
    if isinstance(error, OSError):
        return (
            f"the disk refused the recording ({error.strerror or type(error).__name__}); make room on it or repair it"
        )
    return str(error)

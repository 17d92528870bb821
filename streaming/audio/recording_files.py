"""The files of a recording on its stream host: two raw tracks, a header and a mark that says how it stands.

Written by ``recorder``'s thread, read by ``recording_wav``, after a crash too.
"""

import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Literal

import msgspec

from agents.providers.base import AudioFormat
from streaming.audio import codecs

HEADER = "recording.json"
TRACKS = ("caller.raw", "agent.raw")  # left and right channel
REASON_BYTES = 300
_BLOCK = 65536  # samples of silence written at a time


class Mark(StrEnum):
    """How the recording in a folder stands: the name of a file in it.

    The file is made once and then renamed and written over, which takes no room: a full disk can be told on itself.
    """

    RUNNING = "running"
    CLOSED = "closed"  # the streams ended in an orderly way: nothing needs repair
    BROKEN = "broken"  # something is missing; the file says why


class RecordingError(Exception):
    """A recording cannot go on or be put together; the message is one sentence for the call's page."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the raw tracks are.

    Attributes:
        started_ms: wall clock of the first sample, ms since 1970.
        host: the stream host that records.
    """

    call: str
    encoding: Literal["mulaw", "l16"]
    rate: int
    started_ms: int
    host: str = "unknown"

    @property
    def format(self) -> AudioFormat:
        """Codec of both tracks."""
        return AudioFormat(self.encoding, self.rate)

    @property
    def sample_bytes(self) -> int:
        """Bytes of a sample."""
        return 1 if self.encoding == "mulaw" else 2

    @property
    def silence(self) -> bytes:
        """One sample of silence."""
        return codecs.MULAW_SILENCE if self.encoding == "mulaw" else b"\x00\x00"


def read_header(folder: Path) -> Header:
    """The header in a recording's folder; raises RecordingError when there is none, or it is damaged."""
    try:
        return msgspec.json.decode((folder / HEADER).read_bytes(), type=Header)
    except FileNotFoundError as error:
        message = f"no recording in {folder.name}"
        raise RecordingError(message) from error
    except msgspec.DecodeError as error:
        message = f"the header of recording {folder.name} is damaged"
        raise RecordingError(message) from error


def write_header(folder: Path, header: Header) -> None:
    """Writes the mark and the header so that a crash leaves either all of the header or none. Raises OSError."""
    (folder / Mark.RUNNING).write_bytes(b" " * REASON_BYTES)
    fresh = folder / f"{HEADER}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(header))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / HEADER)


def set_mark(folder: Path, mark: Mark, reason: str = "") -> None:
    """Says how the recording stands; the first reason for being broken stays. Raises OSError."""
    now = next((old for old in Mark if (folder / old).exists()), None)
    if now is None or now in {Mark.BROKEN, mark}:
        return
    try:
        if reason:
            _write_over(folder / now, reason)
    finally:
        (folder / now).rename(folder / mark)


def is_closed(folder: Path) -> bool:
    """Whether every stream ended in an orderly way."""
    return (folder / Mark.CLOSED).exists()


def why_broken(folder: Path) -> str:
    """Why the recording is incomplete, as far as its host noticed; empty when all is well."""
    try:
        reason = (folder / Mark.BROKEN).read_bytes()
    except FileNotFoundError:
        return ""
    return reason.decode(errors="ignore").strip() or "the disk refused the recording"


def _write_over(path: Path, reason: str) -> None:
    with path.open("r+b") as file:
        file.write(reason.encode()[:REASON_BYTES].ljust(REASON_BYTES))
        file.flush()
        os.fsync(file.fileno())


class TrackFile:
    """One raw track, written at positions; gaps become silence, a later write wins over an earlier one."""

    def __init__(self, path: Path, header: Header) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._bytes = header.sample_bytes
        self._silence = header.silence
        self.length = os.fstat(self._file).st_size // self._bytes  # samples
        self._dirty = False

    def write(self, position: int, audio: bytes) -> None:
        """Writes audio at a position in samples; what would lie before the beginning is cut off. Raises OSError."""
        if position < 0:
            audio = audio[-position * self._bytes :]
            position = 0
        if position > self.length:  # an earlier stream of the call may have written its last audio meanwhile
            self.length = max(self.length, os.fstat(self._file).st_size // self._bytes)
        while self.length < position:
            count = min(position - self.length, _BLOCK)
            self._write_all(self.length, self._silence * count)
        self._write_all(position, audio)

    def _write_all(self, position: int, audio: bytes) -> None:
        at = position * self._bytes
        view = memoryview(audio)
        while view:
            written = os.pwrite(self._file, view, at)
            view = view[written:]
            at += written
        self.length = max(self.length, at // self._bytes)
        self._dirty = True

    def sync(self) -> None:
        """Brings what was written to the disk itself. Raises OSError."""
        if self._dirty:
            os.fdatasync(self._file)
            self._dirty = False

    def close(self) -> None:
        """Closes the file without waiting for the disk."""
        os.close(self._file)


def left_behind(root: Path) -> list[Path]:
    """Folders under ``root`` that hold a recording, in no way telling whether it is still running."""
    return sorted(path.parent for path in root.glob(f"*/{HEADER}"))


def discard(folder: Path) -> None:
    """Deletes a recording's folder, once its audio is stored elsewhere; does nothing if it is gone. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)

"""The files of a recording: two raw tracks and a header while the call lasts, one stereo WAV afterwards.

Written by ``recorder``'s thread, put together by ``streaming.archive``, after a crash too.
"""

import os
import shutil
import wave
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from agents.providers.base import AudioFormat
from streaming.audio import codecs

HEADER = "recording.json"
WAV = "recording.wav"
TRACKS = ("caller.raw", "agent.raw")  # left and right channel
PEAKS = 800  # per channel
_BLOCK = 65536  # samples held in memory at a time


class RecordingError(Exception):
    """A recording cannot go on or be put together; the message is one sentence for the call's page."""


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What the raw tracks are.

    Attributes:
        started_ms: wall clock of the first sample, ms since 1970.
    """

    call: str
    encoding: Literal["mulaw", "l16"]
    rate: int
    started_ms: int

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


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """A recording put together.

    Attributes:
        path: the WAV: 16-bit, caller left, agent right.
        peaks: for each channel the largest magnitudes of about 800 equal stretches, 0-1 with two decimals.
        repaired: a crash had left it; up to two seconds at its end may be missing.
    """

    call: str
    path: Path
    duration_ms: int
    rate: int
    channels: int
    size: int
    peaks: list[list[float]]
    repaired: bool = False


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
    """Writes the header so that a crash leaves either all of it or none."""
    fresh = folder / f"{HEADER}.new"
    with fresh.open("wb") as file:
        file.write(msgspec.json.encode(header))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / HEADER)


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


def assemble(folder: Path, *, repaired: bool = False) -> Finished:
    """Interleaves the raw tracks of a folder into a WAV beside them, block by block; the tracks stay.

    A track that is missing counts as silence, one that is shorter is filled up with silence, half a sample at its end
    (a crash can leave one) is cut off. Blocks: an hour takes about a second.

    Args:
        repaired: noted in the result: a crash has left these tracks.

    Raises:
        RecordingError: no header, or nothing recorded.
        OSError: the disk is full or broken.
    """
    header = read_header(folder)
    lengths = [_length(folder / name, header.sample_bytes) for name in TRACKS]
    total = max(lengths)
    if not total:
        message = f"nothing was recorded in {folder.name}"
        raise RecordingError(message)
    bucket = -(-total // PEAKS)
    block = bucket * max(1, _BLOCK // bucket)
    peaks: list[list[float]] = [[], []]
    fresh = folder / f"{WAV}.new"
    with fresh.open("wb") as file:
        with wave.open(file, "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(header.rate)
            for first in range(0, total, block):
                count = min(block, total - first)
                stereo = np.zeros((count, 2), "<i2")
                for channel, name in enumerate(TRACKS):
                    samples = _read(folder / name, header, first, min(count, max(0, lengths[channel] - first)))
                    stereo[: samples.size, channel] = samples
                    peaks[channel] += _peaks(stereo[:, channel], bucket)
                out.writeframes(stereo.tobytes())
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / WAV)
    return Finished(
        call=header.call,
        path=folder / WAV,
        duration_ms=total * 1000 // header.rate,
        rate=header.rate,
        channels=2,
        size=(folder / WAV).stat().st_size,
        peaks=peaks,
        repaired=repaired,
    )


def left_behind(root: Path) -> list[Path]:
    """Folders under ``root`` that hold a recording, in no way telling whether it is still running."""
    return sorted(path.parent for path in root.glob(f"*/{HEADER}"))


def discard(folder: Path) -> None:
    """Deletes a recording's folder, once its WAV is stored elsewhere; does nothing if it is gone. Raises OSError."""
    if folder.exists():
        shutil.rmtree(folder)


def _length(path: Path, sample_bytes: int) -> int:
    return path.stat().st_size // sample_bytes if path.exists() else 0


def _read(path: Path, header: Header, first: int, count: int) -> codecs.Samples:
    if not count:
        return np.zeros(0, np.int16)
    with path.open("rb") as file:
        file.seek(first * header.sample_bytes)
        audio = file.read(count * header.sample_bytes)
    return codecs.mulaw_to_samples(audio) if header.encoding == "mulaw" else codecs.l16_to_samples(audio)


def _peaks(samples: NDArray[np.int16], bucket: int) -> list[float]:
    magnitudes = np.abs(samples.astype(np.int32))
    starts = np.arange(0, magnitudes.size, bucket)
    largest: NDArray[np.int32] = np.maximum.reduceat(magnitudes, starts)
    return [round(value / 32768, 2) for value in largest.tolist()]

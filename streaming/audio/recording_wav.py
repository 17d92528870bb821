"""A call's recording as a WAV: the raw tracks of this host laid over what other hosts have stored of the call.

The WAV is made while it is read, so that a stream host whose disk is full or broken can still hand over what it has,
and memory holds one block of it. Read by ``calls.recordings``, for ``streaming.archive``.

Hosts join their parts in any order, and one may come twice: where two have sound the louder sample wins, which is
commutative, associative and idempotent; silence never hides what another has heard.
"""

import io
import struct
import wave
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from streaming.audio import codecs
from streaming.audio.recording_files import TRACKS, Header, RecordingError, is_closed, read_header, why_broken

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHANNELS = 2
PEAKS = 800  # per channel
_FRAME_BYTES = 2 * CHANNELS
_HEAD_BYTES = 44
_LARGEST = 0xFFFFFFFF  # what the format's fields can say; players read to the end of the file where it says so
_BLOCK = 65536  # samples held in memory at a time

Stereo = NDArray[np.int16]  # (samples, channels)


class Layer(Protocol):
    """Something to be heard on the WAV.

    Attributes:
        length: samples.
        rate: Hz.
    """

    length: int
    rate: int

    def read(self, first: int, count: int) -> Stereo:
        """Samples that all lie within ``length``. Raises OSError."""
        ...


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """What a host has recorded of a call, as it lies in its folder.

    Attributes:
        repaired: a crash had left it; up to two seconds at its end may be missing.
        error: why something is missing, one sentence; empty when all is well.
    """

    header: Header
    tracks: "RawTracks"
    repaired: bool
    error: str

    @classmethod
    def of(cls, folder: Path) -> "Take":
        """Raises RecordingError: no header, or nothing recorded."""
        header = read_header(folder)
        tracks = RawTracks(folder, header)
        error = why_broken(folder)
        if not tracks.length:
            message = error or f"nothing was recorded in {folder.name}"
            raise RecordingError(message)
        return cls(header=header, tracks=tracks, repaired=not error and not is_closed(folder), error=error)

    @property
    def duration_ms(self) -> int:
        """Length of this host's part."""
        return self.tracks.length * 1000 // self.header.rate

    def wav(self, earlier: IO[bytes] | None, at_ms: int) -> "JoinedWav":
        """The call's recording with this part in it; not yet read, so nothing waits here.

        Args:
            earlier: the recording so far, a WAV made by this module, to be kept open while the new one is read.
            at_ms: where this part begins.

        Raises:
            OSError: the earlier recording cannot be read.
        """
        rate = self.header.rate
        layers: list[tuple[int, Layer]] = [(at_ms * rate // 1000, self.tracks)]
        if earlier is not None:
            layers.insert(0, (0, StoredWav(earlier)))
        return JoinedWav(layers)


class RawTracks:
    """A recording's folder as a layer.

    A track that is missing counts as silence, one that is shorter is filled up with silence, half a sample at its end
    (a crash can leave one) is cut off.
    """

    def __init__(self, folder: Path, header: Header) -> None:
        self._header = header
        self._paths = [folder / name for name in TRACKS]
        self._lengths = [path.stat().st_size // header.sample_bytes if path.exists() else 0 for path in self._paths]
        self.length = max(self._lengths)
        self.rate = header.rate

    def read(self, first: int, count: int) -> Stereo:
        """See ``Layer``."""
        stereo = np.zeros((count, CHANNELS), np.int16)
        for channel, (path, length) in enumerate(zip(self._paths, self._lengths, strict=True)):
            samples = self._samples(path, first, min(count, max(0, length - first)))
            stereo[: samples.size, channel] = samples
        return stereo

    def _samples(self, path: Path, first: int, count: int) -> codecs.Samples:
        if not count:
            return np.zeros(0, np.int16)
        with path.open("rb") as file:
            file.seek(first * self._header.sample_bytes)
            audio = file.read(count * self._header.sample_bytes)
        return codecs.mulaw_to_samples(audio) if self._header.encoding == "mulaw" else codecs.l16_to_samples(audio)


class StoredWav:
    """A WAV that was made here before, as a layer. Raises OSError when it is not one."""

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._wav = wave.open(file, "rb")  # noqa: SIM115 - closing it is up to whoever opened the file
        except (wave.Error, EOFError) as error:
            message = "the recording that is stored already is no WAV; what this host has of the call stays here"
            raise OSError(message) from error
        self.length = self._wav.getnframes()
        self.rate = self._wav.getframerate()

    def read(self, first: int, count: int) -> Stereo:
        """See ``Layer``."""
        self._wav.setpos(first)
        return np.frombuffer(self._wav.readframes(count), "<i2").reshape(-1, CHANNELS).astype(np.int16, copy=False)


class JoinedWav:
    """A 16-bit WAV, caller left, agent right.

    Args:
        layers: each with the position of its first sample, at its own rate; the WAV has the highest of the rates.

    Attributes:
        rate: Hz.
        samples: of each channel.
        duration_ms: of the whole.
    """

    def __init__(self, layers: list[tuple[int, Layer]]) -> None:
        self.channels = CHANNELS
        self.rate = max(layer.rate for _, layer in layers)
        self._layers = [(at * (self.rate // layer.rate), self.rate // layer.rate, layer) for at, layer in layers]
        self.samples = max(at + factor * layer.length for at, factor, layer in self._layers)
        self.duration_ms = self.samples * 1000 // self.rate

    def open(self) -> IO[bytes]:
        """The file, seekable, made as it is read. Reading raises OSError."""
        return io.BufferedReader(_Reader(self), _BLOCK)

    def peaks(self) -> list[list[float]]:
        """For each channel the largest magnitudes of about 800 equal stretches, 0-1 with two decimals.

        Reads all of it: an hour takes about a second. Raises OSError.
        """
        bucket = -(-self.samples // PEAKS)
        block = bucket * max(1, _BLOCK // bucket)
        peaks: list[list[float]] = [[] for _ in range(CHANNELS)]
        for first in range(0, self.samples, block):
            frames = self.frames(first, min(block, self.samples - first))
            for channel in range(CHANNELS):
                peaks[channel] += _peaks(frames[:, channel], bucket)
        return peaks

    def frames(self, first: int, count: int) -> Stereo:
        """Samples that all lie within the WAV. Raises OSError."""
        joined = np.zeros((count, CHANNELS), np.int16)
        for at, factor, layer in self._layers:
            begin, end = max(first, at), min(first + count, at + factor * layer.length)
            if begin >= end:
                continue
            inner = (begin - at) // factor
            samples = layer.read(inner, -(-(end - at) // factor) - inner)
            if factor > 1:
                samples = np.repeat(samples, factor, axis=0)[begin - at - inner * factor :][: end - begin]
            part = joined[begin - first : end - first]
            part[:] = _louder(part, samples)
        return joined


class _Reader(io.RawIOBase):
    """The bytes of a ``JoinedWav``."""

    def __init__(self, wav: JoinedWav) -> None:
        self._wav = wav
        self._head = _head(wav.samples, wav.rate)
        self._size = _HEAD_BYTES + wav.samples * _FRAME_BYTES
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: "WriteableBuffer") -> int:
        view = memoryview(buffer).cast("B")
        data = self._bytes(len(view))
        view[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _bytes(self, most: int) -> bytes:
        if self._at < _HEAD_BYTES:
            return self._head[self._at : self._at + most]
        first, inside = divmod(self._at - _HEAD_BYTES, _FRAME_BYTES)
        count = min(_BLOCK, -(-(inside + most) // _FRAME_BYTES), self._wav.samples - first)
        if count <= 0:
            return b""
        return self._wav.frames(first, count).astype("<i2", copy=False).tobytes()[inside : inside + most]


def _louder(one: Stereo, other: Stereo) -> Stereo:
    """Sample by sample; of two that are equally loud the positive one, so that the order never matters."""
    return np.where(_rank(one) >= _rank(other), one, other)


def _rank(samples: Stereo) -> NDArray[np.int32]:
    wide = samples.astype(np.int32)
    return 2 * np.abs(wide) + (wide > 0)


def _head(samples: int, rate: int) -> bytes:
    size = samples * _FRAME_BYTES
    form = struct.pack("<4sI4s", b"RIFF", min(size + _HEAD_BYTES - 8, _LARGEST), b"WAVE")
    pcm = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, CHANNELS, rate, rate * _FRAME_BYTES, _FRAME_BYTES, 16)
    return form + pcm + struct.pack("<4sI", b"data", min(size, _LARGEST))


def _peaks(samples: NDArray[np.int16], bucket: int) -> list[float]:
    magnitudes = np.abs(samples.astype(np.int32))
    starts = np.arange(0, magnitudes.size, bucket)
    largest: NDArray[np.int32] = np.maximum.reduceat(magnitudes, starts)
    return [round(value / 32768, 2) for value in largest.tolist()]

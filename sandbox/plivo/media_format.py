"""The three codecs of a stream: their names in XML and JSON, their frames, and the way to and from the phone's 8 kHz.

Used by the XML checks, the stream client and the caller. Linear audio is little-endian, as the official test client
sends.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sandbox.audio import MULAW_SILENCE, Samples, l16_decode, l16_encode, mulaw_decode, mulaw_encode
from sandbox.resampling import Resampler

PHONE_RATE = 8000
FRAME_MS = 20
PHONE_FRAME = PHONE_RATE * FRAME_MS // 1000


@dataclasses.dataclass(frozen=True)
class MediaFormat:
    """Encoding (`audio/x-mulaw` or `audio/x-l16`) and rate in Hz of a stream."""

    encoding: str
    rate: int

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample."""
        return 1 if self.encoding == "audio/x-mulaw" else 2

    @property
    def frame_samples(self) -> int:
        """Samples of 20 ms."""
        return self.rate * FRAME_MS // 1000

    def silence(self) -> bytes:
        """20 ms of silence."""
        byte = MULAW_SILENCE if self.sample_bytes == 1 else 0
        return bytes([byte]) * (self.frame_samples * self.sample_bytes)

    def decode(self, data: bytes) -> Samples:
        """The stream's bytes to samples at the stream's rate."""
        return mulaw_decode(data) if self.encoding == "audio/x-mulaw" else l16_decode(data)

    def to_phone(self, samples: Samples) -> Samples:
        """Samples at the stream's rate to 8 kHz, as a 16 kHz stream sounds on the phone network."""
        if self.rate == PHONE_RATE:
            return samples
        even = samples[: samples.size // 2 * 2].astype(np.int32)
        return ((even[0::2] + even[1::2]) // 2).astype(np.int16)


FORMATS = {
    "audio/x-mulaw;rate=8000": MediaFormat("audio/x-mulaw", 8000),
    "audio/x-l16;rate=8000": MediaFormat("audio/x-l16", 8000),
    "audio/x-l16;rate=16000": MediaFormat("audio/x-l16", 16000),
}
DEFAULT_CONTENT_TYPE = "audio/x-l16;rate=8000"  # the docs contradict each other; the newer reference says this


class FrameEncoder:
    """The caller's 8 kHz frames to the stream's frames; linear audio at 16 kHz lags by the filter's 2 ms."""

    def __init__(self, media_format: MediaFormat) -> None:
        """For one stream, from its first frame on."""
        self._format = media_format
        self._silence = media_format.silence()
        self._resampler = Resampler(PHONE_RATE, media_format.rate) if media_format.rate != PHONE_RATE else None
        self._ready = np.zeros(0, np.int16)
        if self._resampler:
            self._ready = np.zeros(media_format.frame_samples, np.int16)
            first = self._resampler.feed(np.zeros(PHONE_FRAME, np.int16)).size
            self._ready = self._ready[first:]

    def encode(self, phone: Samples | None) -> bytes:
        """One frame of 20 ms; None is silence."""
        if self._resampler is None:
            if phone is None:
                return self._silence
            return mulaw_encode(phone) if self._format.sample_bytes == 1 else l16_encode(phone)
        fed = self._resampler.feed(np.zeros(PHONE_FRAME, np.int16) if phone is None else phone)
        joined = np.concatenate([self._ready, fed])
        count = self._format.frame_samples
        self._ready = joined[count:]
        return l16_encode(joined[:count])

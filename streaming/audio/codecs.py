"""G.711 mu-law to linear samples and back, by table. Used wherever audio is looked at or converted.

Tables after ITU-T G.711, table 2a: magnitudes in 16-bit scale, biased by 132, limited to 32635. A mu-law byte is one
sample; l16 is signed 16-bit little-endian. Floats are -1 to 1.
"""

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16]
Floats = NDArray[np.float32]

MULAW_SILENCE = b"\xff"

_BIAS = 132
_LIMIT = 32635


def _decoding() -> Samples:
    code = ~np.arange(256) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + _BIAS) << (code >> 4 & 0x07)) - _BIAS
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _encoding() -> NDArray[np.uint8]:
    """Codes by the sample's two bytes read as unsigned."""
    sample = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int32)
    biased = np.minimum(np.abs(sample), _LIMIT) + _BIAS
    segment: NDArray[np.int32] = np.frexp(biased)[1] - 8  # the place of the highest bit, counted from 128
    code: NDArray[np.int32] = np.where(sample < 0, 0x80, 0) | (segment << 4) | ((biased >> (segment + 3)) & 0x0F)
    return (~code & 0xFF).astype(np.uint8)


_TO_LINEAR = _decoding()
_TO_FLOAT = (_TO_LINEAR / 32768.0).astype(np.float32)
_TO_MULAW = _encoding()


def mulaw_to_samples(audio: bytes) -> Samples:
    """mu-law bytes to int16 samples, one for each byte."""
    return _TO_LINEAR[np.frombuffer(audio, np.uint8)]


def samples_to_mulaw(samples: Samples) -> bytes:
    """int16 samples to mu-law, one byte for each."""
    return _TO_MULAW[samples.view(np.uint16)].tobytes()


def l16_to_samples(audio: bytes) -> Samples:
    """l16 bytes to int16 samples. Raises ValueError on an odd number of bytes."""
    return np.frombuffer(audio, "<i2").astype(np.int16, copy=False)


def samples_to_l16(samples: Samples) -> bytes:
    """int16 samples to l16, two bytes for each."""
    return samples.astype("<i2", copy=False).tobytes()


def mulaw_to_l16(audio: bytes) -> bytes:
    """mu-law to l16, twice as many bytes."""
    return samples_to_l16(mulaw_to_samples(audio))


def l16_to_mulaw(audio: bytes) -> bytes:
    """l16 to mu-law, half as many bytes. Raises ValueError on an odd number of bytes."""
    return samples_to_mulaw(l16_to_samples(audio))


def mulaw_to_float(audio: bytes) -> Floats:
    """mu-law to float32 samples from -1 to 1."""
    return _TO_FLOAT[np.frombuffer(audio, np.uint8)]


def l16_to_float(audio: bytes) -> Floats:
    """l16 to float32 samples from -1 to 1. Raises ValueError on an odd number of bytes."""
    return np.frombuffer(audio, "<i2").astype(np.float32) * np.float32(1 / 32768)

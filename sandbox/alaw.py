"""G.711 A-law, which OpenAI takes and ElevenLabs gives beside mu-law (see audio.py for that one)."""

from __future__ import annotations

import numpy as np

from sandbox.audio import Samples


def _alaw_table() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    exponent = (code >> 4) & 0x07
    mantissa = code & 0x0F
    magnitude = np.where(exponent == 0, (mantissa << 4) + 8, ((mantissa << 4) + 0x108) << np.maximum(exponent - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


_ALAW = _alaw_table()
_ALAW_ORDER = np.argsort(_ALAW, kind="stable")
_ALAW_MIDDLES = (_ALAW[_ALAW_ORDER][1:].astype(np.int32) + _ALAW[_ALAW_ORDER][:-1]) / 2


def alaw_decode(data: bytes) -> Samples:
    """G.711 A-law bytes to linear int16 samples."""
    return _ALAW[np.frombuffer(data, dtype=np.uint8)]


def alaw_encode(samples: Samples) -> bytes:
    """Linear int16 samples to the nearest G.711 A-law bytes."""
    return _ALAW_ORDER[np.searchsorted(_ALAW_MIDDLES, samples)].astype(np.uint8).tobytes()

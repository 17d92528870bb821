"""How loud audio is, in the measure in which the caller's windows are judged: its power, 1 is full scale."""

import numpy as np

from agents.providers.base import AudioFormat
from streaming.audio.codecs import l16_to_float, mulaw_to_float

WINDOW_MS = 32


def loudest_window(audio: bytes, fmt: AudioFormat) -> float:
    """Power (1: full scale) of the loudest 32 ms of ``audio``; a rest that fills none counts with silence after it.

    Args:
        fmt: of ``audio``; half a sample at the end is left out.
    """
    samples = mulaw_to_float(audio) if fmt.encoding == "mulaw" else l16_to_float(audio[: len(audio) // 2 * 2])
    size = WINDOW_MS * fmt.rate // 1000
    squares = np.square(samples)
    squares.resize(-(-squares.size // size) * size)
    return float(squares.reshape(-1, size).sum(axis=1).max(initial=0.0)) / size

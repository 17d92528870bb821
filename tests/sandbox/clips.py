"""The caller's recorded lines as a phone would send them, in each form that a recogniser takes."""

import numpy as np

from sandbox import audio
from sandbox.clips import clip_path
from sandbox.resampling import convert_rate

VOICES = ("en-us+f3", "en-us+f2", "en-us")


def spoken(scenario: str, voice: str, line: str) -> audio.Samples:
    """One clip at 8 kHz with line noise around it."""
    samples, rate = audio.read_wav(clip_path(scenario, voice, line))
    assert rate == 8000
    before, after = audio.noise(600, 8000, level_dbfs=-65), audio.noise(240, 8000, level_dbfs=-65)
    return np.concatenate([before, samples, after])


def encoded(samples: audio.Samples, encoding: str, rate: int) -> bytes:
    """8 kHz samples as "mulaw" or "l16" at `rate` Hz."""
    if encoding == "mulaw":
        return audio.mulaw_encode(samples)
    return audio.l16_encode(convert_rate(samples, 8000, rate))


def pieces(data: bytes, bytes_per_ms: int, milliseconds: int = 100) -> list[bytes]:
    """Cut into pieces of so many ms."""
    size = bytes_per_ms * milliseconds
    return [data[start : start + size] for start in range(0, len(data), size)]

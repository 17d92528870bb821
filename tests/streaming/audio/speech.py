"""Human speech for the tests: prompts of Debian's asterisk-core-sounds-en-wav, never committed."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sandbox import audio

FOLDER = Path("/usr/share/asterisk/sounds/en_US_f_Allison")
PROMPTS = (
    "vm-intro",
    "conf-getpin",
    "invalid",
    "tt-weasels",
    "vm-goodbye",
    "ss-noservice",
    "pbx-invalid",
    "auth-thankyou",
    "basic-pbx-ivr-main",
)

Samples = NDArray[np.int16]


def prompt(name: str) -> Samples:
    """A prompt at 8 kHz without the silence around it; skips the test where the package is not installed."""
    path = FOLDER / f"{name}.wav"
    if not path.is_file():
        pytest.skip("needs the Debian package asterisk-core-sounds-en-wav (make test installs it)")
    samples, rate = audio.read_wav(path)
    assert rate == 8000
    return audio.trim(samples, rate, threshold=300, keep_ms=0)


def on_a_line(speech: Samples, *, before_ms: int = 2000, after_ms: int = 1500, noise_dbfs: float = -60.0) -> Samples:
    """Speech with silence around it, on a line with noise; 8 kHz."""
    padded = np.concatenate([np.zeros(before_ms * 8), speech, np.zeros(after_ms * 8)])
    noisy = padded + audio.noise(padded.size / 8, 8000, level_dbfs=noise_dbfs)[: padded.size]
    return np.clip(noisy, -32768, 32767).astype(np.int16)

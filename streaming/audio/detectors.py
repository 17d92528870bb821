"""Speech detectors behind the ``vad`` hub: Silero where its model is installed, webrtcvad with energy elsewhere.

Both look at 32 ms windows at 8 kHz, for many calls at once, and give probabilities on the same scale: 0.5 and more is
speech, under 0.1 is clear silence.
"""

import math
from typing import Protocol

import numpy as np
import structlog
import webrtcvad

from streaming.audio.codecs import Floats
from streaming.audio.models import model_file
from streaming.audio.silero import STATE, SileroNetwork

log = structlog.get_logger(__name__)

RATE = 8000
WINDOW = 256  # samples: 32 ms
CONTEXT = 32  # samples before the window that Silero wants to see

SILERO_FILES = (("silero_vad", "data/silero_vad.onnx"), ("pipecat", "audio/vad/data/silero_vad.onnx"))


class Detector(Protocol):
    """A detector with one state per slot, a slot being a call."""

    def reset(self, slot: int) -> None:
        """Forgets what was heard in this slot; also makes room for it."""
        ...

    def probabilities(self, windows: Floats, slots: list[int]) -> Floats:
        """One probability for each row of ``windows``, float32[n, CONTEXT + WINDOW], each slot at most once."""
        ...


class SileroDetector:
    """Silero VAD v6 at 8 kHz; one run for all windows costs a fifth of one run for each.

    Raises:
        FileNotFoundError: no installed package carries the model.
        ValueError: the model is another one.
    """

    def __init__(self) -> None:
        path = model_file(*SILERO_FILES)
        if path is None:
            message = "no Silero model: install requirements-models.txt"
            raise FileNotFoundError(message)
        self._network = SileroNetwork(path)
        self._state = np.zeros((2, 8, STATE), np.float32)

    def reset(self, slot: int) -> None:
        """Zeroes the recurrent state of the slot."""
        while slot >= self._state.shape[1]:
            self._state = np.concatenate([self._state, np.zeros_like(self._state)], axis=1)
        self._state[:, slot] = 0

    def probabilities(self, windows: Floats, slots: list[int]) -> Floats:
        """See Detector."""
        speech, self._state[:, slots] = self._network.run(windows, self._state[:, slots])
        return speech


class EnergyDetector:
    """webrtcvad's vote, believed as far as the window stands out of the line's own noise.

    Both are fooled, but by different things: webrtcvad by steady noise, energy by a bang. The noise level follows the
    quietest windows at once and louder ones slowly, so that speech does not raise it.
    """

    MODE = 2  # of 0-3, webrtcvad's readiness to say "no speech"
    FRAME = 80  # samples: 10 ms
    FLOOR = 1e-7  # power of a silent line: -70 dBFS
    LOUDEST_NOISE = 1e-4  # -40 dBFS: what a call begins with, if louder, is not taken for noise
    RISE = 1.02  # of the noise level, a window: 2.7 dB a second
    CLEAR_DB = 15.0  # above the noise: as sure as it gets
    UNSURE_DB = 5.0

    def __init__(self) -> None:
        self._voting: dict[int, webrtcvad.Vad] = {}
        self._noise: dict[int, float] = {}
        self._smoothed: dict[int, float] = {}

    def reset(self, slot: int) -> None:
        """Makes the slot new."""
        self._voting[slot] = webrtcvad.Vad(self.MODE)
        self._noise[slot] = 0.0
        self._smoothed[slot] = 0.0

    def probabilities(self, windows: Floats, slots: list[int]) -> Floats:
        """See Detector."""
        return np.array([self._one(row[CONTEXT:], slot) for row, slot in zip(windows, slots, strict=True)], np.float32)

    def _one(self, window: Floats, slot: int) -> float:
        window = np.clip(window, -1, 1)
        power = max(self.FLOOR, float(np.dot(window, window)) / WINDOW)
        noise = self._noise[slot] or min(power, self.LOUDEST_NOISE)
        self._noise[slot] = noise = min(power, noise * self.RISE)
        above_db = 10 * math.log10(power / noise)
        pcm = (window * 32767).astype("<i2")
        frames = [pcm[start : start + self.FRAME] for start in range(0, WINDOW - self.FRAME + 1, self.FRAME)]
        voting = self._voting[slot]
        votes = sum(bool(voting.is_speech(frame.tobytes(), RATE)) for frame in frames) / len(frames)
        stands_out = float(np.clip((above_db - self.UNSURE_DB) / (self.CLEAR_DB - self.UNSURE_DB), 0, 1))
        now = 0.02 + 0.96 * votes * stands_out
        self._smoothed[slot] = smoothed = 0.5 * self._smoothed[slot] + 0.5 * now
        return smoothed


def best_detector() -> Detector:
    """Silero if its model is installed, else the fallback."""
    if model_file(*SILERO_FILES) is None:
        return EnergyDetector()
    try:
        return SileroDetector()
    except ValueError as error:
        log.error("voice_model_unknown", why=str(error), remedy="install the versions of requirements-models.txt")
        return EnergyDetector()

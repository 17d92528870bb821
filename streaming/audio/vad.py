"""Voice activity detection for all live calls of a process: one inference per tick, whatever the number of calls.

``streaming.session`` attaches one lane per call and feeds it the caller's frames; the stream process calls
``VadHub.tick`` on the event loop, soon after frames have come and at most every 5 ms.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import structlog

from agents.providers.base import L16_8K, L16_16K, MULAW_8K, AudioFormat
from streaming.audio import codecs
from streaming.audio.detectors import CONTEXT, RATE, WINDOW, Detector, EnergyDetector, best_detector

log = structlog.get_logger(__name__)

# After a stall the oldest windows are given up rather than delaying everybody: what is a second old decides nothing.
BACKLOG_WINDOWS = RATE // WINDOW
# Silero goes deaf after long silence or music unless its state is renewed: about every 2 s, and only in clear silence
# (the last 5 windows under 0.1), never inside speech.
RESET_WINDOWS = 2 * RATE // WINDOW
CLEAR_WINDOWS = 5
CLEAR_PROBABILITY = 0.1


class Samples(NamedTuple):
    """How audio is written: bytes a sample, one sample of silence, and what makes floats of it."""

    size: int
    silence: bytes
    decode: Callable[[bytes], codecs.Floats]


_WRITTEN = {
    "mulaw": Samples(1, codecs.MULAW_SILENCE, codecs.mulaw_to_float),
    "l16": Samples(2, bytes(2), codecs.l16_to_float),
}
_FLOATS = Samples(4, bytes(4), lambda audio: np.frombuffer(audio, np.float32))


class Decimator:
    """16 kHz to 8 kHz with 0.9 ms of delay: a windowed half-band filter; what lies above 5 kHz is gone by 40 dB."""

    TAPS = 31

    def __init__(self) -> None:
        n = np.arange(self.TAPS) - self.TAPS // 2
        taps = np.sinc(n / 2) * np.hamming(self.TAPS)
        self._taps = (taps / taps.sum()).astype(np.float32)
        self._tail = np.zeros(self.TAPS - 1, np.float32)
        self._odd = 0

    def __call__(self, audio: bytes) -> bytes:
        """The next l16 samples to half as many float32; any number of them."""
        samples = codecs.l16_to_float(audio)
        if not samples.size:
            return b""
        joined = np.concatenate([self._tail, samples])
        self._tail = joined[joined.size - self.TAPS + 1 :]
        filtered = np.convolve(joined, self._taps, "valid")[self._odd :: 2]
        self._odd = (self._odd + samples.size) % 2
        return filtered.astype(np.float32, copy=False).tobytes()


class VadLane:
    """One call's place in the hub. Made by ``VadHub.attach``.

    Keeps the call's audio as it came: decoding it costs least for all calls together, in the hub.

    Attributes:
        samples: how the audio that waits is written.
        power: of the window that is being judged (mean square; 1 is full scale), for ``on_window``.
        dropped_windows: windows of 32 ms given up because the process had stalled.
        senseless_windows: windows that the detector answered with no number; they count as silence.
    """

    def __init__(self, hub: "VadHub", slot: int, on_window: Callable[[float], None], *, fmt: AudioFormat) -> None:
        self.slot = slot
        self.on_window = on_window
        self.closed = False
        self.power = 0.0
        self.dropped_windows = 0
        self.senseless_windows = 0
        self._hub = hub
        self._decimate = Decimator() if fmt == L16_16K else None
        self.samples = _FLOATS if self._decimate is not None else _WRITTEN[fmt.encoding]
        size = self.samples.size
        self._window_bytes = WINDOW * size
        self._context_bytes = CONTEXT * size
        self._enough = self._context_bytes + self._window_bytes
        self._most = self._context_bytes + (BACKLOG_WINDOWS + 1) * self._window_bytes
        self._age = 0  # windows since the last reset
        self._clear = 0  # windows of clear silence in a row
        self._heard = bytearray(self.samples.silence * CONTEXT)  # the next window behind the context that it is seen in

    @property
    def ready(self) -> bool:
        """Whether a whole window waits for a tick."""
        return len(self._heard) >= self._enough

    def feed(self, audio: bytes) -> None:
        """Takes the caller's next whole samples, in the lane's format."""
        if self.closed:
            return
        self._heard += audio if self._decimate is None else self._decimate(audio)
        if len(self._heard) >= self._most:
            excess = (len(self._heard) - self._context_bytes) // self._window_bytes - BACKLOG_WINDOWS
            del self._heard[: excess * self._window_bytes]
            self.dropped_windows += excess

    def take(self) -> bytes:
        """The next window with the context before it."""
        window = bytes(self._heard[: self._enough])
        del self._heard[: self._window_bytes]
        return window

    def note(self, probability: float) -> bool:
        """Counts a window; True when the detector's state is due for renewal."""
        self._age += 1
        self._clear = self._clear + 1 if probability < CLEAR_PROBABILITY else 0
        if self._age >= RESET_WINDOWS and self._clear >= CLEAR_WINDOWS:
            self._age = 0
            return True
        return False

    def close(self) -> None:
        """Leaves the hub; no window comes after this."""
        self._hub.detach(self)


class VadHub:
    """The detector of a process and its lanes.

    Args:
        detector: Silero or its fallback where none is given.
    """

    def __init__(self, detector: Detector | None = None) -> None:
        self.detector = detector if detector is not None else best_detector()
        self._lanes: dict[int, VadLane] = {}
        self._free: list[int] = []

    def attach(self, fmt: AudioFormat, on_window: Callable[[float], None]) -> VadLane:
        """Adds a call; ``on_window`` gets the probability (0-1) of speech in each 32 ms, in order, within ``tick``.

        Args:
            fmt: of what will be fed; a stream's (else ValueError).
        """
        if fmt not in {MULAW_8K, L16_8K, L16_16K}:
            message = f"voice activity detection does not take {fmt.encoding} at {fmt.rate} Hz"
            raise ValueError(message)
        slot = self._free[-1] if self._free else len(self._lanes)
        self.detector.reset(slot)
        lane = VadLane(self, slot, on_window, fmt=fmt)
        # Taken only now: a slot lost to a failed attempt would make the next one that of another call.
        del self._free[-1:]
        self._lanes[slot] = lane
        return lane

    def detach(self, lane: VadLane) -> None:
        """Removes a lane; does nothing the second time."""
        if not lane.closed:
            lane.closed = True
            del self._lanes[lane.slot]
            self._free.append(lane.slot)

    @property
    def pending(self) -> bool:
        """Whether some lane has a whole window, so that ``tick`` has something to do."""
        return any(lane.ready for lane in self._lanes.values())

    def tick(self) -> int:
        """Judges all windows that wait, lane by lane in order, one inference for the next window of every lane.

        Returns:
            how many inferences ran.

        Raises:
            ExceptionGroup: of what callbacks raised, after every lane was served.
        """
        runs = 0
        errors: list[Exception] = []
        while ready := [lane for lane in self._lanes.values() if lane.ready]:
            runs += 1
            for lane, probability in zip(ready, self._judge(ready), strict=True):
                if lane.closed:
                    continue
                try:
                    lane.on_window(probability)
                except Exception as error:  # noqa: BLE001 - one call's fault must not take the others' windows
                    errors.append(error)
        if errors:
            message = "callbacks of voice activity failed"
            raise ExceptionGroup(message, errors)
        return runs

    def _judge(self, lanes: list[VadLane]) -> list[float]:
        windows = self._windows(lanes)
        answers = self._ask(windows, [lane.slot for lane in lanes])
        probabilities = [self._sensible(lane, answer) for lane, answer in zip(lanes, answers.tolist(), strict=True)]
        powers = (np.einsum("ij,ij->i", windows, windows) / windows.shape[1]).tolist()
        for lane, probability, power in zip(lanes, probabilities, powers, strict=True):
            lane.power = power
            if lane.note(probability):
                self.detector.reset(lane.slot)
        return probabilities

    def _windows(self, lanes: list[VadLane]) -> codecs.Floats:
        """The next window of each lane, a row each; those written alike are decoded in one go."""
        windows = np.empty((len(lanes), CONTEXT + WINDOW), np.float32)
        for samples in {lane.samples for lane in lanes}:
            rows = [n for n, lane in enumerate(lanes) if lane.samples is samples]
            heard = b"".join([lanes[n].take() for n in rows])
            windows[rows] = samples.decode(heard).reshape(len(rows), -1)
        return windows

    def _ask(self, windows: codecs.Floats, slots: list[int]) -> codecs.Floats:
        """The detector's answers, whatever it takes: one that fails even so makes way for the fallback."""
        try:
            return self.detector.probabilities(windows, slots)
        except Exception:
            log.exception("voice_detector_failed", calls=len(slots))
        try:
            return np.concatenate([self._ask_alone(windows[n : n + 1], slot) for n, slot in enumerate(slots)])
        except Exception:
            log.exception("voice_detector_replaced")
        self.detector = EnergyDetector()
        for slot in self._lanes:
            self.detector.reset(slot)
        return self.detector.probabilities(windows, slots)

    def _ask_alone(self, window: codecs.Floats, slot: int) -> codecs.Floats:
        """One call's window, so that only the call at fault loses what the detector knows of it."""
        try:
            return self.detector.probabilities(window, [slot])
        except Exception:
            log.exception("voice_detector_failed_alone")
        self.detector.reset(slot)
        return self.detector.probabilities(window, [slot])

    def _sensible(self, lane: VadLane, probability: float) -> float:
        """NaN would stay in the state of its call and make the agent deaf to it for good."""
        if math.isfinite(probability):
            return probability
        if not lane.senseless_windows:
            log.error("voice_detector_answered_no_number")
        lane.senseless_windows += 1
        self.detector.reset(lane.slot)
        return 0.0

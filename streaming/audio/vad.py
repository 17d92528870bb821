"""Voice activity detection for all live calls of a process: one inference per tick, whatever the number of calls.

``streaming.session`` attaches one lane per call and feeds it the caller's frames; the stream process calls
``VadHub.tick`` on the event loop, soon after frames have come and at most every 10 ms.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
import structlog

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

_BUFFER = CONTEXT + (BACKLOG_WINDOWS + 33) * WINDOW


class Decimator:
    """16 kHz to 8 kHz with 0.9 ms of delay: a windowed half-band filter; what lies above 5 kHz is gone by 40 dB."""

    TAPS = 31

    def __init__(self) -> None:
        n = np.arange(self.TAPS) - self.TAPS // 2
        taps = np.sinc(n / 2) * np.hamming(self.TAPS)
        self._taps = (taps / taps.sum()).astype(np.float32)
        self._tail = np.zeros(self.TAPS - 1, np.float32)
        self._odd = 0

    def __call__(self, samples: codecs.Floats) -> codecs.Floats:
        """The next samples at 16 kHz to half as many; any number of them."""
        joined = np.concatenate([self._tail, samples])
        self._tail = joined[joined.size - self.TAPS + 1 :]
        if not samples.size:
            return samples
        filtered = np.convolve(joined, self._taps, "valid")[self._odd :: 2]
        self._odd = (self._odd + samples.size) % 2
        return filtered.astype(np.float32, copy=False)


class VadLane:
    """One call's place in the hub. Made by ``VadHub.attach``.

    Attributes:
        dropped_windows: windows of 32 ms given up because the process had stalled.
        senseless_windows: windows that the detector answered with no number; they count as silence.
    """

    def __init__(
        self, hub: "VadHub", slot: int, on_window: Callable[[float], None], *, rate: int, encoding: str
    ) -> None:
        self.slot = slot
        self.on_window = on_window
        self.closed = False
        self.dropped_windows = 0
        self.senseless_windows = 0
        self._hub = hub
        self._decode = codecs.mulaw_to_float if encoding == "mulaw" else codecs.l16_to_float
        self._decimate = Decimator() if rate == 2 * RATE else None
        self._buffer = np.zeros(_BUFFER, np.float32)
        self._read = CONTEXT  # where the next window begins; CONTEXT samples before it are kept
        self._write = CONTEXT
        self._age = 0  # windows since the last reset
        self._clear = 0  # windows of clear silence in a row

    @property
    def pending(self) -> int:
        """Whole windows that wait for a tick."""
        return (self._write - self._read) // WINDOW

    def feed(self, audio: bytes | codecs.Floats) -> None:
        """Takes the caller's next samples: bytes in the lane's codec, or float32 from -1 to 1 at its rate."""
        if self.closed:
            return
        samples = self._decode(audio) if isinstance(audio, bytes) else audio
        if self._decimate is not None:
            samples = self._decimate(samples)
        for start in range(0, samples.size, 32 * WINDOW):
            self._append(samples[start : start + 32 * WINDOW])

    def _append(self, samples: codecs.Floats) -> None:
        if self._write + samples.size > self._buffer.size:
            kept = self._buffer[self._read - CONTEXT : self._write].copy()
            self._buffer[: kept.size] = kept
            self._read, self._write = CONTEXT, kept.size
        self._buffer[self._write : self._write + samples.size] = samples
        self._write += samples.size
        excess = self.pending - BACKLOG_WINDOWS
        if excess > 0:
            self._read += excess * WINDOW
            self.dropped_windows += excess

    def take(self, into: codecs.Floats) -> None:
        """Moves the next window, with its context, to ``into``."""
        into[:] = self._buffer[self._read - CONTEXT : self._read + WINDOW]
        self._read += WINDOW
        if self._read == self._write:
            self._buffer[:CONTEXT] = self._buffer[self._read - CONTEXT : self._read]
            self._read = self._write = CONTEXT

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
        self._batch = np.zeros((8, CONTEXT + WINDOW), np.float32)

    def attach(
        self, rate: int, on_window: Callable[[float], None], *, encoding: Literal["mulaw", "l16"] = "mulaw"
    ) -> VadLane:
        """Adds a call; ``on_window`` gets the probability (0-1) of speech in each 32 ms, in order, within ``tick``.

        Args:
            rate: of what will be fed, 8000 or 16000 Hz (else ValueError).
            encoding: of bytes that will be fed.
        """
        if rate not in {RATE, 2 * RATE}:
            message = f"voice activity detection takes 8000 or 16000 Hz, not {rate}"
            raise ValueError(message)
        slot = self._free[-1] if self._free else len(self._lanes)
        self.detector.reset(slot)
        lane = VadLane(self, slot, on_window, rate=rate, encoding=encoding)
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
        return any(lane.pending for lane in self._lanes.values())

    def tick(self) -> int:
        """Judges all windows that wait, lane by lane in order, one inference for the next window of every lane.

        Returns:
            how many inferences ran.

        Raises:
            ExceptionGroup: of what callbacks raised, after every lane was served.
        """
        runs = 0
        errors: list[Exception] = []
        while ready := [lane for lane in self._lanes.values() if lane.pending]:
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
        while len(lanes) > self._batch.shape[0]:
            self._batch = np.concatenate([self._batch, np.zeros_like(self._batch)])
        windows = self._batch[: len(lanes)]
        for row, lane in zip(windows, lanes, strict=True):
            lane.take(row)
        answers = self._ask(windows, [lane.slot for lane in lanes])
        probabilities = [self._sensible(lane, answer) for lane, answer in zip(lanes, answers.tolist(), strict=True)]
        for lane, probability in zip(lanes, probabilities, strict=True):
            if lane.note(probability):
                self.detector.reset(lane.slot)
        return probabilities

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

"""smart-turn v3.2: does the caller's last speech sound finished? Asked only where the transcript leaves it open.

``streaming.turn_judge`` keeps a ``RecentAudio`` per call and asks ``TurnModel.predict`` at a pause. One inference
thread per process; the answer is optional everywhere: there may be no model, no time, or no certainty.
"""

import asyncio
import os
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import soxr

from agents.providers.base import AudioFormat
from streaming.audio import codecs
from streaming.audio.models import Model, model_file

FILE = ("pipecat", "audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx")
RATE = 16_000
SECONDS = 8
ANSWER_WITHIN_MS = 80
LOOP_LAG_MS = 20

_FFT, _HOP, _MELS = 400, 160, 80


class RecentAudio:
    """The last 8 s of a caller's audio, kept in the line's codec."""

    def __init__(self, fmt: AudioFormat) -> None:
        self.rate = fmt.rate
        self._decode = codecs.mulaw_to_float if fmt.encoding == "mulaw" else codecs.l16_to_float
        self._limit = SECONDS * 1000 * fmt.bytes_per_ms
        self._audio = bytearray()

    def feed(self, audio: bytes) -> None:
        """Takes the next frame, whole samples."""
        self._audio += audio
        if len(self._audio) > self._limit + self._limit // 4:
            del self._audio[: len(self._audio) - self._limit]

    def floats(self) -> codecs.Floats:
        """Up to 8 s, -1 to 1, at ``rate``."""
        return self._decode(bytes(self._audio[-self._limit :]))


def _mel_filters() -> codecs.Floats:
    """float32[80, 201]: triangles equally wide on Slaney's mel scale from 0 to 8 kHz, each of unit area in Hz.

    The scale is linear (3 mel per 200 Hz) up to 1 kHz and logarithmic (27 mel per factor of 6.4) above.
    """
    top = 15 + 27 * np.log(8.0) / np.log(6.4)
    mels = np.linspace(0.0, top, _MELS + 2)
    corners = np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
    bins = np.fft.rfftfreq(_FFT, 1 / RATE)
    low, centre, high = (corners[n : n + _MELS, None] for n in range(3))
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    filters = np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)
    return np.asarray(filters, dtype=np.float32)


_FILTERS = _mel_filters()
_WINDOW = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT) / _FFT)).astype(np.float32)


def features(audio: codecs.Floats) -> codecs.Floats:
    """Whisper's log-mel features of the last 8 s at 16 kHz: float32[80, 800].

    As in Radford et al. 2022, section 2.2, and the reference implementation: shorter audio is preceded by silence, the
    whole normalised to zero mean and unit variance; 25 ms Hann windows every 10 ms, reflected at both ends; log10 of
    the mel power, limited to 8 below its maximum, then (x + 4) / 4.
    """
    size = SECONDS * RATE
    padded = np.zeros(size, np.float32)
    recent = audio[-size:]
    padded[size - recent.size :] = recent
    padded = (padded - padded.mean()) / np.sqrt(padded.var() + 1e-7)
    framed = np.lib.stride_tricks.sliding_window_view(np.pad(padded, _FFT // 2, mode="reflect"), _FFT)[::_HOP]
    spectrum = np.fft.rfft(framed[: size // _HOP] * _WINDOW, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    log_mel = np.log10(np.maximum(_FILTERS @ power.T, 1e-10))
    limited = np.maximum(log_mel, log_mel.max() - 8.0)
    scaled: codecs.Floats = ((limited + 4.0) / 4.0).astype(np.float32)
    return scaled


class TurnModel:
    """The model with its thread.

    Attributes:
        skipped: questions left unanswered for want of time.

    Raises:
        FileNotFoundError: no installed package carries the model.
    """

    def __init__(self) -> None:
        path = model_file(FILE)
        if path is None:
            message = "no smart-turn model: install requirements-models.txt"
            raise FileNotFoundError(message)
        self.skipped = 0
        self._model = Model(path)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="turn-model", initializer=_step_back)
        self._waiting = 0
        self._cost_ms = self._measure()

    def _measure(self) -> float:
        self.judge(np.zeros(RATE, np.float32), RATE)  # the first run is the slow one
        begun = time.perf_counter()
        self.judge(np.zeros(RATE, np.float32), RATE)
        return (time.perf_counter() - begun) * 1000

    def judge(self, audio: codecs.Floats, rate: int) -> float:
        """The probability (0-1) that the turn is over; blocks for some 60 ms."""
        if rate != RATE:
            audio = soxr.resample(audio, rate, RATE, quality="HQ")
        (logits,) = self._model.run({"input_features": features(audio)[None]})
        return float(logits[0, 0])

    async def predict(self, audio: codecs.Floats, *, rate: int = RATE, loop_lag_ms: float = 0.0) -> float | None:
        """The probability (0-1) that the turn is over, or None when there is no time to ask.

        Args:
            audio: what the caller said last, up to 8 s, -1 to 1.
            loop_lag_ms: how late the event loop now is; with more than 20 ms the model is not asked.
        """
        if loop_lag_ms > LOOP_LAG_MS or (self._waiting + 1) * self._cost_ms > ANSWER_WITHIN_MS:
            self.skipped += 1
            self._cost_ms *= 0.97  # so that a machine that was slow for a while is tried again
            return None
        self._waiting += 1
        job = self._thread.submit(self._timed, audio, rate)
        loop = asyncio.get_running_loop()
        job.add_done_callback(lambda done: self._done(done, loop))
        try:
            async with asyncio.timeout(ANSWER_WITHIN_MS / 1000):
                return await asyncio.wrap_future(job)
        except TimeoutError:
            self.skipped += 1
            return None

    def _timed(self, audio: codecs.Floats, rate: int) -> float:
        begun = time.perf_counter()
        probability = self.judge(audio, rate)
        self._cost_ms += 0.3 * ((time.perf_counter() - begun) * 1000 - self._cost_ms)
        return probability

    def _done(self, _: "Future[float]", loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody counts any more
            loop.call_soon_threadsafe(self._answered)

    def _answered(self) -> None:
        self._waiting -= 1

    def close(self) -> None:
        """Ends the thread, after the inference that runs."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def open_turn_model() -> TurnModel | None:
    """The model, or None where it is not installed; blocks for some 200 ms."""
    return None if model_file(FILE) is None else TurnModel()


def _step_back() -> None:
    """Lets the event loop's thread go first: an answer too late is worth nothing, a late frame is heard."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 5)

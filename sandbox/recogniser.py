"""The sandbox's ear: pocketsphinx with one small grammar per scenario, really decoding telephone audio.

Used by sandbox/ears.py when the API key is ``demo-<scenario>``. Free dictation is beyond pocketsphinx; a grammar of a
few hundred sentences is not. What is outside the grammar comes back as nothing, where it can be told.
"""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pocketsphinx
from numpy.typing import NDArray

from sandbox import alaw, audio
from sandbox.grammar import in_grammar, make_decoder
from sandbox.resampling import Resampler

Samples = NDArray[np.int16]

_RATE = 8000
_FRAME = _RATE // 50
_PRE_ROLL_FRAMES = 15
_TRAILING_FRAMES = 25
_SPEECH_RMS = 250.0
_OVER_FLOOR = 3.0
_FRAMES_PER_SECOND = 100  # of the decoder
_LEVEL_FRAMES = 7  # of speech, before its level is known
_SHORTEST_FRAMES = 3
_PARTIAL_FRAMES = 20
_LEVEL_RMS = 3000.0
_GAIN = (0.3, 6.0)
# About as loud as mu-law's own noise, so that linear audio is understood no worse: of the callers' lines in all formats
# 8 of 204 were missed at 25, none at 60.
_DITHER = 60.0
_SHORTEST_FRAGMENT = 4  # words
_MIN_PROBABILITY = 0.0015
_LETTERS_PER_SECOND = (5.0, 26.0)
# Cepstral means of speech that came through this front end; the decoder adapts from there.
_CEPSTRAL_MEAN = "54.5,-6.0,3.2,7.2,-2.0,-9.8,0.5,-13.9,-4.0,1.5,-2.5,1.5,-5.0"


@dataclass(frozen=True)
class HeardWord:
    """One recognised word and its place in the audio of its commit, in seconds."""

    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True)
class Heard:
    """What a stretch of audio was taken for; an empty ``text`` means nothing, or nothing that the grammar knows.

    ``whole``: the words are a sentence of the grammar, not the beginning of one.
    """

    text: str
    words: tuple[HeardWord, ...]
    probability: float
    whole: bool = False


NOTHING = Heard("", (), 0.0)


_IDLE: dict[str, list[pocketsphinx.Decoder]] = defaultdict(list)
_IDLE_LOCK = threading.Lock()


def _borrow(name: str) -> pocketsphinx.Decoder:
    with _IDLE_LOCK:
        if _IDLE[name]:
            return _IDLE[name].pop()
    return make_decoder(name)


class _Fold:
    """8 kHz to 16 kHz with the missing upper band filled by the mirror image of the lower one, at -6 dB.

    The acoustic model expects 130-6800 Hz; with that band empty its features are off (word errors 30 % against 11 %).
    """

    _HALF = 31
    _OFFSETS = np.arange(-_HALF, _HALF + 1)
    _LOW_PASS = np.sinc(_OFFSETS / 2) * np.cos(np.pi * _OFFSETS / (2 * (_HALF + 1))) ** 2

    def __init__(self) -> None:
        self._past = np.zeros(2 * self._HALF)
        self._dither = np.random.default_rng(1)

    def feed(self, samples: NDArray[np.floating[Any]]) -> bytes:
        stuffed = np.zeros(2 * samples.size)
        stuffed[::2] = samples
        window = np.concatenate([self._past, stuffed])
        low = np.convolve(window, self._LOW_PASS, "valid")
        centre = window[self._HALF : self._HALF + low.size]
        self._past = window[-2 * self._HALF :]
        folded = low + 0.5 * (2 * centre - low) + self._dither.normal(0, _DITHER, low.size)
        return np.clip(np.rint(folded), -32768, 32767).astype("<i2").tobytes()


class SpeechGate:
    """Tells speech from silence by energy, in frames of 20 ms at 8 kHz, against a slowly learnt noise floor."""

    def __init__(self, threshold_rms: float = _SPEECH_RMS) -> None:
        self._threshold = threshold_rms
        self._floor = threshold_rms / _OVER_FLOOR
        self._rest = np.zeros(0, np.int16)
        self.silent_frames = 0
        self.speech_frames = 0

    def feed(self, samples: Samples) -> Iterator[tuple[Samples, bool]]:
        """Cut the stream into (frame, is it loud); the counters stand at the frame that was given last."""
        data = np.concatenate([self._rest, samples])
        self._rest = data[data.size - data.size % _FRAME :]
        frames = data[: data.size - self._rest.size].reshape(-1, _FRAME)
        wide = frames.astype(np.float64)
        levels = np.sqrt(np.einsum("ij,ij->i", wide, wide) / _FRAME)  # of all at once: load tests feed hundreds of ears
        for frame, level in zip(frames, levels.tolist(), strict=True):
            loud = level > max(self._threshold, _OVER_FLOOR * self._floor)
            if loud:
                self.speech_frames += 1
                self.silent_frames = 0
            else:
                self.silent_frames += 1
                self._floor = min(0.97 * self._floor + 0.03 * level, 4 * self._threshold)
            yield frame, loud

    def reset(self) -> None:
        """Begin to count anew; the floor stays learnt."""
        self.silent_frames = 0
        self.speech_frames = 0


def decoder_of(encoding: str, rate: int) -> tuple[Any, Resampler]:
    """How to make 8 kHz samples of bytes in "mulaw", "alaw" or "l16" at `rate` Hz."""
    read = {"mulaw": audio.mulaw_decode, "alaw": alaw.alaw_decode, "l16": audio.l16_decode}[encoding]
    return read, Resampler(rate, _RATE)


class Listener:
    """One recognition stream. Not thread-safe and it computes: call it from one worker thread at a time."""

    def __init__(self, name: str, *, encoding: str, rate: int) -> None:
        """Raises UnknownScenarioError for a scenario that is not there."""
        self._name = name
        self._decoder: pocketsphinx.Decoder | None = _borrow(name)
        self._decoder.set_cmn(_CEPSTRAL_MEAN)
        self._read, self._resampler = decoder_of(encoding, rate)
        self._sample_bytes = 2 if encoding == "l16" else 1
        self._odd = b""
        self.gate = SpeechGate()
        self._begin()

    def _begin(self) -> None:
        self.gate.reset()
        self._open = False
        self._held: list[tuple[Samples, bool]] = []
        self._gain = 1.0
        self._frames_seen = 0
        self._offset_s = 0.0
        self._fold = _Fold()

    def feed(self, data: bytes) -> None:
        """Hear `data`; silence costs nothing, speech about a twentieth of its own length."""
        data = self._odd + data
        cut = len(data) - len(data) % self._sample_bytes
        self._odd = data[cut:]
        for frame, loud in self.gate.feed(self._resampler.feed(self._read(data[:cut]))):
            self._take(frame, loud)

    def _take(self, frame: Samples, loud: bool) -> None:
        self._frames_seen += 1
        if self._open:
            if self.gate.silent_frames <= _TRAILING_FRAMES:
                self._decode(frame)
            return
        self._held.append((frame, loud))
        if self.gate.speech_frames == 0:
            self._held = self._held[-_PRE_ROLL_FRAMES:]
        elif self.gate.speech_frames >= _LEVEL_FRAMES:
            self._start()

    def _start(self) -> None:
        """Begin an utterance with what was held, at the level that the model was trained on."""
        spoken = np.concatenate([frame for frame, loud in self._held if loud])
        self._gain = min(max(_LEVEL_RMS / audio.rms(spoken), _GAIN[0]), _GAIN[1])
        self._open = True
        self._offset_s = (self._frames_seen - len(self._held)) * _FRAME / _RATE
        self._search().start_utt()
        self._decode(np.concatenate([frame for frame, _ in self._held]))
        self._held = []

    def _search(self) -> pocketsphinx.Decoder:
        if self._decoder is None:
            message = "the listener is closed"
            raise RuntimeError(message)
        return self._decoder

    def _decode(self, samples: Samples) -> None:
        self._search().process_raw(self._fold.feed(samples * self._gain), False, False)

    def partial(self) -> str:
        """The words so far, without a check whether they make sense; empty before there is enough to go by."""
        hypothesis = self._search().hyp() if self._open and self.gate.speech_frames >= _PARTIAL_FRAMES else None
        return hypothesis.hypstr if hypothesis else ""

    def commit(self) -> Heard:
        """Settle everything heard since the last commit."""
        heard = NOTHING
        if not self._open and self.gate.speech_frames >= _SHORTEST_FRAMES:
            self._start()
        if self._open:
            decoder = self._search()
            self._decode(np.zeros(2 * _FRAME, np.int16))
            decoder.end_utt()
            heard = self._judge(decoder)
        self._begin()
        return heard

    def _judge(self, decoder: pocketsphinx.Decoder) -> Heard:
        hypothesis = decoder.hyp()
        if hypothesis is None or not hypothesis.hypstr:
            return NOTHING
        words = tuple(
            HeardWord(
                re.sub(r"\(\d+\)$", "", segment.word),
                self._offset_s + segment.start_frame / _FRAMES_PER_SECOND,
                self._offset_s + (segment.end_frame + 1) / _FRAMES_PER_SECOND,
                float(segment.prob),
            )
            for segment in decoder.seg()
            if not segment.word.startswith(("<", "["))
        )
        probability = float(hypothesis.prob)
        whole = in_grammar(self._name, hypothesis.hypstr)
        known = whole or len(words) >= _SHORTEST_FRAGMENT
        pace = len(hypothesis.hypstr.replace(" ", "")) / (self.gate.speech_frames * _FRAME / _RATE)
        if not known or probability < _MIN_PROBABILITY or not _LETTERS_PER_SECOND[0] <= pace <= _LETTERS_PER_SECOND[1]:
            return Heard("", (), probability)
        return Heard(hypothesis.hypstr, words, probability, whole)

    def close(self) -> None:
        """Give the decoder back."""
        if self._decoder is not None:
            if self._open:
                self._decoder.end_utt()
            with _IDLE_LOCK:
                _IDLE[self._name].append(self._decoder)
            self._decoder = None

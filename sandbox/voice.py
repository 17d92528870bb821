"""The sandbox's voice: espeak-ng, loaded in this process by ctypes from the pip package, and a tone for load tests.

Used by sandbox/speech.py for both providers. espeak-ng is GPL: that is why the sandbox is a process of its own, reached
over the network only.
"""

from __future__ import annotations

import _ctypes
import ctypes
import functools
import math
import re
import threading
from dataclasses import dataclass, field

import espeakng_loader
import numpy as np
from numpy.typing import NDArray

from sandbox import audio

Samples = NDArray[np.int16]

_SYNCHRONOUS = 2
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_EVENT_WORD = 1
_PARAM_RATE = 1
_PARAM_PITCH = 3
_MAX_CACHED = 256
TONE_RATE = 16000
_TONE_MS_PER_CHARACTER = 60


@dataclass(frozen=True)
class Voice:
    """One voice that the sandbox offers.

    Attributes:
        id: as ElevenLabs shows it, 20 letters and digits.
        espeak: espeak-ng's own name of language and variant; empty for the tone.
        labels: what ElevenLabs shows about it.
    """

    id: str
    name: str
    espeak: str
    language: str
    labels: dict[str, str] = field(compare=False)
    words_per_minute: int = 165
    pitch: int = 50


@dataclass(frozen=True)
class Word:
    """One spoken word: its place in the text (characters) and in the audio (ms)."""

    start: int
    end: int
    start_ms: float
    end_ms: float


@dataclass(frozen=True)
class Speech:
    """Synthesised text: int16 samples at ``rate`` Hz, and where the words are."""

    text: str
    samples: Samples
    rate: int
    words: tuple[Word, ...]

    @property
    def duration_ms(self) -> float:
        """Length of the audio, ms."""
        return self.samples.size * 1000 / self.rate


def _labels(accent: str, gender: str, language: str) -> dict[str, str]:
    return {"accent": accent, "gender": gender, "age": "synthetic", "language": language, "use_case": "sandbox"}


VOICES: tuple[Voice, ...] = (
    Voice("sandboxClaraEnUs0001", "Clara (espeak-ng)", "en-us+f3", "en", _labels("american", "female", "en")),
    Voice("sandboxMilesEnUs0002", "Miles (espeak-ng)", "en-us+m3", "en", _labels("american", "male", "en")),
    Voice("sandboxEdithEnGb0003", "Edith (espeak-ng)", "en-gb+f2", "en", _labels("british", "female", "en")),
    Voice("sandboxOscarEnGb0004", "Oscar (espeak-ng)", "en-gb", "en", _labels("british", "male", "en")),
    Voice("sandboxJonasDeDe0005", "Jonas (espeak-ng)", "de", "de", _labels("standard", "male", "de")),
    Voice("sandboxGretaDeDe0006", "Greta (espeak-ng)", "de+f3", "de", _labels("standard", "female", "de")),
    # The id of a voice that every account of ElevenLabs has, so that an agent made for the service also runs here.
    Voice("21m00Tcm4TlvDq8ikWAM", "Rachel (espeak-ng)", "en-us+f2", "en", _labels("american", "female", "en")),
    Voice("sandboxToneLoad00007", "Tone (load tests)", "", "en", _labels("none", "neutral", "en")),
)
BY_ID = {voice.id: voice for voice in VOICES}
BY_ID["demo"] = VOICES[0]


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


_LOCK = threading.Lock()


def _speak(text: str, name: str, words_per_minute: int, pitch: int) -> tuple[Samples, int, list[tuple[int, int, int]]]:
    """Return the samples, their rate and the (character, length, ms) of each word.

    The library is loaded afresh for each text and its random seed set: its oscillators keep their phase in static
    variables, and without that no two renderings of a text would be alike (2 ms, measured).
    """
    pieces: list[Samples] = []
    words: list[tuple[int, int, int]] = []

    def collect(wave: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if wave and count > 0:
            pieces.append(np.ctypeslib.as_array(wave, (count,)).copy())
        index = 0
        while events[index].type != 0:
            event = events[index]
            if event.type == _EVENT_WORD:
                words.append((event.text_position - 1, event.length, event.audio_position))
            index += 1
        return 0

    callback = _CALLBACK(collect)
    with _LOCK:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            data = str(espeakng_loader.get_data_path())
            rate = library.espeak_Initialize(_SYNCHRONOUS, 0, data.encode(), 0)
            if rate <= 0:
                message = f"espeak-ng did not start with the data in {data}"
                raise RuntimeError(message)
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))
            library.espeak_SetSynthCallback(callback)
            if library.espeak_SetVoiceByName(_file_name(name).encode()) != 0:
                message = f"espeak-ng has no voice {name!r}"
                raise LookupError(message)
            library.espeak_SetParameter(_PARAM_RATE, words_per_minute, 0)
            library.espeak_SetParameter(_PARAM_PITCH, pitch, 0)
            raw = text.encode() + b"\0"
            status = library.espeak_Synth(raw, len(raw), 0, _POS_CHARACTER, 0, _CHARS_UTF8, None, None)
            if status != 0:
                message = f"espeak-ng refused to speak (status {status})"
                raise RuntimeError(message)
        finally:
            library.espeak_Terminate()
            _ctypes.dlclose(library._handle)
    return (np.concatenate(pieces) if pieces else np.zeros(0, np.int16)), rate, words


def _file_name(name: str) -> str:
    """The library finds a voice by its file; British English lives in plain "en"."""
    return re.sub(r"^en-gb(?=\+|$)", "en", name.lower())


@functools.lru_cache(maxsize=_MAX_CACHED)
def say(text: str, name: str, words_per_minute: int = 165, pitch: int = 50) -> Speech:
    """Speak `text` with espeak-ng's voice `name` ("en-us+f3"); the same input gives the same samples.

    Raises LookupError when espeak-ng has no such voice.
    """
    samples, rate, events = _speak(text, name, words_per_minute, pitch)
    return Speech(text, samples, rate, _words(text, events, samples.size * 1000 / rate))


def _words(text: str, events: list[tuple[int, int, int]], total_ms: float) -> tuple[Word, ...]:
    ordered = sorted({position: (length, at) for position, length, at in events}.items())
    spans = [(position, position + length, float(at)) for position, (length, at) in ordered if position < len(text)]
    words = []
    for index, (start, end, at) in enumerate(spans):
        until = spans[index + 1][2] if index + 1 < len(spans) else total_ms
        words.append(Word(start, min(end, len(text)), min(at, total_ms), max(at, min(until, total_ms))))
    return tuple(words)


def tone(text: str) -> Speech:
    """A beep as long as `text` would take to say, for load tests: next to no CPU."""
    spans = [match.span() for match in re.finditer(r"\S+", text)]
    samples = np.tile(_tone_cycle(), math.ceil(max(len(text), 1) * _TONE_MS_PER_CHARACTER / 1000))
    samples = samples[: max(len(text), 1) * _TONE_MS_PER_CHARACTER * TONE_RATE // 1000]
    scale = _TONE_MS_PER_CHARACTER
    return Speech(
        text, samples, TONE_RATE, tuple(Word(a, b, a * scale, min(b + 1, len(text)) * scale) for a, b in spans)
    )


@functools.cache
def _tone_cycle() -> Samples:
    return audio.tone(440, 1000, TONE_RATE, peak=8000)


def synthesise(text: str, voice: Voice, *, speed: float = 1.0) -> Speech:
    """Speak `text` with one of the sandbox's voices at `speed` (0.7 to 1.2)."""
    if not voice.espeak:
        return tone(text)
    return say(text, voice.espeak, round(voice.words_per_minute * speed), voice.pitch)

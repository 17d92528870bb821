"""What the simulated callers say: sentences of about 2.5 s on a quiet line, cut into Plivo's frames beforehand."""

import base64
from dataclasses import dataclass

import numpy as np

from sandbox import audio
from sandbox.resampling import convert_rate
from sandbox.voice import say

RATE = 8000
FRAME = RATE // 50  # samples of 20 ms
LINE_DBFS = -70.0
VOICES = ("en-us+f3", "en-us+m3")
QUESTIONS = (
    "I would like to come in for a check-up on Tuesday.",
    "I want to make an appointment for next Monday.",
    "Could you please tell me what a cleaning costs?",
)
INTERRUPTION = "Wait, I would like to ask you something else."
# What recognition answers to every commit: shorter than the shortest clip at 300 ms a word, so that the last partial
# text is whole before the caller stops; a whole sentence, so that the words leave nothing open.
TRANSCRIPT = "I would like an appointment please."
# Two sentences that the sandbox's tone holds for 5 s (60 ms a character).
REPLY = "Yes, we can arrange that for you next week. The office is open from nine until five."


@dataclass(frozen=True)
class Clip:
    """One utterance.

    Attributes:
        payloads: base64 of the mu-law frames, ready to send.
        audio: the same in one piece.
        voiced: samples from the first sound to the last; the rest of the last frame is line noise.
    """

    payloads: tuple[str, ...]
    audio: bytes
    voiced: int


def _frames(samples: audio.Samples) -> tuple[tuple[str, ...], bytes]:
    data = audio.mulaw_encode(samples)
    return tuple(base64.b64encode(data[at : at + FRAME]).decode() for at in range(0, len(data), FRAME)), data


def clip(text: str, voice: str) -> Clip:
    """The sentence as it comes out of a telephone: trimmed to its sound, over line noise."""
    speech = say(text, voice)
    samples = audio.trim(convert_rate(speech.samples, speech.rate, RATE), RATE, keep_ms=0)
    line = audio.noise(-(-samples.size // FRAME) * 20, RATE, level_dbfs=LINE_DBFS, seed=len(text))
    mixed = line.astype(np.int32)
    mixed[: samples.size] += samples
    return Clip(*_frames(np.clip(mixed, -32768, 32767).astype(np.int16)), samples.size)


def questions() -> tuple[Clip, ...]:
    """What callers ask."""
    return tuple(clip(text, voice) for text in QUESTIONS for voice in VOICES)


def interruptions() -> tuple[Clip, ...]:
    """What callers say over the agent's voice."""
    return tuple(clip(INTERRUPTION, voice) for voice in VOICES)


def line_noise(seconds: int = 4) -> tuple[tuple[str, ...], bytes]:
    """Frames of a silent line, and their audio, to be repeated."""
    return _frames(audio.noise(seconds * 1000, RATE, level_dbfs=LINE_DBFS))

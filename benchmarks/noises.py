"""What a caller may have around them: white noise, a street, a room of six people talking. Made, not recorded.

Each kind is float64 at 8 kHz with an RMS of 1; the same seed gives the same noise.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from sandbox import audio
from sandbox.resampling import convert_rate
from sandbox.voice import Speech, say

RATE = 8000
FRAME = RATE // 100
Wave = NDArray[np.float64]

TALK = (
    "The train to the airport leaves from platform four, and it takes about forty minutes to get there.",
    "I told her that we would be late, because the meeting went on for another hour and nobody wanted to leave.",
    "You should try the soup here, it is the best in town, and the bread comes straight out of the oven.",
    "Last summer we drove along the coast with the children and stopped at every single beach on the way.",
    "He bought a new car last week, but he has not told anybody yet, so please do not say a word about it.",
    "They are going to close the old school and build flats there, and the whole street is talking about it.",
)
# espeak-ng's voice, words a minute, pitch: all different, as people at neighbouring tables are.
TALKERS = (
    ("en-us+f3", 150, 45),
    ("en-us+m3", 157, 40),
    ("en-gb+f2", 164, 55),
    ("en-gb", 171, 50),
    ("en-us+m7", 178, 60),
    ("en-us+f5", 185, 65),
)


def white(seconds: int, seed: int) -> Wave:
    """A hissing line."""
    return np.random.default_rng(seed).normal(0.0, 1.0, seconds * RATE)


def street(seconds: int, seed: int) -> Wave:
    """A rumble, a car that passes every four seconds, an engine that pulls away, a horn now and then."""
    random = np.random.default_rng(seed)
    time = np.arange(seconds * RATE) / RATE
    out = _coloured(time.size, -0.8, random)
    for at in random.uniform(0, seconds, max(1, seconds // 4)):
        passing = np.exp(-0.5 * ((time - at) / random.uniform(1.0, 2.5)) ** 2)
        out += random.uniform(0.5, 2.0) * passing * _coloured(time.size, -0.5, random)
    for at in random.uniform(0, seconds, max(1, seconds // 12)):
        _add(out, at, _horn(random))
    for at in random.uniform(0, seconds, max(1, seconds // 15)):
        _add(out, at, _engine(random))
    return out / out.std()


def babble(seconds: int, seed: int) -> Wave:
    """Six people who talk without a break, all equally loud."""
    out = np.zeros(seconds * RATE)
    for place, (voice, pace, pitch) in enumerate(TALKERS):
        pieces: list[Wave] = []
        while sum(piece.size for piece in pieces) < 2 * out.size:
            pieces.append(active(say(TALK[(place + seed + len(pieces)) % len(TALK)], voice, pace, pitch)))
        talk = np.concatenate(pieces)
        start = int(np.random.default_rng([seed, place]).integers(out.size))
        out += talk[start : start + out.size]
    return out / out.std()


KINDS: dict[str, Callable[[int, int], Wave]] = {"white": white, "street": street, "babble": babble}


def active(speech: Speech) -> Wave:
    """Speech at 8 kHz without the silence around it; an RMS of 1 over its active parts."""
    samples = audio.trim(convert_rate(speech.samples, speech.rate, RATE), RATE, keep_ms=0).astype(np.float64)
    frames = samples[: samples.size // FRAME * FRAME].reshape(-1, FRAME)
    powers = np.mean(frames**2, axis=1)
    return samples / np.sqrt(np.mean(powers[powers > powers.max() / 100]))


def _coloured(count: int, slope: float, random: np.random.Generator) -> Wave:
    """Noise whose amplitude falls with the frequency to the power ``slope``, within the telephone's band."""
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    shape = (np.maximum(hertz, 30.0) / 100.0) ** slope
    shape[(hertz < 60) | (hertz > 3400)] = 0.0
    out = np.fft.irfft(np.fft.rfft(random.normal(0.0, 1.0, count)) * shape, count)
    return out / out.std()


def _horn(random: np.random.Generator) -> Wave:
    time = np.arange(int(random.uniform(0.2, 0.7) * RATE)) / RATE
    hertz = float(random.choice([350, 420, 500]))
    tones = [np.sin(2 * np.pi * hertz * step * third * time) / step for step in range(1, 5) for third in (1, 1.26)]
    edge = np.minimum(time, time[::-1]) / 0.02
    return 1.2 * np.sum(tones, axis=0) * np.minimum(1.0, edge)


def _engine(random: np.random.Generator) -> Wave:
    time = np.arange(int(random.uniform(3.0, 6.0) * RATE)) / RATE
    swell = np.sin(np.pi * time / time[-1])
    phase = 2 * np.pi * np.cumsum(60 + 40 * swell) / RATE
    return swell * np.sum([np.sin(step * phase) / step for step in range(1, 20)], axis=0)


def _add(out: Wave, at_s: float, sound: Wave) -> None:
    start = int(at_s * RATE)
    end = min(out.size, start + sound.size)
    out[start:end] += sound[: end - start]

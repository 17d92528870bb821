"""Speech as a provider sends it: rendered in the asked format, with the characters' times, cut into paced chunks."""

from __future__ import annotations

import asyncio
import functools
import itertools
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

from sandbox import audio
from sandbox.alaw import alaw_encode
from sandbox.providers_state import ProvidersState
from sandbox.resampling import convert_rate
from sandbox.voice import Voice, Word, synthesise


class FormatError(ValueError):
    """An output format that the sandbox does not make."""


@dataclass(frozen=True)
class Format:
    """Encoding ("ulaw", "alaw" or "pcm") and rate in Hz."""

    encoding: str
    rate: int

    @property
    def sample_bytes(self) -> int:
        """Bytes in one sample."""
        return 2 if self.encoding == "pcm" else 1


@dataclass(frozen=True)
class CharacterTime:
    """One character of the text: when it begins and how long it lasts, ms from the beginning of the audio."""

    character: str
    start_ms: float
    duration_ms: float


@dataclass(frozen=True)
class Rendering:
    """Audio of one text in one format, and the times of its characters."""

    audio: bytes
    form: Format
    characters: tuple[CharacterTime, ...]

    @property
    def duration_ms(self) -> float:
        """Length of the audio, ms."""
        return len(self.audio) / self.form.sample_bytes * 1000 / self.form.rate


@dataclass(frozen=True)
class Chunk:
    """A piece of a rendering and where it begins, ms."""

    audio: bytes
    start_ms: float
    end_ms: float
    first: bool


def parse_format(name: str) -> Format:
    """Understand "ulaw_8000", "alaw_8000" and "pcm_<rate>". Raises FormatError."""
    match = re.fullmatch(r"(ulaw|alaw)_(8000)|(pcm)_(8000|16000|22050|24000|32000|44100|48000)", name)
    if not match:
        message = f"output_format {name!r}: the sandbox makes ulaw_8000, alaw_8000 and pcm_* only"
        raise FormatError(message)
    encoding, rate = [group for group in match.groups() if group]
    return Format(encoding, int(rate))


def character_times(text: str, words: tuple[Word, ...], total_ms: float) -> tuple[CharacterTime, ...]:
    """Spread the words' times over their characters; signs and blanks after a word share its time."""
    starts = [0.0] * (len(text) + 1)
    starts[len(text)] = total_ms
    edges = [(0, 0.0), *((word.start, word.start_ms) for word in words), (len(text), total_ms)]
    for (first, begin), (last, end) in itertools.pairwise(edges):
        for index in range(first, last):
            starts[index] = begin + (end - begin) * (index - first) / (last - first)
    return tuple(
        CharacterTime(character, starts[index], starts[index + 1] - starts[index])
        for index, character in enumerate(text)
    )


@functools.lru_cache(maxsize=256)
def render(text: str, voice: Voice, form: Format, speed: float = 1.0) -> Rendering:
    """Speak a text; one without a letter or digit gives no audio. It computes: not for the event loop."""
    if not any(character.isalnum() for character in text):
        return Rendering(b"", form, ())
    spoken = synthesise(text, voice, speed=speed)
    samples = convert_rate(spoken.samples, spoken.rate, form.rate)
    encode = {"ulaw": audio.mulaw_encode, "alaw": alaw_encode, "pcm": audio.l16_encode}[form.encoding]
    return Rendering(encode(samples), form, character_times(text, spoken.words, spoken.duration_ms))


async def render_aside(text: str, voice: Voice, form: Format, speed: float = 1.0) -> Rendering:
    """`render` in a thread."""
    return await asyncio.to_thread(render, text, voice, form, speed)


async def paced(
    state: ProvidersState, rendering: Rendering, *, chunk_ms: int, first_delay_ms: float
) -> AsyncIterator[Chunk]:
    """The audio in chunks of `chunk_ms`, each when a synthesiser of the set speed would have it ready."""
    size = chunk_ms * rendering.form.rate // 1000 * rendering.form.sample_bytes
    loop = asyncio.get_running_loop()
    begun = loop.time() + first_delay_ms * state.scale / 1000
    per_chunk = chunk_ms * state.latencies.tts_realtime_factor * state.scale / 1000
    for index, start in enumerate(range(0, len(rendering.audio), size)):
        wait = begun + index * per_chunk - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        piece = rendering.audio[start : start + size]
        length_ms = len(piece) / rendering.form.sample_bytes * 1000 / rendering.form.rate
        yield Chunk(piece, index * chunk_ms, index * chunk_ms + length_ms, index == 0)

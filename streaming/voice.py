"""One text through text-to-speech, into the stream's format: used by the speaker on a call and by the phrase cache.

The voice is given the spoken form of the text; the words that come back are the written ones.
Every wait has a limit a little above the adapter's own clocks, so that a stuck adapter cannot hold a call.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from agents.providers.base import AudioFormat, Clocks, SpeechChunk, TextToSpeech, UsageReport
from agents.providers.errors import ErrorKind, ProviderError
from streaming.audio.resample import Converter
from streaming.spoken.form import spoken_form

T = TypeVar("T")
GRACE_S = 1.0  # the adapter's own clocks come first: they know more about the failure
MAX_SEGMENT_MS = 120_000  # no clause is longer; a provider that never ends one has a fault


def speakable(text: str) -> bool:
    """Whether there is anything to say: providers answer text without a letter or digit with an error or nothing."""
    return any(character.isalnum() for character in text)


async def synthesise(
    tts: TextToSpeech, text: str, *, fmt: AudioFormat, clocks: Clocks, account: Callable[[UsageReport], None]
) -> AsyncGenerator[SpeechChunk, None]:
    """Speaks ``text``; gives its audio in ``fmt``, timed by its words. To be closed (``aclosing``) when left early.

    Args:
        clocks: scaled.
        account: told once what it consumed, however it ends.

    Raises:
        ProviderError: whatever the voice fails of.
    """
    form = spoken_form(text, tts.config.language)
    timings = form.timings()
    utterance = tts.utterance()
    converter = Converter(tts.output_format, fmt)
    ended = False
    duration = 0
    try:
        await _limited(tts, clocks.connect + clocks.first, utterance.say(form.text))
        await _limited(tts, clocks.stall, utterance.finish())
        chunks = aiter(utterance.chunks())
        patience = clocks.connect + clocks.first
        while True:
            try:
                chunk = await _limited(tts, patience, anext(chunks))
            except StopAsyncIteration:
                break
            patience = clocks.stall
            audio = converter.convert(chunk.audio) if chunk.audio else b""
            duration += len(audio) // fmt.bytes_per_ms
            if duration > MAX_SEGMENT_MS:
                raise ProviderError(
                    ErrorKind.GARBAGE, provider=tts.config.provider, stage="tts", detail="the audio does not end"
                )
            if audio or chunk.words:
                yield SpeechChunk(audio, timings.take(chunk.words))
        ended = True
        rest, words = converter.flush(), timings.finish()
        if rest or words:
            yield SpeechChunk(rest, words)
    finally:
        if not ended:
            await _cancelled(utterance.cancel())
        account(utterance.usage())


async def _limited(tts: TextToSpeech, seconds: float, work: Awaitable[T]) -> T:
    scope = asyncio.timeout(seconds + GRACE_S)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if not scope.expired():
            raise
        raise ProviderError(ErrorKind.TIMEOUT, provider=tts.config.provider, stage="tts") from None


async def _cancelled(cancelling: Awaitable[None]) -> None:
    """Lets the provider forget an utterance; one that does not within a second is left to its session's end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(GRACE_S):
            await cancelling

"""The agent's mouth alone: what its pacer knows by the time the conversation is told."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from agents.providers.base import MULAW_8K, ProviderConfig
from agents.providers.board import Board
from agents.providers.chain import Chain
from agents.providers.errors import ErrorKind
from streaming.conversation.events import Event, SegmentAudio, Speak, VoiceFailed
from streaming.phrases import Phrase, PhraseCache, phrase_key
from streaming.speaker import Speaker
from streaming.threads import Worker
from streaming.usage import UsageBook
from tests.streaming.fakes import CLOCKS, FakeProviders, tone, until

CONFIG = ProviderConfig(provider="fake", base_url="", api_key="k", model="m")


class HeardLine:
    """Keeps what is played."""

    fmt = MULAW_8K

    def __init__(self) -> None:
        self.played = bytearray()

    def play(self, audio: bytes) -> None:
        self.played += audio

    def checkpoint(self, name: str) -> None:
        """Nobody acknowledges it."""

    def clear(self) -> None:
        pytest.fail("nothing interrupts here")


@contextlib.asynccontextmanager
async def mouth(
    world: FakeProviders, line: HeardLine, folder: Path, feed: Callable[[Speaker, Event], None], **phrases: bytes
) -> AsyncIterator[Speaker]:
    """A speaker whose events go to ``feed``; at the end all that it began is over.

    ``phrases``: audio that its cache holds, by text, "_" for a blank.
    """
    worker = Worker("test-speaker", limit=5)
    cache = PhraseCache(folder=folder, worker=worker)
    for text, audio in phrases.items():
        key = phrase_key(text.replace("_", " ") + ".", config=CONFIG, fmt=MULAW_8K)
        await cache.put(key, Phrase(audio))
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work, name=name))
        return tasks[-1]

    speaker = Speaker(
        make=lambda config: world.text_to_speech(config, codec=MULAW_8K),
        chain=Chain(
            "tts", (CONFIG,), board=Board(clock=asyncio.get_running_loop().time), switch_s=1.0, moved=lambda moved: None
        ),
        line=line,  # type: ignore[arg-type]
        clocks=CLOCKS,
        phrases=cache,
        feed=lambda event: feed(speaker, event),
        note=lambda note: None,
        usage=UsageBook(write=lambda row: None, now_ms=lambda: 0),
        spawn=spawn,
        placements=False,
    )
    yield speaker
    await asyncio.gather(*tasks)
    await speaker.close()
    await worker.close()


@pytest.mark.parametrize("kind", [ErrorKind.REFUSED, ErrorKind.OUT_OF_CREDIT])
async def test_what_comes_behind_a_lost_segment_may_go_by_the_time_the_conversation_is_told(
    tmp_path: Path, kind: ErrorKind
) -> None:
    """Whoever is told polls the pacer at once; on a line that brings no sound nobody polls it again."""
    world, line = FakeProviders(), HeardLine()
    world.down["tts", CONFIG.model] = kind
    lost: list[tuple[VoiceFailed, bytes]] = []

    def feed(speaker: Speaker, event: Event) -> None:
        if isinstance(event, VoiceFailed):
            speaker.poll(0)
            lost.append((event, bytes(line.played)))

    async with mouth(world, line, tmp_path, feed, One_moment=tone(300)) as speaker:
        speaker.release(1)
        speaker.speak(Speak(1, 0, "We have two tables."))
        speaker.speak(Speak(1, 1, "One moment.", phrase=True, last=True))
        await until(lambda: lost)
    ((event, heard),) = lost
    assert (event.segment, event.kind) == (0, kind)
    assert tone(300).startswith(heard)
    assert len(heard) >= 200 * MULAW_8K.bytes_per_ms


@pytest.mark.parametrize("phrase", [False, True])
async def test_the_conversation_learns_how_loud_the_voice_gets(tmp_path: Path, phrase: bool) -> None:
    told: list[SegmentAudio] = []

    def feed(speaker: Speaker, event: Event) -> None:
        if isinstance(event, SegmentAudio):
            told.append(event)

    async with mouth(FakeProviders(), HeardLine(), tmp_path, feed, One_moment=tone(300)) as speaker:
        speaker.speak(Speak(1, 0, "One moment.", phrase=phrase, last=True))
        await until(lambda: any(event.complete for event in told))
    assert 10 * math.log10(max(event.loudest for event in told)) == pytest.approx(-11.7, abs=0.3)  # of ``tone``

"""The agent's mouth alone: what its pacer knows by the time the conversation is told."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from agents.providers.base import MULAW_8K, ProviderConfig
from agents.providers.board import Board
from agents.providers.chain import Chain
from agents.providers.errors import ErrorKind
from streaming.conversation.events import Event, Speak, VoiceFailed
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


@pytest.mark.parametrize("kind", [ErrorKind.REFUSED, ErrorKind.OUT_OF_CREDIT])
async def test_what_comes_behind_a_lost_segment_may_go_by_the_time_the_conversation_is_told(
    tmp_path: Path, kind: ErrorKind
) -> None:
    """Whoever is told polls the pacer at once; on a line that brings no sound nobody polls it again."""
    world, line = FakeProviders(), HeardLine()
    world.down["tts", CONFIG.model] = kind
    worker = Worker("test-speaker", limit=5)
    phrases = PhraseCache(folder=tmp_path, worker=worker)
    await phrases.put(phrase_key("One moment.", config=CONFIG, fmt=MULAW_8K), Phrase(tone(300)))
    lost: list[tuple[VoiceFailed, bytes]] = []
    tasks: list[asyncio.Task[None]] = []

    def spawn(work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        tasks.append(asyncio.create_task(work, name=name))
        return tasks[-1]

    def feed(event: Event) -> None:
        if isinstance(event, VoiceFailed):
            speaker.poll(0)
            lost.append((event, bytes(line.played)))

    speaker = Speaker(
        make=lambda config: world.text_to_speech(config, codec=MULAW_8K),
        chain=Chain(
            "tts", (CONFIG,), board=Board(clock=asyncio.get_running_loop().time), switch_s=1.0, moved=lambda moved: None
        ),
        line=line,  # type: ignore[arg-type]
        clocks=CLOCKS,
        phrases=phrases,
        feed=feed,
        note=lambda note: None,
        usage=UsageBook(write=lambda row: None, now_ms=lambda: 0),
        spawn=spawn,
        placements=False,
    )
    speaker.release(1)
    speaker.speak(Speak(1, 0, "We have two tables."))
    speaker.speak(Speak(1, 1, "One moment.", phrase=True, last=True))
    await until(lambda: lost)
    ((event, heard),) = lost
    assert (event.segment, event.kind) == (0, kind)
    assert tone(300).startswith(heard)
    assert len(heard) >= 200 * MULAW_8K.bytes_per_ms
    await asyncio.gather(*tasks)
    await speaker.close()
    await worker.close()

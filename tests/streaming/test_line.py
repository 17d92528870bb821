"""The outbox of a socket and the bounded queue of the recogniser: nothing waits, nothing grows without bound."""

import asyncio
import time

import pytest

from agents.providers.base import MULAW_8K, ProviderConfig
from agents.providers.board import Board
from agents.providers.chain import Chain
from agents.providers.errors import ErrorKind, ProviderError
from streaming import line as line_module
from streaming.conversation.events import TranscriberFailed
from streaming.line import LineLost, Outbox
from streaming.listener import Listener
from streaming.usage import UsageBook
from tests.streaming.fakes import CLOCKS, FakeProviders, silence, until

pytestmark = pytest.mark.db


async def test_clearing_takes_back_what_has_not_left() -> None:
    sent: list[str] = []
    gate = asyncio.Event()

    async def send(message: dict) -> None:
        await gate.wait()
        sent.append(message["text"])

    outbox = Outbox(send)
    writing = asyncio.create_task(outbox.write())
    for text in ("a", "b"):
        outbox.text(text, playback=True)
    await asyncio.sleep(0.01)  # "a" is on its way
    outbox.text("shown")
    outbox.forget_playback()
    outbox.text("clear")
    gate.set()
    await until(lambda: len(sent) == 3)
    assert sent == ["a", "shown", "clear"]
    writing.cancel()


async def test_a_peer_that_takes_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_module, "SEND_TIMEOUT", 0.05)
    monkeypatch.setattr(line_module, "MAX_OUTBOX", 10)

    async def send(message: dict) -> None:
        await asyncio.sleep(60)

    outbox = Outbox(send)
    outbox.text("x")
    with pytest.raises(LineLost):
        await outbox.write()
    for _ in range(10):
        outbox.text("x")
    with pytest.raises(LineLost):
        outbox.text("x")
    await outbox.close(1000)


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("Unexpected ASGI message after close")])
async def test_a_socket_that_is_gone_is_lost_in_either_servers_words(error: Exception) -> None:
    async def send(message: dict) -> None:
        raise error

    outbox = Outbox(send)
    outbox.text("x")
    with pytest.raises(LineLost):
        await outbox.write()
    await outbox.close(1000)


def listener(world: FakeProviders, told: list) -> Listener:
    choice = ProviderConfig(provider="fake", base_url="", api_key="", model="fake")
    board = Board(clock=time.time)
    return Listener(
        make=lambda config: world.speech_to_text(config, codec=MULAW_8K),
        chain=Chain("stt", (choice,), board=board, switch_s=CLOCKS.switch, moved=lambda moved: None),
        fmt=MULAW_8K,
        clocks=CLOCKS,
        feed=told.append,
        note=lambda note: None,
        usage=UsageBook(write=lambda row: None, now_ms=lambda: 0),
        behind=lambda work, name: asyncio.create_task(work, name=name),
    )


async def test_a_recogniser_that_lags_loses_the_oldest_audio_and_says_how_much(world: FakeProviders) -> None:
    ear = listener(world, [])
    for _ in range(650):  # 13 s, and nobody takes it
        ear.audio(silence(20))
    ear.commit(5)
    assert ear.dropped_ms == pytest.approx(1000, abs=100)
    assert ear._queued <= 12_000 * 8
    running = asyncio.create_task(ear.run())
    await until(lambda: world.stts and len(world.stts[0].received) >= 11_900 * 8)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await until(lambda: world.stts[0].closed)


async def test_a_recogniser_that_keeps_failing_is_given_up_after_a_few(world: FakeProviders) -> None:
    world.stt_errors = [ProviderError(ErrorKind.SERVER_ERROR, provider="fake", stage="stt") for _ in range(10)]
    told: list = []
    await asyncio.wait_for(listener(world, told).run(), 10)
    assert [event.fatal for event in told if isinstance(event, TranscriberFailed)] == [False, False, False, True]
    await until(lambda: all(stt.closed for stt in world.stts))

"""The agent's ear over recognisers that fall silent, break between two messages or are slow to leave."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from msgspec.structs import replace

from agents.providers.base import L16_16K, MULAW_8K, AudioFormat, Clocks, ProviderConfig
from agents.providers.board import Board
from agents.providers.chain import Chain, Moved
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.stt_session import SttRecord
from streaming.audio.resample import convert
from streaming.conversation.events import Event, Note, TranscriptFinal
from streaming.listener import Listener
from streaming.usage import UsageBook
from tests.streaming.fakes import CLOCKS, FakeProviders, FakeStt, silence, tone, until

pytestmark = pytest.mark.pure
CONFIG = ProviderConfig(provider="fake", base_url="", api_key="", model="first")
SECOND = ProviderConfig(provider="fake", base_url="", api_key="", model="second")


class Mute(FakeStt):
    """Stays connected, takes everything and answers nothing."""

    async def commit(self) -> int:
        self._commits += 1
        return self._commits


class BreaksOverCommit(FakeStt):
    """Loses its connection with the commit on its way."""

    async def commit(self) -> int:
        raise ProviderError(ErrorKind.DROPPED, provider="fake", stage="stt")


class Stalled(FakeStt):
    """Falls silent before its first word; keeps and forgets audio as the adapters do."""

    def __init__(self, world: FakeProviders, codec: AudioFormat, config: ProviderConfig) -> None:
        super().__init__(world, codec, config)
        self._record = SttRecord(self.config, codec)

    async def send(self, audio: bytes) -> None:
        self._record.sent(audio)
        await super().send(audio)

    async def commit(self) -> int:
        return self._record.next_commit()

    def unconfirmed(self) -> bytes:
        return self._record.unconfirmed()


class TakesNothing(Stalled):
    """Its connection is open, but nothing is read at the other end."""

    async def send(self, audio: bytes) -> None:
        self._record.sent(audio)
        await asyncio.Event().wait()


class BreaksOnTheWay(Stalled):
    """Breaks while it is sent again what another left."""

    async def send(self, audio: bytes) -> None:
        assert len(audio) <= len(tone(80)), "a session forgets by the piece: a large one would go as a whole"
        await super().send(audio)
        if len(self.received) >= len(tone(1000)):
            raise ProviderError(ErrorKind.DROPPED, provider="fake", stage="stt")


class Prompt(FakeStt):
    """Takes audio at once, while it is not ``busy``; ``order`` tells what came, and how."""

    def __init__(self, world: FakeProviders, codec: AudioFormat, config: ProviderConfig) -> None:
        super().__init__(world, codec, config)
        self.order: list[tuple[str, int]] = []
        self.busy = False

    def _heard(self, how: str, audio: bytes) -> None:
        self.received += audio
        self.order.append((how, len(audio) // self.input_format.bytes_per_ms))

    def send_at_once(self, audio: bytes) -> bool:
        if not self.busy:
            self._heard("at once", audio)
        return not self.busy

    async def send(self, audio: bytes) -> None:
        await asyncio.sleep(0.02)
        self._heard("sent", audio)

    async def commit(self) -> int:
        await asyncio.sleep(0.02)
        self.order.append(("commit", 0))
        return await super().commit()


class Heard:
    """A listener at work, and what it told."""

    def __init__(
        self,
        world: FakeProviders,
        kinds: list[type[FakeStt]],
        configs: tuple[ProviderConfig, ...],
        clocks: Clocks,
    ) -> None:
        self.world = world
        self.moves: list[Moved] = []
        self.kinds = kinds
        self.finals: list[TranscriptFinal] = []
        self.notes: list[Note] = []
        self.usage: dict[str, dict[str, Any]] = {}
        self.closing: set[asyncio.Task[None]] = set()
        self.listener = Listener(
            make=self._make,
            chain=Chain("stt", configs, board=Board(clock=time.time), switch_s=clocks.switch, moved=self.moves.append),
            fmt=MULAW_8K,
            clocks=clocks,
            feed=self._feed,
            note=self.notes.append,
            usage=UsageBook(write=lambda row: self.usage.update({row["key"]: row}), now_ms=lambda: 0),
            behind=lambda work, name: self.closing.add(asyncio.create_task(work, name=name)),
        )
        self.task = asyncio.create_task(self.listener.run())

    def _make(self, config: ProviderConfig) -> FakeStt:
        kind = self.kinds.pop(0) if self.kinds else FakeStt
        self.world.stts.append(kind(self.world, MULAW_8K, config))
        return self.world.stts[-1]

    def _feed(self, event: Event) -> None:
        if isinstance(event, TranscriptFinal):
            self.finals.append(event)


@pytest.fixture
async def listen(world: FakeProviders) -> AsyncIterator[Callable[..., Heard]]:
    """``listen(Mute, FakeStt)``: a listener whose sessions are of these kinds, in turn; then plain ones."""
    all_heard: list[Heard] = []

    def begin(*kinds: type[FakeStt], configs: tuple[ProviderConfig, ...] = (CONFIG,), clocks: Clocks = CLOCKS) -> Heard:
        all_heard.append(Heard(world, list(kinds), configs, clocks))
        return all_heard[-1]

    yield begin
    for heard in all_heard:
        heard.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await heard.task
        await asyncio.gather(*heard.closing)


async def test_a_recogniser_that_answers_no_commit_is_replaced_by_one_that_hears_the_same_words(
    listen, world: FakeProviders
) -> None:
    world.heard = ["A table for two."]
    heard = listen(Mute)
    heard.listener.audio(said := tone(400))
    heard.listener.commit(1)
    await asyncio.sleep(CLOCKS.stall * 0.7)
    assert len(world.stts) == 1, "a slow answer is no stall"
    await until(lambda: heard.finals, CLOCKS.stall * 4)
    assert heard.finals == [TranscriptFinal("A table for two.", 1)]
    assert bytes(world.stts[1].received) == said
    assert [note.data["kind"] for note in heard.notes] == ["stalled"]
    assert not heard.notes[0].data["fatal"]


async def test_recognisers_that_never_answer_are_given_up_in_the_end(listen, world: FakeProviders) -> None:
    heard = listen(Mute, Mute, Mute, Mute)
    heard.listener.audio(tone(400))
    heard.listener.commit(1)
    await asyncio.wait_for(heard.task, 8)
    assert len(world.stts) == 4
    assert heard.notes[-1].data == heard.notes[0].data | {"fatal": True}


async def test_a_silent_caller_is_no_stall_however_long(listen, world: FakeProviders) -> None:
    world.heard = ["Yes."]
    heard = listen()
    heard.listener.audio(tone(400))
    heard.listener.commit(1)
    for _ in range(12):
        heard.listener.audio(silence(100))
        await asyncio.sleep(CLOCKS.stall / 4)
    assert heard.finals == [TranscriptFinal("Yes.", 1)]
    assert len(world.stts) == 1
    assert not heard.notes


async def test_a_commit_whose_session_breaks_over_it_is_made_again_however_long_the_next_takes(
    listen, world: FakeProviders
) -> None:
    world.heard = ["Tuesday at nine."]
    heard = listen(BreaksOverCommit)
    await until(lambda: world.opened)
    world.stt_errors = [ProviderError(ErrorKind.REFUSED, provider="fake", stage="stt")]
    heard.listener.audio(said := tone(400))
    heard.listener.commit(1)
    await until(lambda: heard.finals)
    assert len(world.stts) == 3, "the second could not be connected"
    assert heard.finals == [TranscriptFinal("Tuesday at nine.", 1)]
    assert bytes(world.stts[2].received) == said


async def test_an_answered_commit_is_not_made_again_after_a_break(listen, world: FakeProviders) -> None:
    world.heard = ["Yes.", "No."]
    heard = listen()
    heard.listener.audio(tone(400))
    heard.listener.commit(1)
    await until(lambda: heard.finals)
    world.stt_breaks_after = 1
    heard.listener.audio(again := tone(160))
    await until(lambda: len(world.stts) == 2 and world.stts[1].received)
    await asyncio.sleep(0.1)
    assert heard.finals == [TranscriptFinal("Yes.", 1)]
    assert bytes(world.stts[1].received) == again


@pytest.mark.parametrize("ends", ["break", "hang-up"])
async def test_nobody_waits_for_a_recogniser_that_is_slow_to_leave(listen, world: FakeProviders, ends: str) -> None:
    leave = asyncio.Event()

    class SlowToLeave(FakeStt):
        async def close(self) -> None:
            await leave.wait()
            await super().close()

    heard = listen(SlowToLeave)
    heard.listener.audio(tone(400))
    await until(lambda: world.stts and world.stts[0].received)
    if ends == "break":
        world.stt_breaks_after = 1
        heard.listener.audio(tone(80))
        await until(lambda: len(world.stts) == 2, 1)
    else:
        heard.task.cancel()
        await asyncio.wait([heard.task], timeout=0.5)
        assert heard.task.done()
    assert [row["audio_ms"] for row in heard.usage.values()] == [480 if ends == "break" else 400]
    assert not world.stts[0].closed
    leave.set()
    await until(lambda: world.stts[0].closed)


def words(ms: int) -> bytes:
    """Audio in which every 80 ms are like no other."""
    return b"".join(bytes([n % 251]) * len(tone(80)) for n in range(ms // 80))


@pytest.mark.parametrize(
    "kinds",
    [(Stalled,), (TakesNothing,), (Stalled, BreaksOnTheWay)],
    ids=["answers nothing", "takes nothing", "and the next one breaks"],
)
async def test_a_recogniser_that_stalls_in_a_clause_of_6_s_loses_no_word_of_it(
    listen, world: FakeProviders, kinds: tuple[type[FakeStt], ...]
) -> None:
    """At ten times the speed of life, as are the clocks: the caller's silence goes on while nobody answers."""
    world.heard = ["A table for two, on Friday, at half past seven."]
    heard = listen(*kinds)
    said, step = words(6000), len(tone(80))
    for start in range(0, len(said), step):
        heard.listener.audio(said[start : start + step])
        await asyncio.sleep(0.008)
    heard.listener.commit(1)
    async with asyncio.timeout(5):
        while not heard.finals:
            heard.listener.audio(silence(80))
            await asyncio.sleep(0.008)
    assert heard.finals == [TranscriptFinal("A table for two, on Friday, at half past seven.", 1)]
    assert len(world.stts) == len(kinds) + 1
    assert bytes(world.stts[-1].received).startswith(said)
    assert heard.listener.dropped_ms == 0


async def test_shut_ears_hear_silence_and_open_ones_what_was_last_said(listen, world: FakeProviders) -> None:
    heard = listen(FakeStt)
    heard.listener.shut()
    for _ in range(10):
        heard.listener.audio(tone(80))
    heard.listener.open(160)
    heard.listener.audio(tone(80))
    await until(lambda: world.stts and len(world.stts[0].received) >= len(tone(1040)))
    assert bytes(world.stts[0].received) == silence(800) + 3 * tone(80)


# --- with another recogniser behind it ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Stalled, BreaksOverCommit], ids=["answers nothing", "breaks"])
async def test_the_next_recogniser_is_given_the_same_words_in_its_own_format(
    listen, world: FakeProviders, kind: type[FakeStt]
) -> None:
    world.heard = ["A table for two."]
    world.stt_formats["second"] = L16_16K
    listening = listen(kind, *[BreaksOverCommit][: kind is BreaksOverCommit], configs=(CONFIG, SECOND))
    listening.listener.audio(said := words(800))
    listening.listener.commit(1)
    await until(lambda: listening.finals)
    assert listening.finals == [TranscriptFinal("A table for two.", 1)]
    assert world.stts[-1].config == SECOND
    assert bytes(world.stts[-1].received) == convert(said, MULAW_8K, L16_16K)
    assert [(move.before, move.after) for move in listening.moves] == [(0, 1)]


async def test_a_commit_without_an_answer_is_waited_for_less_long_where_another_can_be_asked(
    listen, world: FakeProviders
) -> None:
    world.heard = ["A table for two."]
    listening = listen(Mute, configs=(CONFIG, SECOND), clocks=replace(CLOCKS, stall=8.0))
    listening.listener.audio(tone(400))
    listening.listener.commit(1)
    await until(lambda: listening.finals, 4)
    assert listening.finals == [TranscriptFinal("A table for two.", 1)]


async def test_a_piece_goes_to_an_idle_recogniser_at_once(listen, world: FakeProviders) -> None:
    heard = listen(Prompt)
    heard.listener.audio(early := tone(80))
    await until(lambda: world.stts and world.stts[0].order)
    await asyncio.sleep(0)
    heard.listener.audio(late := tone(80))
    assert world.stts[0].order == [("sent", 80), ("at once", 80)]
    assert bytes(world.stts[0].received) == early + late


async def test_a_piece_never_overtakes_what_was_handed_in_before_it(listen, world: FakeProviders) -> None:
    world.heard = ["Yes."]
    heard = listen(Prompt)
    heard.listener.audio(tone(80))
    await until(lambda: world.stts and world.stts[0].order)
    await asyncio.sleep(0)
    heard.listener.commit(1)
    heard.listener.audio(tone(80))  # behind a commit that waits
    await asyncio.sleep(0.01)
    heard.listener.audio(tone(80))  # behind one on its way
    await until(lambda: len(world.stts[0].order) == 4)
    world.stts[0].busy = True
    await asyncio.sleep(0)
    heard.listener.audio(tone(160))
    world.stts[0].busy = False
    heard.listener.audio(tone(80))  # behind a piece that the recogniser would not take
    await until(lambda: len(world.stts[0].order) == 6)
    sent = [("sent", 80), ("commit", 0), ("sent", 80), ("sent", 80), ("sent", 160), ("sent", 80)]
    assert world.stts[0].order == sent
    assert heard.finals == [TranscriptFinal("Yes.", 1)]


async def test_audio_that_has_to_be_converted_is_never_handed_on_as_it_is(listen, world: FakeProviders) -> None:
    class Wide(Prompt):
        def __init__(self, world: FakeProviders, codec: AudioFormat, config: ProviderConfig) -> None:
            super().__init__(world, codec, config)
            self.input_format = L16_16K

    heard = listen(Wide)
    for _ in range(3):
        heard.listener.audio(tone(80))
        await asyncio.sleep(0.05)
    await until(lambda: world.stts and len(world.stts[0].order) == 3)
    assert {how for how, _ in world.stts[0].order} == {"sent"}
    assert len(world.stts[0].received) > 3 * len(tone(80))


async def test_nothing_is_handed_to_a_session_that_has_ended(listen, world: FakeProviders) -> None:
    heard = listen(Prompt, FakeStt)
    heard.listener.audio(tone(80))
    await until(lambda: world.stts and world.stts[0].order)
    world.stts[0]._events.put_nowait(ProviderError(ErrorKind.DROPPED, provider="fake", stage="stt"))
    await until(lambda: len(world.stts) == 2)
    heard.listener.audio(again := tone(80))
    await until(lambda: len(world.stts[1].received) >= len(again))
    assert world.stts[0].order == [("sent", 80)]

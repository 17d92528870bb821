"""The live call's driver with scripted providers and a phone that plays what it hears, on a real event loop."""

import asyncio
import contextlib
import io
import wave

import numpy as np
import pytest
from structlog.testing import capture_logs

from agents.providers.base import L16_8K, L16_16K, L16_24K, MULAW_8K, AudioFormat, ToolCall
from agents.providers.errors import ErrorKind, ProviderError
from agents.spec import Reprompt
from streaming import session as session_module
from streaming.conversation.events import Typed
from streaming.line import LineLost
from streaming.live import Process
from streaming.planning import constant_phrases
from streaming.session import Ending
from tests.streaming.conftest import Carried
from tests.streaming.fakes import (
    FakeProviders,
    FakeStore,
    FakeStt,
    FakeTts,
    FakeTurnModel,
    FakeVault,
    context,
    resources,
    spec,
    until,
)
from tests.streaming.phone import Phone

pytestmark = pytest.mark.db


def turns(store: FakeStore) -> list[tuple[str, str, str]]:
    return [(row["role"], row["kind"], row["text"]) for row in sorted(store.turns, key=lambda row: row["index"])]


def event_kinds(store: FakeStore) -> list[str]:
    return [row["kind"] for row in store.events]


async def exchange(call, world: FakeProviders, *, speech_ms: int = 500) -> None:
    """One turn each way: speaks, and waits until an answer was heard to its end."""
    before = call.phone.heard_ms
    call.phone.say(speech_ms)
    await call.phone.until(lambda: call.phone.heard_ms > before and not call.phone.playing)


@pytest.mark.parametrize("fmt", [MULAW_8K, L16_8K, L16_16K], ids=["mulaw", "l16-8k", "l16-16k"])
async def test_a_conversation_in_each_codec(ring, world: FakeProviders, store: FakeStore, fmt: AudioFormat) -> None:
    world.heard = ["I would like to book a table."]
    world.replies = ["Certainly. For when?"]
    call = ring(context(), Phone(fmt))
    await call.phone.until(lambda: call.phone.heard_ms > 200 and not call.phone.playing)
    await exchange(call, world)
    call.phone.hang_up()
    await call.ended()
    assert turns(store) == [
        ("agent", "greeting", "Hello there."),
        ("caller", "speech", "I would like to book a table."),
        ("agent", "speech", "Certainly. For when?"),
    ]
    assert [message.content for message in world.requests[-1].messages][1:] == [
        "Hello there.",
        "I would like to book a table.",
    ]
    assert store.ended == [(1, None, False)]
    assert bytes(world.stts[0].received).strip(b"\xff\x00")
    assert world.ttss[0].closed
    assert world.stts[0].closed
    assert {row["stage"] for row in store.usage.values()} == {"stt", "llm", "tts"}


async def test_a_voice_in_another_format_is_converted(ring, world: FakeProviders) -> None:
    world.tts_format = L16_24K
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 220 and not call.phone.playing)
    assert 230 <= call.phone.heard_ms <= 260  # "Hello there." of 12 characters


async def test_the_second_call_greets_from_the_cache_without_the_provider(ring, world: FakeProviders) -> None:
    first = ring(context(1))
    await first.phone.until(lambda: first.phone.heard_ms >= 240)
    first.phone.hang_up()
    await first.ended()
    await until(lambda: set(constant_phrases(spec())) <= set(world.spoken))  # kept in the background, after the call
    spoken = list(world.spoken)
    second = ring(context(2))
    await second.phone.until(lambda: second.phone.heard_ms >= 240)
    assert world.spoken == spoken


async def test_speech_over_the_voice_clears_it_and_only_what_was_heard_stays(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    world.heard = ["Tell me everything.", "Stop, wait a moment please."]
    world.replies = ["One two three four five six seven eight nine ten eleven twelve thirteen fourteen.", "Of course."]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    call.phone.say(400)
    await call.phone.until(lambda: call.phone.heard_ms >= 800)
    call.phone.say(1200)
    await call.phone.until(lambda: call.phone.count("clearAudio") >= 1)
    await until(lambda: any(row["interrupted"] for row in store.turns))
    (interrupted,) = [row for row in store.turns if row["interrupted"]]
    assert interrupted["heard"]
    assert interrupted["text"].startswith(interrupted["heard"].rstrip(" ."))
    assert len(interrupted["heard"]) < len(interrupted["text"])
    await call.phone.until(lambda: "Of course." in world.spoken)
    assert world.open_replies == 0


async def test_the_goodbye_is_heard_before_the_line_is_hung_up(ring, world: FakeProviders, store: FakeStore) -> None:
    world.heard = ["That was all, bye."]
    world.replies = [[ToolCall(id="t", name="end_call", arguments='{"goodbye": "Have a nice day."}')]]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    await exchange(call, world)
    await call.ended()
    assert call.phone.closed == 1000
    assert call.phone.heard_ms >= 240 + len("Have a nice day.") * 20
    assert store.ended == [(1, "agent_ended", True)]
    assert turns(store)[-1][::2] == ("agent", "Have a nice day.")


async def test_keys_reach_the_model_as_text(ring, world: FakeProviders) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    for digit in "42#":
        call.phone.press(digit)
    await until(lambda: world.requests)
    assert "42" in world.requests[-1].messages[-1].content


async def test_a_silent_caller_is_asked_and_then_let_go(ring, world: FakeProviders, store: FakeStore) -> None:
    call = ring(context(agent=spec(reprompt=Reprompt(texts=("Are you there?",), after_ms=300))))
    await call.ended()
    assert [kind for _, kind, _ in turns(store)] == ["greeting", "reprompt", "goodbye"]
    assert store.ended == [(1, "silence", True)]


async def test_a_carrier_that_acknowledges_nothing_still_gets_its_goodbye(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    phone = Phone()
    phone.answers_checkpoints = False
    call = ring(context(agent=spec(reprompt=Reprompt(texts=("Hm?",), after_ms=300))), phone)
    await call.ended(12)
    assert turns(store)[-1] == ("agent", "goodbye", "Goodbye.")
    assert store.ended == [(1, "silence", True)]


async def test_a_model_that_fails_once_is_asked_again(ring, world: FakeProviders, store: FakeStore) -> None:
    world.heard = ["Hello."]
    world.replies = [ProviderError(ErrorKind.SERVER_ERROR, provider="fake", stage="llm"), "Good morning."]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    await exchange(call, world)
    assert "Good morning." in world.spoken
    await until(lambda: "llm_failed" in event_kinds(store))
    assert "server_error" in [row["error"] for row in store.usage.values() if row["stage"] == "llm"]


async def test_a_model_that_fails_for_good_ends_in_an_apology(ring, world: FakeProviders, store: FakeStore) -> None:
    error = ProviderError(ErrorKind.UNAUTHORISED, provider="fake", stage="llm", detail="bad key")
    world.heard = ["Hello."]
    world.replies = [error] * 6
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    call.phone.say(400)
    await call.ended(12)
    assert "apology" in [kind for _, kind, _ in turns(store)]
    assert store.ended[0][1:] == ("provider_failure", True)


async def test_a_voice_that_fails_once_is_tried_again(ring, world: FakeProviders) -> None:
    world.tts_errors = [ProviderError(ErrorKind.DROPPED, provider="fake", stage="tts")]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240)
    assert world.spoken[:2] == ["Hello there.", "Hello there."]


async def test_a_recogniser_that_breaks_is_replaced_and_hears_the_same_words(ring, world: FakeProviders) -> None:
    world.heard = ["After the break."]
    world.replies = ["Yes."]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    world.stt_breaks_after = len(world.stts[0].received) + 2000
    await exchange(call, world, speech_ms=600)
    assert len(world.stts) == 2
    assert world.stts[1].received.startswith(world.stts[0].received)
    assert world.requests[-1].messages[-1].content == "After the break."


async def test_a_recogniser_that_cannot_be_had_ends_the_call_politely(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    world.stt_errors = [ProviderError(ErrorKind.UNAUTHORISED, provider="fake", stage="stt")]
    call = ring(context())
    await call.ended(12)
    assert len(world.stts) == 1
    assert store.ended[0][1:] == ("provider_failure", True)


@pytest.mark.parametrize(("answer", "rule"), [(0.95, "turn_model"), (None, "open_words")])
async def test_a_turn_model_hears_the_pause_where_the_words_leave_it_open(
    world: FakeProviders, store: FakeStore, tmp_path, answer: float | None, rule: str
) -> None:
    model = FakeTurnModel(answer)
    process = Process(resources(world, store, tmp_path, turn_model=model), max_calls=0)
    await process.open()
    world.heard = ["a table tomorrow evening"]
    world.replies = ["Certainly. For when?"]
    call = Carried(process, context(), Phone())
    call.phone.start()
    call.phone.incoming.get_nowait()
    await call.phone.until(lambda: call.phone.heard_ms > 200 and not call.phone.playing)
    await exchange(call, world)
    call.phone.hang_up()
    await call.ended()
    await call.phone.stop()
    await process.close()
    (turn,) = [row for row in store.turns if row["role"] == "caller"]
    assert turn["end_reason"] == rule
    assert len(model.asked) == 1
    assert model.asked[0][1] == 8000
    assert 400 * 8 < model.asked[0][0] <= 8000 * 8
    assert model.closed


async def test_a_line_that_falls_silent_is_lost_and_the_call_goes_on_elsewhere(
    ring, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "STALL_S", 0.4)
    call = ring(context())
    await asyncio.sleep(0.1)
    call.phone.muted = True
    await call.ended()
    assert call.phone.closed == 1012
    assert store.ended == [(1, "stream_lost", False)]


async def test_a_drop_in_mid_sentence_writes_what_was_said(ring, world: FakeProviders, store: FakeStore) -> None:
    world.heard = ["Tell me."]
    world.replies = ["This is a rather long answer to it that will be cut off by the line."]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    call.phone.say(400)
    await call.phone.until(lambda: call.phone.heard_ms >= 700)
    call.phone.hang_up(1006)
    await call.ended()
    role, _, text = turns(store)[-1]
    assert (role, text[:10]) == ("agent", "This is a ")
    assert 0 < len(store.turns[-1]["heard"]) < len(text)


async def test_rubbish_in_the_stream_disturbs_nobody(ring, world: FakeProviders, store: FakeStore) -> None:
    call = ring(context())
    rubbish = ["", "{", "[]", '{"event":"media"}', '{"event":"media","media":{"payload":"%%"}}', '{"event":"error"}']
    for text in [*rubbish, '{"event":"dtmf","dtmf":{"digit":"x"}}', '{"event":"start"}']:
        call.phone.put(text)
    call.phone.incoming.put_nowait({"type": "websocket.receive", "bytes": b"\x00\x01"})
    await call.phone.until(lambda: call.phone.heard_ms >= 240)
    call.phone.hang_up()
    await call.ended()
    await until(lambda: "session_ended" in event_kinds(store))
    (ended,) = [row for row in store.events if row["kind"] == "session_ended"]
    assert ended["data"]["malformed"] == {
        "json": 2,
        "shape": 2,
        "base64": 1,
        "unknown": 1,
        "digit": 1,
        "second_start": 1,
        "binary": 1,
    }


async def test_a_flood_ends_the_stream(ring, store: FakeStore) -> None:
    call = ring(context())
    for _ in range(3000):
        call.phone.put('{"event":"x"}')
    await call.ended()
    assert store.ended == [(1, None, False)]
    await until(lambda: "line_lost" in event_kinds(store))


async def test_a_stalled_database_does_not_stall_the_audio(ring, world: FakeProviders, store: FakeStore) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    store.gate.clear()
    world.heard = ["One.", "Two."]
    world.replies = ["First answer.", "Second answer."]
    await exchange(call, world)
    await exchange(call, world)
    assert len(store.turns) <= 1
    store.gate.set()
    call.phone.hang_up()
    await call.ended()
    assert [text for role, _, text in turns(store) if role == "agent"][-1] == "Second answer."


async def test_the_end_is_in_the_database_before_the_socket_closes(ring, store: FakeStore) -> None:
    call = ring(context(agent=spec(reprompt=Reprompt(texts=("Hm?",), after_ms=200))))
    closed_after_end: list[bool] = []
    send = call.phone.send

    async def watched(message: dict) -> None:
        if message["type"] == "websocket.close":
            closed_after_end.append(bool(store.ended))
        await send(message)

    call.phone.send = watched
    await asyncio.sleep(0)
    await call.ended()
    assert store.ended
    assert closed_after_end == [True]


async def test_a_provider_that_is_slow_to_leave_keeps_no_caller_on_a_dead_line(
    ring, world: FakeProviders, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = asyncio.Event()

    async def close(self: FakeStt | FakeTts) -> None:
        await leave.wait()
        self.closed = True

    monkeypatch.setattr(FakeStt, "close", close)
    monkeypatch.setattr(FakeTts, "close", close)
    call = ring(context(agent=spec(reprompt=Reprompt(texts=("Hm?",), after_ms=200))))
    await call.phone.until(lambda: ("agent", "goodbye", "Goodbye.") in turns(store))
    await call.ended(1)
    assert store.ended == [(1, "silence", True)]
    assert call.phone.closed == 1000
    assert not world.stts[0].closed
    await until(lambda: {row["stage"] for row in store.usage.values()} == {"stt", "tts"})
    leave.set()
    await until(lambda: world.stts[0].closed and world.ttss[0].closed)


async def test_a_recogniser_that_is_still_connecting_does_not_hold_up_the_end(
    ring, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = asyncio.Event()

    async def connect(self: FakeStt) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            while not leave.is_set():  # an adapter closes what it has half opened
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait_for(leave.wait(), 3)

    monkeypatch.setattr(FakeStt, "connect", connect)
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 200)
    call.phone.hang_up()
    await call.ended(1)
    assert store.ended == [(1, None, False)]
    leave.set()


async def test_one_calls_fault_stays_its_own(ring, store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    healthy, broken = ring(context(1)), ring(context(2))
    await healthy.phone.until(lambda: healthy.phone.heard_ms >= 240 and broken.phone.heard_ms >= 240)

    def fail(*args: object) -> None:
        raise ZeroDivisionError

    session = next(each for each in healthy.process.sessions() if each.context.call_id == 2)
    monkeypatch.setattr(session._conversation, "handle", fail)
    await broken.ended()
    assert broken.phone.closed == 1012
    assert (2, None, False) in store.ended
    assert not healthy.task.done()


async def test_what_a_caller_does_while_their_line_breaks_begins_nothing(ring, store: FakeStore) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240)
    session = next(call.process.sessions())

    async def breaks() -> None:
        raise LineLost("gone")

    with capture_logs() as logs:
        breaking = session._spawn(breaks(), "breaking")
        await asyncio.wait([breaking])
        session.feed(Typed("Are you there?"))
        await call.ended()
    assert "line_lost" in [row["kind"] for row in store.events]
    assert "session_failed" not in [line["event"] for line in logs]


async def test_a_second_socket_is_refused_while_the_first_lives_and_takes_over_when_it_is_silent(
    ring, process, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "FRESH_S", 0.2)
    first = ring(context())
    await first.phone.until(lambda: first.phone.heard_ms > 0)
    async with process.claim(1) as ours:
        assert not ours
    first.phone.muted = True
    await asyncio.sleep(0.3)
    second = ring(context(resumed=True))
    await first.ended()
    await asyncio.sleep(0.1)
    assert not second.task.done()
    assert store.ended == [(1, None, False)]


async def test_draining_refuses_new_streams_and_waits_for_live_ones(ring, process, store: FakeStore) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms > 0)
    process.draining = True
    assert process.refusal() == "draining"
    waiting = asyncio.create_task(process.wait_drained(5))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    call.phone.hang_up()
    assert await waiting


async def test_at_the_drains_deadline_the_call_is_handed_over(ring, process, store: FakeStore) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms > 0)
    assert not await process.wait_drained(0.1)
    assert call.phone.closed == 1012
    assert store.ended == [(1, None, False)]


async def test_a_full_process_takes_no_more(ring, process) -> None:
    process._max_calls = 1
    assert process.refusal() == ""
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms > 0)
    assert process.refusal() == "full"


async def test_an_operator_ends_a_call(ring, process, store: FakeStore) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    next(process.sessions()).end(Ending("operator", normal=True))
    await call.ended()
    assert store.ended == [(1, "operator", True)]


async def test_a_listening_agent_writes_what_it_hears_and_opens_no_voice(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    world.heard = ["Note this down."]
    call = ring(context(agent=spec(mode="listen_only")))
    await asyncio.sleep(0.2)
    call.phone.say(500)
    await until(lambda: store.turns)
    call.phone.hang_up()
    await call.ended()
    assert turns(store) == [("caller", "speech", "Note this down.")]
    assert set(world.opened) == {"stt"}
    assert call.phone.count("playAudio") == 0


async def test_both_voices_are_on_the_recording_each_on_its_side(
    ring, world: FakeProviders, store: FakeStore, vault: FakeVault
) -> None:
    world.heard = ["Hello."]
    world.replies = ["Good morning to you."]
    call = ring(context(agent=spec(record=True)))
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    await exchange(call, world)
    vault.ended.add(1)
    call.phone.hang_up()
    await call.ended()
    await until(lambda: vault.kept)
    finished, data = vault.kept[1]
    assert not finished.repaired
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    loud = np.abs(samples.astype(int)) > 3000
    assert abs(loud[:, 0].sum() / 8000 * 1000 / 0.843 - 500) < 100  # a sine is that loud for 84 % of the time
    spoken_ms = (len("Hello there.") + len("Good morning to you.")) * 20
    assert abs(loud[:, 1].sum() / 8000 * 1000 / 0.843 - spoken_ms) < 100
    assert (loud[:, 0] & loud[:, 1]).sum() / 8 < 20  # ms: they took turns


async def test_a_recording_goes_on_in_the_stream_that_follows(ring, vault: FakeVault) -> None:
    began = context(agent=spec(record=True))
    first = ring(began)
    await first.phone.until(lambda: first.phone.heard_ms >= 240)
    first.phone.hang_up(1006)
    await first.ended()
    second = ring(context(agent=spec(record=True), resumed=True, live_at=began.live_at))
    await asyncio.sleep(0.5)
    assert not vault.kept
    vault.ended.add(1)
    second.phone.hang_up()
    await second.ended()
    await until(lambda: vault.kept)
    assert vault.kept[1][0].duration_ms >= 700

"""Providers that break in mid-answer on a live call, by the driver: the call goes on, and the records stay true."""

from collections.abc import AsyncIterator

import pytest

from agents.providers.base import SpeechChunk
from agents.providers.errors import ErrorKind, ProviderError
from tests.streaming.fakes import FakeProviders, FakeStore, FakeUtterance, context, until

pytestmark = pytest.mark.db

FIRST = "We have two tables by the window this evening."
SECOND = "Which of the two would you like?"
APOLOGY = context().spec.apology


def dropped(stage: str) -> ProviderError:
    return ProviderError(ErrorKind.DROPPED, provider="fake", stage=stage)


def voice_that(monkeypatch: pytest.MonkeyPatch, text: str, *, chunks: int, error: ProviderError | None) -> None:
    """Of this text the voice gives so many chunks, then it breaks with the error or just ends."""
    whole = FakeUtterance.chunks

    async def broken(self: FakeUtterance) -> AsyncIterator[SpeechChunk]:
        count = 0
        async for chunk in whole(self):
            if text in self._text and count == chunks:
                if error is not None:
                    raise error
                return
            yield chunk
            count += 1

    monkeypatch.setattr(FakeUtterance, "chunks", broken)


async def ask(call) -> None:
    """Hears the greeting, then says something."""
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    call.phone.say(500)


def answers(store: FakeStore) -> list[dict]:
    return [row for row in store.turns if (row["role"], row["kind"]) == ("agent", "speech")]


def failures(store: FakeStore, kind: str) -> list[bool]:
    return [row["data"]["again"] for row in store.events if row["kind"] == kind]


async def test_a_voice_that_drops_in_a_sentence_speaks_the_next_one(
    ring, world: FakeProviders, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice_that(monkeypatch, FIRST, chunks=2, error=dropped("tts"))
    world.heard = ["I would like to book a table.", "The first."]
    world.replies = [f"{FIRST} {SECOND}", "Gladly."]
    call = ring(context())
    await ask(call)
    await until(lambda: answers(store))
    (answer,) = answers(store)
    assert answer["text"] == f"{FIRST} {SECOND}"
    assert answer["heard"] == f"We have two {SECOND}"  # 200 ms of it came
    assert answer["end_reason"] == "finished"
    assert world.spoken.count(FIRST) == 1, "what was begun is not said twice"
    call.phone.say(500)
    await until(lambda: len(answers(store)) == 2)
    assert f"We have two {SECOND}" in [message.content for message in world.requests[-1].messages]
    call.phone.hang_up()
    await call.ended()
    assert store.ended == [(1, None, False)]
    assert failures(store, "tts_failed") == [False]


async def test_a_key_that_dies_in_a_sentence_is_apologised_for(
    ring, world: FakeProviders, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice_that(monkeypatch, FIRST, chunks=3, error=ProviderError(ErrorKind.OUT_OF_CREDIT, provider="fake", stage="tts"))
    world.heard = ["I would like to book a table."]
    world.replies = [f"{FIRST} {SECOND}"]
    call = ring(context())
    await ask(call)
    await call.ended()
    assert [row["kind"] for row in store.turns][-1] == "apology"
    assert store.ended == [(1, "provider_failure", True)]


async def test_a_sentence_that_brings_no_audio_in_two_attempts_is_not_recorded_as_heard(
    ring, world: FakeProviders, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice_that(monkeypatch, FIRST, chunks=0, error=None)
    world.heard = ["I would like to book a table."]
    world.replies = [f"{FIRST} {SECOND}"]
    call = ring(context())
    await ask(call)
    await until(lambda: answers(store))
    (answer,) = answers(store)
    assert (answer["text"], answer["heard"]) == (f"{FIRST} {SECOND}", SECOND)
    assert world.spoken.count(FIRST) == 2
    call.phone.hang_up()
    await call.ended()
    assert failures(store, "tts_failed") == [True, False]


async def test_a_model_that_drops_before_a_sound_is_asked_again(ring, world: FakeProviders, store: FakeStore) -> None:
    world.heard = ["I would like to book a table."]
    world.replies = [["We have two", dropped("llm")], "Certainly. For when?"]
    call = ring(context())
    await ask(call)
    await until(lambda: answers(store))
    assert [row["heard"] for row in answers(store)] == ["Certainly. For when?"]
    call.phone.hang_up()
    await call.ended()
    assert failures(store, "llm_failed") == [False]
    assert len(world.requests) == 2
    assert store.ended == [(1, None, False)]

"""Providers that fail on a call whose agent has further choices: who takes over, and what the caller hears of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.providers.base import L16_16K, MULAW_8K, ProviderConfig, SpeechChunk
from agents.providers.errors import ErrorKind, ProviderError
from agents.spec import TurnTaking
from calls.context import CallContext
from streaming.phrases import Phrase, phrase_key
from tests.streaming.fakes import (
    MS_PER_CHAR,
    FakeProviders,
    FakeStore,
    FakeUtterance,
    context,
    spec,
    tone,
    until,
)

pytestmark = pytest.mark.db

GREETING = "Hello there."
FIRST = "We have two tables by the window this evening."
SECOND = "Which of the two would you like?"
APOLOGY = spec().apology


def choice(model: str) -> ProviderConfig:
    return ProviderConfig(
        provider="openai", base_url="http://127.0.0.1:9", api_key="k", model=model, account_id=f"account-{model}"
    )


def with_choices(call_id: int = 1, **changes: Any) -> CallContext:
    """A call of which every stage has two choices, "a" and "b"."""
    one, two = choice("a"), (choice("b"),)
    choices = {"stt": one, "llm": one, "tts": one, "stt_further": two, "llm_further": two, "tts_further": two}
    return context(call_id, **(choices | changes))


def moves(store: FakeStore, stage: str) -> list[tuple[int, str, str]]:
    """Choice that took over, its model, and why, of every change of a stage."""
    changes = [row["data"] for row in store.events if row["kind"] == "provider_changed"]
    return [(data["choice"], data["model"], data["why"]) for data in changes if data["stage"] == stage]


def used(store: FakeStore, stage: str) -> set[str]:
    return {row["model"] for row in store.usage.values() if row["stage"] == stage and not row["error"]}


def answers(store: FakeStore) -> list[dict]:
    return [row for row in store.turns if (row["role"], row["kind"]) == ("agent", "speech")]


async def greeted(call) -> None:
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)


async def exchange(call, store: FakeStore, count: int) -> None:
    """Says something and waits until so many answers were heard."""
    call.phone.say(400)
    await until(lambda: len(answers(store)) == count)


async def hang_up(call) -> None:
    call.phone.hang_up()
    await call.ended()


# --- the language model ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ErrorKind.OUT_OF_CREDIT, ErrorKind.RATE_LIMITED, ErrorKind.SERVER_ERROR, None])
async def test_another_model_answers_and_goes_on_answering(
    ring, world: FakeProviders, store: FakeStore, kind: ErrorKind | None
) -> None:
    world.down["llm", "a"] = kind
    world.heard = ["A table.", "For two."]
    world.replies = ["Certainly. For when?", "Gladly."]
    call = ring(with_choices())
    await greeted(call)
    await exchange(call, store, 1)
    asked = len(world.requests)
    await exchange(call, store, 2)
    await hang_up(call)
    assert [row["heard"] for row in answers(store)] == ["Certainly. For when?", "Gladly."]
    assert moves(store, "llm") == [(2, "b", kind.value if kind else "timeout")]
    assert used(store, "llm") == {"b"}
    assert len(world.requests) - asked <= 2, "the first is not asked again (a guess and an answer, at most)"
    assert store.ended == [(1, None, False)]


async def test_a_model_that_does_not_answer_costs_less_than_three_seconds(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    world.down["llm", "a"] = None
    world.heard = ["A table."]
    call = ring(with_choices())
    await greeted(call)
    call.phone.say(400)
    await until(lambda: world.requests)
    loop = asyncio.get_running_loop()
    began = loop.time()
    await until(lambda: used(store, "llm"))
    assert loop.time() - began < 0.3 + 0.25, "scaled to a tenth; events are written four times a second"
    await hang_up(call)


@pytest.mark.parametrize("kind", [ErrorKind.STALLED, ErrorKind.OUT_OF_CREDIT])
async def test_a_text_that_breaks_off_is_not_asked_for_again_by_the_one_that_gave_it(
    ring, world: FakeProviders, store: FakeStore, kind: ErrorKind
) -> None:
    world.heard = ["A table."]
    world.replies = [["We have two", ProviderError(kind, provider="fake", stage="llm")], "For when?"]
    call = ring(with_choices())
    await greeted(call)
    await exchange(call, store, 1)
    await hang_up(call)
    assert [row["heard"] for row in answers(store)] == ["For when?"], "nothing of the first was heard"
    assert moves(store, "llm") == [(2, "b", kind.value)]


@pytest.mark.parametrize("kind", [ErrorKind.DROPPED, ErrorKind.OUT_OF_CREDIT])
async def test_an_answer_that_breaks_off_while_it_is_heard_ends_no_call_that_has_another_model(
    ring, world: FakeProviders, store: FakeStore, kind: ErrorKind
) -> None:
    world.llm_pause = 0.15
    world.heard = ["A table.", "A table, please."]
    world.replies = [[f"{FIRST} ", "Which", ProviderError(kind, provider="fake", stage="llm")], "For when?"]
    call = ring(with_choices(agent=spec(turn_taking=TurnTaking(min_wait_ms=100, max_wait_ms=800, speculate_ms=0))))
    await greeted(call)
    call.phone.say(400)
    await until(lambda: [row for row in store.turns if row["kind"] == "apology"])
    await exchange(call, store, 2)
    await hang_up(call)
    assert [row["heard"] for row in answers(store)] == [FIRST, "For when?"]
    assert moves(store, "llm") == [(2, "b", kind.value)]
    assert store.ended == [(1, None, False)]


async def test_the_next_call_begins_where_the_service_is(ring, world: FakeProviders, store: FakeStore) -> None:
    world.down["llm", "a"] = ErrorKind.OUT_OF_CREDIT
    world.heard = ["A table."]
    first = ring(with_choices())
    await greeted(first)
    await exchange(first, store, 1)
    await hang_up(first)
    store.events.clear()
    world.heard = ["A table."]
    asked = len(world.requests)
    second = ring(with_choices(2))
    await greeted(second)
    await exchange(second, store, 2)
    await hang_up(second)
    assert moves(store, "llm") == [(2, "b", "out of service")]
    assert not [row for row in store.events if row["kind"] == "llm_failed"]
    assert len(world.requests) - asked <= 2


async def test_with_every_model_down_the_caller_hears_an_apology(ring, world: FakeProviders, store: FakeStore) -> None:
    world.down = {("llm", "a"): ErrorKind.OUT_OF_CREDIT, ("llm", "b"): ErrorKind.UNAUTHORISED}
    world.heard = ["A table."]
    call = ring(with_choices())
    await greeted(call)
    call.phone.say(400)
    await call.ended()
    assert (store.turns[-1]["kind"], store.turns[-1]["heard"]) == ("apology", APOLOGY)
    assert store.ended == [(1, "provider_failure", True)]


# --- the voice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ErrorKind.UNAUTHORISED, ErrorKind.REFUSED, ErrorKind.RATE_LIMITED, None])
async def test_another_voice_speaks(ring, world: FakeProviders, store: FakeStore, kind: ErrorKind | None) -> None:
    world.down["tts", "a"] = kind
    world.heard = ["A table."]
    world.replies = ["Certainly. For when?"]
    call = ring(with_choices())
    await greeted(call)
    await exchange(call, store, 1)
    await hang_up(call)
    assert answers(store)[0]["heard"] == "Certainly. For when?"
    assert moves(store, "tts") == [(2, "b", kind.value if kind else "timeout")]
    assert used(store, "tts") == {"b"}
    assert not [text for model, text in world.spoken_by if model == "a"], "the connection told"


@pytest.mark.parametrize("kind", [ErrorKind.DROPPED, ErrorKind.OUT_OF_CREDIT, ErrorKind.STALLED])
async def test_a_clause_that_breaks_after_it_was_begun_is_not_repeated_and_the_rest_is_for_the_next_voice(
    ring, world: FakeProviders, store: FakeStore, monkeypatch: pytest.MonkeyPatch, kind: ErrorKind
) -> None:
    whole = FakeUtterance.chunks

    async def breaks(self: FakeUtterance) -> AsyncIterator[SpeechChunk]:
        count = 0
        async for chunk in whole(self):
            if self._text == FIRST and count == 2:
                raise ProviderError(kind, provider="fake", stage="tts")
            yield chunk
            count += 1

    monkeypatch.setattr(FakeUtterance, "chunks", breaks)
    monkeypatch.setattr("streaming.speaker.PARALLEL", 1)
    world.heard = ["A table."]
    world.replies = [f"{FIRST} {SECOND}"]
    call = ring(with_choices())
    await greeted(call)
    await exchange(call, store, 1)
    await hang_up(call)
    assert answers(store)[0]["heard"] == f"We have two {SECOND}"
    said = [(model, text) for model, text in world.spoken_by if text in {FIRST, SECOND}]
    assert said == [("a", FIRST), ("b", SECOND)]
    assert moves(store, "tts") == [(2, "b", kind.value)]


async def test_a_phrase_kept_in_one_voice_is_said_though_no_voice_can_be_had(
    ring, world: FakeProviders, store: FakeStore, process
) -> None:
    world.down = {("tts", "a"): ErrorKind.REFUSED, ("tts", "b"): ErrorKind.REFUSED}
    key = phrase_key(APOLOGY, config=choice("b"), fmt=MULAW_8K)
    await process.resources.phrases.put(key, Phrase(tone(len(APOLOGY) * MS_PER_CHAR)))
    call = ring(with_choices())
    await call.ended()
    assert [(row["kind"], row["heard"]) for row in store.turns][-1] == ("apology", APOLOGY)
    assert store.ended == [(1, "provider_failure", True)]
    assert call.phone.heard_ms >= len(APOLOGY) * MS_PER_CHAR - 20


async def test_what_a_voice_cost_that_gave_nothing_in_time_is_accounted_for_with_its_failure(
    ring, world: FakeProviders, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = FakeUtterance.chunks

    async def chunks(self: FakeUtterance) -> AsyncIterator[SpeechChunk]:
        if self._tts.config.model == "a":
            await asyncio.Event().wait()
        async for chunk in whole(self):
            yield chunk

    monkeypatch.setattr(FakeUtterance, "chunks", chunks)
    call = ring(with_choices())
    await greeted(call)
    await hang_up(call)
    assert moves(store, "tts") == [(2, "b", "timeout")]
    rows = {(row["model"], row["error"]) for row in store.usage.values() if row["stage"] == "tts"}
    assert {("a", "timeout"), ("b", "")} <= rows


async def test_after_a_call_its_phrases_are_kept_in_every_voice(ring, world: FakeProviders) -> None:
    call = ring(with_choices())
    await greeted(call)
    await hang_up(call)
    await until(lambda: {("a", APOLOGY), ("b", APOLOGY), ("b", GREETING)} <= set(world.spoken_by))


async def test_where_not_even_the_apology_was_kept_nobody_waits_for_voices_that_have_just_failed(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    world.down = {("tts", "a"): None, ("tts", "b"): None}
    call = ring(with_choices())
    await call.ended(6)
    assert store.ended == [(1, "provider_failure", True)]
    assert APOLOGY not in world.spoken
    assert not [row for row in store.turns if row["kind"] == "apology" and row["heard"]]


# --- the ears --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ErrorKind.UNAUTHORISED, ErrorKind.REFUSED, None])
async def test_another_recogniser_hears_all_that_was_said(
    ring, world: FakeProviders, store: FakeStore, kind: ErrorKind | None
) -> None:
    world.down["stt", "a"] = kind
    world.stt_formats["b"] = L16_16K
    world.heard = ["A table."]
    world.replies = ["Certainly."]
    call = ring(with_choices())
    await exchange(call, store, 1)
    await hang_up(call)
    assert answers(store)[0]["heard"] == "Certainly."
    assert moves(store, "stt") == [(2, "b", kind.value if kind else "timeout")]
    assert used(store, "stt") == {"b"}


@pytest.mark.parametrize("kind", [ErrorKind.OUT_OF_CREDIT, ErrorKind.STALLED])
async def test_a_recogniser_that_breaks_in_a_sentence_leaves_it_to_the_next_in_whatever_format(
    ring, world: FakeProviders, store: FakeStore, kind: ErrorKind
) -> None:
    world.stt_formats["b"] = L16_16K
    world.heard = ["After the break."]
    world.replies = ["Yes."]
    call = ring(with_choices())
    await greeted(call)
    first = world.stts[0]
    size = len(first.received)
    call.phone.say(600)
    await until(lambda: len(first.received) > size + 1600)
    first._events.put_nowait(ProviderError(kind, provider="fake", stage="stt"))
    await until(lambda: answers(store))
    await hang_up(call)
    assert len(world.stts) == 2
    assert moves(store, "stt") == [(2, "b", kind.value)]
    assert world.stts[1].config.model == "b"
    assert store.ended == [(1, None, False)]


async def test_recognisers_that_all_fail_end_the_call_with_an_apology(
    ring, world: FakeProviders, store: FakeStore
) -> None:
    world.down = {("stt", "a"): ErrorKind.REFUSED, ("stt", "b"): ErrorKind.OUT_OF_CREDIT}
    call = ring(with_choices())
    await call.ended(12)
    assert store.turns[-1]["kind"] == "apology"
    assert store.ended == [(1, "provider_failure", True)]


# --- all at once -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [ErrorKind.REFUSED, ErrorKind.SERVER_ERROR, None], ids=str)
async def test_with_nothing_reachable_the_kept_apology_is_heard_and_the_call_ends(
    ring, world: FakeProviders, store: FakeStore, process, kind: ErrorKind | None
) -> None:
    world.down = {(stage, model): kind for stage in ("stt", "llm", "tts") for model in "ab"}
    for text in (GREETING, APOLOGY):
        key = phrase_key(text, config=choice("a"), fmt=MULAW_8K)
        await process.resources.phrases.put(key, Phrase(tone(len(text) * MS_PER_CHAR)))
    call = ring(with_choices())
    await call.ended(12)
    assert [(row["kind"], row["heard"]) for row in store.turns if row["role"] == "agent"] == [
        ("greeting", GREETING),
        ("apology", APOLOGY),
    ]
    assert store.ended == [(1, "provider_failure", True)]

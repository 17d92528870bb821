"""Those of the sixteen traps that need a whole call (``tests/agents/providers/test_traps.py`` has the list): real
adapters over the sandbox's servers, and a phone that plays what it is sent.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agents.providers.base import Clocks
from agents.spec import TurnTaking
from sandbox.speech import parse_format, render
from sandbox.voice import BY_ID
from tests.streaming.faulty_calls import VOICE, Call, call_on, live_process

pytestmark = pytest.mark.db

GREETING = "Hello there."
REQUEST, STOP = "Tell me everything.", "Stop, wait a moment please."
STORY = " ".join(f"This is sentence number {number} of a long story." for number in ("one", "two", "three", "four"))
PHRASES = {"greeting": GREETING, "yes": "Of course."}
CLOCKS = Clocks()

Ring = Callable[..., Awaitable[Call]]


@pytest.fixture
async def ring(tmp_path: Path) -> AsyncIterator[Ring]:
    """``call = await ring(...)``: a call whose greeting was heard."""
    async with live_process(tmp_path, CLOCKS) as (process, stores), contextlib.AsyncExitStack() as stack:

        async def put_through(*replies: str, says: tuple[str, ...], **more: Any) -> Call:
            numbers = TurnTaking(min_wait_ms=100, max_wait_ms=800, speculate_ms=0)
            call = await stack.enter_async_context(
                call_on(process, stores, 1, PHRASES, greeting=GREETING, turn_taking=numbers, **more)
            )
            await call.says(*says)
            await call.replies(*({"text": text} for text in replies), default="I see.")
            call.ring()
            await call.answered(pause_s=0.3, seconds=8)
            return call

        yield put_through


async def interrupted(call: Call, *, after_ms: int) -> int:
    """The caller asks, and stops the answer when so much of it was heard; ms of it that were."""
    before = call.phone.heard_ms
    call.phone.say(600)
    await call.phone.until(lambda: call.phone.heard_ms >= before + after_ms)
    call.phone.say(1500)
    await call.phone.until(lambda: call.phone.count("clearAudio"))
    return call.phone.heard_ms - before


def words_in(text: str, heard_ms: int) -> int:
    """How many words of the text the voice had said by then."""
    characters = render(f"{text} ", BY_ID[VOICE], parse_format("ulaw_8000"), 1.0).characters
    return sum(each.character == " " and each.start_ms <= heard_ms for each in characters)


async def test_8_the_model_and_the_voice_stop_with_the_answer_that_was_interrupted(ring: Ring) -> None:
    call = await ring(STORY, "Of course.", says=(REQUEST, STOP))
    await call.latencies(llm_tokens_per_s=15)
    await interrupted(call, after_ms=600)
    await call.answered(pause_s=1, seconds=8)
    first, second = await call.ledger("llm")
    assert (first["cancelled"], second["cancelled"]) == (True, False)
    assert first["tokens_sent"] < 40
    assert call.phone.transcript[-1] == "yes", "nothing of the old answer is heard behind the new one"
    await call.hang_up()


async def test_10_the_model_is_told_what_the_caller_heard_and_no_more(ring: Ring) -> None:
    call = await ring(STORY, "Of course.", says=(REQUEST, STOP))
    heard_ms = await interrupted(call, after_ms=1500)
    await call.answered(pause_s=1, seconds=8)
    _, asked = await call.ledger("llm")
    greeting, told = asked["said"]
    assert greeting == GREETING
    assert STORY.startswith(told.removesuffix(" \N{EM DASH}"))
    count = len(told.removesuffix(" \N{EM DASH}").split())
    assert abs(count - words_in(STORY[: STORY.index(".") + 1], heard_ms)) <= 2  # one, and one for a machine that lags
    (turn,) = [row for row in call.store.turns if row["interrupted"]]
    assert turn["heard"] == told.removesuffix(" \N{EM DASH}")
    await call.hang_up()


async def test_12_a_caller_whose_final_words_never_come_is_answered_by_the_words_so_far(ring: Ring) -> None:
    call = await ring("Of course.", says=("Tonight please.",))
    await call.fault("never_final", "stt")
    call.phone.say(700)
    spoke = asyncio.get_running_loop().time()
    await call.phone.until(lambda: call.phone.transcript[-1] == "yes")
    assert asyncio.get_running_loop().time() - spoke < CLOCKS.stall
    (asked,) = await call.ledger("llm")
    assert asked["last"] == "Tonight please."
    assert "stt_final_overdue" in {row["kind"] for row in call.store.events}
    await call.hang_up()


async def test_12_words_of_a_recogniser_that_falls_silent_are_heard_by_the_next(ring: Ring) -> None:
    """This one shows no words before they are final: the audio itself is given to another session."""
    call = await ring("Of course.", says=("", "Tonight please."), stt="openai")
    await call.fault("never_final", "stt")
    call.phone.say(700)
    await call.phone.until(lambda: call.phone.transcript[-1] == "yes", 12)
    (asked,) = await call.ledger("llm")
    assert asked["last"] == "Tonight please."
    _, second = await call.ledger("stt")
    assert second["audio_bytes"] >= 700 * 8
    await call.hang_up()


async def test_13_no_more_is_counted_as_heard_than_was_received(ring: Ring) -> None:
    """A voice without word timings falls silent: what was heard of its sentence cannot be told by the clock."""
    call = await ring(STORY, "Of course.", says=(REQUEST, STOP), tts="openai")
    await call.fault("stall", "tts", after=4)
    before = call.phone.heard_ms
    call.phone.say(600)
    await call.phone.until(lambda: call.phone.heard_ms > before)
    await asyncio.sleep(1.4)
    received_ms = call.phone.heard_ms - before
    call.phone.say(1500)
    await call.phone.until(lambda: any(row["interrupted"] for row in call.store.turns))
    (turn,) = [row for row in call.store.turns if row["interrupted"]]
    assert received_ms <= 400
    assert 1 <= len(turn["heard"].split()) <= words_in(STORY, received_ms) + 1
    await call.hang_up()


async def test_14_a_caller_who_speaks_while_the_agent_is_silent_interrupts_nothing(ring: Ring) -> None:
    call = await ring("I see.", "Of course.", says=("I would like a table.", "For two people."))
    await call.latencies(llm_first_token_ms=900)
    call.phone.say(600)
    await asyncio.sleep(1.4)  # the agent is thinking
    call.phone.say(600)
    await call.answered(pause_s=1, seconds=8)
    assert call.phone.transcript == ["greeting", "yes"]
    assert call.phone.count("clearAudio") == 0
    await call.hang_up()

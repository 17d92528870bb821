"""Sixteen faults that other phone agents were reported for, each a test that fails without the guard against it.

 1  late audio of a closed context is played            9  a cancelled reply leaves its connection open
 2  a sixth context ends the socket                    10  *the context holds words that were not heard
 3  a repeated or late voice setting ends the socket   11  an empty or a double commit is refused
 4  a reconnection in mid-turn loses text              12  *a final text never comes
 5  a silent socket is ended after 20 s                13  *more is counted as heard than was ever received
 6  a broken utterance is said twice or not at all     14  *a caller interrupts an agent that is not speaking
 7  text without a word gives an error                 15  another spelling or a new message breaks the session
 8  *the model goes on after an interruption           16  "too many requests" has three meanings

Those with a star need a whole live call: ``tests/streaming/test_traps.py``. Here it is the adapters alone, against the
sandbox's servers, which enforce the vendors' rules and keep a ledger of what they were sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents.providers import registry
from agents.providers.base import MULAW_8K, Clocks, Final, LlmDone, SpeechToText, TextToSpeech, Utterance
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.pools import Pools
from sandbox.testing import Sandbox
from tests.agents.providers.sandboxed import (
    FAST,
    HELLO,
    account,
    box,
    everything,
    fault,
    ledger,
    luna,
    pools,
    reply,
    voice_of,
)

pytestmark = pytest.mark.sandbox

__all__ = ["box", "pools"]  # fixtures

FIRST, SECOND = "We have two tables by the window.", "Which would you like?"
KEPT_ALIVE = {"inactivity_timeout": 1}  # s: the provider's 20 are as good, and take longer
recognisers = pytest.mark.parametrize("provider", ["openai", "elevenlabs"])


async def voice(
    box: Sandbox, pools: Pools, provider: str = "elevenlabs", *, clocks: Clocks = FAST, **more: Any
) -> TextToSpeech:
    model, name = "gpt-4o-mini-tts", "marin"
    if provider == "elevenlabs":
        model, name = "eleven_flash_v2_5", await voice_of(box, pools)
    config = account(box, provider, model, voice_id=name, **more)
    return registry.text_to_speech(config, pools=pools, clocks=clocks, codec=MULAW_8K)


def ears(box: Sandbox, pools: Pools, provider: str, model: str = "") -> SpeechToText:
    model = model or {"elevenlabs": "scribe_v2_realtime", "openai": "gpt-live-transcribe"}[provider]
    return registry.speech_to_text(account(box, provider, model), pools=pools, clocks=FAST, codec=MULAW_8K)


async def spoken(tts: TextToSpeech, *texts: str, pause_s: float = 0) -> bytes:
    utterance = tts.utterance()
    for text in texts:
        await utterance.say(text)
        await asyncio.sleep(pause_s)
    await utterance.finish()
    return await audio_of(utterance)


async def audio_of(utterance: Utterance) -> bytes:
    return b"".join([chunk.audio for chunk in await everything(utterance)])


async def hear(stt: SpeechToText, milliseconds: int) -> int:
    for _ in range(milliseconds // 100):
        await stt.send(bytes(stt.input_format.bytes_per_ms * 100))
    return await stt.commit()


async def finals(stt: SpeechToText, count: int) -> list[Final]:
    found: list[Final] = []
    async with asyncio.timeout(3):
        async for event in stt.events():
            found += [event] if isinstance(event, Final) else []
            if len(found) == count:
                return found
    raise AssertionError("the session ended")


async def sockets(box: Sandbox) -> list[dict[str, Any]]:
    return [entry for entry in await ledger(box, stage="tts") if entry["kind"] == "ws"]


async def rules_broken(box: Sandbox) -> list[str]:
    return [error for entry in await ledger(box) for error in entry.get("errors", [])]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(3):
        while not await condition():  # noqa: ASYNC110 - another server's state
            await asyncio.sleep(0.01)


# --- 1 to 7: the voice ---


async def test_1_the_rest_of_an_interrupted_answer_is_never_heard_in_the_next(box: Sandbox, pools: Pools) -> None:
    tts = await voice(box, pools)
    alone = await spoken(tts, "Yes?")
    await fault(box, "late_audio", "tts")
    interrupted = tts.utterance()
    await interrupted.say("A long story that nobody will hear to its end.")
    await interrupted.cancel()
    assert await spoken(tts, "Yes?") == alone
    await asyncio.sleep(0.1)
    assert await spoken(tts, "Yes?") == alone
    assert await everything(interrupted) == []
    await tts.close()


async def test_2_a_caller_who_interrupts_again_and_again_is_still_answered(box: Sandbox, pools: Pools) -> None:
    """Each closed context counts until all of its audio is made, and a message for one that is not open opens it."""
    await box.control.request("PATCH", "providers/latencies", {"tts_realtime_factor": 0.3})
    tts = await voice(box, pools, options={"inactivity_timeout": 2})
    await tts.connect()
    for number in range(12):
        unopened, interrupted = tts.utterance(), tts.utterance()
        await interrupted.say(f"Reply number {number}, quite a long one.")
        await interrupted.cancel()
        await unopened.cancel()
    await asyncio.sleep(1.1)  # what is kept alive would be by now
    assert await spoken(tts, "Yes?")
    await tts.close()
    assert await rules_broken(box) == []
    assert len(await sockets(box)) <= 4, "a crowded socket is replaced, not each one"


async def test_3_a_voice_keeps_its_settings_while_the_model_thinks(box: Sandbox, pools: Pools) -> None:
    settings = {"speed": 0.7, "stability": 0.5}
    tts = await voice(box, pools, options=KEPT_ALIVE, voice_settings=settings)
    at_once = await spoken(tts, FIRST, SECOND)
    thinking = await spoken(tts, FIRST, SECOND, pause_s=0.8)
    await tts.close()
    usual = await voice(box, pools)
    assert thinking == at_once != await spoken(usual, FIRST, SECOND)
    await usual.close()
    assert await rules_broken(box) == []


@pytest.mark.parametrize("finished", [True, False], ids=["the whole answer", "half of it"])
async def test_4_what_was_said_before_a_connection_broke_is_heard_after_all(
    finished: bool, box: Sandbox, pools: Pools
) -> None:
    tts = await voice(box, pools)
    whole = await spoken(tts, FIRST, SECOND, "It is a quarter to five.")
    await box.control.request("PATCH", "providers/latencies", {"tts_first_byte_ms": 100})
    await fault(box, "drop", "tts")
    utterance = tts.utterance()
    await utterance.say(FIRST)
    await utterance.say(SECOND)
    if not finished:
        await asyncio.sleep(0.3)
    await utterance.say("It is a quarter to five.")
    await utterance.finish()
    assert await audio_of(utterance) == whole
    await tts.close()


async def test_5_a_model_that_thinks_for_long_does_not_cost_the_voice_its_context(box: Sandbox, pools: Pools) -> None:
    tts = await voice(box, pools, options=KEPT_ALIVE)
    assert len(await spoken(tts, FIRST, SECOND, pause_s=1.5)) == len(await spoken(tts, FIRST, SECOND))
    await tts.close()
    (socket,) = await sockets(box)
    assert "idle_contexts" not in socket


async def test_5_an_agent_speaks_again_after_a_caller_who_talked_for_long(box: Sandbox, pools: Pools) -> None:
    tts = await voice(box, pools, options=KEPT_ALIVE)
    await tts.connect()
    await asyncio.sleep(1.2)
    assert await rules_broken(box) == ["input_timeout_exceeded"]
    assert await spoken(tts, FIRST)
    await tts.close()


@pytest.mark.parametrize("kind", ["drop", "close"])
async def test_6_a_break_before_the_first_sound_goes_unnoticed_and_a_second_one_is_told(
    kind: str, box: Sandbox, pools: Pools
) -> None:
    tts = await voice(box, pools)
    alone = await spoken(tts, FIRST)
    await fault(box, kind, "tts", code=1011, count=3)
    with pytest.raises(ProviderError):
        await spoken(tts, FIRST)
    assert await spoken(tts, FIRST) == alone
    assert len(await sockets(box)) == 4, "two for the answer that failed, two for the one that did not"
    await tts.close()


async def test_6_a_break_after_the_first_sound_says_nothing_twice(box: Sandbox, pools: Pools) -> None:
    tts = await voice(box, pools)
    alone = await spoken(tts, SECOND)
    await fault(box, "drop", "tts", after=1)
    utterance = tts.utterance()
    await utterance.say(FIRST)
    heard = utterance.chunks()
    assert (await anext(heard)).audio
    with pytest.raises(ProviderError) as error:
        await anext(heard)
    assert (error.value.kind, utterance.usage().error) == (ErrorKind.DROPPED, "dropped")
    assert await spoken(tts, SECOND) == alone, "the next sentence is spoken all the same"
    await tts.close()
    said = [text for socket in await sockets(box) for text in socket.get("texts", [])]
    assert said.count(f"{FIRST} ") == 1


async def test_6_a_silent_connection_is_left_for_another(box: Sandbox, pools: Pools) -> None:
    tts = await voice(box, pools, clocks=Clocks(connect=3, first=8, stall=0.3))
    alone = await spoken(tts, SECOND)
    await fault(box, "stall", "tts", after=1)
    began, behind = tts.utterance(), tts.utterance()
    await began.say(FIRST)
    await began.finish()
    await asyncio.sleep(0.1)
    await behind.say(SECOND)
    await behind.finish()
    waiting = asyncio.create_task(audio_of(behind))
    with pytest.raises(ProviderError) as error:
        await everything(began)
    assert error.value.kind is ErrorKind.STALLED
    assert await asyncio.wait_for(waiting, 5) == alone, "what waits behind it does not wait for a clock of its own"
    assert len(await sockets(box)) == 2
    await tts.close()


@pytest.mark.parametrize("provider", ["elevenlabs", "elevenlabs by http", "openai"])
async def test_7_a_smile_is_not_sent_to_the_voice_and_harms_no_answer(
    provider: str, box: Sandbox, pools: Pools
) -> None:
    vendor, *transport = provider.split(" by ")
    tts = await voice(box, pools, vendor, options={"transport": "http"} if transport else {})
    await tts.connect()
    asked = len(await ledger(box, stage="tts"))
    for text in ("🙂", " ?! ", "...", ""):
        assert await spoken(tts, text) == b""
    assert len(await ledger(box, stage="tts")) == asked
    assert not any(entry.get("texts") for entry in await ledger(box, stage="tts"))
    assert await spoken(tts, "🙂", FIRST, "…") == await spoken(tts, FIRST)
    await tts.close()


# --- 9: connections ---


async def test_9_an_interruption_stops_the_model_and_leaves_no_connection_behind(box: Sandbox, pools: Pools) -> None:
    llm = luna(box, pools)
    for _ in range(3):
        await reply(llm)
    await box.control.request("PATCH", "providers/latencies", {"llm_tokens_per_s": 50})
    async with llm.stream(HELLO) as events:
        await anext(events)
        kept = dict(vars(events))  # so that nothing is closed by being forgotten

    async def ended() -> bool:
        return bool((await ledger(box, stage="llm"))[-1]["ended"])

    await until(ended)
    assert kept
    (cancelled,) = await ledger(box, stage="llm", cancelled="True")
    assert cancelled["tokens_sent"] < 40, "the provider stopped generating"
    await asyncio.sleep(0.1)
    await box.control.request("PATCH", "providers/latencies", {"llm_tokens_per_s": 0})
    await reply(llm)
    connections = [entry["connection"] for entry in await ledger(box, provider="openai")]
    assert len(set(connections)) == 2
    assert connections[-1] == connections[-2] != connections[0], "the turn took the connection that warm() opened"


# --- 11: the ears ---


@recognisers
async def test_11_a_caller_who_makes_no_word_of_it_is_not_an_error(provider: str, box: Sandbox, pools: Pools) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["yes", "no"]})
    stt = ears(box, pools, provider)
    await stt.connect()
    assert await stt.commit() == 1
    await stt.send(bytes(stt.input_format.bytes_per_ms * 99))
    assert await stt.commit() == 2
    assert await finals(stt, 2) == [Final("", 1), Final("", 2)]
    assert len(stt.unconfirmed()) == 99 * stt.input_format.bytes_per_ms, "the audio waits for the next commit"
    await stt.send(bytes(stt.input_format.bytes_per_ms))
    assert await stt.commit() == 3  # of 100 ms: a syllable
    assert await finals(stt, 1) == [Final("yes", 3)]
    await stt.close()
    assert await rules_broken(box) == []


async def test_11_words_are_not_committed_by_both_sides(box: Sandbox, pools: Pools) -> None:
    """A model that can tell the end of a turn itself would take the words away before we ask for them."""
    await box.control.request("POST", "providers/transcripts", {"texts": ["I would like a table.", "Tonight."]})
    stt = ears(box, pools, "openai", "gpt-transcribe")
    await stt.connect()
    for sound in (b"\x00" * 800, b"\xff" * 800):
        for _ in range(6):
            await stt.send(sound)
    await asyncio.sleep(0.2)  # the recogniser has noticed the silence, we have not
    assert await stt.commit() == 1
    assert await hear(stt, 500) == 2
    assert await finals(stt, 2) == [Final("I would like a table.", 1), Final("Tonight.", 2)]
    await stt.close()
    assert await rules_broken(box) == []


# --- 15: what the vendors may change ---


@pytest.mark.parametrize("kind", ["other_spelling", "unknown_messages"])
async def test_15_a_voice_is_understood_in_either_spelling_and_with_news_in_between(
    kind: str, box: Sandbox, pools: Pools
) -> None:
    tts = await voice(box, pools)
    usual = await spoken(tts, FIRST)
    await fault(box, kind, "tts")
    assert await spoken(tts, FIRST) == usual
    await tts.close()


async def test_15_a_model_that_sends_news_is_understood(box: Sandbox, pools: Pools) -> None:
    await fault(box, "unknown_messages", "llm")
    assert (await reply(luna(box, pools)))[-1] == LlmDone("stop")


@recognisers
async def test_15_a_recogniser_that_sends_news_is_understood(provider: str, box: Sandbox, pools: Pools) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["yes"]})
    await fault(box, "unknown_messages", "stt")
    stt = ears(box, pools, provider)
    await stt.connect()
    await hear(stt, 500)
    assert await finals(stt, 1) == [Final("yes", 1)]
    await stt.close()


# --- 16: too many requests ---


@pytest.mark.parametrize(
    ("kind", "named", "worth_another_try"),
    [
        ("rate_limit", ErrorKind.RATE_LIMITED, True),
        ("too_many_concurrent_requests", ErrorKind.RATE_LIMITED, True),
        ("system_busy", ErrorKind.SERVER_ERROR, True),
        ("insufficient_quota", ErrorKind.OUT_OF_CREDIT, False),
    ],
)
@pytest.mark.parametrize("what", ["openai llm", "openai stt", "openai tts", "elevenlabs stt", "elevenlabs tts"])
async def test_16_too_many_calls_a_busy_vendor_and_an_unpaid_bill_are_told_apart(
    what: str, kind: str, named: ErrorKind, worth_another_try: bool, box: Sandbox, pools: Pools
) -> None:
    provider, stage = what.split()
    tts = await voice(box, pools, provider) if stage == "tts" else None
    await fault(box, kind, stage, count=-1)
    before = len(await ledger(box, stage=stage))
    with pytest.raises(ProviderError) as error:
        if tts is not None:
            await spoken(tts, FIRST)
        elif stage == "stt":
            await ears(box, pools, provider).connect()
        else:
            await reply(luna(box, pools))
    assert (error.value.kind, error.value.retryable) == (named, worth_another_try)
    asked = [entry for entry in (await ledger(box, stage=stage))[before:] if "fault" in entry]
    assert len(asked) == 1, "whether to ask again, and when, is for the call to say"
    if tts is not None:
        await tts.close()

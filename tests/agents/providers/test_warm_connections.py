"""Connections are there before they are needed: counted at the servers over a first turn, an interruption, a pause."""

import asyncio
from typing import Any

import pytest

from agents.providers import registry
from agents.providers.base import MULAW_8K, LanguageModel, TextToSpeech
from agents.providers.pools import Pools
from sandbox.testing import Sandbox
from tests.agents.providers.sandboxed import FAST, HELLO, account, box, everything, luna, pools, reply, voice_of

__all__ = ["box", "pools"]  # fixtures
pytestmark = pytest.mark.sandbox


@pytest.fixture(autouse=True)
async def _far_away(box: Sandbox) -> None:
    """An answer that comes at once leaves its connection to a request that was to be made beside it."""
    await box.control.request("PATCH", "providers/latencies", {"http_ms": 100})


async def connections(box: Sandbox) -> int:
    return sum((await box.control.request("GET", "providers"))["connections"].values())


async def a_voice(provider: str, box: Sandbox, pools: Pools) -> TextToSpeech:
    if provider == "openai":
        config = account(box, "openai", "gpt-4o-mini-tts", voice_id="marin")
    else:
        options: dict[str, Any] = {"transport": "http"} if provider == "elevenlabs over http" else {}
        async with Pools() as others:
            voice = await voice_of(box, others)
        config = account(box, "elevenlabs", "eleven_flash_v2_5", voice_id=voice, options=options)
    return registry.text_to_speech(config, pools=pools, clocks=FAST, codec=MULAW_8K)


async def say(tts: TextToSpeech, text: str) -> None:
    utterance = tts.utterance()
    await utterance.say(text)
    await utterance.finish()
    assert await everything(utterance)


async def turn(llm: LanguageModel, tts: TextToSpeech) -> None:
    """A reply whose first two clauses are spoken while it is still written."""
    async with llm.stream(HELLO) as events:
        await anext(aiter(events))
        await asyncio.gather(say(tts, "Good morning,"), say(tts, "this is the front desk."))


voices = pytest.mark.parametrize("provider", ["openai", "elevenlabs over http", "elevenlabs"])


@voices
async def test_the_first_turn_opens_no_connection(provider: str, box: Sandbox, pools: Pools) -> None:
    llm, tts = luna(box, pools), await a_voice(provider, box, pools)
    await llm.warm()
    await tts.connect()  # in turn: what one has warmed is not for the other
    before = await connections(box)
    await turn(llm, tts)
    assert await connections(box) == before
    await tts.close()


@voices
async def test_the_turn_after_an_interruption_opens_no_connection(provider: str, box: Sandbox, pools: Pools) -> None:
    """HTTP/1.1 can only leave an answer by closing its connection: that of the model, and that of the voice."""
    llm, tts = luna(box, pools), await a_voice(provider, box, pools)
    await asyncio.gather(llm.warm(), tts.connect())
    await box.control.request("PATCH", "providers/latencies", {"llm_tokens_per_s": 50, "tts_realtime_factor": 0.5})
    async with llm.stream(HELLO) as events:
        await anext(aiter(events))
        interrupted = [tts.utterance(), tts.utterance()]
        for utterance in interrupted:
            await utterance.say("It is quite a long story that nobody will hear to its end.")
            await anext(utterance.chunks())
        await asyncio.gather(*(utterance.cancel() for utterance in interrupted))
    await box.control.request("PATCH", "providers/latencies", {"llm_tokens_per_s": 0, "tts_realtime_factor": 0})
    await asyncio.sleep(0.5)
    before = await connections(box)
    await turn(llm, tts)
    assert await connections(box) == before
    await tts.close()


@pytest.mark.slow
@voices
async def test_a_caller_who_speaks_for_longer_than_the_sdks_keep_a_connection_costs_none(
    provider: str, box: Sandbox, pools: Pools
) -> None:
    llm, tts = luna(box, pools), await a_voice(provider, box, pools)
    await asyncio.gather(llm.warm(), tts.connect())
    before = await connections(box)
    await reply(llm)
    await asyncio.sleep(6)
    await turn(llm, tts)
    assert await connections(box) == before
    await tts.close()

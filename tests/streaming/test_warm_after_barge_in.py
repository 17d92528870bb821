"""A caller interrupts an answer on a call over the real adapters: the next answer opens no connection."""

import asyncio

import pytest
from msgspec.structs import replace

from agents.providers.pools import Pools
from calls.context import CallContext
from sandbox.testing import Sandbox
from tests.agents.providers.sandboxed import account, script, voice_of
from tests.streaming.fakes import FakeStore, context, spec, until
from tests.streaming.sandboxed import Ring, box, ring

__all__ = ["box", "ring"]  # fixtures
pytestmark = [pytest.mark.sandbox, pytest.mark.db]

LONG = "It is quite a long story, " + "and it goes on and on, " * 12 + "until you stop me."


async def connections(box: Sandbox) -> int:
    return sum((await box.control.request("GET", "providers"))["connections"].values())


async def given(box: Sandbox, voice: str) -> CallContext:
    if voice == "openai":
        tts = account(box, "openai", "gpt-4o-mini-tts", voice_id="marin")
    else:
        tts = account(box, "elevenlabs", "eleven_flash_v2_5", voice_id=voice)
    return context(
        agent=spec(greeting="Good morning.", turn_taking=replace(spec().turn_taking, speculate_ms=0)),
        stt=account(box, "elevenlabs", "scribe_v2_realtime"),
        llm=account(box, "openai", "gpt-6-luna"),
        tts=tts,
    )


@pytest.mark.parametrize("provider", ["openai", "elevenlabs"])
async def test_the_answer_after_an_interruption_opens_no_connection(
    ring: Ring, store: FakeStore, box: Sandbox, provider: str
) -> None:
    async with Pools() as pools:
        voice = "openai" if provider == "openai" else await voice_of(box, pools)
    await script(box, {"text": LONG}, *[{"text": "Of course."}] * 2)
    texts = {"texts": [], "default": "Stop, please, I have another question."}
    await box.control.request("POST", "providers/transcripts", texts)
    await box.control.request("PATCH", "providers/latencies", {"llm_tokens_per_s": 20, "tts_realtime_factor": 0.5})
    call = ring(await given(box, voice))
    await until(lambda: store.turns, 15)
    call.phone.say(500)
    await call.phone.until(lambda: call.phone.heard_ms > 2500, 15)
    call.phone.say(1200)
    await until(lambda: any(turn["interrupted"] for turn in store.turns), 10)
    await box.control.request("PATCH", "providers/latencies", {"profile": "none"})
    await asyncio.sleep(0.3)
    before = await connections(box)
    await until(lambda: [turn for turn in store.turns if turn["heard"] == "Of course."], 15)
    assert await connections(box) == before
    call.phone.hang_up()
    await call.ended()

"""Whole calls over the real adapters and servers that fail in every way: ElevenLabs first, OpenAI behind it."""

import pytest
from msgspec.structs import replace

from agents.providers.base import ProviderConfig
from agents.providers.errors import ErrorKind
from agents.providers.pools import Pools
from calls.context import CallContext
from sandbox.testing import Sandbox
from tests.agents.providers.sandboxed import account, fault, script, voice_of
from tests.streaming.fakes import FakeStore, context, spec, until
from tests.streaming.sandboxed import Ring, box, ring

__all__ = ["box", "ring"]  # fixtures
pytestmark = [pytest.mark.sandbox, pytest.mark.db]

GREETING, ANSWER = "Good morning.", "We open at nine."


@pytest.fixture
async def given(box: Sandbox) -> CallContext:
    """A call with two choices for every stage; the second model is the same one with another key."""
    async with Pools() as pools:
        voice = await voice_of(box, pools)

    def choice(provider: str, model: str, **more: str) -> ProviderConfig:
        return account(box, provider, model, account_id=f"{provider} {model}", **more)

    await script(box, {"text": ANSWER}, {"text": ANSWER}, {"text": ANSWER})
    await box.control.request("POST", "providers/transcripts", {"texts": [], "default": "When do you open?"})
    return context(
        agent=spec(greeting=GREETING, goodbye="Bye.", apology="Sorry."),
        stt=choice("elevenlabs", "scribe_v2_realtime"),
        stt_further=(choice("openai", "gpt-live-transcribe"),),
        llm=choice("openai", "gpt-6-luna", api_key="test-first"),
        llm_further=(choice("openai", "gpt-5.4-mini", api_key="test-second"),),
        tts=choice("elevenlabs", "eleven_flash_v2_5", voice_id=voice),
        tts_further=(choice("openai", "gpt-4o-mini-tts", voice_id="marin"),),
    )


def moves(store: FakeStore) -> list[tuple[str, str, str]]:
    data = [row["data"] for row in store.events if row["kind"] == "provider_changed"]
    return [(each["stage"], each["model"], each["why"]) for each in data]


def heard(store: FakeStore) -> list[str]:
    return [row["heard"] for row in store.turns if row["role"] == "agent"]


async def converse(ring: Ring, given: CallContext, store: FakeStore) -> None:
    """The caller hears the greeting, asks, and hears the answer."""
    call = ring(given)
    await until(lambda: heard(store), 15)
    call.phone.say(500)
    await until(lambda: len(heard(store)) == 2, 15)
    call.phone.hang_up()
    await call.ended()
    assert heard(store) == [GREETING, ANSWER]
    assert store.ended == [(1, None, False)]


FAULTS = {
    "unauthorized": ErrorKind.UNAUTHORISED,
    "insufficient_quota": ErrorKind.OUT_OF_CREDIT,
    "rate_limit": ErrorKind.RATE_LIMITED,
    "system_busy": ErrorKind.SERVER_ERROR,
    "refuse": ErrorKind.DROPPED,
}


@pytest.mark.parametrize("kind", [*FAULTS, "garbage"])
async def test_ears_that_fail_leave_the_call_to_the_next(
    ring: Ring, given: CallContext, store: FakeStore, box: Sandbox, kind: str
) -> None:
    await fault(box, kind, "stt", provider="elevenlabs", count=-1)
    await converse(ring, given, store)
    assert moves(store) == [("stt", "gpt-live-transcribe", FAULTS.get(kind, ErrorKind.GARBAGE).value)]
    assert "gpt-live-transcribe" in {row["model"] for row in store.usage.values() if not row["error"]}


@pytest.mark.parametrize("kind", FAULTS)
async def test_a_voice_that_fails_leaves_the_call_to_the_next(
    ring: Ring, given: CallContext, store: FakeStore, box: Sandbox, kind: str
) -> None:
    await fault(box, kind, "tts", provider="elevenlabs", count=-1)
    await converse(ring, given, store)
    assert moves(store) == [("tts", "gpt-4o-mini-tts", FAULTS[kind].value)]
    assert {row["model"] for row in store.usage.values() if row["stage"] == "tts" and not row["error"]} == {
        "gpt-4o-mini-tts"
    }


async def test_a_voice_that_stalls_in_the_greeting_says_the_rest_of_the_call_in_another_voice(
    ring: Ring, given: CallContext, store: FakeStore, box: Sandbox
) -> None:
    await fault(box, "stall", "tts", provider="elevenlabs", count=-1, after=1)
    call = ring(given)
    await until(lambda: moves(store), 15)
    assert moves(store)[0][:2] == ("tts", "gpt-4o-mini-tts")
    await until(lambda: heard(store), 15)
    assert heard(store)[0] != GREETING, "it was begun, and is not said again"
    call.phone.say(500)
    await until(lambda: len(heard(store)) == 2, 15)
    assert heard(store)[1] == ANSWER
    call.phone.hang_up()
    await call.ended()


async def test_a_model_whose_key_is_withdrawn_leaves_the_call_to_another_account(
    ring: Ring, given: CallContext, store: FakeStore, box: Sandbox
) -> None:
    await box.control.request("POST", "providers/keys", {"revoked": ["test-first"]})
    await converse(ring, given, store)
    assert moves(store) == [("llm", "gpt-5.4-mini", "unauthorised")]


@pytest.mark.parametrize(("kind", "second"), [("system_busy", "gpt-6-luna"), ("rate_limit", "gpt-5.4-mini")])
async def test_a_busy_model_is_asked_again_and_one_that_takes_no_more_requests_is_left(
    ring: Ring, given: CallContext, store: FakeStore, box: Sandbox, kind: str, second: str
) -> None:
    await fault(box, kind, "llm", count=1)
    turn_taking = replace(given.spec.turn_taking, speculate_ms=0)  # one request for the one answer
    await converse(ring, replace(given, spec=replace(given.spec, turn_taking=turn_taking)), store)
    asked = [(row["model"], row["error"]) for row in store.usage.values() if row["stage"] == "llm"]
    assert asked == [("gpt-6-luna", FAULTS[kind].value), (second, "")]
    assert len(moves(store)) == (second != "gpt-6-luna")

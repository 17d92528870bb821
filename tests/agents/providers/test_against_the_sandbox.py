"""The adapters against the faithful servers: the vendors' rules enforced, faults, the ledger of connections."""

import asyncio
from typing import Any

import pytest

from agents.providers import registry
from agents.providers.base import (
    L16_8K,
    L16_16K,
    MULAW_8K,
    AudioFormat,
    Final,
    LlmDone,
    LlmEvent,
    LlmRequest,
    SpeechToText,
    TextDelta,
    ToolCall,
    ToolDefinition,
    UsageReport,
)
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.pools import Pools
from agents.providers.structured import complete_json
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
    script,
    voice_of,
)

pytestmark = pytest.mark.sandbox

__all__ = ["box", "pools"]  # fixtures


def text_of(events: list[LlmEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# --- language model ---


async def test_a_reply_with_a_tool_call_comes_through_the_sdk(box: Sandbox, pools: Pools) -> None:
    await script(box, {"text": "Good bye, café 🙂!", "tool_calls": [{"name": "end_call", "arguments": {"a": 1}}]})
    await fault(box, "split_utf8", "llm")
    tool = ToolDefinition(name="end_call", description="Ends", parameters={"type": "object", "properties": {}})
    events = await reply(luna(box, pools), LlmRequest(messages=HELLO.messages, tools=(tool,), cache_key="v1"))
    assert text_of(events) == "Good bye, café 🙂!"
    calls = [event for event in events if isinstance(event, ToolCall)]
    assert [(call.name, call.arguments.replace(" ", "")) for call in calls] == [("end_call", '{"a":1}')]
    usage = events[-2]
    assert isinstance(usage, UsageReport)
    assert not usage.estimated
    assert usage.output_tokens > 0
    assert events[-1] == LlmDone("tool_calls")
    (entry,) = await ledger(box, stage="llm")
    assert entry["reasoning_effort"] == "none"


async def test_a_compatible_server_is_spoken_to_without_openais_own_fields(box: Sandbox, pools: Pools) -> None:
    await script(box, {"text": "Hi."})
    llm = registry.language_model(account(box, "openai_compatible", "gpt-4o-mini"), pools=pools, clocks=FAST)
    assert text_of(await reply(llm)) == "Hi."
    (entry,) = await ledger(box, stage="llm")
    assert entry["reasoning_effort"] is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("refuse", ErrorKind.DROPPED),
        ("unauthorized", ErrorKind.UNAUTHORISED),
        ("server_error", ErrorKind.SERVER_ERROR),
        ("mid_stream_error", ErrorKind.SERVER_ERROR),
        ("quota_runs_out", ErrorKind.OUT_OF_CREDIT),
        ("stall", ErrorKind.STALLED),
        ("drop", ErrorKind.DROPPED),
        ("half_close", ErrorKind.DROPPED),
    ],
)
async def test_every_fault_of_a_language_model_is_named(
    kind: str, expected: ErrorKind, box: Sandbox, pools: Pools
) -> None:
    await fault(box, kind, "llm", after=2)
    with pytest.raises(ProviderError) as error:
        await reply(luna(box, pools))
    assert error.value.kind is expected
    assert len(await ledger(box, stage="llm")) == 1, "asked once"
    await reply(luna(box, pools))


async def test_what_a_provider_says_of_when_to_ask_again_comes_with_its_refusal(box: Sandbox, pools: Pools) -> None:
    await fault(box, "rate_limit", "llm")
    with pytest.raises(ProviderError) as error:
        await reply(luna(box, pools))
    assert error.value.retry_after == 0.02
    await fault(box, "system_busy", "llm")
    with pytest.raises(ProviderError) as error:
        await reply(luna(box, pools))
    assert error.value.retry_after is None


async def test_nonsense_in_a_reply_is_an_error_and_never_spoken(box: Sandbox, pools: Pools) -> None:
    await fault(box, "garbage", "llm", after=2)
    seen: list[LlmEvent] = []
    with pytest.raises(ProviderError) as error:
        async with luna(box, pools).stream(HELLO) as events:
            seen.extend([event async for event in events])
    assert error.value.kind in (ErrorKind.GARBAGE, ErrorKind.DROPPED)
    assert "html" not in text_of(seen)


async def test_a_structured_reply_fills_the_schema(box: Sandbox, pools: Pools) -> None:
    await script(box, {"text": '{"reason": "opening hours"}'})
    schema = {
        "type": "object",
        "properties": {"reason": {"type": "string"}},
        "required": ["reason"],
        "additionalProperties": False,
    }
    value, usage = await complete_json(luna(box, pools), LlmRequest(messages=HELLO.messages, json_schema=schema))
    assert value == {"reason": "opening hours"}
    assert usage.input_tokens > 0


# --- speech-to-text ---


def ears(box: Sandbox, pools: Pools, provider: str, codec: AudioFormat) -> SpeechToText:
    model = "scribe_v2_realtime" if provider == "elevenlabs" else "gpt-live-transcribe"
    return registry.speech_to_text(account(box, provider, model), pools=pools, clocks=FAST, codec=codec)


async def hear(stt: SpeechToText, milliseconds: int) -> int:
    for _ in range(milliseconds // 100):
        await stt.send(bytes(stt.input_format.bytes_per_ms * 100))
    return await stt.commit()


async def next_final(stt: SpeechToText) -> Final:
    async with asyncio.timeout(3):
        async for event in stt.events():
            if isinstance(event, Final):
                return event
    raise AssertionError("the session ended")


providers = pytest.mark.parametrize("provider", ["openai", "elevenlabs"])


@providers
@pytest.mark.parametrize("codec", [MULAW_8K, L16_8K, L16_16K])
async def test_commits_are_answered_in_every_codec(
    provider: str, codec: AudioFormat, box: Sandbox, pools: Pools
) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["one", "two", "three"]})
    stt = ears(box, pools, provider, codec)
    await stt.connect()
    for number, text in enumerate(("one", "two"), start=1):
        assert await hear(stt, 500) == number
        assert await next_final(stt) == Final(text, number)
    assert await stt.commit() == 3
    assert await next_final(stt) == Final("", 3), "nothing was said"
    assert await hear(stt, 200) == 4
    assert await next_final(stt) == Final("three", 4)
    await stt.close()
    (entry,) = await ledger(box, stage="stt")
    assert not entry.get("errors")


@providers
async def test_a_final_that_comes_twice_counts_once(provider: str, box: Sandbox, pools: Pools) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["one", "two"]})
    await fault(box, "duplicate_final", "stt")
    stt = ears(box, pools, provider, MULAW_8K)
    await stt.connect()
    await hear(stt, 500)
    assert await next_final(stt) == Final("one", 1)
    await asyncio.sleep(0.1)
    await hear(stt, 500)
    assert await next_final(stt) == Final("two", 2)
    await stt.close()


@providers
@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("unauthorized", {}, ErrorKind.UNAUTHORISED),
        ("server_error", {}, ErrorKind.SERVER_ERROR),
        ("refuse", {}, ErrorKind.DROPPED),
        ("quota_runs_out", {}, ErrorKind.OUT_OF_CREDIT),
        ("drop", {}, ErrorKind.DROPPED),
        ("close", {"code": 1011}, ErrorKind.SERVER_ERROR),
        ("close", {"code": 1006}, ErrorKind.DROPPED),
        ("garbage", {}, ErrorKind.GARBAGE),
    ],
)
async def test_every_fault_of_a_recogniser_is_named(
    kind: str, more: dict[str, Any], expected: ErrorKind, provider: str, box: Sandbox, pools: Pools
) -> None:
    await fault(box, kind, "stt", **more)
    stt = ears(box, pools, provider, MULAW_8K)

    async def use() -> None:
        await stt.connect()
        await hear(stt, 500)
        await next_final(stt)
        await next_final(stt)  # what was heard before may still come

    with pytest.raises(ProviderError) as error:
        await use()
    assert error.value.kind is expected
    await stt.close()


# --- text-to-speech ---


@pytest.mark.parametrize("transport", ["socket", "http"])
@pytest.mark.parametrize("codec", [MULAW_8K, L16_8K, L16_16K])
async def test_elevenlabs_speaks_the_lines_own_format(
    codec: AudioFormat, transport: str, box: Sandbox, pools: Pools
) -> None:
    config = account(
        box,
        "elevenlabs",
        "eleven_flash_v2_5",
        voice_id=await voice_of(box, pools),
        voice_settings={"stability": 0.5, "speed": 1.0},
        options={"transport": transport},
    )
    tts = registry.text_to_speech(config, pools=pools, clocks=FAST, codec=codec)
    assert tts.output_format == codec
    await tts.connect()
    utterance = tts.utterance()
    for text in ("Good morning.", "🙂", "How can I help?"):
        await utterance.say(text)
    await utterance.finish()
    chunks = await everything(utterance)
    usage = utterance.usage()
    assert usage.characters == len("Good morning.How can I help?")
    assert usage.audio_ms == sum(len(chunk.audio) for chunk in chunks) // codec.bytes_per_ms
    assert usage.audio_ms > 500
    words = [word for chunk in chunks for word in chunk.words]
    if transport == "socket":
        assert [word.text for word in words] == ["Good", "morning.", "How", "can", "I", "help?"]
        assert all(word.start_ms <= word.end_ms <= usage.audio_ms for word in words)
        assert [word.start_ms for word in words] == sorted(word.start_ms for word in words)
    await tts.close()


async def test_openais_voice_speaks_at_24_khz(box: Sandbox, pools: Pools) -> None:
    config = account(box, "openai", "gpt-4o-mini-tts", voice_id="marin")
    tts = registry.text_to_speech(config, pools=pools, clocks=FAST, codec=MULAW_8K)
    utterance = tts.utterance()
    await utterance.say("Good morning.")
    await utterance.finish()
    assert sum(len(chunk.audio) for chunk in await everything(utterance)) > 24000
    assert "2027-01-06" in await tts.check()


async def test_a_turn_after_interruptions_waits_for_nothing_that_nobody_will_hear(box: Sandbox, pools: Pools) -> None:
    """The provider counts a closed context among the five until it has made all of its audio, here for seconds."""
    await box.control.request("PATCH", "providers/latencies", {"tts_realtime_factor": 0.5})
    config = account(box, "elevenlabs", "eleven_flash_v2_5", voice_id=await voice_of(box, pools))
    tts = registry.text_to_speech(config, pools=pools, clocks=FAST, codec=MULAW_8K)
    await tts.connect()
    loop = asyncio.get_running_loop()
    waits = []
    for _ in range(5):
        began = loop.time()
        clauses = [tts.utterance(), tts.utterance()]
        for clause in clauses:
            await clause.say("I can certainly help you with that, on Tuesday in the morning, or else in the afternoon.")
        waits.append(loop.time() - began)
        await anext(clauses[0].chunks())
        await asyncio.gather(*(clause.cancel() for clause in clauses))
        await asyncio.sleep(0.1)  # the caller speaks
    assert max(waits) < 0.15
    await tts.close()
    sockets = [entry for entry in await ledger(box, stage="tts") if entry["kind"] == "ws"]
    assert not any(socket.get("errors") for socket in sockets)


@pytest.mark.parametrize(
    ("kind", "more", "expected"),
    [
        ("unauthorized", {}, ErrorKind.UNAUTHORISED),
        ("quota_runs_out", {}, ErrorKind.OUT_OF_CREDIT),
        ("quota_runs_out", {"after": 1}, ErrorKind.OUT_OF_CREDIT),
        ("close", {"code": 1011, "count": 2}, ErrorKind.SERVER_ERROR),
        ("drop", {"count": 2}, ErrorKind.DROPPED),
        ("drop", {"after": 1}, ErrorKind.DROPPED),
        ("stall", {}, ErrorKind.TIMEOUT),
        ("never_final", {}, ErrorKind.STALLED),
    ],
)
async def test_every_fault_of_a_voice_is_named(
    kind: str, more: dict[str, Any], expected: ErrorKind, box: Sandbox, pools: Pools
) -> None:
    config = account(box, "elevenlabs", "eleven_flash_v2_5", voice_id=await voice_of(box, pools))
    await fault(box, kind, "tts", **more)
    tts = registry.text_to_speech(config, pools=pools, clocks=FAST, codec=MULAW_8K)
    utterance = tts.utterance()
    await utterance.say("Good morning to you.")
    await utterance.finish()
    with pytest.raises(ProviderError) as error:
        await everything(utterance)
    assert error.value.kind is expected
    await tts.close()

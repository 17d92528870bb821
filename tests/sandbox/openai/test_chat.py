"""The chat endpoint through the openai SDK: streams, tools, structured output, refusals, every broken stream."""

import asyncio
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from sandbox.testing import Sandbox

pytestmark = pytest.mark.sandbox

ASK: list[Any] = [{"role": "user", "content": "Tell me about the office."}]
END_CALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "end_call",
        "description": "Ends the call",
        "parameters": {"type": "object", "properties": {"goodbye": {"type": "string"}}},
    },
}


async def fault(box: Sandbox, kind: str, **options: Any) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": "llm", **options})


async def last_entry(box: Sandbox) -> dict[str, Any]:
    return (await box.control.request("GET", "providers/ledger", stage="llm"))["entries"][-1]


async def text_of(stream: openai.AsyncStream[Any]) -> str:
    async with stream:
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def start(client: AsyncOpenAI, **more: Any) -> openai.AsyncStream[Any]:
    options = {"model": "gpt-6-luna", "reasoning_effort": "none", "messages": ASK, **more}
    return await client.chat.completions.create(stream=True, **options)


async def test_a_stream_gives_the_scripted_text_then_the_reason_then_the_usage(
    box: Sandbox, client: AsyncOpenAI
) -> None:
    await box.control.request("POST", "providers/replies", {"replies": [{"text": "Naïve café, 40 €."}]})
    chunks = [chunk async for chunk in await start(client, stream_options={"include_usage": True})]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Naïve café, 40 €."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == len([chunk for chunk in chunks if chunk.choices]) - 2
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_a_default_reply_answers_every_request_that_has_none_of_its_own(
    box: Sandbox, client: AsyncOpenAI
) -> None:
    own = {"replies": [{"text": "Good morning."}], "default": "Yes, we can."}
    await box.control.request("POST", "providers/replies", own)
    replies = [await client.chat.completions.create(model="gpt-4.1-mini", messages=ASK) for _ in range(3)]
    assert [reply.choices[0].message.content for reply in replies] == ["Good morning.", "Yes, we can.", "Yes, we can."]


async def test_tool_calls_come_in_pieces_that_join_by_index(box: Sandbox, client: AsyncOpenAI) -> None:
    call = {"name": "end_call", "arguments": {"goodbye": "Bye, Anna!"}}
    await box.control.request("POST", "providers/replies", {"replies": [{"tool_calls": [call]}]})
    parts = [chunk.choices[0] async for chunk in await start(client, tools=[END_CALL])]
    calls = [part.delta.tool_calls[0] for part in parts if part.delta.tool_calls]
    assert calls[0].id
    assert calls[0].function.name == "end_call"
    assert all(call.id is None for call in calls[1:])
    assert "".join(call.function.arguments for call in calls) == '{"goodbye": "Bye, Anna!"}'
    assert parts[-1].finish_reason == "tool_calls"


async def test_the_same_question_gets_the_same_generated_answer(client: AsyncOpenAI) -> None:
    assert await text_of(await start(client)) == await text_of(await start(client)) != ""


async def test_max_completion_tokens_cuts_the_answer(client: AsyncOpenAI) -> None:
    reply = await client.chat.completions.create(
        model="gpt-6-luna", reasoning_effort="none", messages=ASK, max_completion_tokens=3
    )
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 3


class Form(BaseModel):
    summary: str
    success: bool
    day: str | None
    name: str | None
    budget: float | None


async def test_the_scripted_model_fills_a_form_from_the_transcript(demo: AsyncOpenAI) -> None:
    transcript = """Transcript of the call:
    Agent: Hello, this is Rowan Dental. How can I help you?
    Caller: hello i would like to book an appointment
    Agent: Which day would suit you?
    Caller: tuesday morning please
    Caller: wait sorry i meant wednesday
    Agent: May I have your name, please?
    Caller: my name is anna miller
    Caller: no thank you goodbye"""
    reply = await demo.chat.completions.parse(
        model="demo-script", messages=[{"role": "user", "content": transcript}], response_format=Form
    )
    form = reply.choices[0].message.parsed
    assert form == Form(
        summary="Anna Miller booked an appointment for Wednesday morning.",
        success=True,
        day="Wednesday morning",
        name="Anna Miller",
        budget=None,
    )
    assert reply.system_fingerprint == "fp_sandbox_scripted_front_desk"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"model": "gpt-99"}, 404, "model_not_found"),
        ({"model": "gpt-transcribe"}, 400, "unsupported_model"),
        ({"messages": []}, 400, "empty_array"),
        ({"extra_body": {"speed": 2}}, 400, "unknown_parameter"),
        ({"reasoning_effort": "huge"}, 400, "invalid_value"),
        ({"max_tokens": 10}, 400, "unsupported_parameter"),
        ({"temperature": 0.2, "reasoning_effort": "low"}, 400, "unsupported_value"),
        ({"tools": [END_CALL], "reasoning_effort": "low"}, 400, "unsupported_value"),
        ({"tool_choice": "auto"}, 400, None),
        ({"stream_options": {"include_usage": True}}, 400, None),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "1"}]}, 400, None),
        ({"messages": [{"role": "user", "content": None}]}, 400, None),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "object", "properties": {}}},
                }
            },
            400,
            None,
        ),
    ],
)
async def test_what_the_vendor_refuses_is_refused(
    client: AsyncOpenAI, change: dict[str, Any], status: int, code: str | None
) -> None:
    request: dict[str, Any] = {"model": "gpt-6-luna", "reasoning_effort": "none", "messages": ASK, **change}
    with pytest.raises(openai.APIStatusError) as refused:
        await client.chat.completions.create(**request)
    assert refused.value.status_code == status
    assert refused.value.code == code
    assert refused.value.request_id


async def test_a_wrong_key_and_an_unknown_scenario_are_refused(client_of: Any) -> None:
    for key in ("nonsense", "demo-no_such_scenario"):
        with pytest.raises(openai.AuthenticationError) as refused:
            await client_of(key).models.list()
        assert refused.value.code == "invalid_api_key"
        assert key not in str(refused.value)


async def test_a_revoked_key_is_refused(box: Sandbox, client: AsyncOpenAI) -> None:
    await client.models.list()
    await box.control.request("POST", "providers/keys", {"revoked": ["test-key"]})
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()


async def test_models_tell_when_they_end(client: AsyncOpenAI) -> None:
    models = {model.id: model async for model in client.models.list()}
    assert models["gpt-4o-mini-tts"].shutdown_date == "2027-01-06"
    assert models["gpt-6-luna"].shutdown_date is None
    assert (await client.models.retrieve("demo-script")).owned_by == "sandbox-scripted"


@pytest.mark.parametrize(
    ("kind", "error", "code"),
    [
        ("refuse", openai.APIConnectionError, None),
        ("unauthorized", openai.AuthenticationError, "invalid_api_key"),
        ("rate_limit", openai.RateLimitError, "rate_limit_exceeded"),
        ("insufficient_quota", openai.RateLimitError, "insufficient_quota"),
        ("server_error", openai.InternalServerError, None),
        ("system_busy", openai.InternalServerError, None),
    ],
)
async def test_a_refusal_hits_one_request_and_then_it_works_again(
    box: Sandbox, client: AsyncOpenAI, kind: str, error: type[openai.APIError], code: str | None
) -> None:
    await fault(box, kind)
    with pytest.raises(error) as refused:
        await text_of(await start(client))
    assert refused.value.code == code
    assert await text_of(await start(client))


@pytest.mark.parametrize("kind", ["drop", "half_close", "garbage", "mid_stream_error"])
async def test_a_stream_that_breaks_raises_after_what_had_arrived(box: Sandbox, client: AsyncOpenAI, kind: str) -> None:
    await fault(box, kind, after=5)
    got: list[str] = []
    with pytest.raises((openai.OpenAIError, ValueError)):  # the SDK lets a UnicodeDecodeError through for garbage
        async for chunk in await start(client):
            got.append(chunk.choices[0].delta.content or "")
    assert len([piece for piece in got if piece]) == 5


async def test_a_stalled_stream_stays_open_and_silent(box: Sandbox, client: AsyncOpenAI) -> None:
    await fault(box, "stall", after=3)
    stream = await start(client)
    got: list[Any] = []

    async def read() -> None:
        async for chunk in stream:
            got.append(chunk)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(read(), 0.4)
    assert len(got) == 4
    await stream.close()


@pytest.mark.parametrize("kind", ["split_utf8", "unknown_messages"])
async def test_an_odd_but_legal_stream_is_read_whole(box: Sandbox, client: AsyncOpenAI, kind: str) -> None:
    await box.control.request("POST", "providers/replies", {"replies": [{"text": "Größe 😀 é"}]})
    await fault(box, kind)
    assert await text_of(await start(client)) == "Größe 😀 é"


async def test_leaving_the_stream_is_noticed_at_once(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("PATCH", "providers/latencies", {"llm_tokens_per_s": 1})
    async with await start(client) as stream:
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    for _ in range(50):
        entry = await last_entry(box)
        if entry["cancelled"]:
            break
        await asyncio.sleep(0.02)
    assert entry["cancelled"]
    assert entry["tokens_sent"] < 5


async def test_the_first_token_waits_as_long_as_it_is_told(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("PATCH", "providers/latencies", {"llm_first_token_ms": 3000})
    begun = asyncio.get_running_loop().time()
    await text_of(await start(client))
    assert asyncio.get_running_loop().time() - begun >= 0.3  # scale 0.1


async def test_the_ledger_counts_connections_and_requests(box: Sandbox, client: AsyncOpenAI) -> None:
    await text_of(await start(client))
    await text_of(await start(client))
    seen = await box.control.request("GET", "providers/ledger")
    assert seen["connections"] == {"openai": 1, "elevenlabs": 0}
    assert seen["requests"] == {"openai": 2, "elevenlabs": 0}
    await box.control.request("POST", "providers/reset", {})
    assert (await box.control.request("GET", "providers/ledger"))["requests"]["openai"] == 0

"""Replies over Chat Completions: the request, the stream in good and bad forms, cancellation, kept connections."""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from agents.providers.base import (
    Clocks,
    LlmDone,
    LlmEvent,
    LlmRequest,
    Message,
    ProviderConfig,
    TextDelta,
    ToolCall,
    ToolDefinition,
    UsageReport,
)
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.openai_llm import OpenAiLanguageModel
from agents.providers.openai_messages import chat_body
from agents.providers.pools import Pools
from agents.providers.structured import complete_json
from tests.agents.providers.vendor import KEY, Vendor, chunk, sse, streaming

PATH = "/v1/chat/completions"
HELLO = LlmRequest(messages=(Message(role="system", content="Be brief."), Message(role="user", content="Hello?")))
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 8},
}
GOOD = sse(
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hi "}),
    chunk({"content": "there."}),
    chunk(finish="stop"),
    chunk() | {"choices": [], "usage": USAGE},
    "[DONE]",
)


def config(vendor: Vendor, **more: Any) -> ProviderConfig:
    fields = {"provider": "openai", "api_key": KEY, "model": "gpt-6-luna", "account_id": "a1"} | more
    return ProviderConfig(base_url=f"{vendor.url}/v1", **fields)


def model(vendor: Vendor, pools: Pools, clocks: Clocks, **more: Any) -> OpenAiLanguageModel:
    return OpenAiLanguageModel(config(vendor, **more), pools=pools, clocks=clocks)


async def reply(llm: OpenAiLanguageModel, request: LlmRequest = HELLO) -> list[LlmEvent]:
    async with llm.stream(request) as events:
        return [event async for event in events]


async def failure(llm: OpenAiLanguageModel, request: LlmRequest = HELLO) -> tuple[ProviderError, list[LlmEvent]]:
    seen: list[LlmEvent] = []
    try:
        async with llm.stream(request) as events:
            async for event in events:
                seen.append(event)
    except ProviderError as error:
        return error, seen
    raise AssertionError("no error")


# --- the request ---


@pytest.mark.pure
def test_openai_gets_what_keeps_a_call_fast_and_private() -> None:
    tool = ToolDefinition(name="end_call", description="Ends", parameters={"type": "object", "properties": {}})
    call = ToolCall(id="c1", name="end_call", arguments="{}")
    request = LlmRequest(
        messages=(
            Message(role="user", content="Bye"),
            Message(role="assistant", tool_calls=(call,)),
            Message(role="tool", tool_call_id="c1", content="ok"),
        ),
        tools=(tool,),
        cache_key="v7",
        max_tokens=99,
    )
    body = chat_body(ProviderConfig(provider="openai", base_url="u", api_key="k", model="gpt-6-luna"), request)
    assert body == {
        "model": "gpt-6-luna",
        "messages": [
            {"role": "user", "content": "Bye"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "end_call", "arguments": "{}"}}],
            },
            {"role": "tool", "content": "ok", "tool_call_id": "c1"},
        ],
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
        "tools": [
            {
                "type": "function",
                "function": {"name": "end_call", "description": "Ends", "parameters": tool.parameters},
            }
        ],
        "max_completion_tokens": 99,
        "reasoning_effort": "none",
        "store": False,
        "prompt_cache_key": "v7",
    }


@pytest.mark.pure
def test_another_server_gets_only_what_all_of_them_take_and_the_options() -> None:
    settings = ProviderConfig(
        provider="openai_compatible", base_url="u", api_key="", model="llama", options={"temperature": 0.2}
    )
    body = chat_body(settings, HELLO)
    assert set(body) == {"model", "messages", "stream", "stream_options", "max_tokens", "temperature"}
    assert body["stream_options"] == {"include_usage": True}


@pytest.mark.pure
def test_options_win_over_defaults_but_cannot_break_the_protocol() -> None:
    options = {"reasoning_effort": "low", "max_tokens_field": "max_tokens", "include_usage": False}
    settings = ProviderConfig(provider="openai", base_url="u", api_key="k", model="m", options=options)
    body = chat_body(settings, HELLO)
    assert body["reasoning_effort"] == "low"
    assert body["max_tokens"] == 600
    assert not {"stream_options", "max_tokens_field", "include_usage", "max_completion_tokens"} & set(body)
    with pytest.raises(ProviderError) as error:
        chat_body(ProviderConfig(provider="openai", base_url="u", api_key="k", model="m", options={"n": 3}), HELLO)
    assert error.value.kind is ErrorKind.BAD_REQUEST


# --- the stream ---


@pytest.mark.sandbox
async def test_a_reply_gives_text_then_usage_then_its_end(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.on("POST", PATH, streaming(GOOD))
    events = await reply(model(vendor, pools, clocks))
    assert events[:2] == [TextDelta("Hi "), TextDelta("there.")]
    usage, done = events[2:]
    assert isinstance(usage, UsageReport)
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.estimated) == (12, 8, 3, False)
    assert (usage.stage, usage.account_id, usage.model, usage.error) == ("llm", "a1", "gpt-6-luna", "")
    assert usage.first_ms is not None
    assert done == LlmDone("stop")


@pytest.mark.sandbox
async def test_utf8_cut_anywhere_arrives_whole(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    raw = (
        sse(chunk({"content": "café 🙂"}), chunk(finish="stop"), "[DONE]")
        .replace(b"\\u00e9", "é".encode())
        .replace(b"\\ud83d\\ude42", "🙂".encode())
    )
    vendor.on("POST", PATH, streaming(*(raw[at : at + 1] for at in range(len(raw)))))
    events = await reply(model(vendor, pools, clocks))
    assert events[0] == TextDelta("café 🙂")


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "pieces",
    [
        # as OpenAI: by index, id and name once, two calls interleaved
        [
            {"index": 0, "id": "a", "function": {"name": "one", "arguments": ""}},
            {"index": 1, "id": "b", "function": {"name": "two", "arguments": "{"}},
            {"index": 0, "function": {"arguments": '{"x":1}'}},
            {"index": 1, "function": {"arguments": "}"}},
        ],
        # without an index
        [
            {"id": "a", "function": {"name": "one", "arguments": '{"x"'}},
            {"function": {"arguments": ":1}"}},
            {"id": "b", "function": {"name": "two", "arguments": "{}"}},
        ],
        # every call with index 0, the id repeated
        [
            {"index": 0, "id": "a", "function": {"name": "one", "arguments": '{"x"'}},
            {"index": 0, "id": "a", "function": {"name": "one", "arguments": ":1}"}},
            {"index": 0, "id": "b", "function": {"name": "two", "arguments": ""}},
        ],
    ],
)
async def test_tool_calls_are_put_together_whatever_the_server_leaves_out(
    pieces: list[dict[str, Any]], vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    deltas = [chunk({"tool_calls": [piece]}) for piece in pieces]
    vendor.on("POST", PATH, streaming(sse(*deltas, chunk(finish="tool_calls"), "[DONE]")))
    events = await reply(model(vendor, pools, clocks))
    assert events[:2] == [
        ToolCall(id="a", name="one", arguments='{"x":1}'),
        ToolCall(id="b", name="two", arguments="{}"),
    ]
    assert events[-1] == LlmDone("tool_calls")


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("pieces", "heard"),
    [
        (["<think>Hm, who is", " this?</think>\n\n", "Hello."], "\n\nHello."),
        (["\n<th", "ink>Hm.</thi", "nk>Hel", "lo."], "Hello."),
        (["<think></think>", "<think>Hm.</think>Hello."], "Hello."),
        (["<think>Hm, and so on"], ""),
        (["<", "3 is less than 4."], "<3 is less than 4."),
        (["<thin"], "<thin"),
        (["A tag is written <think>, and closed by </think>."], "A tag is written <think>, and closed by </think>."),
    ],
)
async def test_a_model_that_thinks_aloud_is_heard_only_when_it_has_thought(
    pieces: list[str], heard: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    deltas = [chunk({"content": piece}) for piece in pieces]
    vendor.on("POST", PATH, streaming(sse(*deltas, chunk(finish="stop"), "[DONE]")))
    events = await reply(model(vendor, pools, clocks))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == heard


@pytest.mark.sandbox
async def test_a_refusal_is_spoken_like_any_text(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.on("POST", PATH, streaming(sse(chunk({"refusal": "I cannot."}), chunk(finish="stop"), "[DONE]")))
    assert (await reply(model(vendor, pools, clocks)))[0] == TextDelta("I cannot.")


@pytest.mark.sandbox
async def test_without_a_count_the_usage_is_estimated(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.on("POST", PATH, streaming(sse(chunk({"content": "x" * 40}), chunk(finish="stop"), "[DONE]")))
    usage = (await reply(model(vendor, pools, clocks)))[1]
    assert isinstance(usage, UsageReport)
    assert (usage.estimated, usage.output_tokens) == (True, 10)


@pytest.mark.sandbox
async def test_a_count_that_never_comes_does_not_hold_up_the_end(vendor: Vendor, pools: Pools) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(sse(chunk({"content": "Hi"}), chunk(finish="stop")))
        await asyncio.sleep(60)
        return response

    vendor.on("POST", PATH, handler)
    events = await reply(model(vendor, pools, Clocks(connect=1, first=1, stall=0.05, total=5)))
    assert events[-1] == LlmDone("stop")


BROKEN = sse(chunk({"content": "Hi"}))


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (sse({"error": {"message": "boom", "type": "server_error", "code": None}}), ErrorKind.SERVER_ERROR),
        (sse({"error": {"message": "no", "type": "x", "code": "insufficient_quota"}}), ErrorKind.OUT_OF_CREDIT),
        (b"data: {nonsense\n\n", ErrorKind.GARBAGE),
        (b"data: \xff\xfe\n\n", ErrorKind.GARBAGE),
        (b"<html>Welcome</html>", ErrorKind.GARBAGE),
        (sse("[DONE]"), ErrorKind.GARBAGE),
        (BROKEN, ErrorKind.DROPPED),
    ],
)
async def test_an_answer_that_goes_wrong_is_named(
    answer: bytes, kind: ErrorKind, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.on("POST", PATH, streaming(answer))
    error, _ = await failure(model(vendor, pools, clocks))
    assert error.kind is kind
    assert (error.provider, error.stage) == ("openai", "llm")


@pytest.mark.sandbox
async def test_what_came_before_a_break_is_given_and_the_break_is_accounted(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(BROKEN)
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    vendor.on("POST", PATH, handler)
    seen: list[LlmEvent] = []
    async with model(vendor, pools, clocks).stream(HELLO) as events:
        seen.append(await anext(events))
        with pytest.raises(ProviderError) as error:
            await anext(events)
        usage = events.usage()
    assert error.value.kind is ErrorKind.DROPPED
    assert seen == [TextDelta("Hi")]
    assert (usage.error, usage.estimated) == ("dropped", True)


@pytest.mark.sandbox
@pytest.mark.parametrize(("after_text", "kind"), [(False, ErrorKind.TIMEOUT), (True, ErrorKind.STALLED)])
async def test_a_silent_provider_runs_into_a_clock(
    after_text: bool, kind: ErrorKind, vendor: Vendor, pools: Pools
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if after_text:
            await response.write(BROKEN)
        await asyncio.sleep(60)
        return response

    vendor.on("POST", PATH, handler)
    error, _ = await failure(model(vendor, pools, Clocks(connect=1, first=0.1, stall=0.1, total=5)))
    assert error.kind is kind
    await asyncio.wait_for(vendor.cancelled.wait(), 2)


@pytest.mark.sandbox
async def test_an_address_without_a_server_is_refused(pools: Pools, clocks: Clocks) -> None:
    settings = ProviderConfig(provider="openai", base_url="http://127.0.0.1:9/v1", api_key=KEY, model="m")
    error, _ = await failure(OpenAiLanguageModel(settings, pools=pools, clocks=clocks))
    assert error.kind is ErrorKind.REFUSED
    await OpenAiLanguageModel(settings, pools=pools, clocks=clocks).warm()


@pytest.mark.sandbox
async def test_a_refused_request_is_made_once(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "slow down", "type": "requests"}}, status=429)

    vendor.on("POST", PATH, handler)
    error, _ = await failure(model(vendor, pools, clocks))
    assert error.kind is ErrorKind.RATE_LIMITED
    assert error.detail == "HTTP 429: slow down"
    assert vendor.requests.count(f"POST {PATH}") == 1


@pytest.mark.pure
async def test_openai_itself_is_not_asked_without_a_key(clocks: Clocks) -> None:
    settings = ProviderConfig(provider="openai", base_url="http://x/v1", api_key="", model="m")
    async with Pools() as pools:
        with pytest.raises(ProviderError) as error:
            OpenAiLanguageModel(settings, pools=pools, clocks=clocks)
    assert error.value.kind is ErrorKind.UNAUTHORISED


# --- connections ---


def endless(vendor: Vendor) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        while True:
            await response.write(BROKEN)
            await asyncio.sleep(0.01)

    async def one_model(request: web.Request) -> web.StreamResponse:
        return web.json_response({"id": "gpt-6-luna", "object": "model", "created": 1, "owned_by": "x"})

    vendor.on("POST", PATH, handler)
    vendor.on("GET", "/v1/models/gpt-6-luna", one_model)


@pytest.mark.sandbox
async def test_a_reply_that_is_left_early_says_what_it_cost(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    endless(vendor)
    async with model(vendor, pools, clocks).stream(HELLO) as events:
        async for _ in events:
            break
    usage = events.usage()
    assert usage.estimated
    assert usage.output_tokens >= 1
    assert usage.input_tokens == 5
    await asyncio.wait_for(vendor.cancelled.wait(), 1)


@pytest.mark.sandbox
@pytest.mark.parametrize("ends", ["cancelled", "timeout"])
async def test_a_reply_that_ends_before_its_first_byte_was_asked_for_all_the_same(
    ends: str, vendor: Vendor, pools: Pools
) -> None:
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.sleep(60)
        return web.Response()

    vendor.on("POST", PATH, handler)
    llm = model(vendor, pools, Clocks(first=0.2 if ends == "timeout" else 5))
    usage: list[UsageReport] = []

    async def read() -> None:
        async with llm.stream(HELLO) as events:
            try:
                await anext(events)
            finally:
                usage.append(events.usage())

    task = asyncio.create_task(read())
    await asyncio.wait_for(asked.wait(), 2)
    if ends == "cancelled":
        task.cancel()
    await asyncio.wait([task], timeout=2)
    assert task.cancelled() if ends == "cancelled" else isinstance(task.exception(), ProviderError)
    (report,) = usage
    assert (report.input_tokens, report.output_tokens, report.estimated) == (5, 0, True)
    assert report.error == ("" if ends == "cancelled" else "timeout")
    await asyncio.wait_for(vendor.cancelled.wait(), 2)


@pytest.mark.sandbox
@pytest.mark.parametrize("why", ["turned down", "no server"])
async def test_a_request_that_was_not_taken_costs_nothing(
    why: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"message": "slow down", "type": "requests"}}, status=429)

    vendor.on("POST", PATH, handler)
    base_url = f"{vendor.url}/v1" if why == "turned down" else "http://127.0.0.1:9/v1"
    settings = ProviderConfig(provider="openai", base_url=base_url, api_key=KEY, model="m")
    async with OpenAiLanguageModel(settings, pools=pools, clocks=clocks).stream(HELLO) as events:
        with pytest.raises(ProviderError) as error:
            await anext(events)
        usage = events.usage()
    assert (usage.input_tokens, usage.estimated) == (0, False)
    assert usage.error == error.value.kind.value


@pytest.mark.sandbox
async def test_turns_share_a_connection_across_adapters_of_one_account(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.on("POST", PATH, streaming(GOOD))
    await model(vendor, pools, clocks).warm()
    for _ in range(3):
        await reply(model(vendor, pools, clocks))
    assert len(vendor.connections) == 1


@pytest.mark.slow
async def test_a_connection_outlives_a_callers_long_sentence(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.on("POST", PATH, streaming(GOOD))
    await reply(model(vendor, pools, clocks))
    await asyncio.sleep(6)
    await reply(model(vendor, pools, clocks))
    assert len(vendor.connections) == 1


# --- check and structured replies ---


def listing(*models: dict[str, Any]) -> Any:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": list(models)})

    return handler


@pytest.mark.sandbox
async def test_the_check_says_until_when_the_model_is_there(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.on("GET", "/v1/models", listing({"id": "gpt-6-luna", "shutdown_date": "2028-01-31"}, {"id": "b"}))
    vendor.on("POST", PATH, streaming(sse(chunk({"content": "OK"}), chunk(finish="length"), "[DONE]")))
    assert await model(vendor, pools, clocks).check() == "Connected; model gpt-6-luna is available until 2028-01-31."
    assert await model(vendor, pools, clocks, model="").check() == "Connected; 2 models."


@pytest.mark.sandbox
@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"[]", b'{"data": [1]}', b'{"data": null}'])
async def test_a_web_page_is_not_taken_for_a_list_of_models(
    answer: bytes, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    kind = "text/html" if answer.startswith(b"<") else "application/json"
    vendor.on("GET", "/v1/models", streaming(answer, content_type=kind))
    with pytest.raises(ProviderError) as error:
        await model(vendor, pools, clocks, model="").check()
    assert error.value.kind is ErrorKind.GARBAGE


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.sandbox
@pytest.mark.parametrize("text", ['{"a": 1}', ' {"a": 1}\n', '```json\n{"a": 1}\n```'])
async def test_a_structured_reply_is_an_object_with_its_cost(
    text: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    bodies: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        bodies.append(json.loads(await request.read()))
        return await streaming(
            sse(chunk({"content": text}), chunk(finish="stop"), chunk() | {"choices": [], "usage": USAGE}, "[DONE]")
        )(request)

    vendor.on("POST", PATH, handler)
    request = LlmRequest(messages=HELLO.messages, json_schema=SCHEMA)
    value, usage = await complete_json(model(vendor, pools, clocks), request)
    assert value == {"a": 1}
    assert usage.output_tokens == 3
    assert bodies[0]["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("text", "finish", "kind"),
    [
        ("I think", "stop", ErrorKind.GARBAGE),
        ("[1]", "stop", ErrorKind.GARBAGE),
        ('{"a": 1}', "length", ErrorKind.GARBAGE),
        ("", "content_filter", ErrorKind.CONTENT_FILTER),
    ],
)
async def test_a_structured_reply_that_is_no_object_fails(
    text: str, finish: str, kind: ErrorKind, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.on("POST", PATH, streaming(sse(chunk({"content": text}), chunk(finish=finish), "[DONE]")))
    with pytest.raises(ProviderError) as error:
        await complete_json(model(vendor, pools, clocks), HELLO)
    assert error.value.kind is kind

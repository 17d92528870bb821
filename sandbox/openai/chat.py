"""POST /v1/chat/completions: JSON or server-sent events, with tool calls, usage and all ways to break a stream."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from typing import Any

from aiohttp import web

from sandbox import provider_wire
from sandbox.openai import chat_rules
from sandbox.openai.errors import NO_QUOTA, enter, headers
from sandbox.openai.thinker import Answer, answer, tokens_of
from sandbox.provider_wire import wait_or_gone
from sandbox.providers_state import KINDS, REFUSALS, STATE, Entry, Fault

_BREAKS = frozenset({"stall", "garbage", "half_close", "drop", "mid_stream_error", "quota_runs_out"})


async def complete(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Answer one chat request. Raises OpenAIError, BrokenOffError or ConnectionResetError."""
    started = time.monotonic()
    key = await enter(request, "llm", entry)
    state = request.app[STATE]
    body = await provider_wire.json_body(request)
    model = chat_rules.check(body)
    reply = answer(body, key, state.scripts)
    stream = bool(body.get("stream"))
    entry.note(
        model=model.id,
        stream=stream,
        messages=len(body["messages"]),
        last=str(body["messages"][-1].get("content") or "")[:200],
        said=[str(each.get("content") or "")[:200] for each in body["messages"] if each["role"] == "assistant"],
        tools=[tool["function"]["name"] for tool in body.get("tools") or ()],
        reasoning_effort=body.get("reasoning_effort"),
        tokens_sent=0,
        cancelled=False,
    )
    fault = state.take_fault("openai", "llm", KINDS["llm"] - REFUSALS)
    if fault is not None:
        entry.note(fault=fault.kind)
    latencies = state.latencies
    delay = fault.delay_ms if fault is not None and fault.kind == "slow_first_byte" else latencies.llm_first_token_ms
    try:
        await wait_or_gone(state, request, delay)
        if not stream:
            if latencies.llm_tokens_per_s:
                await wait_or_gone(state, request, reply.completion_tokens / latencies.llm_tokens_per_s * 1000)
            return await _whole(request, body, reply, fault, started)
        return await _Stream(request, body, reply, fault, entry).send(started)
    except ConnectionResetError:
        entry.note(cancelled=True)
        raise


def _usage(reply: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "total_tokens": reply.prompt_tokens + reply.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


async def _whole(
    request: web.Request, body: dict[str, Any], reply: Answer, fault: Fault | None, started: float
) -> web.StreamResponse:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None, "annotations": []}
    if reply.calls:
        message["tool_calls"] = [
            {"id": identity, "type": "function", "function": {"name": name, "arguments": arguments}}
            for identity, name, arguments in reply.calls
        ]
    content = {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reply.finish}],
        "usage": _usage(reply),
        "service_tier": "default",
        "system_fingerprint": reply.fingerprint,
    }
    raw = json.dumps(content, ensure_ascii=False).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", **headers(started)})
    response.content_length = len(raw)
    await response.prepare(request)
    if fault is not None and fault.kind in _BREAKS:
        await response.write(raw[: len(raw) // 2])
        await provider_wire.break_stream(request, response, fault)
    await response.write(raw)
    await response.write_eof()
    return response


class _Stream:
    """One answer as server-sent events."""

    def __init__(
        self, request: web.Request, body: dict[str, Any], reply: Answer, fault: Fault | None, entry: Entry
    ) -> None:
        self._request = request
        self._body = body
        self._reply = reply
        self._fault = fault
        self._entry = entry
        self._response = web.StreamResponse()
        options = body.get("stream_options") or {}
        self._with_usage = bool(options.get("include_usage"))
        self._obfuscate = options.get("include_obfuscation", True)
        self._frame = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": int(time.time()),
            "model": body["model"],
            "service_tier": "default",
            "system_fingerprint": reply.fingerprint,
        }
        self._sent = 0

    async def send(self, started: float) -> web.StreamResponse:
        """Send it all, at the pace that is set."""
        self._response.headers.update({"Content-Type": "text/event-stream; charset=utf-8", **headers(started)})
        await self._response.prepare(self._request)
        await self._delta(
            {"role": "assistant", "content": None if self._reply.calls and not self._reply.tokens else ""}
        )
        pace = self._request.app[STATE].latencies.llm_tokens_per_s
        begun = time.monotonic()
        for delta in self._deltas():
            if pace:
                due = begun + self._sent / pace * self._request.app[STATE].scale
                await wait_or_gone(self._request.app[STATE], self._request, 0)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            if await self._break_if_due():
                return self._response
            await self._delta(delta)
            self._sent += 1
            self._entry.note(tokens_sent=self._sent)
        if await self._break_if_due(at_end=True):
            return self._response
        await self._delta({}, finish=self._reply.finish)
        if self._with_usage:
            await self._event({**self._frame, "choices": [], "usage": _usage(self._reply)})
        await self._write("data: [DONE]\n\n")
        await self._response.write_eof()
        return self._response

    def _deltas(self) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = [{"content": token} for token in self._reply.tokens]
        for index, (identity, name, arguments) in enumerate(self._reply.calls):
            function: dict[str, Any] = {"name": name, "arguments": ""}
            deltas.append({"tool_calls": [{"index": index, "id": identity, "type": "function", "function": function}]})
            deltas += [
                {"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in tokens_of(arguments)
            ]
        return deltas

    async def _break_if_due(self, *, at_end: bool = False) -> bool:
        """Whether the answer ended early, in an orderly way. Raises BrokenOffError when it did not."""
        fault = self._fault
        if fault is None or fault.kind not in _BREAKS or (self._sent < fault.after and not at_end):
            return False
        if fault.kind in ("mid_stream_error", "quota_runs_out"):
            error = NO_QUOTA.body
            if fault.kind == "mid_stream_error":
                message = "The server had an error processing your request."
                error = {"message": message, "type": "server_error", "code": None}
            await self._write(f"data: {json.dumps({'error': error})}\n\n")
            await self._response.write_eof()
            return True
        await provider_wire.break_stream(self._request, self._response, fault)
        return True

    async def _delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        chunk = {**self._frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        if self._with_usage:
            chunk["usage"] = None
        if self._obfuscate:
            chunk["obfuscation"] = secrets.token_urlsafe(6)
        await self._event(chunk)
        if self._fault is not None and self._fault.kind == "unknown_messages":
            await self._write(": keep-alive\n\n")
            await self._event({**self._frame, "choices": [], "x_new_field": {"of": "tomorrow"}})

    async def _event(self, content: dict[str, Any]) -> None:
        await self._write(f"data: {json.dumps(content, ensure_ascii=False)}\n\n")

    async def _write(self, text: str) -> None:
        raw = text.encode()
        if self._fault is None or self._fault.kind != "split_utf8":
            await self._response.write(raw)
            return
        wide = next((index for index, byte in enumerate(raw) if byte >= 0x80), len(raw) // 2)
        await self._response.write(raw[: wide + 1])
        await asyncio.sleep(0.005)
        await self._response.write(raw[wide + 1 :])

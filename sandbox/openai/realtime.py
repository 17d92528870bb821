"""WebSocket /v1/realtime?intent=transcription: live transcription, committed by the client or the server."""

from __future__ import annotations

import asyncio
import base64
import binascii
import itertools
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web

from sandbox import provider_wire
from sandbox.ears import Ear, open_ear
from sandbox.openai.errors import NO_QUOTA, OpenAIError, enter, invalid, missing, unknown
from sandbox.openai.realtime_rules import Session, updated
from sandbox.provider_wire import BrokenOffError
from sandbox.providers_state import KINDS, REFUSALS, STATE, Entry, Fault
from sandbox.recogniser import Heard

_MIN_COMMIT_MS = 100
_MAX_APPEND = 15 * 1024 * 1024
_FRAME_MS = 20
_UNSETTLED_WORDS = 2
_CLOSE_INVALID = 4000
_EVENTS = {
    "session.update": {"session"},
    "input_audio_buffer.append": {"audio"},
    "input_audio_buffer.commit": set(),
    "input_audio_buffer.clear": set(),
}


async def transcribe(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Serve one socket. Raises OpenAIError while it can still be answered by HTTP, or BrokenOffError."""
    key = await enter(request, "stt", entry)
    socket = web.WebSocketResponse(max_msg_size=_MAX_APPEND * 4 // 3 + 1024, compress=False)
    await socket.prepare(request)
    refusal = _query_refusal(request)
    if refusal is not None:
        await socket.send_json(_error(refusal, None))
        await socket.close(code=_CLOSE_INVALID, message=b"invalid_request_error")
        return socket
    connection = _Connection(request, socket, key, entry)
    try:
        await connection.serve()
    finally:
        await connection.end()
    return socket


def _query_refusal(request: web.Request) -> OpenAIError | None:
    if request.query.get("intent") != "transcription":
        text = "The sandbox serves transcription sessions only: connect with intent=transcription."
        return invalid("intent", text) if "model" in request.query else missing("model")
    if "model" in request.query:
        return invalid("model", "You must not provide a model parameter for transcription sessions.", "invalid_model")
    return None


def _error(error: OpenAIError, event_id: str | None) -> dict[str, Any]:
    return {
        "type": "error",
        "event_id": f"event_{secrets.token_hex(10)}",
        "error": {**error.body, "event_id": event_id},
    }


class _Connection:
    """One session: the buffer, its ear, and the texts that are still to be sent."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, key: str, entry: Entry) -> None:
        self._request = request
        self._socket = socket
        self._key = key
        self._entry = entry
        self._state = request.app[STATE]
        self._session = Session()
        self._id = f"sess_{secrets.token_hex(10)}"
        self._ear: Ear | None = None
        self._buffered = 0
        self._total_ms = 0.0
        self._speaking = False
        self._items = itertools.count(1)
        self._item = self._new_item()
        self._previous: str | None = None
        self._shown: list[str] = []
        self._last_partial: list[str] = []
        self._later: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[BrokenOffError] = asyncio.get_running_loop().create_future()
        self._mute = False

    def _new_item(self) -> str:
        return f"item_{next(self._items):04d}{secrets.token_hex(8)}"

    async def serve(self) -> None:
        """Read until the client leaves. Raises BrokenOffError."""
        await self._send("session.created", session=self._session.shown(self._id))
        handlers: dict[str, Callable[[dict[str, Any]], Awaitable[None]]] = {
            "session.update": self._update,
            "input_audio_buffer.append": self._append,
            "input_audio_buffer.commit": self._commit,
            "input_audio_buffer.clear": self._clear,
        }
        async for message in self._socket:
            if self._broken.done():
                raise self._broken.result()
            if message.type is not WSMsgType.TEXT:
                continue
            event: Any = None
            try:
                event = _parse(message.data)
                self._entry.count(event["type"])
                await handlers[event["type"]](event)
            except OpenAIError as error:
                self._entry.add("errors", error.body["code"])
                await self._raw(_error(error, event.get("event_id") if isinstance(event, dict) else None))

    async def end(self) -> None:
        """Stop what is under way and free the decoder."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        if self._ear is not None:
            await self._ear.close()

    async def _send(self, kind: str, **fields: Any) -> None:
        await self._raw({"type": kind, "event_id": f"event_{secrets.token_hex(10)}", **fields})

    async def _raw(self, event: dict[str, Any]) -> None:
        if not self._mute and not self._socket.closed:
            await self._socket.send_str(json.dumps(event))

    def _after(self, milliseconds: float, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            await self._state.pause(milliseconds)
            try:
                await work()
            except BrokenOffError as error:
                if not self._broken.done():
                    self._broken.set_result(error)
            except ConnectionResetError:
                self._entry.note(client_left=True)

        task = asyncio.create_task(run())
        self._later.add(task)
        task.add_done_callback(self._later.discard)

    async def _update(self, event: dict[str, Any]) -> None:
        if "session" not in event:
            raise missing("session")
        new = updated(self._session, event["session"])
        if new.audio_type != self._session.audio_type and self._ear is not None:
            await self._ear.close()
            self._ear, self._buffered = None, 0
        self._session = new
        self._entry.note(model=(new.transcription or {}).get("model"), audio_type=new.audio_type)
        await self._send("session.updated", session=new.shown(self._id))

    async def _append(self, event: dict[str, Any]) -> None:
        if "audio" not in event:
            raise missing("audio")
        try:
            audio = base64.b64decode(event["audio"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            text = "Invalid 'audio'. Expected base64-encoded audio bytes, but got an invalid value."
            raise invalid("audio", text) from error
        if len(audio) > _MAX_APPEND:
            raise invalid("audio", "Invalid 'audio': larger than 15 MiB.")
        if self._ear is None:
            encoding, rate = self._session.encoding
            self._ear = await open_ear(self._state, self._key, encoding=encoding, rate=rate)
        self._buffered += len(audio)
        self._total_ms += len(audio) / self._session.bytes_per_ms
        self._entry.count("audio_bytes", len(audio))
        text = await self._ear.feed(audio)
        if self._session.transcription is not None:
            self._show_partial(text.split())
        await self._detect_turn(self._ear)

    def _show_partial(self, words: list[str]) -> None:
        """Deltas can only add words, so only those go out that two hypotheses agreed on, but for the last ones."""
        agreed = [
            new
            for new, old in itertools.takewhile(
                lambda pair: pair[0] == pair[1], zip(words, self._last_partial, strict=False)
            )
        ]
        self._last_partial = words
        fresh = agreed[len(self._shown) : max(len(agreed) - _UNSETTLED_WORDS, 0)]
        if not fresh or agreed[: len(self._shown)] != self._shown:
            return
        delta = " ".join(fresh) if not self._shown else " " + " ".join(fresh)
        self._shown += fresh
        item = self._item

        async def send() -> None:
            await self._delta(item, delta)

        self._after(self._state.latencies.stt_partial_ms, send)

    async def _delta(self, item: str, delta: str) -> None:
        await self._send(
            "conversation.item.input_audio_transcription.delta", item_id=item, content_index=0, delta=delta
        )

    async def _detect_turn(self, ear: Ear) -> None:
        silence = self._session.silence_ms
        if silence is None:
            return
        gate = ear.gate
        if not self._speaking and gate.speech_frames >= 3 and gate.silent_frames == 0:
            self._speaking = True
            start = max(0, round(self._total_ms) - 300)
            await self._send("input_audio_buffer.speech_started", audio_start_ms=start, item_id=self._item)
        elif self._speaking and gate.silent_frames * _FRAME_MS >= silence:
            self._speaking = False
            end = round(self._total_ms)
            await self._send("input_audio_buffer.speech_stopped", audio_end_ms=end, item_id=self._item)
            await self._settle()

    async def _clear(self, _event: dict[str, Any]) -> None:
        if self._ear is not None:
            await self._ear.commit()
        self._buffered, self._speaking = 0, False
        self._shown, self._last_partial = [], []
        await self._send("input_audio_buffer.cleared")

    async def _commit(self, _event: dict[str, Any]) -> None:
        milliseconds = self._buffered / self._session.bytes_per_ms
        if milliseconds < _MIN_COMMIT_MS:
            text = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {milliseconds:.2f}ms of audio."
            )
            raise OpenAIError(400, text, code="input_audio_buffer_commit_empty")
        await self._settle()

    async def _settle(self) -> None:
        item, previous, shown = self._item, self._previous, self._shown
        seconds = self._buffered / self._session.bytes_per_ms / 1000
        self._item, self._previous = self._new_item(), item
        self._shown, self._last_partial, self._buffered = [], [], 0
        heard = await self._ear.commit() if self._ear is not None else None
        await self._send("input_audio_buffer.committed", item_id=item, previous_item_id=previous)
        content = [{"type": "input_audio", "transcript": None}]
        body = {"id": item, "type": "message", "object": "realtime.item", "status": "completed", "role": "user"}
        for name in ("added", "done"):
            await self._send(f"conversation.item.{name}", previous_item_id=previous, item={**body, "content": content})
        if heard is None or self._session.transcription is None:
            return
        self._entry.add("texts", heard.text)
        fault = self._state.take_fault("openai", "stt", KINDS["stt"] - REFUSALS)
        if fault is not None:
            self._entry.add("faults", fault.kind)
        if fault is not None and fault.kind == "never_final":
            return
        slow = fault is not None and fault.kind == "slow_first_byte"
        delay = fault.delay_ms if fault is not None and slow else self._state.latencies.stt_final_ms

        async def finish() -> None:
            await self._finish(item, heard, shown, seconds, fault)

        self._after(delay, finish)

    async def _finish(self, item: str, heard: Heard, shown: list[str], seconds: float, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else ""
        if kind == "unknown_messages":
            await self._send("conversation.item.of_tomorrow", item_id=item, novelty={"a": 1})
        elif kind in ("mid_stream_error", "quota_runs_out"):
            failed = {"type": "server_error", "code": "transcription_failed", "message": "Transcription failed."}
            error = failed if kind == "mid_stream_error" else NO_QUOTA.body
            await self._send(
                "conversation.item.input_audio_transcription.failed", item_id=item, content_index=0, error=error
            )
            return
        elif fault is not None and kind not in ("slow_first_byte", "duplicate_final"):
            self._mute = kind == "stall"
            await provider_wire.break_socket(self._request, self._socket, fault)
        words = heard.text.split()
        if words[: len(shown)] == shown and words[len(shown) :]:
            await self._delta(item, (" " if shown else "") + " ".join(words[len(shown) :]))
        final: dict[str, Any] = {
            "item_id": item,
            "content_index": 0,
            "transcript": heard.text,
            "usage": {"type": "duration", "seconds": round(seconds, 2)},
        }
        for _ in range(2 if kind == "duplicate_final" else 1):
            await self._send("conversation.item.input_audio_transcription.completed", **final)


def _parse(text: str) -> dict[str, Any]:
    try:
        event = json.loads(text)
    except json.JSONDecodeError as error:
        message = "Could not parse your client event as JSON."
        raise OpenAIError(400, message, code="invalid_json") from error
    if not isinstance(event, dict) or "type" not in event:
        raise missing("type")
    if event["type"] not in _EVENTS:
        shown = ", ".join(f"'{name}'" for name in _EVENTS)
        raise invalid("type", f"Invalid value: '{event['type']}'. Supported values are: {shown}.")
    for name in event:
        if name not in _EVENTS[event["type"]] | {"type", "event_id"}:
            raise unknown(name)
    return event

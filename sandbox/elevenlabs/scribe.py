"""WebSocket /v1/speech-to-text/realtime (Scribe): live transcription with manual commits or the server's own."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from sandbox import provider_wire
from sandbox.ears import Ear, open_ear
from sandbox.elevenlabs.errors import ElevenLabsError, check_key, key_of
from sandbox.elevenlabs.scribe_rules import Options, ScribeError, read_options
from sandbox.provider_wire import BrokenOffError
from sandbox.providers_state import KINDS, REFUSALS, STATE, Entry, Fault
from sandbox.recogniser import Heard

_MIN_COMMIT_S = 0.3
_MAX_CHUNK = 1024 * 1024
_MAX_PREVIOUS = 50
_FRAME_MS = 20
_FIELDS = {"message_type", "audio_base_64", "commit", "sample_rate", "previous_text"}
# What the fault menu's refusals are called here; they come in an open socket, which is then closed.
_REFUSED = {
    "unauthorized": ("auth_error", "Invalid API key"),
    "insufficient_quota": ("quota_exceeded", "You have no credits left."),
    "rate_limit": ("rate_limited", "Rate limit exceeded. Please try again later."),
    "too_many_concurrent_requests": ("rate_limited", "Too many concurrent requests."),
    "system_busy": ("resource_exhausted", "Our services are experiencing high traffic. Please try again later."),
}


async def transcribe(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Serve one socket. Raises ElevenLabsError while it can still be answered by HTTP, or BrokenOffError."""
    state = request.app[STATE]
    fault = state.take_fault("elevenlabs", "stt", REFUSALS)
    if fault is not None:
        entry.note(fault=fault.kind)
        if fault.kind == "refuse":
            provider_wire.abort(request)
            raise BrokenOffError(fault.kind)
        if fault.kind == "server_error":
            raise ElevenLabsError(500, "internal_server_error", "We are sorry, something went wrong.")
    await state.pause(state.latencies.http_ms)
    socket = web.WebSocketResponse(compress=False)
    await socket.prepare(request)
    key = key_of(request) or request.query.get("token", "")
    try:
        if fault is not None:
            raise ScribeError(*_REFUSED[fault.kind], fatal=True)
        try:
            check_key(request, key)
        except ElevenLabsError as error:
            raise ScribeError("auth_error", error.message, fatal=True) from error
        options = read_options(request)
    except ScribeError as error:
        entry.add("errors", error.kind)
        await socket.send_str(json.dumps({"message_type": error.kind, "error": error.message}))
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=error.message.encode()[:120])
        return socket
    entry.note(demo=provider_wire.scenario_of(key), model=options.model, audio_format=options.audio_format)
    ear = await open_ear(state, key, encoding=options.encoding, rate=options.rate)
    connection = _Connection(request, socket, options, ear, entry)
    try:
        await connection.serve()
    finally:
        await connection.end()
    return socket


class _Connection:
    """One session: its ear, and the texts that are still to be sent."""

    def __init__(
        self, request: web.Request, socket: web.WebSocketResponse, options: Options, ear: Ear, entry: Entry
    ) -> None:
        self._request = request
        self._socket = socket
        self._options = options
        self._ear = ear
        self._entry = entry
        self._state = request.app[STATE]
        self._chunks = 0
        self._uncommitted = 0
        self._partial = ""
        self._spoke = False
        self._later: set[asyncio.Task[None]] = set()
        self._broken: asyncio.Future[BrokenOffError] = asyncio.get_running_loop().create_future()
        self._mute = False

    async def serve(self) -> None:
        """Read until the client leaves. Raises BrokenOffError."""
        await self._send("session_started", session_id=secrets.token_hex(16), config=self._options.shown())
        reading = asyncio.create_task(self._read())
        waiting: set[asyncio.Future[Any]] = {reading, self._broken}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not reading.done():
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
        if self._broken.done():
            raise self._broken.result()
        await reading

    async def _read(self) -> None:
        while True:
            message = await self._socket.receive()
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return
            try:
                await self._hear(message.data)
            except ScribeError as error:
                self._entry.add("errors", error.kind)
                await self._send(error.kind, error=error.message)
                if error.fatal:
                    await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=error.message.encode()[:120])
                    return

    async def end(self) -> None:
        """Stop what is under way and free the decoder."""
        for task in self._later:
            task.cancel()
        await asyncio.gather(*self._later, return_exceptions=True)
        await self._ear.close()

    async def _send(self, kind: str, **fields: Any) -> None:
        if not self._mute and not self._socket.closed:
            await self._socket.send_str(json.dumps({"message_type": kind, **fields}))

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

    async def _hear(self, data: str | bytes) -> None:
        message = self._parse(data)
        try:
            audio = base64.b64decode(message.get("audio_base_64") or "", validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            text = "audio_base_64 is not valid base64."
            raise ScribeError("input_error", text) from error
        self._chunks += 1
        if audio:
            self._uncommitted += len(audio)
            self._entry.count("audio_bytes", len(audio))
            await self._show(await self._ear.feed(audio))
            await self._detect_end()
        if message.get("commit"):
            await self._commit()

    def _parse(self, data: str | bytes) -> dict[str, Any]:
        if not isinstance(data, str):
            text = "Audio must be sent as JSON messages, not as binary frames."
            raise ScribeError("input_error", text)
        if len(data) > _MAX_CHUNK:
            text = "The audio chunk is too large: send pieces of at most one second."
            raise ScribeError("chunk_size_exceeded", text)
        try:
            message = json.loads(data)
        except json.JSONDecodeError as error:
            text = "The message is not valid JSON."
            raise ScribeError("input_error", text) from error
        if not isinstance(message, dict) or message.get("message_type") != "input_audio_chunk":
            text = "message_type must be input_audio_chunk."
            raise ScribeError("input_error", text)
        unknown = set(message) - _FIELDS
        if unknown:
            text = f"Unexpected fields: {', '.join(sorted(unknown))}."
            raise ScribeError("input_error", text)
        if message.get("sample_rate") not in (None, self._options.rate):
            text = f"sample_rate {message['sample_rate']} does not match audio_format {self._options.audio_format}."
            raise ScribeError("input_error", text)
        if message.get("previous_text") and (self._chunks or len(message["previous_text"]) > _MAX_PREVIOUS):
            text = f"previous_text of at most {_MAX_PREVIOUS} characters can be sent with the first chunk only."
            raise ScribeError("input_error", text)
        return message

    async def _show(self, text: str) -> None:
        if not text or text == self._partial:
            return
        self._partial = text

        async def send() -> None:
            await self._send("partial_transcript", text=text)

        self._after(self._state.latencies.stt_partial_ms, send)

    async def _detect_end(self) -> None:
        """Commit by itself after silence, where the client asked for that."""
        if self._options.commit_strategy != "vad":
            return
        gate = self._ear.gate
        self._spoke = self._spoke or gate.speech_frames * _FRAME_MS >= self._options.min_speech_ms
        if self._spoke and gate.silent_frames * _FRAME_MS >= self._options.vad_silence_s * 1000:
            await self._settle()

    async def _commit(self) -> None:
        seconds = self._uncommitted / self._options.bytes_per_second
        if seconds < _MIN_COMMIT_S:
            text = (
                f"Commit request ignored: only {seconds:.2f}s of uncommitted audio. "
                f"You need at least {_MIN_COMMIT_S}s of uncommitted audio before committing."
            )
            raise ScribeError("commit_throttled", text)
        await self._settle()

    async def _settle(self) -> None:
        self._uncommitted, self._partial, self._spoke = 0, "", False
        heard = await self._ear.commit()
        self._entry.add("texts", heard.text)
        fault = self._state.take_fault("elevenlabs", "stt", KINDS["stt"] - REFUSALS)
        if fault is not None:
            self._entry.add("faults", fault.kind)
        if fault is not None and fault.kind == "never_final":
            return
        slow = fault is not None and fault.kind == "slow_first_byte"
        delay = fault.delay_ms if fault is not None and slow else self._state.latencies.stt_final_ms

        async def finish() -> None:
            await self._finish(heard, fault)

        self._after(delay, finish)

    async def _finish(self, heard: Heard, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else ""
        if kind == "unknown_messages":
            await self._send("of_tomorrow", novelty={"a": 1})
            await self._send("warning", warning="This is only a warning.")
        elif kind == "mid_stream_error":
            await self._send("transcriber_error", error="The transcription failed.")
            return
        elif kind == "quota_runs_out":
            name, message = _REFUSED["insufficient_quota"]
            await self._send(name, error=message)
            await self._socket.close(code=WSCloseCode.POLICY_VIOLATION, message=message.encode())
            return
        elif fault is not None and kind not in ("slow_first_byte", "duplicate_final"):
            self._mute = kind == "stall"
            await provider_wire.break_socket(self._request, self._socket, fault)
        for _ in range(2 if kind == "duplicate_final" else 1):
            await self._send("committed_transcript", text=heard.text)
            if self._options.include_timestamps:
                await self._send(
                    "committed_transcript_with_timestamps",
                    text=heard.text,
                    language_code=self._options.language_code or "en",
                    words=_words(heard),
                )


def _words(heard: Heard) -> list[dict[str, Any]]:
    words: list[dict[str, Any]] = []
    for word in heard.words:
        if words:
            gap = {"start": words[-1]["end"], "end": round(word.start, 3)}
            words.append({"text": " ", "type": "spacing", "logprob": 0.0, **gap})
        span = {"start": round(word.start, 3), "end": round(word.end, 3)}
        words.append({"text": word.text, "type": "word", "logprob": -0.1, **span})
    return words

"""What both speech sockets share: the handshake, the checks of its query, and the making and sending of audio.

Used by stream_input.py (one context) and multi_stream_input.py (several).
"""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import WSCloseCode, web

from sandbox import provider_wire
from sandbox.elevenlabs.catalog import DEFAULT_MODEL, require_model, require_voice
from sandbox.elevenlabs.errors import (
    INVALID_KEY,
    MISSING_KEY,
    REFUSED,
    ElevenLabsError,
    key_of,
    malformed,
    refusal,
)
from sandbox.elevenlabs.speech_http import characters_of, check_settings, output_format
from sandbox.providers_state import STATE, Entry, Fault, ProvidersState
from sandbox.speech import Chunk, Format, Rendering, paced, render_aside
from sandbox.voice import Voice

_CHUNK_MS = 200
_DEFAULT_SCHEDULE = (120, 160, 250, 290)
_LONGEST_IDLE_S = 180
SETTINGS_CHANGED = (
    "voice_settings field must be provided in the first message and then either be not provided or not change."
)


class PolicyError(Exception):
    """The client broke a rule: an error message, then the socket is closed with 1008."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error
        self.message = message


@dataclass(frozen=True)
class Query:
    """What the address of a speech socket asks for; times in ms, before the time scale."""

    voice: Voice
    form: Format
    model: str
    auto_mode: bool
    sync_alignment: bool
    idle_ms: float


def _flag(request: web.Request, name: str) -> bool:
    raw = request.query.get(name, "false").lower()
    if raw not in ("true", "false", "1", "0"):
        raise malformed(["query", name], "Input should be a valid boolean", "bool_parsing")
    return raw in ("true", "1")


def read_query(request: web.Request, state: ProvidersState) -> Query:
    """Check the address. Raises ElevenLabsError."""
    voice = require_voice(request.match_info["voice"])
    model = require_model(request.query.get("model_id", DEFAULT_MODEL))
    if not model.streams:
        message = f"Model '{model.id}' is not supported on this WebSocket."
        raise ElevenLabsError(400, "unsupported_model", message)
    form = output_format(request.query.get("output_format"))
    raw = request.query.get("inactivity_timeout")
    if raw is not None and (not raw.isdecimal() or not 1 <= int(raw) <= _LONGEST_IDLE_S):
        raise malformed(["query", "inactivity_timeout"], f"Input should be from 1 to {_LONGEST_IDLE_S}", "value_error")
    idle_ms = int(raw) * 1000.0 if raw is not None else state.latencies.tts_idle_ms
    auto_mode, sync = _flag(request, "auto_mode"), _flag(request, "sync_alignment")
    return Query(voice, form, model.id, auto_mode, sync, idle_ms)


def schedule_of(message: dict[str, Any]) -> tuple[int, ...]:
    """The chunk_length_schedule of a first message. Raises PolicyError outside 50 to 500 characters."""
    schedule = (message.get("generation_config") or {}).get("chunk_length_schedule")
    if schedule is None:
        return _DEFAULT_SCHEDULE
    if not schedule or not all(isinstance(item, int) and 50 <= item <= 500 for item in schedule):
        raise PolicyError("invalid_generation_config", "chunk_length_schedule values must be between 50 and 500.")
    return tuple(schedule)


def speed_of(settings: Any) -> float:
    """The speed in voice_settings. Raises PolicyError."""
    try:
        return check_settings(settings, ["voice_settings"])
    except ElevenLabsError as error:
        raise PolicyError("invalid_voice_settings", error.message) from error


def parse(text: str) -> dict[str, Any]:
    """One message of the client. Raises PolicyError."""
    try:
        message = json.loads(text)
    except json.JSONDecodeError as error:
        raise PolicyError("invalid_message", "Message is not valid JSON.") from error
    if not isinstance(message, dict) or not isinstance(message.get("text", ""), str | None):
        raise PolicyError("invalid_message", "Message must be an object whose text is a string.")
    return message


class SpeechSocket:
    """One open speech socket: its key, its entry in the ledger, and how it speaks."""

    def __init__(self, request: web.Request, socket: web.WebSocketResponse, query: Query, entry: Entry) -> None:
        self.request = request
        self.socket = socket
        self.query = query
        self.entry = entry
        self.state = request.app[STATE]
        self._key = key_of(request)
        self._admitted = False
        self._writing = asyncio.Lock()
        self.muted = False

    def admit(self, message: dict[str, Any]) -> None:
        """Check the key, from the header or the first message. Raises PolicyError."""
        if self._admitted:
            return
        key = self._key or str(message.get("xi-api-key") or message.get("xi_api_key") or "")
        if not key:
            raise PolicyError(MISSING_KEY.status, MISSING_KEY.message)
        if not provider_wire.key_is_good(self.state, key):
            raise PolicyError(INVALID_KEY.status, INVALID_KEY.message)
        self._admitted = True

    @property
    def has_key(self) -> bool:
        """Whether the handshake carried one."""
        return bool(self._key)

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message, unless the socket is closed or was told to fall silent."""
        async with self._writing:
            if not self.muted and not self.socket.closed:
                await self.socket.send_str(json.dumps(message))

    async def refuse(self, error: PolicyError) -> None:
        """Say why, then close with 1008."""
        self.entry.add("errors", error.error)
        message = {"message": error.message, "error": error.error, "code": int(WSCloseCode.POLICY_VIOLATION)}
        await self.send(message)
        await self.socket.close(code=WSCloseCode.POLICY_VIOLATION, message=error.message.encode()[:120])

    async def speak(self, text: str, speed: float, fault: Fault | None, extra: dict[str, Any], sent: int) -> int:
        """Make and send the audio of `text`; return how many pieces of its context went out so far.

        Raises BrokenOffError when a fault ended the socket.
        """
        rendering = await render_aside(text, self.query.voice, self.query.form, speed)
        slow = fault is not None and fault.kind == "slow_first_byte" and sent == 0
        delay = fault.delay_ms if fault is not None and slow else self.state.latencies.tts_first_byte_ms
        await self.state.pause(delay)
        async for chunk in paced(self.state, rendering, chunk_ms=_CHUNK_MS, first_delay_ms=0):
            if fault is not None and sent >= fault.after:
                await self._break(fault, extra, at_once=sent == fault.after)
            await self.send({**self.audio_message(rendering, chunk), **extra})
            self.entry.count("bytes_sent", len(chunk.audio))
            sent += 1
        return sent

    async def _break(self, fault: Fault, extra: dict[str, Any], *, at_once: bool) -> None:
        if fault.kind in ("slow_first_byte", "late_audio", "never_final", "other_spelling"):
            return
        if fault.kind == "unknown_messages":
            await self.send({"type": "of_tomorrow", "novelty": {"a": 1}, **extra})
        elif fault.kind == "mid_stream_error":
            raise PolicyError("internal_server_error", "We are sorry, something went wrong.")
        elif fault.kind == "quota_runs_out":
            refused = REFUSED["insufficient_quota"]
            raise PolicyError(refused.status, refused.message)
        elif fault.kind != "garbage" or at_once:
            self.muted = fault.kind in ("stall", "half_close")
            await provider_wire.break_socket(self.request, self.socket, fault, "Connection closed.")

    def audio_message(self, rendering: Rendering, chunk: Chunk) -> dict[str, Any]:
        """One piece of audio with its alignment: of each piece, or of the whole text with the first one."""
        if self.query.sync_alignment:
            characters, start = characters_of(rendering, chunk), chunk.start_ms
        else:
            characters, start = (list(rendering.characters) if chunk.first else []), 0.0
        alignment = {
            "chars": [item.character for item in characters],
            "charStartTimesMs": [round(item.start_ms - start) for item in characters],
            "charDurationsMs": [round(item.duration_ms) for item in characters],
        }
        content = alignment if characters else None
        audio = base64.b64encode(chunk.audio).decode()
        return {"audio": audio, "isFinal": None, "alignment": content, "normalizedAlignment": content}


async def open_socket(request: web.Request, entry: Entry) -> SpeechSocket:
    """Shake hands. A refusal of the fault menu is an HTTP answer; a wrong key or address closes with 1008.

    Raises ElevenLabsError, or BrokenOffError when the connection was reset or is closed already.
    """
    state = request.app[STATE]
    refused = refusal(request, "tts", entry)
    if refused is not None:
        raise refused
    await state.pause(state.latencies.http_ms)
    socket = web.WebSocketResponse(compress=False, heartbeat=None)
    await socket.prepare(request)
    try:
        query = read_query(request, state)
    except ElevenLabsError as error:
        message = {"message": error.message, "error": error.status, "code": int(WSCloseCode.POLICY_VIOLATION)}
        entry.add("errors", error.status)
        await socket.send_str(json.dumps(message))
        await socket.close(code=WSCloseCode.POLICY_VIOLATION, message=error.message.encode()[:120])
        raise provider_wire.BrokenOffError(error.status) from error
    entry.note(model=query.model, voice=query.voice.id, output_format=request.query.get("output_format"), bytes_sent=0)
    return SpeechSocket(request, socket, query, entry)


async def receive(opened: SpeechSocket, seconds: float) -> dict[str, Any] | None:
    """The next message; None when the client has left.

    Raises PolicyError, or TimeoutError after `seconds` of silence.
    """
    while True:
        message = await opened.socket.receive(timeout=seconds)
        if message.type.name == "TEXT":
            return parse(message.data)
        if message.type.name in ("CLOSE", "CLOSING", "CLOSED", "ERROR"):
            return None


IDLE = PolicyError(
    "input_timeout_exceeded", "This connection has been inactive for too long: send a message to keep it open."
)

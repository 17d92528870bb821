"""POST /v1/text-to-speech/{voice}(/stream)(/with-timestamps): a whole text at once, its audio streamed back."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from sandbox import provider_wire
from sandbox.elevenlabs.catalog import DEFAULT_MODEL, require_model, require_voice
from sandbox.elevenlabs.errors import ElevenLabsError, enter, malformed, request_id
from sandbox.provider_wire import wait_or_gone
from sandbox.providers_state import KINDS, REFUSALS, STATE, Entry, Fault
from sandbox.speech import CharacterTime, Chunk, Format, FormatError, Rendering, paced, parse_format, render_aside
from sandbox.voice import Voice

_CHUNK_MS = 100
_SETTINGS = {"stability": (0.0, 1.0), "similarity_boost": (0.0, 1.0), "style": (0.0, 1.0), "speed": (0.7, 1.2)}
_FIELDS = {
    "text", "model_id", "language_code", "voice_settings", "pronunciation_dictionary_locators", "seed", "previous_text",
    "next_text", "previous_request_ids", "next_request_ids", "apply_text_normalization",
    "apply_language_text_normalization", "use_pvc_as_ivc",
}  # fmt: skip


@dataclass(frozen=True)
class _Order:
    text: str
    voice: Voice
    form: Format
    speed: float
    cost: float
    model: str


def output_format(name: str | None) -> Format:
    """The asked format; the service's own default is MP3. Raises ElevenLabsError for what the sandbox does not make."""
    try:
        return parse_format(name or "mp3_44100_128")
    except FormatError as error:
        raise ElevenLabsError(400, "invalid_output_format", str(error)) from error


def check_settings(settings: Any, place: list[str | int]) -> float:
    """The speed in voice_settings. Raises ElevenLabsError (422) for values out of range."""
    if settings is None:
        return 1.0
    if not isinstance(settings, dict):
        raise malformed(place, "Input should be a valid dictionary", "model_type")
    for name, (low, high) in _SETTINGS.items():
        value = settings.get(name)
        if value is not None and (not isinstance(value, int | float) or not low <= value <= high):
            raise malformed([*place, name], f"Input should be between {low} and {high}", "value_error")
    return float(settings.get("speed") or 1.0)


def _check(request: web.Request, body: Any, entry: Entry) -> _Order:
    if not isinstance(body, dict):
        raise malformed(["body"], "JSON decode error", "json_invalid")
    if not isinstance(body.get("text"), str):
        raise malformed(["body", "text"], "Field required", "missing")
    entry.note(text=body["text"], characters=len(body["text"]), ignored=sorted(set(body) - _FIELDS))
    if not body["text"].strip():
        raise ElevenLabsError(400, "input_text_empty", "Input text is empty. Please provide a valid text.")
    model = require_model(body.get("model_id") or DEFAULT_MODEL)
    if len(body["text"]) > model.max_characters:
        text = (
            f"This request's text has {len(body['text'])} characters and exceeds the limit of {model.max_characters}."
        )
        raise ElevenLabsError(400, "max_character_limit_exceeded", text)
    if len(body.get("pronunciation_dictionary_locators") or ()) > 3:
        place: list[str | int] = ["body", "pronunciation_dictionary_locators"]
        raise malformed(place, "List should have at most 3 items", "too_long")
    if body.get("apply_text_normalization") not in (None, "auto", "on", "off"):
        raise malformed(["body", "apply_text_normalization"], "Input should be 'auto', 'on' or 'off'", "literal_error")
    speed = check_settings(body.get("voice_settings"), ["body", "voice_settings"])
    voice = require_voice(request.match_info["voice"])
    form = output_format(request.query.get("output_format"))
    return _Order(body["text"], voice, form, speed, model.cost, model.id)


async def speak(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Serve one text. Raises ElevenLabsError, BrokenOffError or ConnectionResetError."""
    state = request.app[STATE]
    await enter(request, "tts", entry)
    order = _check(request, await provider_wire.json_body(request), entry)
    timed = request.path.endswith("/with-timestamps")
    streamed = "/stream" in request.path
    entry.note(model=order.model, voice=order.voice.id, bytes_sent=0, cancelled=False)
    fault = state.take_fault("elevenlabs", "tts", KINDS["tts"] - REFUSALS)
    if fault is not None:
        entry.note(fault=fault.kind)
    rendering = await render_aside(order.text, order.voice, order.form, order.speed)
    delay = (
        fault.delay_ms if fault is not None and fault.kind == "slow_first_byte" else state.latencies.tts_first_byte_ms
    )
    try:
        await wait_or_gone(state, request, delay)
        if not streamed:
            await wait_or_gone(state, request, rendering.duration_ms * state.latencies.tts_realtime_factor)
        response = web.StreamResponse(headers=_headers(order, timed=timed, streamed=streamed))
        await response.prepare(request)
        if timed and not streamed:
            await response.write(json.dumps(_timed(rendering.characters, rendering.audio, 0)).encode())
        else:
            await _stream(request, response, rendering, fault, entry, timed=timed)
    except ConnectionResetError:
        entry.note(cancelled=True)
        raise
    await response.write_eof()
    return response


def _headers(order: _Order, *, timed: bool, streamed: bool) -> dict[str, str]:
    kind = {"ulaw": "audio/basic", "alaw": "audio/basic", "pcm": "audio/pcm"}[order.form.encoding]
    if timed:
        kind = "application/x-ndjson" if streamed else "application/json"
    return {
        "Content-Type": kind,
        "request-id": request_id(),
        "history-item-id": request_id(),
        "character-cost": str(round(len(order.text) * order.cost)),
        "current-concurrent-requests": "1",
        "maximum-concurrent-requests": "10",
    }


async def _stream(
    request: web.Request,
    response: web.StreamResponse,
    rendering: Rendering,
    fault: Fault | None,
    entry: Entry,
    *,
    timed: bool,
) -> None:
    breaking = fault is not None and fault.kind not in (
        "slow_first_byte",
        "late_audio",
        "never_final",
        "other_spelling",
    )
    sent = 0
    async for chunk in paced(request.app[STATE], rendering, chunk_ms=_CHUNK_MS, first_delay_ms=0):
        if fault is not None and breaking and sent >= fault.after:
            await provider_wire.break_stream(request, response, fault)
        raw = chunk.audio
        if timed:
            part = characters_of(rendering, chunk)
            raw = (json.dumps(_timed(part, chunk.audio, chunk.start_ms)) + "\n").encode()
        await response.write(raw)
        entry.count("bytes_sent", len(chunk.audio))
        sent += 1
    if fault is not None and fault.kind == "never_final":
        await provider_wire.gone(request)
        raise provider_wire.BrokenOffError(fault.kind)


def characters_of(rendering: Rendering, chunk: Chunk) -> list[CharacterTime]:
    """The characters that begin in this chunk."""
    last = chunk.end_ms >= rendering.duration_ms
    return [
        item
        for item in rendering.characters
        if chunk.start_ms <= item.start_ms and (item.start_ms < chunk.end_ms or last)
    ]


def _timed(
    characters: list[CharacterTime] | tuple[CharacterTime, ...], audio: bytes, start_ms: float
) -> dict[str, Any]:
    alignment = {
        "characters": [item.character for item in characters],
        "character_start_times_seconds": [round((item.start_ms - start_ms) / 1000, 3) for item in characters],
        "character_end_times_seconds": [
            round((item.start_ms + item.duration_ms - start_ms) / 1000, 3) for item in characters
        ],
    }
    content = alignment if characters else None
    return {"audio_base64": base64.b64encode(audio).decode(), "alignment": content, "normalized_alignment": content}

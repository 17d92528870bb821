"""POST /v1/audio/speech and /v1/audio/transcriptions."""

from __future__ import annotations

import base64
import json
import time
import wave
from typing import Any

from aiohttp import BodyPartReader, web

from sandbox import provider_wire
from sandbox.audio import l16_decode, l16_encode, read_wav, wav_bytes
from sandbox.ears import open_ear
from sandbox.openai.errors import OpenAIError, enter, headers, invalid, missing, unknown
from sandbox.openai.models import require
from sandbox.providers_state import KINDS, REFUSALS, STATE, Entry, Fault
from sandbox.speech import Format, Rendering, paced, render_aside
from sandbox.voice import BY_ID, Voice

_SPEECH_FIELDS = {"input", "model", "voice", "instructions", "response_format", "speed", "stream_format"}
_MAX_INPUT = 4096
_CLARA, _MILES = BY_ID["sandboxClaraEnUs0001"], BY_ID["sandboxMilesEnUs0002"]
_EDITH, _OSCAR = BY_ID["sandboxEdithEnGb0003"], BY_ID["sandboxOscarEnGb0004"]
VOICES: dict[str, Voice] = {
    **dict.fromkeys(("marin", "coral", "nova", "shimmer", "alloy"), _CLARA),
    **dict.fromkeys(("cedar", "ash", "echo", "onyx", "verse"), _MILES),
    **dict.fromkeys(("sage", "ballad"), _EDITH),
    "fable": _OSCAR,
    **BY_ID,
}
_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
_PCM = Format("pcm", 24000)
_CHUNK_MS = 100


def _check_speech(body: Any) -> tuple[str, Voice, str, float]:
    if not isinstance(body, dict):
        message = "We could not parse the JSON body of your request."
        raise OpenAIError(400, message)
    for name in body:
        if name not in _SPEECH_FIELDS:
            raise unknown(name)
    for name in ("model", "input", "voice"):
        if not body.get(name):
            raise missing(name)
    require(body["model"], "speech")
    if len(body["input"]) > _MAX_INPUT:
        text = f"Invalid 'input': string too long. Expected a string with maximum length {_MAX_INPUT}."
        raise invalid("input", text, "string_above_max_length")
    name = body["voice"]["id"] if isinstance(body["voice"], dict) else body["voice"]
    if name not in VOICES:
        raise invalid("voice", f"Invalid value: '{name}'. Supported values are: {', '.join(sorted(VOICES))}.")
    form = body.get("response_format", "mp3")
    if form not in _FORMATS:
        raise invalid("response_format", f"Invalid value: '{form}'. Supported values are: {', '.join(_FORMATS)}.")
    if form not in ("pcm", "wav"):
        raise invalid("response_format", f"The sandbox makes 'pcm' and 'wav' only, not '{form}'.")
    speed = body.get("speed", 1.0)
    if not isinstance(speed, int | float) or not 0.25 <= speed <= 4:
        raise invalid("speed", "Invalid 'speed': expected a value between 0.25 and 4.0.")
    return body["input"], VOICES[name], form, float(speed)


async def speech(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Speak a text. Raises OpenAIError, BrokenOffError or ConnectionResetError."""
    started = time.monotonic()
    await enter(request, "tts", entry)
    state = request.app[STATE]
    body = await provider_wire.json_body(request)
    text, voice, form, speed = _check_speech(body)
    events = body.get("stream_format") == "sse"
    if events and body["model"].startswith("tts-1"):
        raise invalid("stream_format", "'sse' is not supported for `tts-1` and `tts-1-hd`.")
    entry.note(model=body["model"], text=text, characters=len(text), voice=voice.id, bytes_sent=0)
    fault = state.take_fault("openai", "tts", KINDS["tts"] - REFUSALS)
    if fault is not None:
        entry.note(fault=fault.kind)
    rendering = await render_aside(text, voice, _PCM, speed)
    if form == "wav":
        rendering = Rendering(wav_bytes(l16_decode(rendering.audio), _PCM.rate), _PCM, ())
    delay = (
        fault.delay_ms if fault is not None and fault.kind == "slow_first_byte" else state.latencies.tts_first_byte_ms
    )
    await provider_wire.wait_or_gone(state, request, delay)
    kind = "text/event-stream" if events else {"pcm": "audio/pcm", "wav": "audio/wav"}[form]
    response = web.StreamResponse(headers={"Content-Type": kind, **headers(started)})
    await response.prepare(request)
    try:
        await _send(request, response, rendering, fault, entry, events=events)
    except ConnectionResetError:
        entry.note(cancelled=True)
        raise
    return response


async def _send(
    request: web.Request,
    response: web.StreamResponse,
    rendering: Rendering,
    fault: Fault | None,
    entry: Entry,
    *,
    events: bool,
) -> None:
    sent = 0
    async for chunk in paced(request.app[STATE], rendering, chunk_ms=_CHUNK_MS, first_delay_ms=0):
        if (
            fault is not None
            and fault.kind not in ("slow_first_byte", "late_audio", "other_spelling")
            and sent >= fault.after
        ):
            await provider_wire.break_stream(request, response, fault)
        content = chunk.audio
        if events:
            event = {"type": "speech.audio.delta", "audio": base64.b64encode(chunk.audio).decode()}
            content = f"data: {json.dumps(event)}\n\n".encode()
        await response.write(content)
        entry.count("bytes_sent", len(chunk.audio))
        sent += 1
    if events:
        usage = {"input_tokens": 10, "output_tokens": 10 * sent, "total_tokens": 10 + 10 * sent}
        await response.write(f"data: {json.dumps({'type': 'speech.audio.done', 'usage': usage})}\n\n".encode())
    await response.write_eof()


_TRANSCRIPTION_FIELDS = {
    "file", "model", "chunking_strategy", "include", "keywords", "known_speaker_names", "known_speaker_references",
    "language", "languages", "prompt", "response_format", "stream", "temperature", "timestamp_granularities",
}  # fmt: skip


async def transcription(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Write down a WAV file. Raises OpenAIError, BrokenOffError or ConnectionResetError."""
    started = time.monotonic()
    key = await enter(request, "stt", entry)
    state = request.app[STATE]
    fields: dict[str, str] = {}
    content: bytes | None = None
    if not request.content_type.startswith("multipart/"):
        message = "Could not parse multipart form"
        raise OpenAIError(400, message)
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader) or part.name is None:
            continue
        name = part.name.split("[")[0]
        if name not in _TRANSCRIPTION_FIELDS:
            raise unknown(name)
        if name == "file":
            content = bytes(await part.read())
        else:
            fields[name] = await part.text()
    if "model" not in fields:
        message = "you must provide a model parameter"
        raise OpenAIError(400, message)
    require(fields["model"], "transcription")
    if content is None:
        raise missing("file")
    try:
        samples, rate = read_wav(content)
    except (ValueError, EOFError, wave.Error) as error:
        text = f"Audio file might be corrupted or unsupported: {error}"
        raise invalid("file", text, "invalid_value") from error
    entry.note(model=fields["model"], audio_ms=round(samples.shape[0] * 1000 / rate))
    mono = samples if samples.ndim == 1 else samples[:, 0]
    ear = await open_ear(state, key, encoding="l16", rate=rate)
    try:
        await ear.feed(l16_encode(mono))
        heard = await ear.commit()
    finally:
        await ear.close()
    await provider_wire.wait_or_gone(state, request, state.latencies.stt_final_ms)
    usage = {"type": "duration", "seconds": max(1, round(mono.size / rate))}
    if fields.get("stream") == "true":
        return await _stream_text(request, heard.text, usage, started)
    if fields.get("response_format") == "text":
        return web.Response(text=heard.text + "\n", headers=headers(started))
    return web.json_response({"text": heard.text, "usage": usage}, headers=headers(started))


async def _stream_text(request: web.Request, text: str, usage: dict[str, Any], started: float) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8", **headers(started)})
    await response.prepare(request)
    words = text.split()
    events = [
        {"type": "transcript.text.delta", "delta": word if index == 0 else f" {word}"}
        for index, word in enumerate(words)
    ]
    for event in [*events, {"type": "transcript.text.done", "text": text, "usage": usage}]:
        await response.write(f"data: {json.dumps(event)}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    await response.write_eof()
    return response

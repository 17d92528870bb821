"""REST on a live call: record, play, speak, send digits, stream.

Mounted by sandbox.plivo.routes. Each works on an answered call only; field names and texts are Plivo's.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import numpy as np
from aiohttp import web

from sandbox.audio import Samples
from sandbox.plivo import xml_values
from sandbox.plivo.call import Call
from sandbox.plivo.media_format import DEFAULT_CONTENT_TYPE, FORMATS
from sandbox.plivo.prompts import played, spoken
from sandbox.plivo.recordings import Recording, announce
from sandbox.plivo.rest import ROOT, ApiError, Request, Result, endpoint
from sandbox.plivo.rest_calls import answered_call
from sandbox.plivo.stream_client import StreamClient
from sandbox.plivo.stream_protocol import StreamSpec
from sandbox.plivo.verbs import begin_recording, media_of


async def start_recording(request: Request) -> Result:
    """POST .../Record/."""
    call, exchange = answered_call(request), request.exchange
    file_format = str(request.fields.get("file_format") or "mp3")
    channels = str(request.fields.get("record_channel_type") or "stereo")
    if file_format not in ("mp3", "wav") or channels not in ("stereo", "mono"):
        raise ApiError(400, "file_format or record_channel_type is not valid")
    limit = request.integer("time_limit", 60, 1, 86400)
    recording = begin_recording(
        exchange,
        call,
        max_s=limit,
        stereo=channels == "stereo",
        file_format=file_format,
        rest=True,
        callback_url=request.url("callback_url"),
        callback_method=request.method("callback_method"),
    )
    exchange.spawn(_finish_later(request, recording, limit))
    return Result(
        202,
        {
            "message": "call recording started",
            "recording_id": recording.recording_id,
            "url": recording.url(exchange.base_url),
        },
    )


async def _finish_later(request: Request, recording: Recording, limit_s: float) -> None:
    """At the time limit, unless the call ends or somebody stops it before."""
    try:
        await asyncio.wait_for(recording.call.ended.wait(), timeout=limit_s)
    except TimeoutError:
        await _finish(request, recording)


async def _finish(request: Request, recording: Recording) -> None:
    recording.finish(media_of(recording.call).now_ms())
    await request.exchange.pause(request.exchange.settings.recording_after_s)
    await announce(request.exchange, recording)


async def stop_recording(request: Request) -> Result:
    """DELETE .../Record/: all of the call's, or the one whose URL is given."""
    call = answered_call(request)
    url = str(request.fields.get("URL") or request.fields.get("url") or "")
    running = [
        recording
        for recording in request.exchange.recordings.values()
        if recording.call is call and recording.end_ms is None and url in ("", recording.url(request.exchange.base_url))
    ]
    if not running:
        raise ApiError(404, "no recording is running")
    for recording in running:
        request.exchange.spawn(_finish(request, recording))
    return Result(204)


async def play(request: Request) -> Result:
    """POST .../Play/."""
    call = answered_call(request)
    urls = [url for url in str(request.fields.get("urls") or "").split(",") if url]
    if not urls:
        raise ApiError(400, "urls parameter not present")
    loop = request.flag("loop", default=False)

    async def work() -> None:
        pieces = [await played(request.exchange, url) for url in urls]
        if any(piece is None for piece in pieces):
            call.violation("play_failed", ",".join(urls))
        await _prompt(call, np.concatenate([np.zeros(0, np.int16), *(p for p in pieces if p is not None)]), loop=loop)

    request.exchange.spawn(work())
    return Result(202, {"message": "play started"})


async def speak(request: Request) -> Result:
    """POST .../Speak/."""
    call = answered_call(request)
    text = str(request.fields.get("text") or "")
    if not text:
        raise ApiError(400, "text parameter not present")
    loop = request.flag("loop", default=False)

    async def work() -> None:
        await _prompt(call, await spoken(request.exchange, text), loop=loop)

    request.exchange.spawn(work())
    return Result(202, {"message": "speak started"})


async def _prompt(call: Call, samples: Samples, *, loop: bool) -> None:
    media = media_of(call)
    while samples.size and not call.ended.is_set():
        cleared = len(media.prompts.cleared)
        await asyncio.sleep(media.speak(samples))
        if not loop or len(media.prompts.cleared) > cleared:
            return


async def stop_prompt(request: Request) -> Result:
    """DELETE .../Play/ and .../Speak/."""
    media_of(answered_call(request)).stop_prompts()
    return Result(204)


async def send_digits(request: Request) -> Result:
    """POST .../DTMF/."""
    call = answered_call(request)
    digits = str(request.fields.get("digits") or "")
    if not re.fullmatch(r"[0-9*#wW]+", digits):
        raise ApiError(400, "digits parameter is not valid" if digits else "digits parameter not present")
    call.digits_from_agent.append({"digits": digits, "by": "rest"})
    return Result(202, {"message": "digits sent"})


async def start_stream(request: Request) -> Result:
    """POST .../Stream/."""
    call, exchange = answered_call(request), request.exchange
    spec = _stream_spec(request)
    if any(known.status != "stopped" for known in call.streams):
        raise ApiError(400, "a stream of this call is already active")
    stream = StreamClient(exchange, call, spec, exchange.new_id())
    call.streams.append(stream)
    exchange.spawn(stream.run())
    return Result(202, {"message": "audio streaming started", "stream_id": stream.stream_id})


def _stream_spec(request: Request) -> StreamSpec:
    fields = request.fields
    bidirectional = request.flag("bidirectional", default=False)
    track = str(fields.get("audio_track") or "inbound")
    content_type = str(fields.get("content_type") or DEFAULT_CONTENT_TYPE)
    if track not in ("inbound", "outbound", "both") or (bidirectional and track != "inbound"):
        raise ApiError(400, "audio_track is not valid")
    if content_type not in FORMATS:
        raise ApiError(400, "content_type is not valid")
    try:
        url = xml_values.ws_url(str(fields.get("service_url") or ""))
        headers = xml_values.extra_headers(str(fields.get("extra_headers") or ""))
    except ValueError as error:
        raise ApiError(400, f"service_url or extra_headers is not valid: {error}") from error
    return StreamSpec(
        url=url,
        bidirectional=bidirectional,
        media_format=FORMATS[content_type],
        tracks=("inbound", "outbound") if track == "both" else (track,),
        timeout_s=request.integer("stream_timeout", 86400, 1, 86400),
        extra_headers=headers,
        status_url=request.url("status_callback_url"),
        status_method=request.method("status_callback_method"),
        keep_alive=False,
    )


def _stream_json(stream: StreamClient) -> dict[str, Any]:
    call = stream.call
    seconds = 0
    if stream.started_at and stream.ended_at:
        seconds = round((stream.ended_at - stream.started_at).total_seconds())
    return {
        "stream_id": stream.stream_id,
        "call_uuid": call.uuid,
        "service_url": stream.spec.url,
        "audio_track": "both" if len(stream.spec.tracks) == 2 else stream.spec.tracks[0],
        "bidirectional": stream.spec.bidirectional,
        "content_type": f"{stream.spec.media_format.encoding};rate={stream.spec.media_format.rate}",
        "status": stream.status,
        "status_callback_url": stream.spec.status_url,
        "start_time": call.zoned(stream.started_at),
        "end_time": call.zoned(stream.ended_at),
        "bill_duration": seconds,
        "rounded_bill_duration": -(-seconds // 60) * 60,
        "billed_amount": "0.00000",
    }


def _stream(request: Request) -> StreamClient:
    call = request.exchange.calls.get(request.path["call_uuid"])
    if call is not None and call.auth_id == request.account.auth_id:
        for stream in call.streams:
            if stream.stream_id == request.path["stream_id"]:
                return stream
    raise ApiError(404, "stream not found")


async def list_streams(request: Request) -> Result:
    """GET .../Stream/."""
    call = request.exchange.calls.get(request.path["call_uuid"])
    if call is None or call.auth_id != request.account.auth_id:
        raise ApiError(404, "call not found")
    objects = [_stream_json(stream) for stream in call.streams]
    return Result(200, {"objects": objects, "meta": {"limit": 20, "offset": 0, "total_count": len(objects)}})


async def show_stream(request: Request) -> Result:
    """GET .../Stream/{id}/."""
    return Result(200, _stream_json(_stream(request)))


async def stop_stream(request: Request) -> Result:
    """DELETE .../Stream/{id}/."""
    _stream(request).stop("api_request")
    return Result(204)


async def stop_streams(request: Request) -> Result:
    """DELETE .../Stream/."""
    for stream in answered_call(request).streams:
        stream.stop("api_request")
    return Result(204)


def add_routes(app: web.Application) -> None:
    """Put the live-call resources on the application."""
    call = f"{ROOT}/Call/{{call_uuid}}"
    router = app.router
    router.add_post(f"{call}/Record/", endpoint(start_recording, spawns=False))
    router.add_delete(f"{call}/Record/", endpoint(stop_recording))
    router.add_post(f"{call}/Play/", endpoint(play))
    router.add_delete(f"{call}/Play/", endpoint(stop_prompt))
    router.add_post(f"{call}/Speak/", endpoint(speak))
    router.add_delete(f"{call}/Speak/", endpoint(stop_prompt))
    router.add_post(f"{call}/DTMF/", endpoint(send_digits))
    router.add_post(f"{call}/Stream/", endpoint(start_stream))
    router.add_get(f"{call}/Stream/", endpoint(list_streams))
    router.add_delete(f"{call}/Stream/", endpoint(stop_streams))
    router.add_get(f"{call}/Stream/{{stream_id}}/", endpoint(show_stream))
    router.add_delete(f"{call}/Stream/{{stream_id}}/", endpoint(stop_stream))

"""/control/: how a test, the demonstration or an operator steers the phone network and reads what happened.

JSON, from this machine only. The table of all of it is in sandbox/README.md; sandbox.testing.Control is its client.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox.audio import wav_bytes
from sandbox.clips import UnknownClipError
from sandbox.plivo.behaviour import BadBehaviourError, parse_behaviour, parse_script
from sandbox.plivo.call import Call, CallUrls
from sandbox.plivo.callback_url import is_http_url
from sandbox.plivo.engine import start_inbound
from sandbox.plivo.exchange import BadSettingError, Exchange
from sandbox.plivo.faults import BadFaultError, merged
from sandbox.plivo.media_format import PHONE_RATE
from sandbox.plivo.rest import EXCHANGE
from sandbox.plivo.scenario import BadScenarioError, load_scenario, parse_caller
from sandbox.plivo.stream_report import stream_wav

_WAITS = ("answered", "streaming", "ended")
_APPLICATION = ("answer_url", "answer_method", "hangup_url", "hangup_method", "fallback_answer_url", "fallback_method")


class ControlRefusedError(Exception):
    """A wish that cannot be fulfilled; status and sentence for the reply."""

    def __init__(self, status: int, message: str) -> None:
        """`message` is the `error` of the reply."""
        super().__init__(message)
        self.status = status


def _guarded(
    handler: Callable[[web.Request, Exchange], Awaitable[web.StreamResponse]],
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if not ipaddress.ip_address(request.remote or "0.0.0.0").is_loopback:  # noqa: S104 (compared, not bound)
            return web.json_response({"error": "only from this machine"}, status=403)
        if request.method not in ("GET", "DELETE") and request.content_type != "application/json":
            return web.json_response({"error": "Content-Type: application/json is expected"}, status=415)
        try:
            return await handler(request, request.app[EXCHANGE])
        except ControlRefusedError as error:
            return web.json_response({"error": str(error)}, status=error.status)
        except (BadBehaviourError, BadFaultError, BadScenarioError, BadSettingError, UnknownClipError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError as error:
        raise ControlRefusedError(400, "the body is not JSON") from error
    if not isinstance(body, dict):
        raise ControlRefusedError(400, "the body is not an object")
    return body


def _call(request: web.Request, exchange: Exchange) -> Call:
    call = exchange.calls.get(request.match_info["call_uuid"])
    if call is None:
        raise ControlRefusedError(404, "no such call")
    return call


async def _status(_request: web.Request, exchange: Exchange) -> web.Response:
    live = sum(call.state in ("ringing", "in-progress") for call in exchange.calls.values())
    return web.json_response({"calls": len(exchange.calls), "live": live, "errors": exchange.errors})


async def _start_call(request: web.Request, exchange: Exchange) -> web.Response:
    body = await _body(request)
    number = exchange.registry.numbers.get(str(body.get("to", "")).removeprefix("+"))
    if number is None:
        raise ControlRefusedError(404, f"{body.get('to')!r} is not a rented number; put it to /control/numbers/ first")
    application = exchange.registry.application_of(number)
    if application is None:
        raise ControlRefusedError(409, f"{number.number} has no application")
    script = parse_script(body) or load_scenario("front_desk", voice=body.get("voice"))
    fields = application.to_json()
    owner = exchange.registry.owner(number)
    uuid = exchange.new_id()
    call = Call(
        uuid=uuid,
        request_uuid=uuid,
        auth_id=owner,
        parent_auth_id=number.auth_id,
        direction="inbound",
        from_number=str(body.get("from", script.from_number)).removeprefix("+"),
        to_number=number.number,
        urls=CallUrls(
            answer=fields["answer_url"],
            answer_method=fields["answer_method"],
            hangup=fields["hangup_url"],
            hangup_method=fields["hangup_method"],
            fallback=fields["fallback_answer_url"],
            fallback_method=fields["fallback_method"],
        ),
        faults=merged(exchange.faults, body.get("faults") or {}),
        signers=exchange.registry.signers(owner),
        utc_offset=dt.timezone(dt.timedelta(minutes=exchange.registry.accounts[owner].utc_offset_minutes)),
    )
    start_inbound(exchange, call, script)
    return web.json_response({"call_uuid": call.uuid}, status=201)


async def _list_calls(_request: web.Request, exchange: Exchange) -> web.Response:
    keys = ("call_uuid", "request_uuid", "direction", "from", "to", "state", "status", "duration_s")
    calls = []
    for call in exchange.calls.values():
        report = call.report()
        calls.append({key: report[key] for key in keys})
    return web.json_response({"calls": calls})


async def _show_call(request: web.Request, exchange: Exchange) -> web.Response:
    call = _call(request, exchange)
    wait = request.query.get("wait", "")
    if wait:
        if wait not in _WAITS:
            raise ControlRefusedError(400, f"wait is one of {', '.join(_WAITS)}")
        try:
            async with asyncio.timeout(float(request.query.get("timeout_s", "60"))):
                await _reached(call, wait)
        except TimeoutError as error:
            raise ControlRefusedError(408, f"the call was not {wait} in time; it is {call.state}") from error
    report = call.report() | {
        "webhooks": exchange.ledger.of_call("webhooks", call.uuid),
        "sockets": exchange.ledger.of_call("sockets", call.uuid),
        "recordings": [
            recording.callback_params(exchange.base_url, "") | {"available": recording.available}
            for recording in exchange.recordings.values()
            if recording.call is call
        ],
    }
    return web.json_response(report)


async def _reached(call: Call, wait: str) -> None:
    if wait == "ended":
        await call.closed.wait()
        return
    while not call.closed.is_set():
        if wait == "answered" and call.answered_at:
            return
        if wait == "streaming" and any(stream.start_sent_ms is not None for stream in call.streams):
            return
        await asyncio.sleep(0.01)


async def _audio(request: web.Request, exchange: Exchange) -> web.Response:
    call = _call(request, exchange)
    if call.media is None or not call.media.keep_audio:
        raise ControlRefusedError(404, "there is no audio of this call")
    return web.Response(body=wav_bytes(call.media.stereo(), PHONE_RATE), content_type="audio/wav")


async def _stream_audio(request: web.Request, exchange: Exchange) -> web.Response:
    call = _call(request, exchange)
    index = int(request.match_info["index"])
    if index >= len(call.streams) or not call.streams[index].media.keep_audio:
        raise ControlRefusedError(404, "there is no audio of that stream")
    return web.Response(body=stream_wav(call.streams[index]), content_type="audio/wav")


async def _steps(request: web.Request, exchange: Exchange) -> web.Response:
    call = _call(request, exchange)
    if call.caller is None or call.ended.is_set():
        raise ControlRefusedError(409, "nobody is on the phone")
    body = await _body(request)
    steps = parse_caller({"steps": body.get("steps")}).steps
    if body.get("now", True):
        call.caller.do_now(steps)
    else:
        call.caller.add_steps(steps)
    return web.json_response({"steps": len(steps)}, status=202)


async def _set_behaviour(request: web.Request, exchange: Exchange) -> web.Response:
    number = request.match_info["number"]
    body = await _body(request)
    sequence = body.get("sequence", [body])
    if not isinstance(sequence, list):
        raise ControlRefusedError(400, "sequence is a list")
    plan = [parse_behaviour(item) for item in sequence]
    exchange.behaviours.set("*" if number == "any" else number.removeprefix("+"), plan)
    return web.json_response(exchange.behaviours.report())


async def _behaviours(request: web.Request, exchange: Exchange) -> web.Response:
    if request.method == "DELETE":
        exchange.behaviours.reset()
    return web.json_response(exchange.behaviours.report())


async def _faults(request: web.Request, exchange: Exchange) -> web.Response:
    if request.method == "PATCH":
        exchange.faults = merged(exchange.faults, await _body(request))
    elif request.method == "DELETE":
        exchange.faults = type(exchange.faults)()
    return web.json_response({name: _plain(value) for name, value in vars(exchange.faults).items()})


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


async def _settings(request: web.Request, exchange: Exchange) -> web.Response:
    if request.method == "PATCH":
        exchange.settings.change(await _body(request))
    return web.json_response(vars(exchange.settings))


async def _rent(request: web.Request, exchange: Exchange) -> web.Response:
    body = await _body(request)
    number = request.match_info["number"].removeprefix("+")
    auth_id = str(body.pop("auth_id", next(iter(exchange.registry.accounts))))
    if auth_id not in exchange.registry.accounts:
        raise ControlRefusedError(404, f"no account {auth_id}")
    unknown = set(body) - set(_APPLICATION)
    if unknown or not number.isdigit():
        raise ControlRefusedError(400, f"a number of digits and {', '.join(_APPLICATION)} are expected")
    if not all(is_http_url(str(value)) for name, value in body.items() if name.endswith("_url") and value):
        raise ControlRefusedError(400, "a URL is not valid")
    rented = exchange.registry.rent(number, auth_id)
    if body.get("answer_url"):
        fields = {"app_name": f"app-{number}", **body}
        rented.app_id = exchange.registry.create_application(rented.auth_id, fields).app_id
    return web.json_response(rented.to_json())


async def _ledger(_request: web.Request, exchange: Exchange) -> web.Response:
    return web.json_response(exchange.ledger.report())


async def _reset_ledger(_request: web.Request, exchange: Exchange) -> web.Response:
    exchange.ledger.reset()
    return web.json_response({})


async def _reset(_request: web.Request, exchange: Exchange) -> web.Response:
    await exchange.reset()
    return web.json_response({})


def add_routes(app: web.Application) -> None:
    """Put /control/ on the application."""
    call = "/control/calls/{call_uuid}"
    app.router.add_routes(
        [
            web.get("/control/", _guarded(_status)),
            web.post("/control/calls", _guarded(_start_call)),
            web.get("/control/calls", _guarded(_list_calls)),
            web.get(call, _guarded(_show_call)),
            web.get(f"{call}/audio.wav", _guarded(_audio)),
            web.get(call + r"/streams/{index:\d+}.wav", _guarded(_stream_audio)),
            web.post(f"{call}/steps", _guarded(_steps)),
            web.get("/control/behaviours", _guarded(_behaviours)),
            web.delete("/control/behaviours", _guarded(_behaviours)),
            web.put("/control/behaviours/{number}", _guarded(_set_behaviour)),
            web.get("/control/faults", _guarded(_faults)),
            web.patch("/control/faults", _guarded(_faults)),
            web.delete("/control/faults", _guarded(_faults)),
            web.get("/control/settings", _guarded(_settings)),
            web.patch("/control/settings", _guarded(_settings)),
            web.put("/control/numbers/{number}", _guarded(_rent)),
            web.get("/control/ledger", _guarded(_ledger)),
            web.post("/control/ledger/reset", _guarded(_reset_ledger)),
            web.post("/control/reset", _guarded(_reset)),
        ]
    )

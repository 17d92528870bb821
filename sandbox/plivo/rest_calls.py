"""REST: make a call, cancel it, list and show calls (queued, live, completed), hang up, transfer.

Mounted by sandbox.plivo.routes. Field names, texts and statuses are Plivo's Call API.
"""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import re
from typing import Any

from aiohttp import web

from sandbox.clips import UnknownClipError
from sandbox.plivo.behaviour import Behaviour
from sandbox.plivo.call import Call, CallUrls, OutboundOptions, cause
from sandbox.plivo.cdr import cdr, matches
from sandbox.plivo.engine import start_outbound
from sandbox.plivo.rest import ROOT, ApiError, Request, Result, endpoint, paged

MAX_BULK = 1000
_NUMBER = re.compile(r"\+?[0-9]{5,15}")
_SIP = re.compile(r"sip:[^\s@<>]+@[^\s<>]+")
_HEADER = re.compile(r"[A-Za-z0-9]{1,24}=[A-Za-z0-9%]{0,48}")
_ANSWER_WAIT_S = 5.0


async def make_call(request: Request) -> Result:
    """POST /Call/."""
    ledger = request.exchange.ledger
    entry = ledger.posted(auth_id=request.account.auth_id, body=dict(request.fields))
    try:
        result = await _make_call(request, entry)
    except ApiError as error:
        entry["status"] = error.status
        raise
    entry["status"] = result.status
    return result


async def _make_call(request: Request, entry: dict[str, Any]) -> Result:
    exchange = request.exchange
    sender = _sender(request)
    targets = _targets(request, sender)
    urls, options = _urls(request), _options(request)
    most = exchange.settings.concurrency
    if most and len(exchange.live_calls(request.account.auth_id)) + len(targets) > most:
        raise ApiError(403, "Concurrency limit breached")
    calls, waits = [], []
    for target in targets:
        behaviour = exchange.behaviours.next_for(target)
        if exchange.faults.answer_before_post_reply:
            behaviour = dataclasses.replace(behaviour, ring_ms=0, answer_ms=0)
        call = _call(request, sender, target, urls, options)
        waits.append(_start(request, call, behaviour))
        calls.append(call)
    ids: Any = [call.request_uuid for call in calls]
    entry["request_uuid"] = ids if len(ids) > 1 else ids[0]
    if exchange.faults.answer_before_post_reply:
        await _until_answer_was_asked(calls[0])
    message = "call queued" if max(waits) > 0 else "call fired"
    return Result(201, {"message": message, "request_uuid": entry["request_uuid"]})


def _start(request: Request, call: Call, behaviour: Behaviour) -> float:
    try:
        return start_outbound(request.exchange, call, behaviour)
    except UnknownClipError as error:
        raise ApiError(500, f"the sandbox's behaviour cannot be played: {error}") from error


async def _until_answer_was_asked(call: Call) -> None:
    try:
        await asyncio.wait_for(call.answer_asked.wait(), timeout=_ANSWER_WAIT_S)
    except TimeoutError:
        call.note("answer_was_not_asked_in_time")


def _call(request: Request, sender: str, target: str, urls: CallUrls, options: OutboundOptions) -> Call:
    exchange = request.exchange
    request_uuid = exchange.new_id()
    account = request.account
    return Call(
        uuid=exchange.new_id() if exchange.faults.different_call_uuid else request_uuid,
        request_uuid=request_uuid,
        auth_id=account.auth_id,
        parent_auth_id=exchange.registry.main_of(account.auth_id).auth_id,
        direction="outbound",
        from_number=sender,
        to_number=target,
        urls=dataclasses.replace(urls),
        options=options,
        faults=exchange.faults,
        signers=exchange.registry.signers(account.auth_id),
        utc_offset=dt.timezone(dt.timedelta(minutes=account.utc_offset_minutes)),
    )


def _sender(request: Request) -> str:
    raw = str(request.fields.get("from") or "")
    if not raw:
        raise ApiError(400, "from parameter not present")
    if not _NUMBER.fullmatch(raw):
        raise ApiError(400, "from parameter is not valid")
    number = raw.removeprefix("+")
    rented = request.exchange.registry.numbers.get(number)
    main = request.exchange.registry.main_of(request.account.auth_id).auth_id
    if rented is None or rented.auth_id != main:
        raise ApiError(400, f"from number {number} is not a number of this account")
    return number


def _targets(request: Request, sender: str) -> list[str]:
    raw = str(request.fields.get("to") or "")
    if not raw:
        raise ApiError(400, "to parameter not present")
    targets = []
    for part in raw.split("<"):
        if not _NUMBER.fullmatch(part) and not _SIP.fullmatch(part):
            raise ApiError(400, f"to parameter is not valid: {part}")
        targets.append(part.removeprefix("+"))
    if len(targets) > MAX_BULK:
        raise ApiError(400, f"at most {MAX_BULK} destinations are allowed")
    if len(set(targets)) != len(targets):
        raise ApiError(400, "the destinations are not unique")
    if sender in targets:
        raise ApiError(400, "from and to cannot be the same")
    return targets


def _urls(request: Request) -> CallUrls:
    answer = request.url("answer_url", required=True)
    answer_method = request.method("answer_method")
    hangup = request.url("hangup_url")
    return CallUrls(
        answer=answer,
        answer_method=answer_method,
        # Seen live: without a hangup_url the answer URL is asked again at the end.
        hangup=hangup or answer,
        hangup_method=request.method("hangup_method") if hangup else answer_method,
        ring=request.url("ring_url"),
        ring_method=request.method("ring_method"),
        fallback=request.url("fallback_url"),
        fallback_method=request.method("fallback_method"),
        machine=request.url("machine_detection_url"),
        machine_method=request.method("machine_detection_method"),
    )


def _options(request: Request) -> OutboundOptions:
    fields = request.fields
    detection = str(fields.get("machine_detection") or "").lower()
    if detection not in ("", "true", "hangup"):
        raise ApiError(400, "machine_detection must be true or hangup")
    for name, lowest, highest, default in (
        ("machine_detection_maximum_speech_length", 1000, 6000, 5000),
        ("machine_detection_initial_silence", 2000, 10000, 4500),
        ("machine_detection_maximum_words", 2, 10, 3),
        ("machine_detection_initial_greeting", 1000, 5000, 1500),
    ):
        request.integer(name, default, lowest, highest)
    name = str(fields.get("caller_name") or "")
    if len(name) > 50:
        raise ApiError(400, "caller_name can have at most 50 characters")
    digits = str(fields.get("send_digits") or "")
    if not re.fullmatch(r"[0-9*#wW@]*", digits):
        raise ApiError(400, "send_digits is not valid")
    hangup_on_ring = fields.get("hangup_on_ring")
    return OutboundOptions(
        time_limit=min(request.integer("time_limit", 14400, 1, 10**9), 86400),
        ring_timeout=request.integer("ring_timeout", 120, 1, 600),
        hangup_on_ring=None if hangup_on_ring is None else request.integer("hangup_on_ring", 0, 0, 600),
        machine_detection=detection,
        machine_detection_time=request.integer("machine_detection_time", 5000, 2000, 10000),
        send_digits=digits,
        caller_name=name,
        sip_headers=_sip_headers(str(fields.get("sip_headers") or "")),
    )


def _sip_headers(text: str) -> dict[str, str]:
    headers = {}
    for pair in filter(None, (part.strip() for part in text.split(","))):
        if not _HEADER.fullmatch(pair):
            raise ApiError(400, "sip_headers is not valid")
        name, _, value = pair.partition("=")
        headers[name] = value
    return headers


def find_call(request: Request, *, live: bool = True) -> Call:
    """The call in the path. Raises 404 when it is not the account's, or over although it has to be live."""
    call = request.exchange.calls.get(request.path["call_uuid"])
    if call is None or call.auth_id != request.account.auth_id or (live and call.state in ("ended", "closed")):
        raise ApiError(404, "call not found" if live else "not found")
    return call


def answered_call(request: Request) -> Call:
    """The live and answered call in the path. Raises 404."""
    call = find_call(request)
    if call.media is None:
        raise ApiError(404, "call not found")
    return call


async def hang_up(request: Request) -> Result:
    """DELETE /Call/{uuid}/."""
    call = find_call(request)
    call.hang_up(cause(call.faults.rest_hangup_code, "API Request"))
    return Result(204)


async def cancel(request: Request) -> Result:
    """DELETE /Request/{uuid}/: a call that was not answered yet."""
    for call in request.exchange.calls.values():
        if call.request_uuid == request.path["request_uuid"] and call.auth_id == request.account.auth_id:
            if call.state not in ("queued", "ringing"):
                break
            call.hang_up(cause(1000, "API Request"))
            return Result(204)
    raise ApiError(404, "request not found")


async def transfer(request: Request) -> Result:
    """POST /Call/{uuid}/: run another document."""
    call = answered_call(request)
    legs = str(request.fields.get("legs") or "aleg")
    if legs not in ("aleg", "bleg", "both"):
        raise ApiError(400, "legs must be aleg, bleg or both")
    if legs == "bleg":
        raise ApiError(400, "this call has no bleg")
    url = request.url("aleg_url", required=True)
    call.transfer = (url, request.method("aleg_method"))
    call.note("transfer_asked")
    call.transfer_asked.set()
    return Result(202, {"message": "call transferred", "call_uuids": [call.uuid]})


async def list_calls(request: Request) -> Result:
    """GET /Call/: queued, live, or completed ones with filters."""
    status = request.fields.get("status")
    mine = [call for call in request.exchange.calls.values() if call.auth_id == request.account.auth_id]
    if status in ("live", "queued"):
        states = ("ringing", "in-progress") if status == "live" else ("queued",)
        return Result(200, {"calls": [call.uuid for call in mine if call.state in states]})
    if status not in (None, ""):
        raise ApiError(400, "status must be live or queued")
    done = [call for call in reversed(mine) if _has_record(request, call) and matches(request, call)]
    return paged(request, [cdr(call) for call in done])


async def show_call(request: Request) -> Result:
    """GET /Call/{uuid}/: live or queued with that status, otherwise completed."""
    status = request.fields.get("status")
    call = find_call(request, live=False)
    ended = call.state in ("ended", "closed")
    if status in ("live", "queued"):
        if ended or (call.state == "queued") != (status == "queued"):
            raise ApiError(404, "not found")
        return Result(
            200,
            {
                "call_status": call.call_status if call.state != "queued" else "queued",
                "call_uuid": call.uuid,
                "caller_name": call.options.caller_name,
                "direction": call.direction,
                "from": call.from_number,
                "request_uuid": call.request_uuid,
                "session_start": call.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
                "to": call.to_number,
            },
        )
    if not _has_record(request, call):
        raise ApiError(404, "not found")
    return Result(200, cdr(call))


def _has_record(request: Request, call: Call) -> bool:
    """Detail records come some seconds after the end."""
    settings = request.exchange.settings
    after = dt.timedelta(seconds=settings.cdr_after_s * settings.time_scale)
    return call.ended_at is not None and dt.datetime.now(dt.UTC) >= call.ended_at + after


def add_routes(app: web.Application) -> None:
    """Put the call resources on the application."""
    router = app.router
    router.add_post(f"{ROOT}/Call/", endpoint(make_call, name="make_call"))
    router.add_get(f"{ROOT}/Call/", endpoint(list_calls))
    router.add_get(f"{ROOT}/Call/{{call_uuid}}/", endpoint(show_call))
    router.add_post(f"{ROOT}/Call/{{call_uuid}}/", endpoint(transfer))
    router.add_delete(f"{ROOT}/Call/{{call_uuid}}/", endpoint(hang_up))
    router.add_delete(f"{ROOT}/Request/{{request_uuid}}/", endpoint(cancel))

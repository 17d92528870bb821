"""What all of Plivo's REST API has in common: login, rate limit, JSON in and out, errors, paging, asynchronous replies.

The resources are in rest_calls, rest_live and rest_resources; each is a function from a Request to a Result, put on the
application by `endpoint`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import enum
import json
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from sandbox.config import Account
from sandbox.plivo.callback_url import is_http_url
from sandbox.plivo.exchange import Exchange
from sandbox.plivo.webhooks import Webhook, WebhookSender, text_params

EXCHANGE = web.AppKey("exchange", Exchange)
_WINDOW_S = 5.0
_RECENT: web.AppKey[dict[str, deque[float]]] = web.AppKey("recent", dict)
ROOT = "/v1/Account/{auth_id}"


class ApiError(Exception):
    """A refusal, with Plivo's status and sentence."""

    def __init__(self, status: int, message: str) -> None:
        """`message` goes into `error`."""
        super().__init__(message)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Request:
    """An authenticated request. `fields` is the JSON or form body of a POST, the query of a GET or DELETE."""

    exchange: Exchange
    account: Account
    fields: dict[str, Any]
    path: dict[str, str]
    url_path: str
    api_id: str

    def integer(self, name: str, default: int, lowest: int, highest: int) -> int:
        """A whole number among the fields. Raises ApiError."""
        raw = self.fields.get(name, default)
        try:
            value = int(raw)
        except (TypeError, ValueError):
            value = lowest - 1
        if isinstance(raw, bool) or not lowest <= value <= highest:
            raise ApiError(400, f"{name} should be an integer between {lowest} and {highest}")
        return value

    def url(self, name: str, *, required: bool = False) -> str:
        """A URL among the fields. Raises ApiError."""
        value = self.fields.get(name) or ""
        if not value and required:
            raise ApiError(400, f"{name} parameter not present")
        if value and not is_http_url(value):
            raise ApiError(400, f"{name} parameter is not valid")
        return str(value)

    def method(self, name: str) -> str:
        """GET or POST among the fields. Raises ApiError."""
        value = str(self.fields.get(name) or "POST").upper()
        if value not in ("GET", "POST"):
            raise ApiError(400, f"{name} must be GET or POST")
        return value

    def flag(self, name: str, *, default: bool) -> bool:
        """A boolean among the fields, also as text. Raises ApiError."""
        value = self.fields.get(name, default)
        if isinstance(value, bool):
            return value
        if str(value).lower() not in ("true", "false"):
            raise ApiError(400, f"{name} must be true or false")
        return str(value).lower() == "true"


@dataclasses.dataclass(frozen=True)
class Result:
    """A reply: 204 has no body."""

    status: int = 200
    body: dict[str, Any] = dataclasses.field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Result]]


def paged(request: Request, objects: Sequence[dict[str, Any]]) -> Result:
    """One page of a list, with Plivo's meta."""
    limit = request.integer("limit", 20, 1, 20)
    offset = request.integer("offset", 0, 0, 10**9)
    kept = {name: value for name, value in request.fields.items() if name not in ("limit", "offset")}

    def link(at: int) -> str:
        return f"{request.url_path}?{urlencode({**kept, 'limit': limit, 'offset': at})}"

    meta = {
        "limit": limit,
        "offset": offset,
        "total_count": len(objects),
        "next": link(offset + limit) if offset + limit < len(objects) else None,
        "previous": link(max(0, offset - limit)) if offset else None,
    }
    return Result(200, {"meta": meta, "objects": list(objects[offset : offset + limit])})


def endpoint(
    handler: Handler, *, name: str = "", spawns: bool = True
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """An aiohttp handler. With `spawns`, a callback_url among the fields makes the reply asynchronous."""

    async def handle(request: web.Request) -> web.Response:
        exchange = request.app[EXCHANGE]
        api_id = exchange.new_id()
        try:
            account = _login(request, exchange)
            _limit_rate(request, exchange, account)
            fault = _fault_before(exchange, name)
            fields = await _fields(request)
            asked = Request(exchange, account, fields, dict(request.match_info), request.path, api_id)
            if fault == 500 and not exchange.faults.rest_500_call_proceeds:
                raise ApiError(500, "internal server error")
            chance = _chance(exchange, name)
            if chance is _Chance.NOTHING_RINGS:
                raise ApiError(503, "service unavailable")
            callback = fields.get("callback_url") if spawns else None
            if callback:
                exchange.spawn(_later(handler, asked, str(callback)))
                result = Result(202, {"message": "async api spawned"})
            else:
                result = await handler(asked)
            if _in_scope(exchange, name):
                await asyncio.sleep(exchange.faults.rest_slow_ms / 1000)
            if fault == 500:
                raise ApiError(500, "internal server error")
            if chance is _Chance.RINGS_ALL_THE_SAME:
                raise ApiError(503, "service unavailable")
            if chance is _Chance.LOST and request.transport is not None:
                request.transport.abort()
        except ApiError as error:
            return web.json_response({"api_id": api_id, "error": str(error)}, status=error.status)
        if result.status == 204:
            return web.Response(status=204)
        return web.json_response({"api_id": api_id, **result.body}, status=result.status)

    return handle


async def _later(handler: Handler, asked: Request, callback: str) -> None:
    """Do the work of an asynchronous request and tell its callback URL."""
    try:
        result = await handler(asked)
        body: dict[str, Any] = {"api_id": asked.api_id, "status_code": result.status, **result.body}
    except ApiError as error:
        body = {"api_id": asked.api_id, "status_code": error.status, "error": str(error)}
    exchange = asked.exchange
    method = str(asked.fields.get("callback_method") or "POST").upper()
    if not is_http_url(callback) or method not in ("GET", "POST"):
        return
    sender = WebhookSender(exchange.session, exchange.ledger, exchange.settings.time_scale)
    params = {name: json.dumps(value) if isinstance(value, (dict, list)) else value for name, value in body.items()}
    await sender.send(
        Webhook(
            url=callback,
            method=method,
            params=text_params(params),
            event="api",
            call_uuid="",
            signers=exchange.registry.signers(asked.account.auth_id),
            faults=exchange.faults,
        )
    )


def _login(request: web.Request, exchange: Exchange) -> Account:
    """The account of the Basic credentials; it must be the one in the path."""
    refused = ApiError(401, "Could not verify your access level for that URL: login with proper credentials")
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise refused
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise refused from error
    account = exchange.registry.login(user, password)
    if account is None or account.auth_id != request.match_info["auth_id"]:
        raise refused
    return account


def _limit_rate(request: web.Request, exchange: Exchange, account: Account) -> None:
    recent = request.app[_RECENT].setdefault(account.auth_id, deque())
    now = time.monotonic()
    while recent and now - recent[0] >= _WINDOW_S:
        recent.popleft()
    if len(recent) >= exchange.settings.rate_limit:
        raise ApiError(429, "Too many requests")
    recent.append(now)


def _in_scope(exchange: Exchange, name: str) -> bool:
    """Whether the REST faults hit a resource."""
    return exchange.faults.rest_scope == "all" or name == "make_call"


class _Chance(enum.Enum):
    """What befalls one request in so many."""

    NONE = enum.auto()
    LOST = enum.auto()
    NOTHING_RINGS = enum.auto()
    RINGS_ALL_THE_SAME = enum.auto()


def _chance(exchange: Exchange, name: str) -> _Chance:
    """Drawn for each request; the sandbox's seed decides."""
    lost, failed = exchange.faults.rest_lost_percent, exchange.faults.rest_5xx_percent
    if not (lost or failed) or not _in_scope(exchange, name):
        return _Chance.NONE
    drawn = exchange.random.random() * 100
    if drawn < lost:
        return _Chance.LOST
    if drawn < lost + failed:
        return _Chance.NOTHING_RINGS if drawn < lost + failed / 2 else _Chance.RINGS_ALL_THE_SAME
    return _Chance.NONE


def _fault_before(exchange: Exchange, name: str) -> int:
    """Apply the REST faults that are due; 500 when this request is to fail with it."""
    faults = exchange.faults
    if not _in_scope(exchange, name):
        return 0
    for status in (429, 403, 500):
        left = getattr(faults, f"rest_{status}")
        if left:
            exchange.faults = dataclasses.replace(faults, **{f"rest_{status}": left - 1})
            if status == 500:
                return 500
            raise ApiError(status, "Too many requests" if status == 429 else "this call is not permitted")
    return 0


async def _fields(request: web.Request) -> dict[str, Any]:
    if request.method in ("GET", "DELETE") or not request.can_read_body:
        fields: dict[str, Any] = dict(request.query)
        if request.method != "DELETE" or not request.can_read_body:
            return fields
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(await request.post())
    try:
        body = json.loads(await request.text() or "{}")
    except ValueError as error:
        raise ApiError(400, "the request body is not valid JSON") from error
    if not isinstance(body, dict):
        raise ApiError(400, "the request body is not a JSON object")
    return body


@web.middleware
async def json_errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Any:
    """Unknown paths and methods under /v1/ answer as Plivo does, in JSON."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if not request.path.startswith("/v1/Account/"):
            raise
        text = "not found" if error.status == 404 else "Method not allowed"
        body = {"api_id": Exchange.new_id(), "error": text}
        return web.json_response(body, status=error.status)


def install(app: web.Application) -> None:
    """Before the resources are added."""
    app[_RECENT] = {}
    app.middlewares.append(json_errors)

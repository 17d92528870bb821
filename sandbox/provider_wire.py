"""What both AI providers do to a connection: check the key, wait, break off in the ways that the fault menu names."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import WSCloseCode, web

from sandbox import grammar
from sandbox.providers_state import Fault, ProvidersState

ACCEPTED_KEYS = ("test-", "sk-", "sk_")
DEMO_KEY = "demo-"


class BrokenOffError(Exception):
    """The answer was cut short on purpose; nothing more may be written."""


def key_is_good(state: ProvidersState, key: str) -> bool:
    """Whether a key opens the sandbox: `test-...`, `sk-...`, `sk_...` or `demo-<scenario>`, and not revoked."""
    if key in state.revoked_keys:
        return False
    if key.startswith(DEMO_KEY):
        return grammar.has_grammar(key.removeprefix(DEMO_KEY))
    return key.startswith(ACCEPTED_KEYS)


def scenario_of(key: str) -> str | None:
    """The scenario that a demonstration's key names; None for any other key."""
    return key.removeprefix(DEMO_KEY) if key.startswith(DEMO_KEY) else None


def abort(request: web.Request) -> None:
    """Reset the TCP connection."""
    if request.transport is not None:
        request.transport.abort()


def half_close(request: web.Request) -> None:
    """Send FIN in mid-answer; what the client still sends is read."""
    if request.transport is not None and request.transport.can_write_eof():
        request.transport.write_eof()


async def gone(request: web.Request) -> None:
    """Return when the client has left."""
    while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 (nothing else tells)
        await asyncio.sleep(0.02)


async def wait_or_gone(state: ProvidersState, request: web.Request, milliseconds: float) -> None:
    """Pause, times the scale. Raises ConnectionResetError as soon as the client leaves."""
    deadline = asyncio.get_running_loop().time() + milliseconds * state.scale / 1000
    while True:
        if request.transport is None or request.transport.is_closing():
            message = "the client has left"
            raise ConnectionResetError(message)
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return
        await asyncio.sleep(min(left, 0.02))


async def break_stream(request: web.Request, response: web.StreamResponse, fault: Fault) -> None:
    """Act out a fault in the middle of an HTTP answer; never returns normally.

    Raises BrokenOffError once the connection is done with.
    """
    if fault.kind == "stall":
        await gone(request)
    elif fault.kind == "garbage":
        await response.write(b"\xff\xfe<html>502 Bad Gateway\n\n")
        abort_after_flush(request)
    elif fault.kind == "half_close":
        half_close(request)
        await gone(request)
    else:
        abort(request)
    raise BrokenOffError(fault.kind)


def abort_after_flush(request: web.Request) -> None:
    """Close once what was written is sent."""
    if request.transport is not None:
        request.transport.close()


async def break_socket(request: web.Request, socket: web.WebSocketResponse, fault: Fault, reason: str = "") -> None:
    """Act out a fault in the middle of a WebSocket; never returns normally.

    Raises BrokenOffError once the connection is done with.
    """
    if fault.kind == "garbage":
        await socket.send_str("{not json")
        await socket.send_bytes(b"\x00\xff\xfe")
        return
    if fault.kind == "stall":
        await gone(request)
    elif fault.kind == "half_close":
        half_close(request)
        await gone(request)
    elif fault.kind == "close" and fault.code != WSCloseCode.ABNORMAL_CLOSURE:
        await socket.close(code=fault.code, message=reason.encode()[:120])
    else:
        abort(request)
    raise BrokenOffError(fault.kind)


async def json_body(request: web.Request) -> Any:
    """The decoded body, or None when it is not JSON."""
    try:
        return json.loads(await request.read())
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None

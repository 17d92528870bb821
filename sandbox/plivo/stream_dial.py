"""Opens the WebSocket of a stream as Plivo does: a signed handshake, three attempts, each in the ledger.

Used by the stream client, which knows what to do when nobody answers.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from sandbox.plivo.signatures import handshake_url, signature_headers
from sandbox.plivo.stream_protocol import StreamSpec

if TYPE_CHECKING:
    from sandbox.plivo.call import Call
    from sandbox.plivo.exchange import Exchange

ATTEMPTS = 3
CLOSE_TIMEOUT_S = 2.0
SEND_BUFFER_BYTES = 16 * 1024


async def connect(
    exchange: Exchange, call: Call, spec: StreamSpec, stream_id: str
) -> aiohttp.ClientWebSocketResponse | None:
    """An open WebSocket, or None after three attempts."""
    settings = exchange.settings
    for attempt in range(1, ATTEMPTS + 1):
        if attempt > 1:
            await asyncio.sleep(settings.stream_retry_s * settings.time_scale)
        entry = exchange.ledger.socket(
            {
                "call_uuid": call.uuid,
                "stream_id": stream_id,
                "url": spec.url,
                "attempt": attempt,
                "opened": False,
            }
        )
        if attempt <= call.faults.connect_fails:
            entry["error"] = "fault: connect_fails"
            continue
        if call.faults.connect_delay_ms:
            await asyncio.sleep(call.faults.connect_delay_ms / 1000)
        websocket = await _dial(exchange, call, spec, entry)
        if websocket is not None:
            return websocket
    return None


async def _dial(
    exchange: Exchange, call: Call, spec: StreamSpec, entry: dict[str, Any]
) -> aiohttp.ClientWebSocketResponse | None:
    url = URL(spec.url, encoded=True).with_fragment(None)
    headers = signature_headers(
        "GET",
        handshake_url(str(url), call.faults.handshake_url),
        {},
        tokens=call.signers.tokens,
        main_tokens=call.signers.main_tokens,
        fault=call.faults.handshake_signature,
    )
    try:
        async with asyncio.timeout(exchange.settings.stream_connect_timeout_s):
            timeout = aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT_S)
            websocket = await exchange.session.ws_connect(url, headers=headers, max_msg_size=0, timeout=timeout)
    except aiohttp.WSServerHandshakeError as error:
        entry["status"] = error.status
        call.note("stream_refused", status=error.status)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        entry["error"] = f"{type(error).__name__}: {error}"
        call.note("stream_unreachable", error=type(error).__name__)
    else:
        entry.update(opened=True, status=101)
        # What the server does not read shall pile up here, where it is counted, and not in the operating system.
        websocket.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        return websocket
    return None

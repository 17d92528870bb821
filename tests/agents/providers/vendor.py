"""A provider whose every answer a test writes itself: for what a faithful server never does.

One aiohttp server on a free port; handlers are plain coroutines by method and path. It counts TCP connections and keeps
what was said on its sockets.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import WSMsgType, web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
KEY = "sk-canary-7f3a9e51d2c8"


class Vendor:
    """The server and what it saw."""

    def __init__(self) -> None:
        self.url = ""
        self.routes: dict[tuple[str, str], Handler] = {}
        self.connections: list[asyncio.BaseTransport] = []
        self.requests: list[str] = []
        self.queries: list[dict[str, list[str]]] = []
        self.heard: list[dict[str, Any]] = []
        self.cancelled = asyncio.Event()
        self.open_sockets = 0

    def on(self, method: str, path: str, handler: Handler) -> None:
        self.routes[method, path] = handler

    def socket(self, path: str, talk: Callable[["Talk"], Awaitable[None]]) -> None:
        """Serves a WebSocket: ``talk`` has the conversation; the socket closes when it returns."""

        async def serve(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            self.open_sockets += 1
            try:
                await talk(Talk(self, request, socket))
            finally:
                self.open_sockets -= 1
            if not socket.closed:
                await socket.close()
            return socket

        self.on("GET", path, serve)

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None and request.transport not in self.connections:
            self.connections.append(request.transport)
        self.requests.append(f"{request.method} {request.path}")
        self.queries.append({name: request.query.getall(name) for name in request.query})
        handler = self.routes.get((request.method, request.path))
        if handler is None:
            return web.json_response({"error": {"message": "no such thing"}}, status=404)
        try:
            return await handler(request)
        except (ConnectionResetError, asyncio.CancelledError):
            self.cancelled.set()
            raise


class Talk:
    """One socket's conversation."""

    def __init__(self, vendor: Vendor, request: web.Request, socket: web.WebSocketResponse) -> None:
        self.vendor = vendor
        self.request = request
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def hear(self) -> dict[str, Any] | None:
        """The client's next message; None when it has left."""
        message = await self.socket.receive()
        if message.type is not WSMsgType.TEXT:
            return None
        decoded = json.loads(message.data)
        self.vendor.heard.append(decoded)
        return decoded

    async def hear_until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        while (message := await self.hear()) is not None:
            if wanted(message):
                return message
        return None

    def reset(self) -> None:
        assert self.request.transport is not None
        self.request.transport.abort()


@contextlib.asynccontextmanager
async def running_vendor() -> AsyncIterator[Vendor]:
    vendor = Vendor()
    server = web.Server(vendor, handler_cancellation=True, access_log=None)  # type: ignore[arg-type]
    runner = web.ServerRunner(server, shutdown_timeout=0.2)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    vendor.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield vendor
    finally:
        await runner.cleanup()


async def until(condition: Callable[[], bool], *, seconds: float = 2) -> None:
    """Waits for what another task brings about; TimeoutError if it does not."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is the server's, without an event of its own
            await asyncio.sleep(0.01)


def sse(*events: Any) -> bytes:
    """Server-sent events as Chat Completions writes them."""
    lines = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return "".join(f"data: {line}\n\n" for line in lines).encode()


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a chat completion."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}],
        **more,
    }


def streaming(*parts: bytes, content_type: str = "text/event-stream", pause_s: float = 0) -> Handler:
    """A handler that writes these parts as they are."""

    async def handler(request: web.Request) -> web.StreamResponse:
        await request.read()
        response = web.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for part in parts:
            await response.write(part)
            await asyncio.sleep(pause_s)
        await response.write_eof()
        return response

    return handler

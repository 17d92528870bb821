"""A sandbox, and a small server that plays the part of Parley: answers webhooks, records them, holds the stream."""

import asyncio
import base64
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import WSMsgType, web

from sandbox.testing import Sandbox, running_sandbox

NUMBER = "15550100100"
STREAM_XML = (
    '<Response><Stream bidirectional="true" keepCallAlive="true" contentType="{content_type}" '
    'extraHeaders="lead=42,agent=7" statusCallbackUrl="{url}/stream-status" {more}>'
    "{ws}/stream/abc</Stream>{after}</Response>"
)


@dataclasses.dataclass
class Seen:
    """One webhook that arrived."""

    path: str
    method: str
    url: str
    fields: dict[str, str]
    headers: dict[str, str]


class Stream:
    """The server's end of one WebSocket."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.url = str(request.url)
        self.headers = dict(request.headers)
        self.received: list[dict] = []
        self.news = asyncio.Event()
        self.gone = asyncio.Event()

    async def send(self, event: str, **message) -> None:
        await self.ws.send_str(json.dumps({"event": event, **message}))

    async def play(self, audio: bytes, encoding: str = "audio/x-mulaw", rate: int = 8000) -> None:
        payload = base64.b64encode(audio).decode()
        await self.send("playAudio", media={"contentType": encoding, "sampleRate": rate, "payload": payload})

    @property
    def stream_id(self) -> str:
        return self.received[0]["start"]["streamId"]

    async def wait_for(self, event: str, count: int = 1, within: float = 10) -> list[dict]:
        async with asyncio.timeout(within):
            while len(found := [m for m in self.received if m["event"] == event]) < count:
                self.news.clear()
                await self.news.wait()
        return found


class Peer:
    """The server under test's stand-in. `xml` by path; `talk` is what it does on a stream."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.streams: list[Stream] = []
        self.replies: dict[str, web.Response | str | Callable[[], Awaitable[web.Response]]] = {}
        self.talk: Callable[[Stream], Awaitable[None]] | None = None
        self.refuse_with = 0
        self.news = asyncio.Event()
        self.url = ""
        self.failures: list[BaseException] = []

    @property
    def ws_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    def stream_xml(self, content_type: str = "audio/x-mulaw;rate=8000", more: str = "", after: str = "") -> str:
        return STREAM_XML.format(content_type=content_type, url=self.url, ws=self.ws_url, more=more, after=after)

    async def webhook(self, request: web.Request) -> web.Response:
        form = await request.post() if request.content_type != "application/json" else await request.json()
        fields = {**request.query, **{name: str(value) for name, value in form.items()}}
        self.seen.append(Seen(request.path, request.method, str(request.url), fields, dict(request.headers)))
        self.news.set()
        reply = self.replies.get(request.path, "")
        if callable(reply):
            return await reply()
        if isinstance(reply, web.Response):
            return web.Response(body=reply.body, status=reply.status, headers=reply.headers)
        return web.Response(text=reply or "ok", content_type="application/xml" if reply else "text/plain")

    async def websocket(self, request: web.Request) -> web.StreamResponse:
        if self.refuse_with:
            return web.Response(status=self.refuse_with)
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        stream = Stream(ws, request)
        self.streams.append(stream)
        self.news.set()
        talking = asyncio.create_task(self.talk(stream)) if self.talk else None
        try:
            async for message in ws:
                if message.type is WSMsgType.TEXT:
                    stream.received.append(json.loads(message.data))
                    stream.news.set()
        finally:
            stream.gone.set()
            if talking:
                talking.cancel()
                results = await asyncio.gather(talking, return_exceptions=True)
                self.failures += [r for r in results if isinstance(r, Exception) and not isinstance(r, ConnectionError)]
        return ws

    async def wait_seen(self, path: str, count: int = 1, within: float = 10) -> list[Seen]:
        async with asyncio.timeout(within):
            while len(found := [seen for seen in self.seen if seen.path == path]) < count:
                self.news.clear()
                await self.news.wait()
        return found

    async def wait_stream(self, count: int = 1, within: float = 10) -> Stream:
        async with asyncio.timeout(within):
            while len(self.streams) < count:
                self.news.clear()
                await self.news.wait()
        return self.streams[count - 1]


@contextlib.asynccontextmanager
async def running_peer() -> AsyncIterator[Peer]:
    peer = Peer()
    app = web.Application()
    app.router.add_get("/stream/{token}", peer.websocket)
    app.router.add_route("*", "/{tail:.*}", peer.webhook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield peer
    finally:
        for stream in peer.streams:
            await stream.ws.close()
        await runner.cleanup()
    assert not peer.failures


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"plivo"}), time_scale=0.02) as sandbox:
        yield sandbox
        status = await sandbox.control.request("GET", "")
        assert status["errors"] == []


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    async with running_peer() as running:
        yield running


@pytest.fixture
async def line(box: Sandbox, peer: Peer) -> Sandbox:
    """The box, with its number answered by the peer's /answer."""
    await box.control.number(NUMBER, answer_url=f"{peer.url}/answer", hangup_url=f"{peer.url}/hangup")
    return box


def silent_script(*steps) -> dict:
    return {"steps": list(steps)}

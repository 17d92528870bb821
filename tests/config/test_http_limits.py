"""A connection that asks for nothing, or never stops asking, is ended; an ordinary one is served as ever."""

import asyncio
import contextlib

import pytest
from uvicorn import Config
from uvicorn.server import ServerState

from config import http_limits

pytestmark = pytest.mark.sandbox

GET = b"GET / HTTP/1.1\r\nHost: x\r\n"


async def hello(scope, receive, send) -> None:
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        more = message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
async def port(monkeypatch):
    monkeypatch.setattr(http_limits, "HEAD_S", 0.3)
    monkeypatch.setattr(http_limits, "BODY_S", 0.5)
    config, state = Config(hello, ws="none", log_config=None), ServerState()
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: http_limits.LimitedHttp(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]
        assert not state.connections
        assert not state.tasks


@contextlib.asynccontextmanager
async def connection(port: int):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    await asyncio.sleep(0.05)


async def ended(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(ConnectionError):
        return await asyncio.wait_for(reader.read(), 2)
    return b""


@pytest.mark.parametrize(
    "beginning",
    [b"", b"G", GET, GET + b"X: y", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhalf"],
    ids=["nothing", "a letter", "half a head", "half a header", "half a body"],
)
async def test_who_never_finishes_a_request_is_hung_up_on(port, beginning):
    async with connection(port) as (reader, writer):
        writer.write(beginning)
        assert await ended(reader) == b""


async def test_a_head_without_end_is_refused_when_it_is_too_long(port, monkeypatch):
    monkeypatch.setattr(http_limits, "HEAD_S", 60)
    async with connection(port) as (reader, writer):
        writer.write(GET + b"X: " + b"y" * 70_000)
        assert b"400 Bad Request" in await ended(reader)


async def test_requests_one_after_the_other_are_served(port):
    async with connection(port) as (reader, writer):
        for _ in range(4):
            writer.write(GET + b"X: " + b"y" * 30_000 + b"\r\n\r\n")
            assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.2)
        writer.write(b"POST / HTTP/1.1\r\nContent-Length: 90000\r\n\r\n" + b"z" * 90_000)
        assert (await reader.readuntil(b"hello")).startswith(b"HTTP/1.1 200")

"""Texts written past the library's own way: the same on the wire, and only while the socket takes them."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from agents.providers.base import Clocks, ProviderConfig
from agents.providers.sockets import MAX_UNSENT_BYTES, open_socket, write_text
from tests.agents.providers.vendor import until

pytestmark = pytest.mark.sandbox

CONFIG = ProviderConfig(provider="elevenlabs", base_url="", api_key="k", model="m")


class Listening:
    """A server that keeps what it hears, unless it is to read nothing."""

    def __init__(self) -> None:
        self.heard: list[str | bytes] = []
        self.reads = asyncio.Event()
        self.reads.set()

    async def __call__(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.reads.wait()
                self.heard.append(await connection.recv())


@pytest.fixture
async def listening() -> Listening:
    return Listening()


@pytest.fixture
async def opened(listening: Listening, clocks: Clocks) -> AsyncIterator[tuple[ClientConnection, Server]]:
    async with serve(listening, "127.0.0.1", 0, compression=None, max_queue=1) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        connection = await open_socket(
            f"ws://127.0.0.1:{port}/",
            headers={},
            config=CONFIG,
            stage="stt",
            clocks=clocks,
            tls=ssl.create_default_context(),
        )
        yield connection, server
        listening.reads.set()
        await connection.close()


async def test_texts_of_every_length_arrive_whole_and_in_order_with_the_librarys_own(
    listening: Listening, opened: tuple[ClientConnection, Server]
) -> None:
    connection, _ = opened
    texts = ["", "é", "x" * 125, "y" * 126, "z" * 0xFFFF, "w" * 300]
    for number, text in enumerate(texts):
        assert write_text(connection, text.encode())
        await connection.send(f"between {number}")
    await until(lambda: len(listening.heard) == 2 * len(texts))
    assert listening.heard == [each for n, text in enumerate(texts) for each in (text, f"between {n}")]


async def test_a_text_whose_length_has_no_place_is_refused(opened: tuple[ClientConnection, Server]) -> None:
    with pytest.raises(ValueError, match="65536 bytes"):
        write_text(opened[0], bytes(0x10000))


async def test_no_two_texts_have_the_same_mask(opened: tuple[ClientConnection, Server]) -> None:
    connection, _ = opened
    masks: list[bytes] = []
    write = connection.transport.write
    connection.transport.write = lambda data: (masks.append(data[2:6]), write(data))  # type: ignore[method-assign]
    for _ in range(3000):
        await until(lambda: write_text(connection, b"x"))
    assert len(set(masks)) >= 2995, "4 bytes may come twice by chance"


async def test_a_peer_that_reads_nothing_is_written_no_more_to_than_may_wait(
    listening: Listening, opened: tuple[ClientConnection, Server]
) -> None:
    connection, _ = opened
    listening.reads.clear()
    connection.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    text = b"x" * 1000
    for _ in range(20_000):
        if not write_text(connection, text):
            break
        await asyncio.sleep(0)
    else:
        pytest.fail("it never had to wait")
    assert connection.transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + 1100
    listening.reads.set()
    await until(lambda: write_text(connection, text))


async def test_a_socket_that_is_closed_or_lost_takes_nothing(opened: tuple[ClientConnection, Server]) -> None:
    connection, _ = opened
    connection.transport.abort()
    assert not write_text(connection, b"x")
    with contextlib.suppress(OSError):
        await connection.wait_closed()
    assert not write_text(connection, b"x")

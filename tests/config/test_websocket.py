"""The short way of a phone's frames: the same as uvicorn's own for whatever a peer may send, in whatever pieces."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import Frame, Opcode

from config.websocket import StreamProtocol
from streaming.line import DIRECT, DIRECT_FAILED

pytestmark = pytest.mark.pure

REQUEST = (
    b"GET /stream/abc/ HTTP/1.1\r\nHost: parley\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAECAwQFBgcICQoLDA0ODw==\r\n\r\n"
)
MAX_BYTES = (1 << 16) + 10  # its length takes 8 bytes to say
MASK = b"\x11\x22\x33\x44"


class Transport:
    """What a socket was told."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.reading = True

    def get_extra_info(self, _name: str) -> None:
        return None

    def write(self, data: bytes) -> None:
        self.written += data

    def close(self) -> None:
        self.closing = True

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Peer:
    """A protocol over a transport of its own, and an application that keeps what it is given.

    Attributes:
        heard: texts, binary messages and the close code, each kind in order.
        later: what is to be read, until ``beat``.
    """

    def __init__(self, make: type[WebSocketsSansIOProtocol], *, direct: bool) -> None:
        self.heard: dict[str, list[Any]] = {"text": [], "bytes": [], "code": []}
        self.transport = Transport()
        self.direct = direct
        self.ready = asyncio.Event()
        self.failure: BaseException | None = None
        self.take: Callable[[str], None] = self.heard["text"].append
        self.later: list[Callable[[], None]] = []
        config = Config(
            self.application,
            interface="asgi3",
            proxy_headers=False,
            ws_max_size=MAX_BYTES,
            ws_per_message_deflate=False,
            log_config=None,
        )
        config.load()
        self.protocol = make(config, ServerState(), {})
        self.protocol.connection_made(self.transport)  # type: ignore[arg-type]
        self.protocol.data_received(REQUEST)

    async def application(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        if self.direct:
            scope["extensions"][DIRECT](self.taken, self.later.append)
        self.ready.set()
        while True:
            event = await receive()
            if event["type"] == DIRECT_FAILED:
                self.failure = event["error"]
                return
            for name in self.heard.keys() & event.keys():
                self.heard[name].append(event[name])
            if event["type"] == "websocket.disconnect":
                return

    def taken(self, text: str) -> None:
        self.take(text)

    def beat(self) -> None:
        for read in self.later:
            read()
        self.later.clear()

    async def hear(self, pieces: list[bytes], beats: set[int] = frozenset()) -> None:
        """Takes the pieces in, with a beat behind each of ``beats``, and then the end of the connection."""
        await self.ready.wait()
        for number, piece in enumerate(pieces):
            self.protocol.data_received(piece)
            if number in beats:
                self.beat()
            await asyncio.sleep(0)
        self.protocol.eof_received()
        await asyncio.sleep(0)
        self.protocol.connection_lost(None)
        await asyncio.gather(*self.protocol.tasks)


class Wire(bytes):
    """Bytes that a report of a failure shows shortly."""

    def __repr__(self) -> str:
        return f"<{self[:16].hex()}… {len(self)} bytes>"


def frame(opcode: Opcode, data: bytes, *, fin: bool = True, mask: bool = True, rsv1: bool = False) -> bytes:
    """A client's frame, with nothing of it checked."""
    head = bytes([fin << 7 | rsv1 << 6 | opcode])
    size = len(data)
    length = (
        bytes([mask << 7 | size])
        if size < 126
        else bytes([mask << 7 | 126, *size.to_bytes(2)])
        if size < 1 << 16
        else bytes([mask << 7 | 127, *size.to_bytes(8)])
    )
    if not mask:
        return Wire(head + length + data)
    return Wire(head + length + MASK + bytes(byte ^ MASK[n % 4] for n, byte in enumerate(data)))


short = st.binary(max_size=10)
texts = st.text(max_size=300).map(lambda text: frame(Opcode.TEXT, text.encode()))
controls = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG]), short).map(lambda parts: frame(*parts))
accepted = st.one_of(
    texts,
    texts,
    st.sampled_from([125, 126, 127, 1 << 16]).map(lambda size: frame(Opcode.TEXT, b"x" * size)),
    short.map(lambda data: frame(Opcode.BINARY, data)),
    controls,
    st.tuples(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), controls).map(
        lambda parts: frame(parts[0], b"in ", fin=False) + parts[1] + frame(Opcode.CONT, b"pieces")
    ),
)
last = st.one_of(
    st.just(frame(Opcode.TEXT, b"x" * (MAX_BYTES + 1))),
    short.map(lambda data: frame(Opcode.TEXT, data + b"\xff")),
    short.map(lambda data: frame(Opcode.TEXT, data, mask=False)),
    short.map(lambda data: frame(Opcode.TEXT, data, rsv1=True)),
    short.map(lambda data: frame(Opcode.CONT, data)),
    st.just(frame(Opcode.TEXT, b"begun", fin=False) + frame(Opcode.TEXT, b"another")),
    st.just(Frame(Opcode.CLOSE, b"\x03\xe8bye").serialize(mask=True)),
    st.binary(max_size=30),
)


@given(
    frames=st.lists(accepted, max_size=12),
    end=last,
    cuts=st.lists(st.integers(0, 4000), max_size=12),
    beats=st.sets(st.integers(0, 30)),
)
@settings(max_examples=300)
def test_the_short_way_hears_answers_and_refuses_what_the_stock_way_does(
    frames: list[bytes], end: bytes, cuts: list[int], beats: set[int]
) -> None:
    sent = b"".join(frames)
    ends = sorted({cut for cut in cuts if cut < len(sent)} | {len(sent)})
    pieces = [sent[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    # Of what is read in one piece with something that it refuses, the stock way may forget the beginning.
    tail = [end[at : at + 7] for at in range(0, min(len(end), 70), 7)] + [end[70:]]

    async def both() -> list[Peer]:
        stock, ours = Peer(WebSocketsSansIOProtocol, direct=False), Peer(StreamProtocol, direct=True)
        await stock.hear([*pieces, *tail])
        await ours.hear([*pieces, *tail], beats | {len(pieces) - 1})
        return [stock, ours]

    stock, ours = asyncio.run(both())
    assert ours.heard == stock.heard
    assert ours.transport.written == stock.transport.written
    assert ours.transport.closing == stock.transport.closing


async def test_texts_are_taken_at_the_next_beat_and_reading_never_pauses() -> None:
    peer = Peer(StreamProtocol, direct=True)
    await peer.ready.wait()
    peer.protocol.data_received(frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))
    peer.protocol.data_received(frame(Opcode.TEXT, b"three"))
    assert peer.heard["text"] == []
    assert len(peer.later) == 1, "asked for once, however much comes"
    peer.beat()
    assert peer.heard["text"] == ["one", "two", "three"]
    assert peer.transport.reading


async def test_a_flood_does_not_pile_up_between_two_beats() -> None:
    peer = Peer(StreamProtocol, direct=True)
    await peer.ready.wait()
    text = frame(Opcode.TEXT, b"x" * 1000)
    for _ in range(100):
        peer.protocol.data_received(text)
    assert len(peer.heard["text"]) > 60


@pytest.mark.parametrize("lost", [True, False])
async def test_what_came_before_the_end_is_taken(lost: bool) -> None:
    peer = Peer(StreamProtocol, direct=True)
    await peer.ready.wait()
    peer.protocol.data_received(frame(Opcode.TEXT, b"one"))
    if lost:
        peer.protocol.connection_lost(ConnectionResetError())
    else:
        peer.protocol.eof_received()
    assert peer.heard["text"] == ["one"]
    peer.beat()
    assert peer.heard["text"] == ["one"]
    if not lost:
        peer.protocol.connection_lost(None)
    await asyncio.gather(*peer.protocol.tasks)


async def test_what_waits_when_the_short_way_is_left_goes_the_stock_way() -> None:
    peer = Peer(StreamProtocol, direct=True)
    await peer.ready.wait()
    peer.protocol.data_received(frame(Opcode.TEXT, b"one"))
    peer.protocol.scope["extensions"][DIRECT](None, peer.later.append)  # type: ignore[operator]
    peer.take = lambda _: pytest.fail("it takes no more")
    await asyncio.sleep(0)
    assert peer.heard["text"] == ["one"]
    peer.protocol.connection_lost(None)
    await asyncio.gather(*peer.protocol.tasks)


async def test_what_came_before_the_short_way_was_taken_comes_first() -> None:
    peer = Peer(StreamProtocol, direct=True)
    peer.protocol.data_received(frame(Opcode.TEXT, b"early"))
    await peer.ready.wait()
    peer.protocol.data_received(frame(Opcode.TEXT, b"late"))
    peer.beat()
    assert peer.heard["text"] == ["early", "late"]
    assert peer.transport.reading


async def test_a_fault_of_who_takes_ends_its_own_socket_alone() -> None:
    peer = Peer(StreamProtocol, direct=True)
    await peer.ready.wait()
    peer.take = lambda _: 1 / 0  # type: ignore[assignment, return-value]
    peer.protocol.data_received(frame(Opcode.TEXT, b"one") + frame(Opcode.TEXT, b"two"))
    peer.beat()
    await asyncio.gather(*peer.protocol.tasks)
    assert isinstance(peer.failure, ZeroDivisionError)
    assert peer.transport.closing

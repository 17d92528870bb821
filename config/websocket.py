"""uvicorn's WebSocket with a short way for a phone's frames: past the queue, and those of all phones together.

The stock way parks every message in a queue, stops reading the socket, wakes a task and reads on: several times the
work of the frame itself, 50 times a second for each call. A consumer that finds ``streaming.line.DIRECT`` in its
scope's extensions may take its texts by a function instead, and says when they are read. All else (the handshake,
control frames, fragments, binary messages, whatever is malformed) goes the stock way, byte for byte, through the
library that uvicorn stands on.
"""

from collections.abc import Callable
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import apply_mask
from websockets.http11 import Request
from websockets.protocol import State

from streaming.line import DIRECT, DIRECT_FAILED, TakeText

FINAL_TEXT = 0x81  # RFC 6455 §5.2: FIN, no extension, opcode 1
MASKED = 0x80
TWO_BYTES, EIGHT_BYTES = 126, 127
MAX_WAITING = 1 << 16  # bytes; a phone sends 250 of them every 20 ms
Later = Callable[[Callable[[], None]], None]


class StreamProtocol(WebSocketsSansIOProtocol):
    """One WebSocket; to be named as uvicorn's ``ws``."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._take: TakeText | None = None
        self._later: Later | None = None
        self._waiting: list[bytes] = []  # what came since the last reading
        self._waiting_bytes = 0
        self._rest = b""  # the beginning of a frame whose end has not come
        self._framed = True  # whether the library stands at the beginning of a frame

    def handle_connect(self, event: Request) -> None:
        """Offers the short way in the scope, before the application sees it."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["extensions"][DIRECT] = self._take_directly  # type: ignore[assignment]

    def _take_directly(self, take: TakeText | None, later: Later) -> None:
        """From now on ``take`` is called with each text; with None the stock way is taken again.

        What ``take`` raises ends that and comes to whom ``receive`` is answered.

        Args:
            later: is given what reads the bytes that have come, once for as many as come until it is called.
        """
        self._take, self._later = take, later
        if take is None:
            self._read_waiting()
            return
        waiting = [self.queue.get_nowait() for _ in range(self.queue.qsize())]
        for event in waiting:
            if event["type"] == "websocket.receive" and (text := event.get("text")) is not None:
                take(text)
            else:
                self.queue.put_nowait(event)
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes of a phone wait for the common reading, unless there are many."""
        if self._take is None or self._later is None:
            self._read(data)
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MAX_WAITING:
            self._read_waiting()
        elif len(self._waiting) == 1:
            self._later(self._read_waiting)

    def eof_received(self) -> None:
        """What came before the end is read while it can still be answered."""
        self._read_waiting()
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """What came before the loss is read."""
        self._read_waiting()
        super().connection_lost(exc)

    def _read_waiting(self) -> None:
        data = b"".join(self._waiting)
        self._waiting.clear()
        self._waiting_bytes = 0
        if data:
            try:
                self._read(data)
            except Exception:
                self.transport.abort()  # as the loop does with a protocol that fails
                raise

    def _read(self, data: bytes) -> None:
        """Goes through it in whole frames: the library is never in the middle of one when one goes the short way."""
        if not (self.handshake_initiated and self._framed):
            super().data_received(data)
            return
        if self._rest:
            data, self._rest = self._rest + data, b""
        at, end = 0, len(data)
        while at < end:
            payload, after = _bounds(data, at)
            too_big = after - payload > self.config.ws_max_size
            plain = data[at] == FINAL_TEXT and (end == at + 1 or data[at + 1] & MASKED)
            if too_big or (after > end and not plain):
                self._framed = False  # what is refused is refused before its end has come
                super().data_received(data[at:])
                return
            if after > end:
                self._rest = data[at:]
                return
            if not (plain and self._go_directly(data[payload - 4 : payload], data[payload:after])):
                super().data_received(data[at:after])
            at = after

    def _go_directly(self, mask: bytes, payload: bytes) -> bool:
        """Whether a whole text could be taken, and was."""
        conn = self.conn
        in_a_message = conn.cur_size is not None  # of several frames
        if in_a_message or conn.state is not State.OPEN:
            return False
        return self._give(apply_mask(payload, mask))

    def send_receive_event_to_app(self) -> None:
        """A text of several frames keeps its place among those that go the short way."""
        if self.curr_msg_data_type == "bytes" or self.close_sent or not self._give(b"".join(self.frames)):
            super().send_receive_event_to_app()

    def _give(self, data: bytes) -> bool:
        """Whether somebody takes texts, and this is one."""
        if self._take is None:
            return False
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return False
        try:
            self._take(text)
        except Exception as error:  # noqa: BLE001  (raised again where the consumer waits for the socket)
            self._take = None
            self.queue.put_nowait({"type": DIRECT_FAILED, "error": error})  # type: ignore[arg-type]
        return True


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the payload of the frame at ``at`` begins and ends; beyond ``data`` when more of it is to come."""
    beyond = len(data) + 1
    if len(data) < at + 2:
        return beyond, beyond
    length = data[at + 1] & 0x7F
    payload = at + 2
    if length == TWO_BYTES:
        payload += 2
        length = int.from_bytes(data[at + 2 : payload])
    elif length == EIGHT_BYTES:
        payload += 8
        length = int.from_bytes(data[at + 2 : payload])
    if len(data) < payload:
        return beyond, beyond
    payload += 4 * (data[at + 1] >> 7)
    return payload, payload + length

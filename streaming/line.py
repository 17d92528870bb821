"""The caller's end of a stream, as the session sees it: what it hears from a line and what it can do with one.

``consumers.PhoneLine`` speaks Plivo's protocol, ``browser.BrowserLine`` the test page's; both write through the
outbox here, which is the only place that waits for the socket.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

from agents.providers.base import AudioFormat
from streaming.conversation.events import EndReason, ShowPartial, WriteTurn

SEND_TIMEOUT = 5.0  # s; a peer that takes nothing for so long has gone
MAX_OUTBOX = 2000  # messages; playback is paced, so only a peer that reads nothing gets near it
DIRECT = "parley.direct"  # an extension of the socket's scope that gives texts to a function: see config.websocket
DIRECT_FAILED = "parley.direct.failed"  # what that function has raised, as a message
AsgiMessage = dict[str, Any]
Send = Callable[[AsgiMessage], Awaitable[None]]
Receive = Callable[[], Awaitable[AsgiMessage]]
TakeText = Callable[[str], None]
TakeDirectly = Callable[[TakeText | None], None]


class Socket(NamedTuple):
    """One WebSocket as ASGI gives it; ``direct`` where the server has that extension."""

    receive: Receive
    send: Send
    direct: TakeDirectly | None = None


class LineLost(Exception):  # noqa: N818  (what happened, not a fault of ours)
    """The other end takes nothing more, or sends what no line sends."""


class Hears(Protocol):
    """What a line tells its session; none of it waits."""

    def audio(self, audio: bytes, *, timestamp: int | None, chunk: int | None) -> None:
        """The caller's next audio, in the line's format."""

    def malformed(self, why: str) -> None:
        """Something that is not the protocol was dropped."""

    def played(self, name: str) -> None:
        """A checkpoint was reached by the playback."""

    def digit(self, digit: str) -> None:
        """A key was pressed."""

    def typed(self, text: str) -> None:
        """A line was typed."""

    def left(self, reason: EndReason) -> None:
        """The other end has gone."""


class Line(Protocol):
    """One caller's line, open from the session's beginning to its end."""

    fmt: AudioFormat
    waited_s: float
    """How long the other end had been sending when the session began; what it sent meanwhile comes at once."""
    leaving_is_final: bool
    """Whether the other end's leaving ends the call; behind a phone's socket the call may go on with another one."""

    async def read(self, session: Hears) -> None:
        """Tells the session what comes until the line ends; raises LineLost."""
        ...

    async def write(self) -> None:
        """Sends what ``play`` and the others put into the outbox, for ever; raises LineLost."""
        ...

    def play(self, audio: bytes) -> None:
        """Audio to be played after all that was sent before."""

    def checkpoint(self, name: str) -> None:
        """Asks to be told when everything sent before has been heard."""

    def press(self, keys: str) -> None:
        """Sends keys (0-9, *, #) down the line."""

    def clear(self) -> None:
        """Silences the line at once; what was not heard is forgotten."""

    def show(self, update: ShowPartial | WriteTurn) -> None:
        """Something for a live view; a phone has none."""

    async def close(self, code: int) -> None:
        """Closes the socket; never raises."""
        ...


class Outbox:
    """Messages on their way to one socket, sent in order by a single task.

    Args:
        send: ASGI's.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages: deque[tuple[bool, AsgiMessage]] = deque()
        self._filled = asyncio.Event()

    def text(self, text: str, *, playback: bool = False) -> None:
        """Queues a text message; ``playback`` messages are those that ``forget_playback`` takes back."""
        self._put({"type": "websocket.send", "text": text}, playback)

    def binary(self, data: bytes, *, playback: bool = False) -> None:
        """Queues a binary message."""
        self._put({"type": "websocket.send", "bytes": data}, playback)

    def _put(self, message: AsgiMessage, playback: bool) -> None:
        if len(self._messages) >= MAX_OUTBOX:
            raise LineLost("the peer takes nothing")
        self._messages.append((playback, message))
        self._filled.set()

    def forget_playback(self) -> None:
        """Takes back audio and checkpoints that have not left yet."""
        self._messages = deque(item for item in self._messages if not item[0])

    async def write(self) -> None:
        """Sends for ever; raises LineLost."""
        while True:
            while self._messages:
                _, message = self._messages.popleft()
                with _as_line_lost():
                    async with asyncio.timeout(SEND_TIMEOUT):
                        await self._send(message)
            self._filled.clear()
            await self._filled.wait()

    async def close(self, code: int, last: str = "") -> None:
        """Sends nothing more but the ``last`` text and closes the socket; never raises."""
        self._messages.clear()
        try:
            with _as_line_lost():
                async with asyncio.timeout(SEND_TIMEOUT):
                    if last:
                        await self._send({"type": "websocket.send", "text": last})
                    await self._send({"type": "websocket.close", "code": code})
        except LineLost:
            return  # closed from the other side already, which is what was wanted


@contextmanager
def _as_line_lost() -> Iterator[None]:
    """Servers say in different ways that a socket has gone: OSError or, for a closed one, RuntimeError."""
    try:
        yield
    except (TimeoutError, OSError, RuntimeError) as error:
        raise LineLost(type(error).__name__) from error

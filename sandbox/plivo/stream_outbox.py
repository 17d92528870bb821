"""What Plivo still has to send to a stream's server: numbered, in one order, and only so much of it.

Filled by the stream client. A server that does not read is reported at three marks, and given up when nothing more
can be kept for it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import aiohttp

DEGRADED_AT = (0.3, 0.6, 0.9)  # of the buffer


class Outbox:
    """Messages of one connection.

    Args:
        limit: messages that are kept for a server that does not read.
        first: number of the first message.
        as_string: write the numbers as text.
        degraded: called at each mark that is reached for the first time.

    Attributes:
        full: set when the limit is reached.
    """

    def __init__(self, *, limit: int, first: int, as_string: bool, degraded: Callable[[], None]) -> None:
        self.full = asyncio.Event()
        self._limit = limit
        self._number = first
        self._as_string = as_string
        self._degraded = degraded
        self._marks = [share * limit for share in DEGRADED_AT]
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._held: list[str] = []

    def numbered(self, message: dict[str, Any]) -> str:
        """The message as the next one of the stream."""
        number: int | str = str(self._number) if self._as_string else self._number
        self._number += 1
        return json.dumps({**message, "sequenceNumber": number})

    def send(self, message: dict[str, Any]) -> None:
        """Send it as soon as the server takes it."""
        self._queue.put_nowait(self.numbered(message))

    def hold(self, message: dict[str, Any]) -> None:
        """Number it now and send it at the next release."""
        self._held.append(self.numbered(message))

    def release(self) -> int:
        """Send what is held; how many messages that were."""
        count = len(self._held)
        for text in self._held:
            self._queue.put_nowait(text)
        self._held.clear()
        waiting = self._queue.qsize()
        while self._marks and waiting >= self._marks[0]:
            del self._marks[0]
            self._degraded()
        if waiting >= self._limit:
            self.full.set()
        return count

    async def write(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        """Send until cancelled. Raises ConnectionError or aiohttp.ClientError when the connection is lost."""
        while True:
            await websocket.send_str(await self._queue.get())

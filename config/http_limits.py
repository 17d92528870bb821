"""What uvicorn's HTTP lacks: a longest head, and longest times for a request's head and body to arrive.

Without them a stranger fills the memory with one endless header, or all descriptors with connections that say nothing.
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024
HEAD_S = 15.0
BODY_S = 300.0  # the largest body over a slow line


class LimitedHttp(HttpToolsProtocol):
    """The HTTP of one connection; when a WebSocket is asked for, that takes its place."""

    _late: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A request is expected."""
        super().connection_made(transport)
        self._expect(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._expect(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Turns away a head that has become too long."""
        if self._in_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._in_head and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The request's head is too long.")

    def on_message_begin(self) -> None:
        """A request begins, on a kept connection too."""
        self._in_head = True
        self._expect(HEAD_S)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The body follows."""
        self._in_head, self._head_bytes = False, 0
        self._expect(BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here."""
        self._expect(None)
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """From here on the socket has limits of its own."""
        self._expect(None)
        super().handle_websocket_upgrade()

    def _expect(self, within: float | None) -> None:
        if self._late is not None:
            self._late.cancel()
        self._late = None if within is None else self.loop.call_later(within, self.transport.abort)

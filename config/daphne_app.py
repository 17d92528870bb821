"""Daphne, mended for ``runserver``, which is its own, and for ``config.server --server daphne``."""

from daphne.apps import DaphneConfig
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol


class Socket(WebSocketProtocol):
    """Closes with the codes that a server may send."""

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802  (Daphne's name)
        """See WebSocketProtocol; autobahn's sendClose, which that one calls, raises on 1003, 1008, 1011 and 1012."""
        self.sendCloseFrame(code=1000 if code is None else code)


class Daphne(DaphneConfig):
    """The installed app."""

    def ready(self) -> None:
        """Gives every server of Daphne the mended socket."""
        super().ready()
        WebSocketFactory.protocol = Socket

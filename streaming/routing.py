"""WebSocket addresses: Plivo's streams, the browser's test line; anything else is refused before it is accepted."""

import re
from typing import Any

from streaming.browser import TalkConsumer
from streaming.consumers import StreamConsumer
from streaming.line import Receive, Send

_ROUTES = (
    (re.compile(r"/stream/(?P<token>[0-9A-Za-z_-]{1,128})/?"), StreamConsumer.as_asgi()),
    (re.compile(r"/talk/(?P<agent>[0-9a-f-]{36})/?"), TalkConsumer.as_asgi()),
)
POLICY_VIOLATION = 1008


async def websocket_application(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Sends a socket to its consumer; Channels' URLRouter would answer a stranger's path with a traceback."""
    for pattern, consumer in _ROUTES:
        if (match := pattern.fullmatch(scope["path"])) is not None:
            await consumer(scope | {"url_route": {"args": (), "kwargs": match.groupdict()}}, receive, send)
            return
    await receive()  # websocket.connect
    await send({"type": "websocket.close", "code": POLICY_VIOLATION})

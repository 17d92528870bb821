"""The ASGI applications of the roles: HTTP to Django, WebSockets to the live calls.

``application`` (all roles) is what ``runserver`` and a foreign server use; ``config.server`` picks one by role.
"""

import os
from typing import Any

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

from config.body_limit import limited
from config.lanes import in_lanes

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
_asgi = get_asgi_application()

from config import health  # noqa: E402  (models need Django to be set up)
from streaming.routing import websocket_application  # noqa: E402

Scope = dict[str, Any]
_django = limited(in_lanes(_asgi, exempt=health.VIEWS))


async def _stream_http(scope: Scope, receive: Any, send: Any) -> None:
    # It shares a core with live calls: no page of the admin is rendered here.
    if scope["path"] in health.VIEWS:
        await _django(scope, receive, send)
        return
    await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"This is a stream process; pages are at PUBLIC_URL.\n"})


async def _no_websocket(_scope: Scope, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})


def application_for(role: str) -> Any:
    """The application of a role: "web" (pages and webhooks), "stream" (WebSockets and health) or "all"."""
    return ProtocolTypeRouter(
        {
            "http": _stream_http if role == "stream" else _django,
            "websocket": _no_websocket if role == "web" else websocket_application,
        }
    )


application = application_for("all")

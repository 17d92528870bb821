"""Lets so many requests at once be worked on; others wait their turn, webhooks in a lane of their own.

Under ASGI each request has a thread and a database connection of its own, so that a burst of webhooks (calls of a
campaign that end together) would use up a server's hundred connections, and then fail. A slow page keeps no webhook
waiting, nor does a body that is slow to come, or a response that is slow to be taken.
"""

import asyncio
from collections.abc import Collection
from typing import Any

from config.body_limit import Application

WEBHOOKS = "/plivo/"
AT_ONCE = 12  # in each lane


def in_lanes(application: Application, *, exempt: Collection[str], at_once: int = AT_ONCE) -> Application:
    """The ASGI application, which works on at most ``at_once`` webhooks and as many other HTTP requests.

    Args:
        exempt: paths that never wait.
    """
    webhooks, pages = asyncio.Semaphore(at_once), asyncio.Semaphore(at_once)

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in exempt:
            await application(scope, receive, send)
            return
        lane = webhooks if scope["path"].startswith(WEBHOOKS) else pages
        held = False

        async def whole_body() -> Any:
            nonlocal held
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body") and not held:
                await lane.acquire()
                held = True
            return message

        async def answering(message: Any) -> None:
            nonlocal held
            if held:
                held = False
                lane.release()
            await send(message)

        try:
            await application(scope, whole_body, answering)
        finally:
            if held:
                lane.release()

    return waiting

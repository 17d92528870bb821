"""Lets so many requests at once be worked on; others wait their turn, each kind in a lane of its own.

Under ASGI each request has a thread and a database connection of its own, so that a burst of webhooks (calls of a
campaign that end together) would use up a server's hundred connections, and then fail. Somebody who has picked up waits
for no report of other calls, and no webhook for a slow page, a body that is slow to come or a response that is slow to
be taken. Who hangs up while they wait is not worked on any more: Plivo tries again after some seconds, and to do all
that it has given up would keep what it asks now waiting for as long.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from config.body_limit import Application

ANSWERS, REPORTS, PAGES = 12, 8, 12  # at once: documents that a call waits for, reports of calls, everything else
_REPORTS = {"hangup", "machine", "recording", "ring", "stream-status"}

Receive = Callable[[], Awaitable[Any]]


def in_lanes(
    application: Application,
    *,
    exempt: Collection[str],
    answers: int = ANSWERS,
    reports: int = REPORTS,
    pages: int = PAGES,
) -> Application:
    """The ASGI application, which works on so many HTTP requests of each kind at once.

    Args:
        exempt: paths that never wait.
    """
    for_answers, for_reports, for_pages = (asyncio.Semaphore(most) for most in (answers, reports, pages))

    def lane_of(path: str) -> asyncio.Semaphore:
        if not path.startswith("/plivo/"):
            return for_pages
        return for_reports if path.rstrip("/").rpartition("/")[2] in _REPORTS else for_answers

    async def waiting(scope: Any, receive: Receive, send: Any) -> None:
        if scope["path"] in exempt:
            await application(scope, receive, send)
            return
        lane = lane_of(scope["path"])
        held = False

        async def whole_body() -> Any:
            nonlocal held
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body") and not held:
                held = await _turn(lane, receive)
                return message if held else {"type": "http.disconnect"}
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


async def _turn(lane: asyncio.Semaphore, receive: Receive) -> bool:
    """Waits for a place in the lane; False when the other side hangs up first."""
    if not lane.locked():
        return await lane.acquire()
    turn, gone = asyncio.ensure_future(lane.acquire()), asyncio.ensure_future(receive())
    try:
        await asyncio.wait((turn, gone), return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        if turn.done():
            lane.release()
        raise
    finally:
        gone.cancel()
        turn.cancel()
    return turn.done()

"""Lets so many requests at once be worked on; others wait their turn, each kind in a lane of its own.

Under ASGI each request has a thread and a database connection of its own, so that a burst of webhooks (calls of a
campaign that end together) would use up a server's hundred connections, and then fail. Somebody who has picked up waits
for no report of other calls, and no webhook for a slow page, a body that is slow to come or a response that is slow to
be taken.

Who came last is first, and who hangs up while they wait is not worked on any more. Plivo gives up after some seconds
and tries again: in the order of their coming, each of a burst would be worked on just after it was given up, for ever.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from config.body_limit import Application

ANSWERS, REPORTS, PAGES = 12, 8, 12  # at once: documents that a call waits for, reports of calls, everything else
_REPORTS = {"hangup", "machine", "recording", "ring", "stream-status"}

Receive = Callable[[], Awaitable[Any]]


class Lane:
    """So many places, and those who wait for one."""

    def __init__(self, places: int) -> None:
        self._free = places
        self._waiting: list[asyncio.Future[None]] = []

    async def enter(self, gone: Receive) -> bool:
        """Waits for a place, which is to be left; False, and there is none, once ``gone`` returns."""
        if self._free:
            self._free -= 1
            return True
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        left = asyncio.ensure_future(gone())
        try:
            await asyncio.wait((turn, left), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            if turn.done():
                self.leave()
            raise
        finally:
            left.cancel()
            if not turn.done():
                self._waiting.remove(turn)
        return turn.done()

    def leave(self) -> None:
        """Gives a place to whoever came last."""
        if self._waiting:
            self._waiting.pop().set_result(None)
        else:
            self._free += 1


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
    for_answers, for_reports, for_pages = Lane(answers), Lane(reports), Lane(pages)

    def lane_of(path: str) -> Lane:
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
                held = await lane.enter(receive)
                return message if held else {"type": "http.disconnect"}
            return message

        async def answering(message: Any) -> None:
            nonlocal held
            if held:
                held = False
                lane.leave()
            await send(message)

        try:
            await application(scope, whole_body, answering)
        finally:
            if held:
                lane.leave()

    return waiting

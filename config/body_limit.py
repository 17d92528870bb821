"""Turns a request away as soon as its body is larger than any that Parley takes.

Django writes a body to a temporary file, to its end, before a view or a limit of its own sees the request: whoever
reaches the port could fill the disk, of a stream host too.
"""

from collections.abc import Awaitable, Callable
from typing import Any

MAX_BODY = 32 * 1024 * 1024  # bytes; a file that somebody uploads in the admin

Application = Callable[[Any, Any, Any], Awaitable[None]]


class _TooLargeError(Exception):
    pass


def limited(application: Application, limit: int = MAX_BODY) -> Application:
    """The ASGI application, which answers 413 to an HTTP request with a body of more than ``limit`` bytes."""

    async def guarded(scope: Any, receive: Any, send: Any) -> None:
        taken = 0

        async def counted() -> Any:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise _TooLargeError
            return message

        try:
            await application(scope, counted, send)
        except _TooLargeError:  # Django has answered nothing before the body's end
            headers = [(b"content-type", b"text/plain"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 413, "headers": headers})
            await send({"type": "http.response.body", "body": b"The request is too large.\n"})

    return guarded

"""The sandbox in a thread of its own, for tests whose own side is synchronous."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from sandbox.config import DEMO_AUTH_ID, DEMO_AUTH_TOKEN, DEMO_NUMBER
from sandbox.testing import running_sandbox

__all__ = ["DEMO_AUTH_ID", "DEMO_AUTH_TOKEN", "DEMO_NUMBER", "Box", "sandbox_in_a_thread"]


class Box:
    """Where it is, and its control API without ``await``."""

    def __init__(self, url: str, control: Any, loop: asyncio.AbstractEventLoop) -> None:
        self.url = url
        self._control = control
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._control, name)
        return lambda *args, **kwargs: asyncio.run_coroutine_threadsafe(method(*args, **kwargs), self._loop).result(60)


@contextlib.contextmanager
def sandbox_in_a_thread(**settings: Any) -> Iterator[Box]:
    """Serves until the block is left."""
    ready: list[Box] = []
    begun, ended = threading.Event(), None

    async def serve() -> None:
        nonlocal ended
        ended = asyncio.Event()
        async with running_sandbox(**settings) as sandbox:
            ready.append(Box(sandbox.url, sandbox.control, asyncio.get_running_loop()))
            begun.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert begun.wait(20), "the sandbox did not start"
    box = ready[0]
    try:
        yield box
    finally:
        box._loop.call_soon_threadsafe(ended.set)
        thread.join(20)

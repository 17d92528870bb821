"""A sandbox beside a synchronous test: it serves from a thread of its own, and is steered over plain HTTP."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import httpx

from sandbox.testing import running_sandbox


class Box:
    """Where the sandbox is, and its control API as plain requests."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.http = httpx.Client(base_url=url, trust_env=False)

    def control(self, method: str, path: str, body: Any = None) -> Any:
        """One request to /control/; raises httpx.HTTPStatusError when it is refused."""
        return self.http.request(method, f"/control/{path}", json=body).raise_for_status().json()

    def script_replies(self, *replies: dict[str, Any]) -> None:
        """What the language model says next, one after the other."""
        self.control("POST", "providers/replies", {"replies": list(replies)})

    def fault(self, **fault: Any) -> None:
        """A fault of a provider; see sandbox/README.md."""
        self.control("POST", "providers/faults", fault)

    def requests(self, stage: str) -> list[dict[str, Any]]:
        """The provider requests of one stage so far."""
        return [entry for entry in self.control("GET", "providers/ledger")["entries"] if entry["stage"] == stage]


@contextlib.contextmanager
def sandbox_in_thread(**settings: Any) -> Iterator[Box]:
    """Serves until the block is left."""
    started = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        stop = asyncio.Event()
        async with running_sandbox(**settings) as box:
            found.update(url=box.url, loop=asyncio.get_running_loop(), stop=stop)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True, name="sandbox")
    thread.start()
    if not started.wait(15):
        raise RuntimeError("the sandbox did not start")
    box = Box(found["url"])
    try:
        yield box
    finally:
        box.http.close()
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(15)

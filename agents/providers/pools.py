"""The HTTP clients of one process: one per provider, address, key and stage, with connections kept alive between turns.

Callers speak for longer than the 5 s after which both SDKs' own pools drop a connection, so nearly every turn would pay
for a new one. ``config.server`` opens and closes the pools of a stream process; a task or a management command uses
``async with Pools() as pools``.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from agents.providers.base import ProviderConfig
from agents.providers.errors import Stage

KEEPALIVE_S = 120.0
MAX_CONNECTIONS = 1000
MAX_KEEPALIVE = 200

C = TypeVar("C")
Closer = Callable[[], Awaitable[None]]


class Pools:
    """Clients by (provider, base URL, key, stage), the TLS context that they share, and the tasks that warm them."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str, str, str, Stage], tuple[object, Closer]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def open(self) -> None:
        """Loads the system's certificates off the event loop; clients are made when first asked for."""
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        self._closed = False

    async def close(self) -> None:
        """Cancels what is being warmed and closes every client; idempotent."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        clients, self._clients = self._clients, {}
        await asyncio.gather(*(closer() for _, closer in clients.values()), return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def tls(self) -> ssl.SSLContext:
        """The context of every TLS connection; loading the certificates for each would block the loop for ~20 ms."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls

    def client(self, config: ProviderConfig, stage: Stage, make: Callable[[], tuple[C, Closer]]) -> C:
        """The client of that account, made by ``make`` (client and its close function) when there is none yet.

        Each stage has its own: the connection that one has warmed must not be taken by another. Raises RuntimeError
        after ``close``.
        """
        if self._closed:
            raise RuntimeError("the pools are closed")
        key = (config.provider, config.base_url, hashlib.sha256(config.api_key.encode()).hexdigest(), stage)
        if key not in self._clients:
            self._clients[key] = make()
        return cast("C", self._clients[key][0])

    def spawn(self, work: Coroutine[Any, Any, None], *, name: str) -> None:
        """Runs ``work`` (which handles its own errors) as a task owned by the pools; dropped once they are closed."""
        if self._closed:
            work.close()
            return
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

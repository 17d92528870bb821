"""Threads for what would block the event loop: one queue each, so that a slow archive never delays a handshake.

Used instead of Django's shared thread-sensitive thread, which one slow page can hold for seconds. Every job starts and
ends with healthy database connections.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

from django.db import close_old_connections, connections

P = ParamSpec("P")
T = TypeVar("T")
KEPT_S = 60


class Overloaded(Exception):  # noqa: N818  (a state, not a fault of the caller)
    """More jobs wait for the thread than it may hold."""


class Worker:
    """One thread that runs blocking functions in the order of their arrival.

    Args:
        name: of the thread, for debuggers.
        limit: most jobs that may wait; beyond it ``run`` refuses.
    """

    def __init__(self, name: str, *, limit: int) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._limit = limit
        self._waiting = 0

    async def run(
        self,
        within: float,
        function: Callable[P, T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs the function in the thread.

        Args:
            within: s; a job that has begun by then still ends, its result is dropped.

        Raises:
            TimeoutError: no result in time.
            Overloaded: too many jobs wait already.
            Exception: whatever the function raises.
        """
        if self._waiting >= self._limit:
            raise Overloaded(f"{self._waiting} jobs wait already")
        self._waiting += 1
        future = asyncio.get_running_loop().run_in_executor(
            self._executor, partial(_with_fresh_connections, function, *args, **kwargs)
        )
        future.add_done_callback(self._done)
        async with asyncio.timeout(within):
            return await future

    def _done(self, future: asyncio.Future[T]) -> None:
        self._waiting -= 1
        if not future.cancelled():
            future.exception()  # taken note of, should nobody wait for it any more

    async def close(self, within: float = 5.0) -> None:
        """Closes the thread's connections and ends it once its jobs are done, or leaves it after ``within`` s."""
        self._limit = 0
        closing = asyncio.get_running_loop().run_in_executor(self._executor, connections.close_all)
        await asyncio.wait([closing], timeout=within)
        self._executor.shutdown(wait=False, cancel_futures=True)


def keep_connections() -> None:
    """Lets the connections of this thread, which serves for as long as its process, stay open between its jobs.

    To reopen SQLite costs as much as a small write. ``close_old_connections`` still closes what has failed, and what is
    older than ``KEPT_S``.
    """
    for connection in connections.all():
        connection.settings_dict = connection.settings_dict | {"CONN_MAX_AGE": KEPT_S, "CONN_HEALTH_CHECKS": True}


def _with_fresh_connections(function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    close_old_connections()
    try:
        return function(*args, **kwargs)
    finally:
        close_old_connections()

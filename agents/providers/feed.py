"""A one-way feed from the task that reads a provider's socket to the one that consumes its events.

Unlike asyncio.Queue it carries an end and an error, replaces an item that a newer one makes worthless, and never blocks
the reader: a feed that nobody drains fails with an error instead of growing without bound.
"""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FeedOverflow(Exception):  # noqa: N818 - a state, which the adapters turn into their own error
    """More items wait than the feed's limit."""


class Feed(Generic[T]):
    """Items in order, then an end or an error; one reader, one writer, same event loop."""

    def __init__(self, *, limit: int = 20_000) -> None:
        self._items: deque[T] = deque()
        self._limit = limit
        self._error: BaseException | None = None
        self._ended = False
        self._news = asyncio.Event()

    @property
    def ended(self) -> bool:
        """No more will be put: it was ended or has failed."""
        return self._ended

    def put(self, item: T, *, replaces: type[T] | None = None) -> None:
        """Adds an item, in the place of the last one if that is a ``replaces`` and still waiting."""
        if self._ended:
            return
        if replaces is not None and self._items and isinstance(self._items[-1], replaces):
            self._items[-1] = item
        elif len(self._items) >= self._limit:
            self.fail(FeedOverflow(f"more than {self._limit} items waiting"))
        else:
            self._items.append(item)
        self._news.set()

    def end(self) -> None:
        """Lets the reader finish after the items that wait."""
        self._ended = True
        self._news.set()

    def fail(self, error: BaseException) -> None:
        """Raises ``error`` at the reader after the items that wait; the first error stays."""
        if not self._ended:
            self._error = error
        self.end()

    def clear(self) -> None:
        """Forgets the items that wait."""
        self._items.clear()

    def poke(self) -> None:
        """Makes ``next`` return None now, so that the reader looks at its clock again."""
        self._news.set()

    async def next(self) -> T | None:
        """The next item; None when poked, or (see ``ended``) when there are no more. Raises what ``fail`` was given."""
        if not self._items and not self._ended:
            self._news.clear()
            await self._news.wait()
        if self._items:
            return self._items.popleft()
        if self._error is not None:
            raise self._error
        return None

    @property
    def drained(self) -> bool:
        """Ended, and nothing waits any more."""
        return self._ended and not self._items and self._error is None

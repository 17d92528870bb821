"""Keeps the calls of this process for its sessions, and ends a session whose call another process has taken.

Owned by ``resources``. Each second one statement shows the database which sessions live (``calls.live_calls.renew``);
apart from the journal, since a lease must not lapse while that is busy. A second one asks for those who wonder whether
a machine has answered if the carrier has said so.
"""

import asyncio
import contextlib
import datetime
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Protocol

import structlog
from django.db import Error

from calls.context import CallContext
from streaming.threads import Overloaded, Worker

log = structlog.get_logger(__name__)

RENEW_EVERY_S = 1.0  # a lease lasts two of these
WITHIN_S = 5.0


class Register(Protocol):
    """What the leases need of ``calls.live_calls``."""

    def renew(self, *, held: Mapping[int, str], silent: Collection[int], now: datetime.datetime) -> set[int]:
        """Notes that sessions live, by their calls; says which calls another session has taken."""
        ...

    def machines(self, call_ids: Collection[int]) -> set[int]:
        """Those of the calls that the carrier believes a machine has answered."""
        ...


class Holder(Protocol):
    """A session as the leases see it."""

    context: CallContext

    def displaceable(self) -> bool:
        """Whether its line has fallen silent."""
        ...

    def displaced(self) -> None:
        """Another process carries the call now."""

    def wonders(self) -> bool:
        """Whether it does not know yet who has answered."""

    def machine_reported(self) -> None:
        """The carrier believes that a machine has."""


class Leases:
    """The leases of one process.

    Args:
        register: where they stand.
        clock: the time of day.
    """

    def __init__(self, *, register: Register, clock: Callable[[], datetime.datetime]) -> None:
        self._register = register
        self._clock = clock
        self._worker = Worker("stream-leases", limit=2)
        self._holders: set[Holder] = set()
        self._task: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begins to renew."""
        self._task = asyncio.create_task(self._renew_for_ever(), name="leases")

    async def close(self) -> None:
        """Renews no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._worker.close()

    @contextlib.contextmanager
    def kept(self, holder: Holder) -> Iterator[None]:
        """Keeps the call of a session that has claimed it."""
        self._holders.add(holder)
        try:
            yield
        finally:
            self._holders.discard(holder)

    async def _renew_for_ever(self) -> None:
        failing = False
        while True:
            holders = {holder.context.call_id: holder for holder in self._holders}
            if holders:
                try:
                    await self._renew(holders)
                except Exception as error:  # whatever it is: without leases every call would seem dead
                    if not failing:
                        expected = isinstance(error, Error | TimeoutError | Overloaded)
                        name = type(error).__name__
                        log.error("leases_not_renewed", calls=len(holders), error=name, exc_info=not expected)
                    failing = True
                else:
                    failing = False
            await asyncio.sleep(RENEW_EVERY_S)

    async def _renew(self, holders: Mapping[int, Holder]) -> None:
        held = {call_id: holder.context.session for call_id, holder in holders.items()}
        silent = {call_id for call_id, holder in holders.items() if holder.displaceable()}
        lost = await self._worker.run(WITHIN_S, self._register.renew, held=held, silent=silent, now=self._clock())
        for call_id in lost:
            holders[call_id].displaced()
        if wondering := {call_id for call_id, holder in holders.items() if holder.wonders()}:
            for call_id in await self._worker.run(WITHIN_S, self._register.machines, wondering):
                holders[call_id].machine_reported()

"""The pulse of a stream process: what its sockets have brought is read, and listened to, for all calls together.

Made by ``resources``. The same code for one call after the other finds the processor's caches warm, and the detector
judges many calls in one run (docs/decisions/0006).
"""

import asyncio
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

EVERY_S = 0.005


class Pulse:
    """Needs a running loop.

    Args:
        last: done at the end of each beat.
    """

    def __init__(self, last: Callable[[], object]) -> None:
        self._last = last
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._still = False  # no further beat is asked for: one is under way, or it was the last
        self._works: list[Callable[[], None]] = []

    def do(self, work: Callable[[], None]) -> None:
        """Has ``work`` done in the next beat, after what was handed in before it."""
        self._works.append(work)
        self.soon()

    def soon(self) -> None:
        """Something waits for the end of a beat; one comes in the loop's next turn, or 5 ms after the last."""
        if self._timer is None and not self._still:
            self._timer = self._loop.call_at(max(self._loop.time(), self._not_before), self._beat)

    def _beat(self) -> None:
        self._timer = None
        self._not_before = self._loop.time() + EVERY_S
        works, self._works = self._works, []
        self._still = True
        for work in works:
            try:
                work()
            except Exception:
                log.exception("pulse_work_failed")  # one socket's fault: the others are read
        self._still = False
        if self._works:
            self.soon()
        self._last()

    def close(self) -> None:
        """No beat comes after this."""
        if self._timer is not None:
            self._timer.cancel()
        self._still = True

"""The four clocks of a provider call: connect, first byte, stall and total.

Every adapter waits for its provider inside ``Watch.within``; a clock that runs out becomes a ProviderError, and a
cancellation from outside passes through untouched.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Literal

from agents.providers.base import Clocks, ProviderConfig
from agents.providers.errors import ErrorKind, ProviderError, Stage

Phase = Literal["connect", "first", "stall"]
_WAITED_FOR: dict[Phase, str] = {"connect": "connection", "first": "answer", "stall": "further data"}


class Watch:
    """The clocks of one call, started when it is made; needs a running event loop."""

    def __init__(self, clocks: Clocks, *, provider: str, stage: Stage) -> None:
        self.clocks = clocks
        self._provider = provider
        self._stage: Stage = stage
        self._loop = asyncio.get_running_loop()
        self.started = self._loop.time()
        self.first_ms: int | None = None

    @property
    def elapsed_ms(self) -> int:
        """ms since the call was made."""
        return round((self._loop.time() - self.started) * 1000)

    def mark_first(self) -> None:
        """Notes the arrival of the first byte, once."""
        if self.first_ms is None:
            self.first_ms = self.elapsed_ms

    @asynccontextmanager
    async def within(self, phase: Phase, *, at_most: float | None = None) -> AsyncIterator[None]:
        """Limits what is awaited inside by that phase's clock (or ``at_most`` s) and by what is left of the total.

        Raises ProviderError: STALLED when the stall clock ran out, TIMEOUT for the others. A TimeoutError of the body's
        own passes through.
        """
        phase_seconds: float = getattr(self.clocks, phase)
        if at_most is not None:
            phase_seconds = min(phase_seconds, at_most)
        phase_end = self._loop.time() + phase_seconds
        total_end = self.started + self.clocks.total
        scope = asyncio.timeout_at(min(phase_end, total_end))
        try:
            async with scope:
                yield
        except TimeoutError:
            if not scope.expired():
                raise
            if total_end < phase_end:
                raise self._error(ErrorKind.TIMEOUT, f"not finished within {self.clocks.total:g} s") from None
            kind = ErrorKind.STALLED if phase == "stall" else ErrorKind.TIMEOUT
            raise self._error(kind, f"no {_WAITED_FOR[phase]} within {phase_seconds:g} s") from None

    def _error(self, kind: ErrorKind, detail: str) -> ProviderError:
        return ProviderError(kind, provider=self._provider, stage=self._stage, detail=detail)


@asynccontextmanager
async def until_first(
    seconds: float | None, *, config: ProviderConfig, stage: Stage, then: float | None = None
) -> AsyncIterator[Callable[[], None]]:
    """Limits a call from outside its adapter: to ``seconds`` (None: no limit) until the body says that something came.

    Args:
        then: s that it may take from there on; None: as long as the adapter's own clocks let it.

    Yields:
        What the body calls when something came; only the first time counts.

    Raises:
        ProviderError: TIMEOUT, when a limit has passed.
    """
    loop = asyncio.get_running_loop()
    scope = asyncio.timeout(seconds)
    waiting = True

    def came() -> None:
        nonlocal waiting
        if waiting:
            waiting = False
            scope.reschedule(None if then is None else loop.time() + then)

    try:
        async with scope:
            yield came
    except TimeoutError:
        if not scope.expired():
            raise
        words = f"no answer within {seconds:g} s" if waiting else f"not finished within {then:g} s"
        raise ProviderError(ErrorKind.TIMEOUT, provider=config.provider, stage=stage, detail=words) from None

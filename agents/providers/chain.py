"""The choices of one stage on one call: which is asked, and which is asked next when it fails.

Made by ``streaming.faculties``; ``thinker``, ``speaker`` and ``listener`` ask it for ``Attempts`` at each piece of work
(a reply, a clause, a recognition session) and tell it how each went. A call that has moved on stays with the choice
that took over: voices do not change back and forth. ``board`` tells the calls that follow where to begin.
"""

import random
from collections.abc import Callable
from typing import NamedTuple

from agents.providers.base import ProviderConfig
from agents.providers.board import Board
from agents.providers.errors import FACTS, ErrorKind, ProviderError, Stage

# Of the patience of a caller (``Clocks.switch``), what a wait before the same request is made again may take.
WAIT_SHARE = 0.5
JITTER = (0.1, 0.2)
# The caller has waited already: after others have failed as well, not twice for the last.
SLOW = frozenset({ErrorKind.TIMEOUT, ErrorKind.STALLED})


class Step(NamedTuple):
    """What to do after a failure: ask ``choice`` (its index) after ``wait_s``."""

    choice: int
    wait_s: float


class Moved(NamedTuple):
    """The call goes on with another choice (indexes) because of ``why``; None: the first rests at the call's start."""

    stage: Stage
    before: int
    after: int
    config: ProviderConfig
    why: ErrorKind | None


class Chain:
    """The choices of a stage, in the agent's order.

    Args:
        switch_s: scaled ``Clocks.switch``.
        moved: told of every change of the choice in use.
        jitter: 0-1.

    Attributes:
        current: index of the choice in use.
    """

    def __init__(
        self,
        stage: Stage,
        configs: tuple[ProviderConfig, ...],
        *,
        board: Board,
        switch_s: float,
        moved: Callable[[Moved], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.stage: Stage = stage
        self.configs = configs
        self.switch_s = switch_s
        self._board = board
        self._moved = moved
        self._jitter = jitter
        self._order = board.order(stage, configs)
        self.current = 0
        self._take(self._order[0], None)

    @property
    def config(self) -> ProviderConfig:
        """Of the choice in use."""
        return self.configs[self.current]

    def order(self) -> list[int]:
        """All choices, from the one in use on."""
        at = self._order.index(self.current)
        return [*self._order[at:], *self._order[:at]]

    def attempts(self, rounds: int = 1) -> "Attempts":
        """For a new piece of work, which asks every choice ``rounds`` times (and perhaps once more at once)."""
        return Attempts(self, rounds)

    def worked(self, choice: int, first_ms: int | None = None) -> None:
        """A choice has begun to answer."""
        self._board.worked(self.stage, self.configs[choice], first_ms=first_ms)

    def failed(self, choice: int, error: ProviderError) -> None:
        """A choice has failed; the call stays with it until ``leave``."""
        self._board.failed(error, self.configs[choice])

    def leave(self, choice: int, why: ErrorKind) -> bool:
        """What follows is for another choice; False when there is none."""
        if choice == self.current and len(self.configs) > 1:
            self._take(self.order()[1], why)
        return choice != self.current

    def go_to(self, choice: int, why: ErrorKind, *, after: int) -> int:
        """Moves on from ``after`` to ``choice``, or to where other work has taken the call by now; returns which."""
        if self.current == after:
            self._take(choice, why)
        return self.current

    def wait_s(self, error: ProviderError) -> float | None:
        """How long to wait before the same request is made again; None when the provider wants longer than fits."""
        longest = self.switch_s * WAIT_SHARE
        if error.retry_after is not None:
            return error.retry_after if error.retry_after <= longest else None
        if FACTS[error.kind].then != "back_off" and error.kind is not ErrorKind.RATE_LIMITED:
            return 0.0
        least, most = JITTER
        return self.switch_s * (least + (most - least) * self._jitter())

    def _take(self, choice: int, why: ErrorKind | None) -> None:
        before, self.current = self.current, choice
        if before != choice:
            self._moved(Moved(self.stage, before, choice, self.configs[choice], why))


class Attempts:
    """One piece of work on its way along the choices.

    Attributes:
        choice: index of the choice that is asked.
    """

    def __init__(self, chain: Chain, rounds: int) -> None:
        self._chain = chain
        self._left = chain.order() * rounds
        self.choice = self._left.pop(0)
        self._repeated = False

    @property
    def config(self) -> ProviderConfig:
        """Of the choice that is asked."""
        return self._chain.configs[self.choice]

    @property
    def others(self) -> bool:
        """Whether another choice could still be asked instead."""
        return any(choice != self.choice for choice in self._left)

    def worked(self, first_ms: int | None = None) -> None:
        """The choice has begun to answer."""
        self._chain.worked(self.choice, first_ms)

    def failed(self, error: ProviderError, *, retryable: bool | None = None) -> Step | None:
        """The choice has failed before it gave anything; None when nothing is left to ask.

        Args:
            retryable: overrides ``error.retryable``.
        """
        self._chain.failed(self.choice, error)
        facts = FACTS[error.kind]
        if facts.then == "stop":
            return None
        retryable = error.retryable if retryable is None else retryable
        if retryable and not self._repeated and (wait_s := self._wait_s(error)) is not None:
            self._repeated = True
            return Step(self.choice, wait_s)
        if not retryable:
            self._left = [choice for choice in self._left if choice != self.choice]
        if not self._left:
            return None
        self._repeated = False
        before, self.choice = self.choice, self._left.pop(0)
        if self.choice != before:
            taken = self._chain.go_to(self.choice, error.kind, after=before)
            if taken != self.choice and taken in self._left:
                self._left[self._left.index(taken)] = self.choice
                self.choice = taken
        return Step(self.choice, 0.0)

    def _wait_s(self, error: ProviderError) -> float | None:
        """How long to wait before the same choice is asked again; None when another is to be asked instead."""
        wait_s = self._chain.wait_s(error)
        if not self.others and (error.kind not in SLOW or len(self._chain.configs) == 1):
            return self._chain.switch_s * WAIT_SHARE if wait_s is None else wait_s
        again = FACTS[error.kind].then in {"again", "back_off"} and self._chain.current == self.choice
        return wait_s if again else None

    def broke(self, error: ProviderError) -> bool:
        """It failed after it had given something, which is not asked for again; False when nothing takes over."""
        self._chain.failed(self.choice, error)
        return FACTS[error.kind].then != "stop" and self._chain.leave(self.choice, error.kind)

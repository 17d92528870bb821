"""How long a write to a database that fails is tried again. Used by ``journal``."""

from collections.abc import Sequence


class Patience:
    """What the tries of a batch may cost while they fail: with many calls live, each must not wait out its own.

    Args:
        pauses: s before each new try.
        most_s: of tries and pauses together; a single try may exceed it.

    Attributes:
        error: name of the last failure.
    """

    def __init__(self, pauses: Sequence[float], most_s: float) -> None:
        self.error = ""
        self._pauses = list(pauses)
        self._left_s = most_s

    @property
    def over(self) -> bool:
        """Whether nothing more is to be tried."""
        return self._left_s <= 0

    def spend(self, error: Exception, took_s: float) -> None:
        """A try has failed, for some of what was tried perhaps."""
        self.error = type(error).__name__
        self._left_s -= took_s

    def failed(self, error: Exception, took_s: float) -> float | None:
        """A try has failed; s until the next of the same thing, None when it is to be left for later."""
        self.spend(error, took_s)
        if self.over or not self._pauses:
            return None
        pause = self._pauses.pop(0)
        self._left_s -= pause
        return pause

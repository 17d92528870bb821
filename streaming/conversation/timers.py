"""Deadlines of one conversation: a name for each, when it is due, and which comes next.

The machine sets and clears them; the driver is told only the earliest (``Conversation.wake_at_ms``).
"""

from enum import Enum, auto


class Timer(Enum):
    """Every deadline that a conversation knows; at most one of each runs."""

    SPECULATE = auto()  # a pause is long enough to begin a reply on trust
    COMMIT = auto()  # a pause is long enough to ask the STT for its final text
    FINAL = auto()  # the final text should have come
    DECIDE = auto()  # the turn ends unless the caller goes on
    BURST = auto()  # a burst of speech is looked at: does audio still come, do words
    RESUME = auto()  # the paused voice goes on unless words have come
    EARS = auto()  # the STT may hear the caller again, or need not any more
    KEYPAD = auto()  # no further key is expected
    REPROMPT = auto()  # the caller has been silent for long
    FILLER = auto()  # somebody should say that the caller is to wait
    TOOL = auto()  # a tool should have answered
    WATCH = auto()  # the agent's model or voice should have moved on
    ANSWERED = auto()  # who has answered a call of ours: the greeting is long, or over, or nobody comes
    MAX_CALL = auto()  # the longest call is reached
    CLOSE = auto()  # the end of the call is overdue


class Timers:
    """A handful of deadlines, ms on the call's clock."""

    __slots__ = ("_due", "next_ms")

    def __init__(self) -> None:
        self._due: dict[Timer, int] = {}
        self.next_ms: int | None = None

    def __contains__(self, timer: Timer) -> bool:
        return timer in self._due

    def set(self, timer: Timer, at_ms: int) -> None:
        """Runs ``timer`` until ``at_ms``; replaces what it ran for before."""
        if self._due.get(timer) != at_ms:
            self._due[timer] = at_ms
            self.next_ms = min(self._due.values())

    def clear(self, *timers: Timer) -> None:
        """Stops these timers, whether they run or not."""
        removed = [self._due.pop(timer, None) for timer in timers]
        if self.next_ms in removed:
            self.next_ms = min(self._due.values(), default=None)

    def clear_all(self) -> None:
        """Stops every timer."""
        self._due.clear()
        self.next_ms = None

    def pop_due(self, now_ms: int) -> Timer | None:
        """Removes and returns the timer that was due first, None when none is due yet."""
        if self.next_ms is None or self.next_ms > now_ms:
            return None
        timer = min(self._due, key=self._due.__getitem__)
        self.clear(timer)
        return timer

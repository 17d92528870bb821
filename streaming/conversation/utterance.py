"""The caller's speech as the VAD sees it: when a burst of it began, and since when there is silence.

Fed by ``hearing.Hearing`` with one probability every 32 ms, 31 times a second on each call: a window that changes
nothing costs a few comparisons.
"""

from enum import Enum, auto

WINDOW_MS = 32
# Silero's own practice: speech that has begun ends at a lower probability than it starts at.
HYSTERESIS = 0.15
# Gaps up to this many windows lie within a word (stops like "t" and "k" are silent for up to 100 ms).
GAP_WINDOWS = 2


class Change(Enum):
    """What a window changed."""

    ONSET = auto()  # a burst of speech has begun
    PAUSE = auto()  # it has stopped, for now


class CallerSpeech:
    """Bursts of speech in a row of VAD windows.

    Attributes:
        active: a burst is under way.
        onset_ms: when the latest burst began.
        end_ms: when the latest speech window ended; silence is counted from here.
    """

    __slots__ = ("_deaf", "_gap", "_run", "_start_windows", "_threshold", "active", "end_ms", "onset_ms")

    def __init__(self, *, threshold: float, start_windows: int) -> None:
        """``threshold`` is a probability (0-1), ``start_windows`` a count of consecutive windows from 1."""
        self._threshold = threshold
        self._start_windows = max(1, start_windows)
        self._run = 0
        self._gap = 0
        self._deaf = False
        self.active = False
        self.onset_ms = 0
        self.end_ms = 0

    def feed(self, probability: float, now_ms: int) -> Change | None:
        """Takes the window that has just ended at ``now_ms``."""
        if self.active:
            if probability >= self._threshold - HYSTERESIS:
                self._gap = 0
                self.end_ms = now_ms
            else:
                self._gap += 1
                if self._gap > GAP_WINDOWS:
                    return self._stop()
            return None
        if self._deaf:
            self._gap = 0 if probability >= self._threshold - HYSTERESIS else self._gap + 1
            self._deaf = self._gap <= GAP_WINDOWS
            return None
        if probability < self._threshold:
            self._run = 0
            return None
        self._run += 1
        if self._run < self._start_windows:
            return None
        self.active = True
        self._gap = 0
        self.onset_ms = max(0, now_ms - self._run * WINDOW_MS)
        self.end_ms = now_ms
        return Change.ONSET

    def cut(self, *, noise: bool) -> Change | None:
        """Ends a burst under way where it was last heard: no audio comes any more, or it is no speech.

        Args:
            noise: it goes on and is not to be heard before it has stopped.
        """
        if not self.active:
            return None
        self._deaf = noise
        self._gap = 0
        return self._stop()

    def _stop(self) -> Change:
        self.active = False
        self._run = 0
        return Change.PAUSE

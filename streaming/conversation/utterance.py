"""The caller's speech as the VAD sees it: when a burst of it began, and since when there is silence.

Fed by ``hearing.Hearing`` with one probability every 32 ms, 31 times a second on each call: a window that changes
nothing costs a few comparisons.
"""

import math
from enum import Enum, auto

WINDOW_MS = 32
# Silero's own practice: speech that has begun ends at a lower probability than it starts at.
HYSTERESIS = 0.15
# Gaps up to this many windows lie within a word (stops like "t" and "k" are silent for up to 100 ms).
GAP_WINDOWS = 2
# Over the agent's voice there is also its echo, and what is around the caller. Two of the first three windows of speech
# are within 8 dB of the caller's level, and two of noise 15 dB under it never are (docs/decisions/0005).
LOUD_WINDOWS = 2
LONGEST_RUN = 8  # windows: a word's soft beginning
FLOOR = 10 ** (-34 / 10)  # nothing softer is the caller before they have spoken
BELOW_SPEECH = 10 ** (-8 / 10)
QUIET = 10 ** (-3 / 10)  # so far under their own level even the quietest caller is heard
# Of the loudest that the agent has said: its echo is 20 dB softer, and its windows lie otherwise than the agent's.
ECHO = 10 ** (-17 / 10)


class Change(Enum):
    """What a window changed."""

    ONSET = auto()  # a burst of speech has begun
    PAUSE = auto()  # it has stopped, for now
    LOUD = auto()  # something is loud enough to be the caller, which nothing was before


class CallerSpeech:
    """Bursts of speech in a row of VAD windows.

    Attributes:
        active: a burst is under way.
        onset_ms: when the latest burst began.
        end_ms: when the latest speech window ended; silence is counted from here.
        floor: power (1: full scale) under which a window is too soft to be the caller over the agent's voice.
        loud_ms: when the latest window did, speech or not; -inf before the first.
        expects_loud: no burst begins before a window does, which is a change in any case.
    """

    __slots__ = (
        "_agent_power",
        "_deaf_below",
        "_gap",
        "_level",
        "_loud_windows",
        "_run",
        "_speech_power",
        "_speech_windows",
        "_start_windows",
        "_threshold",
        "active",
        "end_ms",
        "expects_loud",
        "floor",
        "loud_ms",
        "onset_ms",
    )

    def __init__(self, *, threshold: float, start_windows: int) -> None:
        """``threshold`` is a probability (0-1), ``start_windows`` a count of consecutive windows from 1."""
        self._threshold = threshold
        self._start_windows = max(1, start_windows)
        self._run = 0
        self._loud_windows = 0  # of the run or the burst
        self._gap = 0
        self._deaf_below = 0.0  # power under which everything is the noise that goes on
        self._speech_power = 0.0
        self._speech_windows = 0
        self._level: float | None = None  # power of the caller's latest turn
        self._agent_power = 0.0
        self.floor = FLOOR
        self.loud_ms = -math.inf
        self.expects_loud = False
        self.active = False
        self.onset_ms = 0
        self.end_ms = 0

    @property
    def loud(self) -> bool:
        """The burst under way is loud enough to be the caller."""
        return self._loud_windows >= LOUD_WINDOWS

    def feed(self, probability: float, now_ms: int, power: float = 1.0) -> Change | None:
        """Takes the window that has just ended at ``now_ms``; ``power``: 1 is full scale."""
        loud = power >= self.floor
        if loud:
            self.loud_ms = now_ms
        change = self._burst(probability, now_ms, power, loud=loud)
        if change is None and loud:
            became_loud = self.active and self._loud_windows == LOUD_WINDOWS
            return Change.LOUD if became_loud or self.expects_loud else None
        return change

    def _burst(self, probability: float, now_ms: int, power: float, *, loud: bool) -> Change | None:
        if self.active:
            self._loud_windows += loud
            if probability >= self._threshold - HYSTERESIS:
                self._gap = 0
                self.end_ms = now_ms
                self._speech_power += power
                self._speech_windows += 1
                return None
            self._gap += 1
            return self._stop() if self._gap > GAP_WINDOWS else None
        if power < self._deaf_below:
            self._gap = 0 if probability >= self._threshold - HYSTERESIS else self._gap + 1
            if self._gap > GAP_WINDOWS:
                self._deaf_below = 0.0
            return None
        if probability < self._threshold:
            self._run = self._loud_windows = 0
            return None
        self._run = min(self._run + 1, max(self._start_windows, LONGEST_RUN))
        self._loud_windows += loud
        if self._run < self._start_windows or (self.expects_loud and not self.loud):
            return None
        self.active = True
        self._gap = 0
        self.onset_ms = max(0, now_ms - self._run * WINDOW_MS)
        self.end_ms = now_ms
        return Change.ONSET

    def learn(self) -> None:
        """What was spoken since the last time were the caller's words: so loud is this caller."""
        if self._speech_windows:
            self._level = self._speech_power / self._speech_windows
            self._settle_floor()
        self.forget()

    def agent_speaks(self, loudest: float) -> None:
        """The agent's voice, whose loudest window has this power, may come back as an echo."""
        if loudest != self._agent_power:
            self._agent_power = loudest
            self._settle_floor()

    def _settle_floor(self) -> None:
        self.floor = max(FLOOR, self._agent_power * ECHO)
        if self._level is not None:
            self.floor = max(self._level * BELOW_SPEECH, min(self._level * QUIET, self.floor))

    def forget(self) -> None:
        """What was spoken since the last time says nothing of the caller."""
        self._speech_power, self._speech_windows = 0.0, 0

    def cut(self, *, noise: bool) -> Change | None:
        """Ends a burst under way where it was last heard: no audio comes any more, or it is no speech.

        Args:
            noise: it goes on and is not to be heard before it has stopped.
        """
        if not self.active:
            return None
        if noise:
            self._deaf_below = math.inf if self.loud else self.floor
        self._gap = 0
        return self._stop()

    def _stop(self) -> Change:
        self.active = False
        self._run = self._loud_windows = 0
        return Change.PAUSE

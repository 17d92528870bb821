"""The silent caller: reprompts one after the other, then a goodbye.

Silence counts from the last *word* of either side, not from the last noise: a fan, music or a cough does not keep a
call alive for ever. Asked by ``machine.Conversation`` whenever something may have changed.
"""

from streaming.conversation.desk import Desk
from streaming.conversation.timers import Timer

# With no reprompt to say, a caller is given this long before the goodbye (Vapi's default).
SILENCE_WITHOUT_REPROMPTS_MS = 30_000


class Silence:
    """Counts a caller's silence.

    Attributes:
        said: reprompts said since the caller's last words.
        since_ms: since when nobody has said a word.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.said = 0
        self.since_ms = 0

    def broken(self, at_ms: int) -> None:
        """A word was heard, or a key pressed, at this time."""
        self.since_ms = max(self.since_ms, at_ms)

    def caller_is_there(self) -> None:
        """The caller has said something: the reprompts begin anew."""
        self.said = 0
        self.broken(self._desk.now)

    @property
    def next_text(self) -> str | None:
        """The reprompt that comes next, None when the goodbye is due instead."""
        reprompts = self._desk.plan.reprompts
        return reprompts[self.said] if self.said < len(reprompts) else None

    def watch(self, *, idle: bool, noise_since_ms: int | None) -> None:
        """Sets the next reprompt.

        Args:
            idle: nothing is being said, thought about or waited for.
            noise_since_ms: since when the VAD hears something that has given no word, None for silence.
        """
        if not idle:
            self._desk.timers.clear(Timer.REPROMPT)
            return
        plan = self._desk.plan
        after = plan.reprompt_after_ms if plan.reprompts else max(SILENCE_WITHOUT_REPROMPTS_MS, plan.reprompt_after_ms)
        due = self.since_ms + after
        if noise_since_ms is not None:
            # It may be speech whose words are still to come, but only so often.
            due = max(due, min(noise_since_ms + after, due + after))
        self._desk.timers.set(Timer.REPROMPT, max(due, self._desk.now))

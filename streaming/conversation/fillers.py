"""Words of patience: said while a tool or an answer takes longer than a caller waits in silence.

Kept by ``replies.Replies``; ``machine.Conversation`` says when neither side is heard.
"""

from streaming.conversation.desk import Desk
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice

# Nobody says a word for so long before the caller is told to wait for a tool, and again; then silence is the lesser
# evil.
FILLER_MS = 1500
FILLER_AGAIN_MS = 4000
MAX_FILLERS = 4
# A caller who hears nothing for three seconds takes the call for dead; the last of his words are known half a second
# after he has said them. An answer takes one second or so.
SILENCE_MS = 2000
ANSWER_MS = 1200


class Fillers:
    """How often the caller was told to wait, and when it is time again."""

    def __init__(self, desk: Desk, voice: Voice) -> None:
        self._desk = desk
        self._voice = voice
        self._said = 0

    def over(self) -> None:
        """What the caller waited for has come, or is of no interest any more."""
        self._said = 0

    def watch(self, *, quiet: bool, since_ms: int, tools_since_ms: int | None) -> None:
        """Sets when the caller is told to wait.

        Args:
            quiet: neither side is heard, ``since_ms``.
            tools_since_ms: since when the newest of the tools that run is waited for; None: none runs.
        """
        due = None
        if tools_since_ms is not None:
            due = max(since_ms, tools_since_ms) + (FILLER_AGAIN_MS if self._said else FILLER_MS)
        elif (answer := self._voice.waits) is not None:
            due = max(since_ms + SILENCE_MS, answer.begun_ms + ANSWER_MS)
        if due is None or not quiet or self._said >= MAX_FILLERS:
            self._desk.timers.clear(Timer.FILLER)
        else:
            self._desk.timers.set(Timer.FILLER, max(self._desk.now, due))

    def say(self) -> None:
        """Tells the caller that it takes a moment; no part of the context, and never cut off by the answer."""
        self._said += 1
        words = self._desk.plan.filler or self._desk.rules.filler
        if (waiting := self._voice.waits) is not None:
            self._voice.say_before(waiting, "filler", [words])
        else:
            self._voice.say_phrases("filler", [words], interruptible=True)

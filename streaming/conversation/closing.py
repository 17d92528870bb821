"""Ends that the caller cannot talk the agent out of: longest call, operator, failure of a provider.

Their last words wait for what is being said, but not for ever; then they are heard, and the call ends in any case.
Asked by ``machine.Conversation``.
"""

from streaming.conversation.desk import Desk
from streaming.conversation.events import EndReason, TurnKind
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice

# How long the agent may finish its sentence, and how long the last words may take with no sign of being heard.
FINISH_MS = 10_000
LAST_WORDS_MS = 30_000


class Closing:
    """The end of one call.

    Attributes:
        reason: why the call is being ended; None while it is not. The first reason stays.
        leaving: a goodbye that the caller may still answer was heard; the reason of the hang-up that follows.
    """

    def __init__(self, desk: Desk, voice: Voice) -> None:
        self._desk = desk
        self._voice = voice
        self.reason: EndReason | None = None
        self.leaving: EndReason | None = None

    def begin(self, reason: EndReason, kind: TurnKind, texts: tuple[str, ...], *, at_once: bool) -> bool:
        """Begins the end; False when there is nothing to say or wait for and the call can end now.

        Args:
            at_once: do not let the agent finish what it is saying.
        """
        if self.reason is not None:
            return True
        self.reason = reason
        self._desk.note("closing", reason=reason)
        if at_once:
            self._voice.stop("closing")
        else:
            self._voice.cancel_unheard("closing")
        self._desk.timers.clear(Timer.RESUME)
        self._voice.resume()
        last_words = self._voice.say_phrases(kind, texts, interruptible=False, ends_call=reason)
        floor = self._voice.floor
        if last_words is None:
            self._voice.cancel_next("closing")
            if floor is None:
                return False
            floor.ends_call = reason
        if floor is not None:
            floor.interruptible = False
        self._desk.timers.set(Timer.CLOSE, self._desk.now + (LAST_WORDS_MS if floor is None else FINISH_MS))
        return True

    def overdue(self) -> bool:
        """The end takes too long; True when the last words still get their chance, False when the call must end."""
        if self._voice.floor is None or self._voice.next is None:
            return False
        self._voice.stop("closing")
        self._desk.timers.set(Timer.CLOSE, self._desk.now + LAST_WORDS_MS)
        return True

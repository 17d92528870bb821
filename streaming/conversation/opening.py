"""The first words: said at the start, or as the answer to a caller who speaks first.

Asked by ``machine`` and ``caller``.
"""

from streaming.conversation.desk import Desk
from streaming.conversation.voice import Voice


class Opening:
    """Disclosure, notice and greeting of one call.

    Attributes:
        due: they have not been said and are still to be.
    """

    def __init__(self, desk: Desk, voice: Voice) -> None:
        self._plan = desk.plan
        self._voice = voice
        self.due = False

    def say(self) -> bool:
        """Says them if they are due; False when there is nothing to say."""
        if not self.due:
            return False
        self.due = False
        plan = self._plan
        said = self._voice.say_phrases("greeting", plan.opening, interruptible=plan.opening_interruptible)
        return said is not None

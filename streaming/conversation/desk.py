"""What the parts of one conversation share: the plan, the clock of the event in hand, timers, history, and the actions.

Made by ``machine.Conversation``; every part keeps a reference and writes its actions here, in order.
"""

from typing import Any

from streaming.conversation.events import Action, Note
from streaming.conversation.history import History
from streaming.conversation.languages import Language, language, with_own
from streaming.conversation.plan import ConversationPlan
from streaming.conversation.timers import Timers


class Desk:
    """The shared state of one conversation.

    Attributes:
        now: ms on the call's clock, of the event that is being handled; never goes back.
        actions: what the event in hand has led to so far.
    """

    __slots__ = ("actions", "history", "now", "plan", "rules", "timers")

    def __init__(self, plan: ConversationPlan) -> None:
        self.plan = plan
        self.rules: Language = with_own(language(plan.language), backchannels=plan.backchannels, stops=plan.stop_words)
        self.history = History(system_prompt=plan.system_prompt, earlier=plan.history)
        self.timers = Timers()
        self.actions: list[Action] = []
        self.now = 0

    def do(self, action: Action) -> None:
        """Asks the driver for something."""
        self.actions.append(action)

    def note(self, kind: str, **data: Any) -> None:
        """Puts something on the call's timeline; no personal text in ``data``."""
        self.actions.append(Note(kind=kind, data=data))

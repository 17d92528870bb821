"""The conversation as the core needs it: an agent's texts with their variables filled in, and its numbers.

Made by ``streaming.session`` from a ``calls.context.CallContext``.
"""

from typing import Literal

import msgspec

from agents.providers.base import Message
from agents.spec import TurnTaking

OnMachine = Literal["hang_up", "leave_message", "go_on"]


class AnsweringPlan(msgspec.Struct, frozen=True):
    """What is done with whoever answers a call that we placed and is no person.

    Attributes:
        message: left on a machine, for ``leave_message``.
        screening: said to whoever asks who is calling; empty: the opening.
    """

    on_machine: OnMachine = "hang_up"
    message: str = ""
    screening: str = ""


class ConversationPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that decides how a conversation runs.

    Attributes:
        opening: texts spoken first, in order (disclosure, recording notice, greeting); empty texts left out.
        reprompts: said one after the other while the caller is silent; then ``goodbye`` and the end.
        filler: said while a tool or an answer takes long; empty: what is usual in the language.
        transfers: names of those whom callers may be put through to.
        backchannels, stop_words: phrases beside the usual ones of the language.
        answering: on a call that we placed; None: whoever is there is a person.
        opt_out_key: the key by which the caller is never called again; empty: none is.
        history: messages of an earlier stream of the same call, when it was lost and resumed.
    """

    mode: Literal["conversation", "listen_only"] = "conversation"
    language: str = "en-US"
    system_prompt: str = ""
    speaks_first: Literal["agent", "caller"] = "agent"
    opening: tuple[str, ...] = ()
    opening_interruptible: bool = True
    interruptible: bool = True
    turn_taking: TurnTaking = TurnTaking()
    reprompts: tuple[str, ...] = ()
    reprompt_after_ms: int = 8000
    max_call_ms: int = 600_000
    wrap_up: str = ""
    goodbye: str = "Goodbye."
    apology: str = "I am sorry, I am having technical trouble."
    filler: str = ""
    may_end_call: bool = True
    transfers: tuple[str, ...] = ()
    backchannels: tuple[str, ...] = ()
    stop_words: tuple[str, ...] = ()
    opt_out_key: str = ""
    answering: AnsweringPlan | None = None
    history: tuple[Message, ...] = ()

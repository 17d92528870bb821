"""The conversation as the language model is told it: what the caller said, and what the caller *heard*.

Entries are the caller's texts and the agent's ``Reply`` objects themselves, so that a reply cut short later says only
what was heard of it. Kept by the conversation, read at every ``StartReply``.
"""

from agents.providers.base import Message
from streaming.conversation.reply import Reply


class History:
    """Messages of one call."""

    def __init__(self, *, system_prompt: str, earlier: tuple[Message, ...] = ()) -> None:
        self._before = ([Message(role="system", content=system_prompt)] if system_prompt else []) + list(earlier)
        self._entries: list[str | Reply] = []

    def caller_said(self, text: str) -> None:
        """A turn of the caller."""
        self._entries.append(text)

    def agent_says(self, reply: Reply) -> None:
        """An utterance that is going to be heard; its text follows what becomes of it."""
        self._entries.append(reply)

    def forget(self, reply: Reply) -> None:
        """An utterance of which nothing was heard."""
        if reply in self._entries:
            self._entries.remove(reply)

    @property
    def awaits_answer(self) -> bool:
        """The last word is the caller's."""
        messages = self.messages()
        return bool(messages) and messages[-1].role in {"user", "tool"}

    def messages(self, saying: str = "") -> tuple[Message, ...]:
        """The context, the system prompt first; ``saying`` is what the caller has said since.

        What the caller said in several goes without an answer in between is one message.
        """
        messages = list(self._before)
        for entry in [*self._entries, *filter(None, [saying])]:
            if isinstance(entry, Reply):
                messages.extend(entry.messages())
            elif messages and messages[-1].role == "user":
                messages[-1] = Message(role="user", content=f"{messages[-1].content} {entry}")
            else:
                messages.append(Message(role="user", content=entry))
        return tuple(messages)

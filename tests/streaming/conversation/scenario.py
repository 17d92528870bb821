"""The agent that most scenarios talk to, and short names for them."""

from typing import Any

from agents.providers.base import ToolCall
from streaming.conversation.plan import ConversationPlan
from tests.streaming.simulator import Answer

GREETING = "Hello, this is Anna from the front desk. How can I help you today?"
LONG = (
    "We have a table by the window at seven o'clock. It is a little louder there in the evening because of the bar. "
    "There is also a quieter one in the garden room, which most of our guests like better."
)


def plan(**changes: Any) -> ConversationPlan:
    """The front desk, with what the scenario changes."""
    values: dict[str, Any] = {
        "system_prompt": "You are Anna.",
        "opening": (GREETING,),
        "reprompts": ("Are you still there?", "I cannot hear you."),
        "wrap_up": "I am afraid our time is up.",
        "goodbye": "Goodbye.",
        "apology": "I am sorry, I am having technical trouble.",
    }
    return ConversationPlan(**(values | changes))


def end_call(goodbye: str = "", *, text: str = "", **changes: Any) -> Answer:
    """A reply in which the model ends the call."""
    arguments = f'{{"goodbye": "{goodbye}"}}' if goodbye else "{}"
    return Answer(text, tools=[ToolCall(id="end", name="end_call", arguments=arguments)], **changes)


def tool(name: str = "lookup", *, text: str = "", call_id: str = "t1", **changes: Any) -> Answer:
    """A reply in which the model asks for a tool."""
    return Answer(text, tools=[ToolCall(id=call_id, name=name, arguments="{}")], **changes)

"""Carries out what the model asks for: reads a tool call, does what it asks, answers the conversation.

Called by ``session.CallSession`` for each RunTool. Ending the call is the conversation's own affair, since the goodbye
must be heard first; every other effect goes to ``calls``.
"""

from typing import assert_never

import agents.tools  # noqa: F401  (registers what the model may call)
from agents.providers.base import ToolDefinition
from agents.tools.base import EndCall, ToolProblem, definitions, interpret
from streaming.conversation.events import EndRequested, Event, RunTool, ToolResult


def offered(names: tuple[str, ...]) -> tuple[ToolDefinition, ...]:
    """The tools of an agent as its model is told of them; raises KeyError for an unknown name."""
    return definitions(names)


def run(action: RunTool) -> list[Event]:
    """What the conversation is told after a tool call."""
    effect = interpret(action.call)
    match effect:
        case ToolProblem(message):
            return [ToolResult(action.generation, action.call.id, message)]
        case EndCall():
            return [
                ToolResult(action.generation, action.call.id, "The call ends."),
                EndRequested("agent_ended", say_goodbye=True),
            ]
        case _:
            assert_never(effect)

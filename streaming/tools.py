"""Carries out what the model asks for: reads a tool call, does what it asks, answers the conversation.

Called by ``session.CallSession`` for each RunTool. Ending the call is the conversation's own affair, since the goodbye
must be heard first, and never comes here; every other effect goes to ``calls``.
"""

import agents.tools  # noqa: F401  (registers what the model may call)
from agents.providers.base import ToolDefinition
from agents.tools.base import EndCall, definitions, interpret
from streaming.conversation.events import Event, RunTool, ToolResult


def offered(names: tuple[str, ...]) -> tuple[ToolDefinition, ...]:
    """The tools of an agent as its model is told of them; raises KeyError for an unknown name."""
    return definitions(names)


def run(action: RunTool) -> list[Event]:
    """What the conversation is told after a tool call."""
    effect = interpret(action.call)
    if isinstance(effect, EndCall):
        raise ValueError("the conversation ends a call itself and runs no tool for it")
    return [ToolResult(action.generation, action.call.id, effect.message)]

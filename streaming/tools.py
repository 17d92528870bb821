"""Carries out what the model asks for: reads a tool call, does what it asks, answers the conversation.

Called by ``session.CallSession`` for each RunTool. Leaving the call, for good or to put the caller through, is the
conversation's own affair, since the last words must be heard first.
"""

import agents.tools  # noqa: F401  (registers what the model may call)
from agents.providers.base import ToolDefinition
from agents.spec import AgentSpec
from agents.tools.base import OptOut, PressKeys, ToolProblem, definitions, interpret
from streaming.conversation.events import RunTool, ToolResult
from streaming.line import Line


def offered(spec: AgentSpec) -> tuple[ToolDefinition, ...]:
    """The tools of an agent as its model is told of them; raises KeyError for an unknown name."""
    return definitions(spec)


def opts_out(action: RunTool, spec: AgentSpec) -> str | None:
    """What the caller said who does not want to be called again; None when the model asks for something else."""
    effect = interpret(action.call)
    return effect.words if isinstance(effect, OptOut) and action.call.name in spec.tools else None


def run(action: RunTool, spec: AgentSpec, line: Line) -> ToolResult:
    """What the conversation is told after a tool call of this agent."""
    effect = interpret(action.call)
    if isinstance(effect, ToolProblem):
        result = effect.message
    elif isinstance(effect, PressKeys) and action.call.name in spec.tools:
        line.press(effect.keys)
        result = "The keys were pressed."
    else:
        result = "This tool is not available."
    return ToolResult(action.generation, action.call.id, result)

"""Tools: a declaration for the model, and the effect that a call of it asks for.

A tool does nothing by itself: ``streaming`` hears it called and asks ``interpret``, ``calls`` carries the effect out.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from agents.providers.base import ToolCall, ToolDefinition


class EndCall(msgspec.Struct, frozen=True):
    """Say goodbye and end the call; ``goodbye`` are the last words, empty for the agent's usual ones."""

    goodbye: str = ""


Effect = EndCall


class ToolProblem(msgspec.Struct, frozen=True):
    """Why a tool call cannot be carried out; ``message`` goes back to the model as the tool's result."""

    message: str


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool.

    Attributes:
        parameters: JSON schema of its arguments.
        effect: what its arguments become.
    """

    name: str
    description: str
    parameters: dict[str, Any]
    effect: type[Effect]


registry: dict[str, Tool] = {}


def register(tool: Tool) -> Tool:
    """Makes a tool known under its name; raises ValueError for a name that is taken."""
    if tool.name in registry:
        raise ValueError(f"There is a tool called {tool.name} already")
    registry[tool.name] = tool
    return tool


def definitions(names: Iterable[str]) -> tuple[ToolDefinition, ...]:
    """The tools as the model is told of them, in the order given; raises KeyError for an unknown name."""
    return tuple(
        ToolDefinition(name=tool.name, description=tool.description, parameters=tool.parameters)
        for tool in (registry[name] for name in names)
    )


def interpret(call: ToolCall) -> Effect | ToolProblem:
    """The effect that a model's tool call asks for, with its arguments checked. Never raises."""
    tool = registry.get(call.name)
    if tool is None:
        return ToolProblem(f"There is no tool called {call.name}.")
    try:
        return msgspec.json.decode(call.arguments.strip() or "{}", type=tool.effect)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        return ToolProblem(f"The arguments of {call.name} are not valid: {error}.")

"""Tools: a declaration for the model, and the effect that a call of it asks for.

A tool does nothing by itself: ``streaming`` hears it called and asks ``interpret``, ``calls`` carries the effect out.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from agents.providers.base import ToolCall, ToolDefinition
from agents.spec import AgentSpec


class EndCall(msgspec.Struct, frozen=True):
    """Say goodbye and end the call; ``goodbye`` are the last words, empty for the agent's usual ones."""

    goodbye: str = ""


class Transfer(msgspec.Struct, frozen=True):
    """Put the caller through to one of the agent's destinations; ``announcement`` is said first."""

    destination: str
    announcement: str = ""


class PressKeys(msgspec.Struct, frozen=True):
    """Send keys down the line, as to the menu of another machine."""

    keys: Annotated[str, msgspec.Meta(pattern=r"^[0-9*#]{1,32}$")]


class OptOut(msgspec.Struct, frozen=True):
    """Never call this person again; ``words``: what they said, the evidence."""

    words: str = ""


Effect = EndCall | Transfer | PressKeys | OptOut


class ToolProblem(msgspec.Struct, frozen=True):
    """Why a tool call cannot be carried out; ``message`` goes back to the model as the tool's result."""

    message: str


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """One tool.

    Attributes:
        parameters: gives the JSON schema of its arguments for an agent.
        effect: what its arguments become.
    """

    name: str
    description: str
    parameters: Callable[[AgentSpec], dict[str, Any]]
    effect: type[Effect]


registry: dict[str, Tool] = {}


def register(tool: Tool) -> Tool:
    """Makes a tool known under its name; raises ValueError for a name that is taken."""
    if tool.name in registry:
        raise ValueError(f"There is a tool called {tool.name} already")
    registry[tool.name] = tool
    return tool


def schema(properties: dict[str, Any], *, required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The JSON schema of an object that has these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def definitions(spec: AgentSpec) -> tuple[ToolDefinition, ...]:
    """The agent's tools as its model is told of them, in their order; raises KeyError for an unknown name."""
    return tuple(
        ToolDefinition(name=tool.name, description=tool.description, parameters=tool.parameters(spec))
        for tool in (registry[name] for name in spec.tools)
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

"""The tool by which the model puts a caller through to a person. It chooses a name and never learns a number."""

from typing import Any

from agents.spec import AgentSpec
from agents.tools.base import Tool, Transfer, register, schema


def _parameters(spec: AgentSpec) -> dict[str, Any]:
    described = "; ".join(f"{each.name}: {each.description}" for each in spec.transfers if each.description)
    return schema(
        {
            "destination": {
                "type": "string",
                "enum": [each.name for each in spec.transfers],
                "description": f"Whom to put the caller through to. {described}".strip(),
            },
            "announcement": {
                "type": "string",
                "description": "What to say before. Leave it out when you have announced the transfer already.",
            },
        },
        required=("destination",),
    )


TOOL = register(
    Tool(
        name="transfer_call",
        description=(
            "Puts the caller through to a person and ends your part of the call. Call it when the caller asks for a "
            "person or when your instructions say so, and tell the caller. If nobody answers, the caller comes back."
        ),
        parameters=_parameters,
        effect=Transfer,
    )
)

"""The tool by which the model presses keys on the phone, to get through another machine's menu."""

from agents.tools.base import PressKeys, Tool, register, schema

TOOL = register(
    Tool(
        name="press_keys",
        description=(
            "Presses keys on the phone. Call it only when a machine at the other end asks for keys, such as a menu "
            "or an extension. Never press keys for a person."
        ),
        parameters=lambda _: schema(
            {"keys": {"type": "string", "description": "The keys in order: 0 to 9, * and #."}}, required=("keys",)
        ),
        effect=PressKeys,
    )
)

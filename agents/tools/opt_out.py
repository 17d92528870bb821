"""The tool by which the model puts the person it talks to on the do-not-call list. Every campaign's agent has it."""

from agents.tools.base import OptOut, Tool, register, schema

TOOL = register(
    Tool(
        name="opt_out",
        description=(
            "Puts this person on the do-not-call list, for all calls and for good. Call it as soon as they say that "
            "they do not want to be called, such as: stop calling me, take me off your list. Ask once if you are not "
            "sure what they mean, and never talk them out of it. Then say what came of it, and say goodbye."
        ),
        parameters=lambda _: schema(
            {"words": {"type": "string", "description": "What they said, word for word."}}, required=("words",)
        ),
        effect=OptOut,
    )
)

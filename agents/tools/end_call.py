"""The tool by which the model ends a call. Its goodbye is heard before the line is hung up."""

from agents.tools.base import EndCall, Tool, register, schema

TOOL = register(
    Tool(
        name="end_call",
        description=(
            "Ends the phone call. Call it once the caller's matter is settled and they have said goodbye or have "
            "nothing more to ask, or when they ask to end the call. Never call it while a question is open."
        ),
        parameters=lambda _: schema(
            {
                "goodbye": {
                    "type": "string",
                    "description": "The last words to say. Leave it out when you have said goodbye already.",
                }
            }
        ),
        effect=EndCall,
    )
)

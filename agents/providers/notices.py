"""What operators should know of a choice before it stops working: announced shutdowns of whole endpoints and models.

Shown by the admin beside an agent's stages and in ``check``. Models that end are also dated by the provider's own list
(``registry.models``); this holds what that list does not say.
"""

from agents.providers.errors import Stage

# developers.openai.com/api/docs/deprecations, as read on 2026-11-23.
_OPENAI_SPEECH_END = "2027-01-06"
_OPENAI_TRANSCRIBE_END = "2027-02-26"
_OPENAI_LLM_ENDS = {
    "gpt-4o-mini": "2027-01-14",
    "gpt-4.1-mini": "2027-01-14",
    "gpt-5-mini": "2026-12-11",
    "gpt-5-nano": "2026-12-11",
    "gpt-5.4-nano": "2027-04-01",
}


def notice(provider: str, stage: Stage, model: str) -> str:
    """One sentence of warning, or an empty text; ``provider`` is the adapter's name."""
    if provider == "openai" and stage == "tts":
        return (
            f"OpenAI ends its speech endpoint on {_OPENAI_SPEECH_END} without a successor: "
            "choose an ElevenLabs voice for agents that are to speak after that day."
        )
    if provider == "openai" and stage == "stt" and (model == "whisper-1" or model.startswith("gpt-4o-")):
        return f"OpenAI ends {model} on {_OPENAI_TRANSCRIBE_END}: choose gpt-live-transcribe."
    if provider == "openai" and stage == "llm" and model in _OPENAI_LLM_ENDS:
        return f"OpenAI ends {model} on {_OPENAI_LLM_ENDS[model]}: choose gpt-6-luna."
    if provider == "elevenlabs" and stage == "tts" and model == "eleven_v3":
        return "eleven_v3 is not made for live speech: choose eleven_flash_v2_5."
    return ""

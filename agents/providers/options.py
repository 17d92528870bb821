"""Which options an agent's stage may have, where no provider would refuse one that it does not know.

An option that nobody reads is a wish that never comes true: an adapter's ``check`` refuses it, and ``agents.drafts``
before the agent is published; a live call goes on without it. Everywhere else the provider refuses.
"""

from collections.abc import Mapping

from agents.providers.errors import Stage

_OPENAI_STT = frozenset({"delay", "keywords", "noise_reduction", "prompt"})
_ELEVENLABS_TTS = frozenset({"apply_text_normalization", "enable_logging", "language_code", "seed", "transport"})
_SOCKET = frozenset({"auto_mode", "enable_ssml_parsing", "inactivity_timeout", "sync_alignment"})
_HTTP = frozenset(
    {"apply_language_text_normalization", "inactivity_timeout", "optimize_streaming_latency", "use_pvc_as_ivc"}
)


def unknown_option(provider: str, stage: Stage, options: Mapping[str, object]) -> str:
    """A sentence about the first option that would be ignored; empty when there is none."""
    if (provider, stage) == ("openai", "stt"):
        known = _OPENAI_STT
    elif (provider, stage) == ("elevenlabs", "tts"):
        known = _ELEVENLABS_TTS | (_HTTP if options.get("transport") == "http" else _SOCKET)
    else:
        return ""
    unknown = sorted(options.keys() - known)
    return f"there is no option {unknown[0]}; there are: {', '.join(sorted(known))}" if unknown else ""

"""Which adapters there are: the one place that turns a provider's name into working objects.

Called by ``agents.services`` (account tests, voices), the live call and the post-call tasks. An adapter's module, and
with it the vendor's SDK (over half a second each), is imported when first asked for; ``preload`` does it at start.
"""

from importlib import import_module
from typing import Any, cast

from agents.providers.base import (
    AudioFormat,
    CatalogueModel,
    CatalogueVoice,
    Clocks,
    LanguageModel,
    ProviderConfig,
    SpeechToText,
    TextToSpeech,
)
from agents.providers.classify import make_error
from agents.providers.errors import ErrorKind, Stage
from agents.providers.pools import Pools

_ROOM = "agents.providers"
_ADAPTERS: dict[str, dict[Stage, tuple[str, str]]] = {
    "openai": {
        "llm": ("openai_llm", "OpenAiLanguageModel"),
        "stt": ("openai_stt", "OpenAiSpeechToText"),
        "tts": ("openai_tts", "OpenAiTextToSpeech"),
    },
    "openai_compatible": {
        "llm": ("openai_llm", "OpenAiLanguageModel"),
        "tts": ("openai_tts", "OpenAiTextToSpeech"),
    },
    "elevenlabs": {
        "stt": ("elevenlabs_stt", "ElevenLabsSpeechToText"),
        "tts": ("elevenlabs_tts", "ElevenLabsTextToSpeech"),
    },
}
_ELEVENLABS_HTTP = ("elevenlabs_http_tts", "ElevenLabsHttpTextToSpeech")


def providers() -> tuple[str, ...]:
    """The names of all providers."""
    return tuple(_ADAPTERS)


def stages(provider: str) -> set[Stage]:
    """What a provider can be used for; empty for an unknown one."""
    return set(_ADAPTERS.get(provider, {}))


def preload() -> None:
    """Imports every adapter; blocks for about a second, so a process calls it before it serves."""
    for adapters in _ADAPTERS.values():
        for module, _ in adapters.values():
            import_module(f"{_ROOM}.{module}")
    import_module(f"{_ROOM}.{_ELEVENLABS_HTTP[0]}")


def language_model(config: ProviderConfig, *, pools: Pools, clocks: Clocks) -> LanguageModel:
    """The adapter for ``config``; raises ProviderError (BAD_REQUEST) for an unknown provider, (UNAUTHORISED) no key."""
    return cast("LanguageModel", _adapter(config, "llm")(config, pools=pools, clocks=clocks))


def speech_to_text(config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> SpeechToText:
    """One recognition session for a line that speaks ``codec``, its ``input_format`` as near to that as it takes.

    Needs a running event loop. Raises ProviderError as ``language_model`` does.
    """
    return cast("SpeechToText", _adapter(config, "stt")(config, pools=pools, clocks=clocks, codec=codec))


def text_to_speech(config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> TextToSpeech:
    """One speech session for a line that speaks ``codec``, its ``output_format`` as near to that as it gives.

    The option ``transport`` = "http" of ElevenLabs makes one request for each text instead of keeping a socket.
    Needs a running event loop. Raises ProviderError as ``language_model`` does.
    """
    return cast("TextToSpeech", _adapter(config, "tts")(config, pools=pools, clocks=clocks, codec=codec))


async def models(config: ProviderConfig, *, pools: Pools, clocks: Clocks) -> list[CatalogueModel]:
    """The models that the account may use, as the provider lists them; raises ProviderError."""
    if config.provider == "elevenlabs":
        listed = import_module(f"{_ROOM}.elevenlabs_catalogue").elevenlabs_models
    else:
        _adapter(config, "llm")
        listed = import_module(f"{_ROOM}.openai_catalogue").openai_models
    return cast("list[CatalogueModel]", await listed(config, pools=pools, clocks=clocks))


async def voices(config: ProviderConfig, *, pools: Pools, clocks: Clocks) -> list[CatalogueVoice]:
    """The voices that the account may use; none where the provider lists none. Raises ProviderError."""
    _adapter(config, "tts")
    if config.provider != "elevenlabs":
        return []
    listed = import_module(f"{_ROOM}.elevenlabs_catalogue").elevenlabs_voices
    return cast("list[CatalogueVoice]", await listed(config, pools=pools, clocks=clocks))


def _adapter(config: ProviderConfig, stage: Stage) -> Any:
    found = _ADAPTERS.get(config.provider, {}).get(stage)
    if found is None:
        raise make_error(ErrorKind.BAD_REQUEST, config, stage, f"no {stage} adapter for {config.provider!r}")
    if config.provider == "elevenlabs" and stage == "tts" and config.options.get("transport") == "http":
        found = _ELEVENLABS_HTTP
    return getattr(import_module(f"{_ROOM}.{found[0]}"), found[1])

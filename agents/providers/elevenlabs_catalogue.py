"""What an ElevenLabs account may use: its voices and models.

``registry.voices`` and ``registry.models`` hand them to the admin; ``check`` of the speech adapters counts them.
"""

from elevenlabs.types.voice import Voice

from agents.providers.base import CatalogueModel, CatalogueVoice, Clocks, ProviderConfig
from agents.providers.classify import make_error
from agents.providers.clocks import Watch
from agents.providers.elevenlabs_client import ELEVENLABS_ERRORS, elevenlabs_client, elevenlabs_error, request_options
from agents.providers.errors import ErrorKind, ProviderError, Stage
from agents.providers.pools import Pools

PAGE_SIZE = 100
MAX_PAGES = 50


async def elevenlabs_voices(config: ProviderConfig, *, pools: Pools, clocks: Clocks) -> list[CatalogueVoice]:
    """All voices of the account, by name; raises ProviderError."""
    client = elevenlabs_client(config, pools, "tts")
    found: dict[str, CatalogueVoice] = {}
    token: str | None = None
    try:
        for _ in range(MAX_PAGES):
            async with Watch(clocks, provider=config.provider, stage="tts").within("first"):
                page = await client.voices.search(
                    page_size=PAGE_SIZE, next_page_token=token, request_options=request_options(clocks)
                )
            for voice in page.voices:
                found[voice.voice_id] = _voice(voice)
            token = page.next_page_token
            if not page.has_more or not token:
                break
    except (AttributeError, TypeError):
        # The SDK does not check what it parses: an answer of another form shows only here.
        raise _not_theirs(config, "tts", "voices") from None
    except ELEVENLABS_ERRORS as error:
        raise elevenlabs_error(error, config, "tts") from None
    return sorted(found.values(), key=lambda voice: voice.name.lower())


async def elevenlabs_models(
    config: ProviderConfig, *, pools: Pools, clocks: Clocks, stage: Stage = "tts"
) -> list[CatalogueModel]:
    """The speech models of the account, by id; transcription models are not in the provider's list."""
    client = elevenlabs_client(config, pools, stage)
    try:
        async with Watch(clocks, provider=config.provider, stage=stage).within("first"):
            listed = await client.models.list(request_options=request_options(clocks))
        found = [
            CatalogueModel(model_id=model.model_id, name=model.name or model.model_id)
            for model in listed
            if model.can_do_text_to_speech
        ]
    except (AttributeError, TypeError):
        raise _not_theirs(config, stage, "models") from None
    except ELEVENLABS_ERRORS as error:
        raise elevenlabs_error(error, config, stage) from None
    return sorted(found, key=lambda model: model.model_id)


async def speech_sentence(config: ProviderConfig, *, pools: Pools, clocks: Clocks) -> str:
    """Counts the account's voices and looks for the configured model and voice in the lists; raises ProviderError.

    A voice that is not in the list may still speak (those of the public library do), and was tried out.
    """
    voices = await elevenlabs_voices(config, pools=pools, clocks=clocks)
    sentence = f"Connected; {len(voices)} voice{'' if len(voices) == 1 else 's'}"
    if config.model and not config.voice_id:
        models = await elevenlabs_models(config, pools=pools, clocks=clocks)
        if config.model not in {model.model_id for model in models}:
            raise make_error(ErrorKind.NOT_FOUND, config, "tts", f"no speech model {config.model} in this account")
    if config.model:
        sentence += f"; model {config.model} is available"
    if config.voice_id:
        name = next((voice.name for voice in voices if voice.voice_id == config.voice_id), config.voice_id)
        sentence += f"; voice {name} is available"
    return sentence + "."


def _voice(voice: Voice) -> CatalogueVoice:
    settings = voice.settings.model_dump(exclude_none=True) if voice.settings else {}
    labels = voice.labels or {}
    verified = voice.verified_languages or []
    language = labels.get("language") or (verified[0].language if verified else "") or ""
    about = voice.description or ", ".join(value for name, value in labels.items() if name != "language" and value)
    return CatalogueVoice(
        voice_id=voice.voice_id,
        name=voice.name or voice.voice_id,
        language=language,
        description=about[:300],
        settings={name: value for name, value in settings.items() if isinstance(value, str | int | float | bool)},
    )


def _not_theirs(config: ProviderConfig, stage: Stage, what: str) -> ProviderError:
    return make_error(ErrorKind.GARBAGE, config, stage, f"the list of {what} is not in ElevenLabs' form")

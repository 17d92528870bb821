"""What can be told of an account before it is used, and the smallest real use of it.

Clients are made only of what ``usable`` lets through; the adapters' ``check`` tries a model or a voice out, because a
list of models shows neither whether one can do the work nor whether there is credit for it.
"""

from urllib.parse import urlsplit

from agents.providers.base import LanguageModel, LlmRequest, Message, ProviderConfig, TextToSpeech
from agents.providers.classify import make_error
from agents.providers.errors import ErrorKind, Stage

TRIAL_TOKENS = 16


def usable(config: ProviderConfig, stage: Stage) -> None:
    """Raises ProviderError for an address or a key that no HTTP client can send, before one fails of it in its own way.

    A key with a line break would even be repeated, escaped and so unrecognised, in the client's complaint.
    """
    if not config.api_key.isascii() or not config.api_key.isprintable() or " " in config.api_key:
        raise make_error(ErrorKind.UNAUTHORISED, config, stage, "the key holds blanks, line breaks or other signs")
    if not config.base_url:
        return
    try:
        parts = urlsplit(config.base_url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise make_error(ErrorKind.REFUSED, config, stage, f"{config.base_url} is not an HTTP address")


async def reply_once(model: LanguageModel) -> None:
    """Has the model say a word; raises ProviderError."""
    message = Message(role="user", content="Reply with OK.")
    async with model.stream(LlmRequest(messages=(message,), max_tokens=TRIAL_TOKENS)) as events:
        async for _ in events:
            pass


async def speak_once(tts: TextToSpeech) -> None:
    """Has the voice say a word, and closes the session; raises ProviderError."""
    try:
        utterance = tts.utterance()
        await utterance.say("Hello.")
        await utterance.finish()
        async for _ in utterance.chunks():
            pass
    finally:
        await tts.close()

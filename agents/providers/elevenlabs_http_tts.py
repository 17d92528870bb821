"""Text-to-speech over ElevenLabs' HTTP streaming, through the SDK: for cached phrases, and where sockets are blocked.

Made by ``registry.text_to_speech`` for the option ``transport`` = "http"; live calls use ``elevenlabs_tts``.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast, final

from elevenlabs.types.voice_settings import VoiceSettings

from agents.providers.base import MULAW_8K, AudioFormat, Clocks, ProviderConfig
from agents.providers.classify import make_error
from agents.providers.clocks import Watch
from agents.providers.elevenlabs_catalogue import speech_sentence
from agents.providers.elevenlabs_client import (
    ELEVENLABS_ERRORS,
    FORMAT_NAMES,
    elevenlabs_client,
    elevenlabs_error,
    language_code,
    request_options,
)
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.http_speech import HttpSpeechSession
from agents.providers.options import unknown_option
from agents.providers.pools import Pools
from agents.providers.trial import speak_once

# 20 ms of mu-law; the SDK's default of 1024 holds the first audio back for 128 ms.
PIECE_BYTES = 160
_ADAPTER_OPTIONS = frozenset({"transport", "language_code", "inactivity_timeout"})


@final
class ElevenLabsHttpTextToSpeech(HttpSpeechSession):
    """Speech without a socket (``base.TextToSpeech``)."""

    errors = ELEVENLABS_ERRORS

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> None:
        output_format = codec if codec in FORMAT_NAMES else MULAW_8K
        super().__init__(config, pools=pools, clocks=clocks, output_format=output_format)
        self._client = elevenlabs_client(config, pools, "tts")

    @asynccontextmanager
    async def fetch(self, text: str, before: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See ``HttpSpeechSession``; the text before gives the voice its melody."""
        if not self.config.voice_id:
            raise make_error(ErrorKind.BAD_REQUEST, self.config, "tts", "no voice is chosen")
        fields: dict[str, Any] = {
            name: value for name, value in self.config.options.items() if name not in _ADAPTER_OPTIONS
        }
        if wrong := unknown_option("elevenlabs", "tts", self.config.options):
            raise make_error(ErrorKind.BAD_REQUEST, self.config, "tts", wrong)
        if self.config.voice_settings:
            fields["voice_settings"] = VoiceSettings(**cast("dict[str, Any]", self.config.voice_settings))
        if language := language_code(self.config):
            fields["language_code"] = language
        if before:
            fields["previous_text"] = before
        audio = self._client.text_to_speech.stream(
            self.config.voice_id,
            text=text,
            model_id=self.config.model,
            output_format=cast("Any", FORMAT_NAMES[self.output_format]),
            request_options=request_options(self.clocks, chunk_size=PIECE_BYTES),
            **fields,
        )
        # Closing the generator closes the response under it: that is what stops the provider.
        async with contextlib.aclosing(cast("AsyncGenerator[bytes, None]", audio)) as pieces:
            yield pieces

    async def warm(self) -> None:
        """See ``HttpSpeechSession``: asks for the voice itself, the smallest answer that there is."""
        with contextlib.suppress(ProviderError, *ELEVENLABS_ERRORS):
            async with Watch(self.clocks, provider=self.config.provider, stage="tts").within("first"):
                await self._client.voices.get(self.config.voice_id, request_options=request_options(self.clocks))

    def classify(self, error: Exception) -> ProviderError:
        """See ``HttpSpeechSession``."""
        return elevenlabs_error(error, self.config, "tts")

    async def check(self) -> str:
        """See ``base.TextToSpeech``; without a model and a voice in its configuration nothing is spoken."""
        if self.config.model and self.config.voice_id:
            await speak_once(self)
        return await speech_sentence(self.config, pools=self.pools, clocks=self.clocks)

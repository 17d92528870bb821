"""Text-to-speech over OpenAI's audio.speech, at OpenAI until 2027-01-06 (see ``notices``) or at a compatible server.

Made by ``registry.text_to_speech``. Its audio is 24 kHz linear and has no word timings; one request for each clause.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import final

import msgspec
import openai.resources.audio.audio  # the SDK leaves these to the first request, in the middle of a call
import openai.resources.audio.speech  # noqa: F401

from agents.providers.base import L16_24K, MULAW_8K, AudioFormat, Clocks, ProviderConfig
from agents.providers.classify import make_error
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.http_speech import HttpSpeechSession
from agents.providers.openai_catalogue import model_sentence
from agents.providers.openai_client import OPENAI_ERRORS, http_timeout, openai_client, openai_error, warm_openai
from agents.providers.pools import Pools
from agents.providers.trial import speak_once

# 20 ms at 24 kHz.
PIECE_BYTES = 960
# For the test of an account of which no agent has a voice yet; every speech model of OpenAI's has it.
USUAL_VOICE = "alloy"


@final
class OpenAiTextToSpeech(HttpSpeechSession):
    """The speech session of one call (``base.TextToSpeech``)."""

    errors = OPENAI_ERRORS

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks, codec: AudioFormat) -> None:
        del codec  # headerless audio comes at this rate only
        super().__init__(config, pools=pools, clocks=clocks, output_format=L16_24K)
        self._client = openai_client(config, pools, "tts")

    @asynccontextmanager
    async def fetch(self, text: str, before: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """See ``HttpSpeechSession``."""
        del before
        body = {**self.config.voice_settings, **self.config.options}
        async with self._client.audio.speech.with_streaming_response.create(
            model=self.config.model,
            voice=self.config.voice_id,
            input=text,
            response_format="pcm",
            extra_body=body,
            timeout=http_timeout(self.clocks),
        ) as response:
            if response.headers.get("content-type", "").startswith(("text/", "application/json")):
                raise make_error(ErrorKind.GARBAGE, self.config, "tts", "the answer is text, not audio")
            yield response.iter_bytes(PIECE_BYTES)

    async def warm(self) -> None:
        """See ``HttpSpeechSession``."""
        await warm_openai(self.config, pools=self.pools, clocks=self.clocks, stage="tts")

    def classify(self, error: Exception) -> ProviderError:
        """See ``HttpSpeechSession``."""
        return openai_error(error, self.config, "tts")

    async def check(self) -> str:
        """See ``base.TextToSpeech``; without a model in its configuration it counts them."""
        if self.config.model:
            voice = self.config.voice_id or (USUAL_VOICE if self.config.provider == "openai" else "")
            config = msgspec.structs.replace(self.config, voice_id=voice)
            await speak_once(OpenAiTextToSpeech(config, pools=self.pools, clocks=self.clocks, codec=MULAW_8K))
        return await model_sentence(self.config, pools=self.pools, clocks=self.clocks, stage="tts")

"""What every STT, LLM and TTS adapter offers, to the live call and the post-call tasks.

``streaming`` and ``calls`` know only these types; ``registry`` makes the adapters, ``errors`` holds how they fail.
All times are in ms unless a name says otherwise; audio is raw samples without a header.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

import msgspec

from agents.providers.errors import Stage


class AudioFormat(msgspec.Struct, frozen=True):
    """Encoding and rate of mono audio.

    Attributes:
        encoding: "mulaw" (1 byte a sample, G.711) or "l16" (2 bytes, signed, little-endian).
        rate: samples per second, Hz.
    """

    encoding: Literal["mulaw", "l16"]
    rate: int

    @property
    def bytes_per_ms(self) -> int:
        """Bytes in one ms of audio."""
        return self.rate * (1 if self.encoding == "mulaw" else 2) // 1000


MULAW_8K = AudioFormat("mulaw", 8000)
L16_8K = AudioFormat("l16", 8000)
L16_16K = AudioFormat("l16", 16000)
L16_24K = AudioFormat("l16", 24000)


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """All that an adapter needs to reach its provider.

    Attributes:
        provider: adapter name: "openai", "elevenlabs" or "openai_compatible".
        base_url: of the HTTP API; WebSocket addresses are derived from it.
        api_key: never logged; its repr is hidden by ``__repr__``.
        model: the provider's model id.
        language: BCP 47 tag.
        voice_id: TTS only.
        voice_settings: TTS only; the provider's own names.
        options: adapter-specific settings.
        account_id: id of the ProviderAccount, for usage rows.
    """

    provider: str
    base_url: str
    api_key: str
    model: str
    language: str = "en-US"
    voice_id: str = ""
    voice_settings: dict[str, str | int | float | bool] = {}
    options: dict[str, str | int | float | bool] = {}
    account_id: str = ""

    def __repr__(self) -> str:
        return f"ProviderConfig({self.provider} {self.model} at {self.base_url})"


class Clocks(msgspec.Struct, frozen=True, kw_only=True):
    """The four timeouts of a provider call, in seconds, before the scale factor.

    Attributes:
        switch: what the first byte may take where the agent has a further choice to ask instead: a caller takes a
            silence of three seconds for the end of the call.
    """

    connect: float = 3.0
    first: float = 5.0
    stall: float = 2.5
    total: float = 60.0
    switch: float = 2.0

    def scaled(self, factor: float) -> "Clocks":
        """The same clocks times ``factor`` (0.1 in the quick tests)."""
        return Clocks(
            connect=self.connect * factor,
            first=self.first * factor,
            stall=self.stall * factor,
            total=self.total * factor,
            switch=self.switch * factor,
        )


class UsageReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one provider call consumed; becomes one ``calls.Usage`` row.

    Attributes:
        input_tokens, cached_tokens, output_tokens: LLM; ``estimated`` when the stream was cancelled before its count.
        characters: TTS text sent.
        audio_ms: STT audio sent, or TTS audio received.
        first_ms: from request to first byte; None when none came.
        total_ms: from request to end.
        error: kind of the failure, empty when it went well.
    """

    stage: Stage
    provider: str
    model: str
    account_id: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    characters: int = 0
    audio_ms: int = 0
    first_ms: int | None = None
    total_ms: int = 0
    estimated: bool = False
    error: str = ""


# --- LLM -------------------------------------------------------------------------------------------------------------


class ToolDefinition(msgspec.Struct, frozen=True, kw_only=True):
    """A function that the model may call.

    Attributes:
        parameters: its JSON schema.
    """

    name: str
    description: str
    parameters: dict[str, Any]


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model asks for; ``arguments`` is its JSON text, not yet checked."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the context.

    Attributes:
        tool_calls: of an assistant message.
        tool_call_id: of a tool message: which call it answers.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""


class LlmRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a reply.

    Attributes:
        cache_key: groups requests that share a prefix (the agent version's id).
        max_tokens: hard limit of the reply.
        json_schema: when set, the reply must be JSON of this schema (post-call work).
    """

    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...] = ()
    cache_key: str = ""
    max_tokens: int = 600
    json_schema: dict[str, Any] | None = None


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of the reply's text."""

    text: str


class LlmDone(msgspec.Struct, frozen=True):
    """The end of a reply; ``reason`` is the provider's: stop, length, tool_calls or content_filter."""

    reason: str


LlmEvent = TextDelta | ToolCall | UsageReport | LlmDone


class LlmStream(Protocol):
    """One running reply: iterate over it for its events."""

    def __aiter__(self) -> AsyncIterator[LlmEvent]: ...

    def usage(self) -> UsageReport:
        """What it has consumed so far; the way to account for a reply that was cancelled or failed.

        ``estimated`` until the provider has sent its own count, ``error`` set when the reply failed.
        """
        ...


class LanguageModel(Protocol):
    """A streaming chat model."""

    config: ProviderConfig

    def stream(self, request: LlmRequest) -> AbstractAsyncContextManager[LlmStream]:
        """Opens one reply; leaving the context cancels it at the provider at once.

        The iterator gives text and tool calls, then one UsageReport, then LlmDone. Raises ProviderError from entering
        or from iterating, after its own four clocks. Entering does not wait for the provider: the stream is there to
        account for its request, whatever becomes of that.
        """
        ...

    async def warm(self) -> None:
        """Opens a spare connection if none is idle; never raises."""
        ...

    async def check(self) -> str:
        """Connects for real and says in one sentence what it found; raises ProviderError."""
        ...


# --- STT -------------------------------------------------------------------------------------------------------------


class Partial(msgspec.Struct, frozen=True):
    """What the recogniser takes the words since the last final to be, so far."""

    text: str


class Final(msgspec.Struct, frozen=True):
    """Words that will not change any more.

    Attributes:
        text: may be empty: nothing was said.
        commit: number of the ``commit()`` that it answers; 0 when the provider ended it by itself.
    """

    text: str
    commit: int


SttEvent = Partial | Final


class SpeechToText(Protocol):
    """One recognition session, from ``connect`` to ``close``; one per call."""

    config: ProviderConfig
    input_format: AudioFormat

    async def connect(self) -> None:
        """Opens the session; raises ProviderError."""
        ...

    async def send(self, audio: bytes) -> None:
        """Sends audio in ``input_format``; pieces of 60-100 ms are cheapest. Raises ProviderError."""
        ...

    def send_at_once(self, audio: bytes) -> bool:
        """As ``send``, while no ``send`` and no ``commit`` is under way; False, and nothing done, if it would wait.

        Twelve times a second for each call: a session that cannot do it is sent to by a task, which costs more.
        """
        ...

    async def commit(self) -> int:
        """Asks for the final text of everything sent; returns the number that its Final will carry.

        Guards the provider's own rules (OpenAI refuses less than 100 ms). Raises ProviderError.
        """
        ...

    def events(self) -> AsyncIterator[SttEvent]:
        """Texts as they come, until ``close``. Raises ProviderError when the session breaks."""
        ...

    def unconfirmed(self) -> bytes:
        """The audio (``input_format``, at most the last 12 s) that no Final has answered yet; none after ``close``.

        After a break the driver sends it to the session that replaces this one, so that no words are lost: those of a
        clause of 6 s even if the session had fallen silent in it, which takes the stall clock (2.5 s) to notice.
        """
        ...

    def usage(self) -> UsageReport:
        """What this session has consumed so far."""
        ...

    async def close(self) -> None:
        """Ends the session; never raises, takes at most 2 s."""
        ...

    async def check(self) -> str:
        """Connects for real and says in one sentence what it found; raises ProviderError."""
        ...


# --- TTS -------------------------------------------------------------------------------------------------------------


class WordTiming(msgspec.Struct, frozen=True):
    """Where one word stands in its utterance's audio: ``text`` as written, start and end in ms from its beginning."""

    text: str
    start_ms: int
    end_ms: int


class SpeechChunk(msgspec.Struct, frozen=True):
    """A piece of synthesised audio.

    Attributes:
        audio: in the adapter's ``output_format``; may be empty when only words came.
        words: timings, in ms from the beginning of the utterance; empty where the provider gives none.
    """

    audio: bytes
    words: tuple[WordTiming, ...] = ()


class Utterance(Protocol):
    """One stretch of speech: text goes in, audio comes out; ended by ``finish`` or ``cancel``."""

    async def say(self, text: str) -> None:
        """Sends a clause or sentence to be spoken now; text without a letter or digit is skipped."""
        ...

    async def finish(self) -> None:
        """No more text will come; ``chunks`` ends after the last audio."""
        ...

    async def cancel(self) -> None:
        """Forgets the utterance; audio still on its way is dropped. Never raises."""
        ...

    def chunks(self) -> AsyncIterator[SpeechChunk]:
        """Audio in order; raises ProviderError."""
        ...

    def usage(self) -> UsageReport:
        """What this utterance has consumed so far."""
        ...


class TextToSpeech(Protocol):
    """One synthesis session; one per call."""

    config: ProviderConfig
    output_format: AudioFormat

    async def connect(self) -> None:
        """Opens what is kept open over the call; raises ProviderError."""
        ...

    def utterance(self) -> Utterance:
        """Begins a new stretch of speech; several may be open at once (a held and a spoken one)."""
        ...

    async def close(self) -> None:
        """Ends the session; never raises, takes at most 2 s."""
        ...

    async def check(self) -> str:
        """Connects for real and says in one sentence what it found; raises ProviderError."""
        ...


# --- catalogues ------------------------------------------------------------------------------------------------------


class CatalogueVoice(msgspec.Struct, frozen=True, kw_only=True):
    """One voice that an account may use; ``language`` as the provider states it, may be empty."""

    voice_id: str
    name: str
    language: str = ""
    description: str = ""
    settings: dict[str, str | int | float | bool] = {}


class CatalogueModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model that an account may use.

    Attributes:
        shutdown_date: ISO date from which the provider no longer serves it; empty when none is announced.
    """

    model_id: str
    name: str = ""
    shutdown_date: str = ""

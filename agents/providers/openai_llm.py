"""Language model over OpenAI's Chat Completions, at OpenAI or any compatible address.

Made by ``registry.language_model``; the live call streams replies from it, the post-call tasks use it through
``structured``. The whole history is sent each time: after an interruption the assistant's message must become what the
caller heard, which a history kept at the provider would not allow.
"""

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, final

import httpx2
import msgspec
import openai

from agents.providers.base import (
    Clocks,
    LanguageModel,
    LlmDone,
    LlmEvent,
    LlmRequest,
    LlmStream,
    ProviderConfig,
    TextDelta,
    ToolCall,
    UsageReport,
)
from agents.providers.classify import make_error
from agents.providers.clocks import Phase, Watch
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.openai_catalogue import model_sentence
from agents.providers.openai_client import OPENAI_ERRORS, http_timeout, openai_client, openai_error, warm_openai
from agents.providers.openai_messages import chat_body, estimated_tokens
from agents.providers.pools import Pools
from agents.providers.thoughts import Thoughts
from agents.providers.trial import reply_once

# The count of tokens follows the last word; a reply does not wait long for it.
USAGE_GRACE_S = 1.0
Create = Callable[[], Awaitable["openai.AsyncStream[object]"]]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Piece(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Delta(msgspec.Struct):
    content: Any = None  # some servers send reasoning as a list of parts here, which nobody is to hear
    refusal: Any = None
    tool_calls: list[_Piece] | None = None


class _Choice(msgspec.Struct):
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Count(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Chunk(msgspec.Struct):
    """What is used of a chunk; compatible servers leave out much of what OpenAI promises."""

    choices: list[_Choice] | None = None
    usage: _Count | None = None


@final
class OpenAiLanguageModel(LanguageModel):
    """A streaming chat model (``base.LanguageModel``)."""

    def __init__(self, config: ProviderConfig, *, pools: Pools, clocks: Clocks) -> None:
        self.config = config
        self._pools = pools
        self._clocks = clocks
        self._client = openai_client(config, pools, "llm")

    @asynccontextmanager
    async def stream(self, request: LlmRequest) -> AsyncIterator[LlmStream]:
        """See ``base.LanguageModel``; a reply left before its end costs its connection, so a spare one is opened."""
        body = chat_body(self.config, request)
        reply = _Reply(self.config, self._clocks, request, lambda: self._create(body))
        try:
            yield reply
        finally:
            complete = reply.complete
            try:
                await reply.close()
            finally:
                if not complete:
                    self._pools.spawn(self.warm(), name="warm-llm")

    async def _create(self, body: dict[str, Any]) -> "openai.AsyncStream[object]":
        # Plain data: to make the SDK's own objects of every token costs more than all else that is done with it.
        return await self._client.post(
            "/chat/completions",
            cast_to=object,
            body=body,
            options={"timeout": http_timeout(self._clocks)},
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )

    async def warm(self) -> None:
        """See ``base.LanguageModel``."""
        await warm_openai(self.config, pools=self._pools, clocks=self._clocks, stage="llm")

    async def check(self) -> str:
        """See ``base.LanguageModel``; without a model in its configuration it counts them."""
        if self.config.model:
            await reply_once(self)
        return await model_sentence(self.config, pools=self._pools, clocks=self._clocks, stage="llm")


def may_have_been_read(error: BaseException) -> bool:
    """Whether a request that got no answer may be paid for: not if it was turned down or never got out."""
    unsent = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.UnsupportedProtocol)
    return isinstance(error, openai.APIConnectionError) and not isinstance(error.__cause__, unsent)


class _PartialCall:
    """A tool call whose pieces are still coming."""

    def __init__(self, key: int) -> None:
        self.key = key
        self.id = ""
        self.name = ""
        self.arguments = ""

    def add(self, delta: _Piece) -> None:
        self.id = self.id or delta.id or ""
        if delta.function is not None:
            self.name = self.name or delta.function.name or ""
            self.arguments += delta.function.arguments or ""

    def done(self) -> ToolCall:
        return ToolCall(id=self.id or f"call_{self.key}", name=self.name, arguments=self.arguments or "{}")


@final
class _Reply(LlmStream):
    """One running reply (``base.LlmStream``); ``create`` sends the request, when the first event is asked for."""

    def __init__(self, config: ProviderConfig, clocks: Clocks, request: LlmRequest, create: Create) -> None:
        self.complete = False
        self._config = config
        self._request = request
        self._watch = Watch(clocks, provider=config.provider, stage="llm")
        self._source: openai.AsyncStream[object] | None = None
        self._events: AsyncGenerator[LlmEvent, None] | None = self._read(create)
        self._counts = False  # the request may have been read, and is to be paid for
        self._calls: list[_PartialCall] = []
        self._reason = ""
        self._written = 0
        self._thoughts = Thoughts()
        self._usage: UsageReport | None = None
        self._error = ""
        self._total_ms: int | None = None

    def __aiter__(self) -> AsyncIterator[LlmEvent]:
        return self

    async def __anext__(self) -> LlmEvent:
        if self._events is None:
            raise StopAsyncIteration
        return await self._events.__anext__()

    async def close(self) -> None:
        if self._total_ms is None:
            self._total_ms = self._watch.elapsed_ms
        source, events, self._source, self._events = self._source, self._events, None, None
        if events is not None:
            await events.aclose()
        if source is not None:
            # The answer is no longer wanted: how its connection ends does not matter, only that it ends now.
            with contextlib.suppress(*OPENAI_ERRORS):
                await source.close()

    def usage(self) -> UsageReport:
        """See ``base.LlmStream``."""
        if self._usage is not None:
            return msgspec.structs.replace(self._usage, error=self._error)
        if not self._counts:
            return self._report(input_tokens=0, output_tokens=0)
        asked = sum(estimated_tokens(message.content) for message in self._request.messages)
        return self._report(input_tokens=asked, output_tokens=(self._written + 3) // 4, estimated=True)

    def _report(
        self, *, input_tokens: int, output_tokens: int, cached_tokens: int = 0, estimated: bool = False
    ) -> UsageReport:
        return UsageReport(
            stage="llm",
            provider=self._config.provider,
            model=self._config.model,
            account_id=self._config.account_id,
            input_tokens=input_tokens,
            cached_tokens=cached_tokens,
            output_tokens=output_tokens,
            first_ms=self._watch.first_ms,
            total_ms=self._watch.elapsed_ms if self._total_ms is None else self._total_ms,
            estimated=estimated,
            error=self._error,
        )

    def _failed(self, error: ProviderError) -> ProviderError:
        self._error = error.kind.value
        self._total_ms = self._watch.elapsed_ms
        return error

    async def _open(self, create: Create) -> "openai.AsyncStream[object]":
        self._counts = True
        try:
            async with self._watch.within("first"):
                self._source = await create()
        except OPENAI_ERRORS as error:
            self._counts = may_have_been_read(error)
            raise
        return self._source

    async def _read(self, create: Create) -> AsyncGenerator[LlmEvent, None]:
        try:
            source = await self._open(create)
            while (chunk := await self._next_chunk(source)) is not None:
                for event in self._take(chunk):
                    yield event
        except OPENAI_ERRORS as error:
            raise self._failed(openai_error(error, self._config, "llm")) from None
        except ProviderError as error:
            raise self._failed(error) from None
        if not self._reason:
            kind = ErrorKind.GARBAGE if self._watch.first_ms is None else ErrorKind.DROPPED
            raise self._failed(make_error(kind, self._config, "llm", "the answer ended without a finish reason"))
        if rest := self._thoughts.rest():
            yield TextDelta(rest)
        for call in self._calls:
            yield call.done()
        self._calls = []
        self._total_ms = self._watch.elapsed_ms
        self._usage = self.usage()
        yield self._usage
        self.complete = True
        yield LlmDone(self._reason)

    async def _next_chunk(self, source: "openai.AsyncStream[object]") -> _Chunk | None:
        phase: Phase = "first" if self._watch.first_ms is None else "stall"
        try:
            async with self._watch.within(phase, at_most=USAGE_GRACE_S if self._reason else None):
                data = await anext(source, None)
        except ProviderError:
            if self._reason:
                return None
            raise
        try:
            return None if data is None else msgspec.convert(data, _Chunk, strict=False)
        except msgspec.ValidationError as error:
            raise make_error(ErrorKind.GARBAGE, self._config, "llm", str(error)) from None

    def _take(self, chunk: _Chunk) -> list[LlmEvent]:
        self._watch.mark_first()
        events: list[LlmEvent] = []
        for choice in chunk.choices or []:
            events += self._take_choice(choice)
        if chunk.usage is not None:
            details = chunk.usage.prompt_tokens_details
            self._usage = self._report(
                input_tokens=chunk.usage.prompt_tokens or 0,
                cached_tokens=(details.cached_tokens or 0) if details else 0,
                output_tokens=chunk.usage.completion_tokens or 0,
            )
        return events

    def _take_choice(self, choice: _Choice) -> list[LlmEvent]:
        events: list[LlmEvent] = []
        delta = choice.delta
        if delta is not None:
            text = "".join(part for part in (delta.content, delta.refusal) if isinstance(part, str))
            self._written += len(text)
            if text := self._thoughts.take_out(text):
                events.append(TextDelta(text))
            for piece in delta.tool_calls or []:
                self._written += len(piece.function.arguments or "") if piece.function else 0
                self._take_call(piece)
        self._reason = choice.finish_reason or self._reason
        return events

    def _take_call(self, piece: _Piece) -> None:
        """Adds a piece to its call, by index; servers that leave the index out or repeat it are told apart by id."""
        same = (call for call in reversed(self._calls) if piece.index is None or call.key == piece.index)
        found = next(same, None)
        if found is None or (piece.id and found.id and piece.id != found.id):
            found = _PartialCall(len(self._calls) if piece.index is None else piece.index)
            self._calls.append(found)
        found.add(piece)

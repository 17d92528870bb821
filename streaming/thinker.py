"""The agent's mind: one language model stream per reply, its text and tool calls handed to the conversation.

Owned by one ``session.CallSession``. A reply that fails before it gave anything is asked for once more; one that is
cancelled stops at the provider at once and is still accounted for.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from agents.providers.base import (
    LanguageModel,
    LlmDone,
    LlmRequest,
    LlmStream,
    ProviderConfig,
    TextDelta,
    ToolCall,
    ToolDefinition,
    UsageReport,
)
from agents.providers.errors import ErrorKind, ProviderError
from streaming.conversation.events import Event, Note, ReplyDone, ReplyFailed, ReplyText, ReplyTool, StartReply
from streaming.usage import Purpose, UsageBook

log = structlog.get_logger(__name__)

ATTEMPTS = 2
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Thinker:
    """Runs the replies of one call.

    Args:
        make: gives the agent's language model; raises ProviderError when there can be none.
        config: of that model.
        tools: what the model may call.
        cache_key: groups requests that share a prompt.
        guard_s: s after which a reply that its own clocks have not ended is given up.
        spawn: starts a task that the session owns.
    """

    def __init__(
        self,
        *,
        make: Callable[[], LanguageModel],
        config: ProviderConfig,
        tools: tuple[ToolDefinition, ...],
        cache_key: str,
        guard_s: float,
        feed: Callable[[Event], None],
        note: Callable[[Note], None],
        usage: UsageBook,
        spawn: Spawn,
    ) -> None:
        self._make = make
        self._config = config
        self._model: LanguageModel | None = None
        self._tools = tools
        self._cache_key = cache_key
        self._guard_s = guard_s
        self._feed = feed
        self._note = note
        self._usage = usage
        self._spawn = spawn
        self._replies: dict[int, asyncio.Task[None]] = {}

    async def warm(self) -> None:
        """Opens a connection ahead of the first reply."""
        with contextlib.suppress(ProviderError):  # the first reply meets it again, and tells
            await self._ready().warm()

    def _ready(self) -> LanguageModel:
        if self._model is None:
            self._model = self._make()
        return self._model

    def start(self, action: StartReply) -> None:
        """Begins the reply of a generation."""
        task = self._spawn(self._reply(action), f"reply-{action.generation}")
        self._replies[action.generation] = task
        task.add_done_callback(lambda _: self._replies.pop(action.generation, None))

    def cancel(self, generation: int) -> None:
        """Stops the reply of a generation, if it still runs."""
        task = self._replies.pop(generation, None)
        if task is not None:
            task.cancel()

    async def _reply(self, action: StartReply) -> None:
        request = LlmRequest(messages=action.messages, tools=self._tools, cache_key=self._cache_key)
        purpose: Purpose = "speculative" if action.speculative else "turn"
        for attempt in range(1, ATTEMPTS + 1):
            gave = _Gave()
            try:
                async with asyncio.timeout(self._guard_s):
                    await self._stream(action.generation, request, purpose, gave)
            except TimeoutError:
                error = ProviderError(ErrorKind.TIMEOUT, provider=self._config.provider, stage="llm")
            except ProviderError as failed:
                error = failed
            else:
                return
            again = error.retryable and not gave.something and attempt < ATTEMPTS
            log.warning("reply_failed", kind=error.kind.value, provider=error.provider, again=again)
            self._note(Note("llm_failed", {"kind": error.kind.value, "detail": error.detail, "again": again}))
            if not again:
                self._feed(ReplyFailed(action.generation, error.kind))
                return

    async def _stream(self, generation: int, request: LlmRequest, purpose: Purpose, gave: "_Gave") -> None:
        entry = self._usage.entry(purpose)
        stream: LlmStream | None = None
        try:
            async with self._ready().stream(request) as stream:
                async for event in stream:
                    match event:
                        case TextDelta(text):
                            gave.something = True
                            self._feed(ReplyText(generation, text))
                        case ToolCall():
                            gave.something = True
                            self._feed(ReplyTool(generation, event))
                        case LlmDone(reason):
                            self._feed(ReplyDone(generation, reason))
                            return
                        case UsageReport():
                            continue  # the stream's own account is taken below, however it ends
        except ProviderError as error:
            if stream is None:
                self._usage.write(entry, self._nothing(error))
            raise
        finally:
            if stream is not None:
                self._usage.write(entry, stream.usage())

    def _nothing(self, error: ProviderError) -> UsageReport:
        return UsageReport(
            stage="llm",
            provider=self._config.provider,
            model=self._config.model,
            account_id=self._config.account_id,
            error=error.kind.value,
        )


class _Gave:
    """Whether an attempt has given text or a tool call: then it cannot be made again."""

    something = False

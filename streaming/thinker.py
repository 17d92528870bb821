"""The agent's mind: one language model stream per reply, its text and tool calls handed to the conversation.

Owned by one ``session.CallSession``. A reply that fails before it gave anything is asked for again, of the choice that
the chain names; one that is cancelled stops at the provider at once and is still accounted for.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
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
from agents.providers.chain import Attempts, Chain
from agents.providers.clocks import until_first
from agents.providers.errors import ProviderError
from streaming.conversation.events import Event, Note, ReplyDone, ReplyFailed, ReplyText, ReplyTool, StartReply
from streaming.usage import Purpose, UsageBook

log = structlog.get_logger(__name__)

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Thinker:
    """Runs the replies of one call.

    Args:
        make: gives a language model; raises ProviderError when there can be none.
        chain: the agent's models.
        tools: what the model may call.
        cache_key: groups requests that share a prompt.
        guard_s: s after which a reply that its own clocks have not ended is given up.
        spawn: starts a task that the session owns.
    """

    def __init__(
        self,
        *,
        make: Callable[[ProviderConfig], LanguageModel],
        chain: Chain,
        tools: tuple[ToolDefinition, ...],
        cache_key: str,
        guard_s: float,
        feed: Callable[[Event], None],
        note: Callable[[Note], None],
        usage: UsageBook,
        spawn: Spawn,
    ) -> None:
        self._make = make
        self._chain = chain
        self._models: dict[int, LanguageModel] = {}
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
            await self._model(self._chain.current).warm()

    def _model(self, choice: int) -> LanguageModel:
        if choice not in self._models:
            self._models[choice] = self._make(self._chain.configs[choice])
        return self._models[choice]

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
        attempts = self._chain.attempts()
        while True:
            gave = _Gave()
            try:
                await self._stream(action.generation, request, purpose, attempts, gave)
            except ProviderError as failed:
                error = failed
            else:
                return
            step, another = None, False
            if gave.something:
                another = attempts.broke(error)
            else:
                step = attempts.failed(error)
            again = step is not None
            log.warning("reply_failed", kind=error.kind.value, provider=error.provider, again=again)
            self._note(Note("llm_failed", {"kind": error.kind.value, "detail": error.detail, "again": again}))
            if step is None:
                self._feed(ReplyFailed(action.generation, error.kind, another=another))
                return
            await asyncio.sleep(step.wait_s)

    async def _stream(
        self, generation: int, request: LlmRequest, purpose: Purpose, attempts: Attempts, gave: "_Gave"
    ) -> None:
        entry = self._usage.entry(purpose)
        config = attempts.config
        stream: LlmStream | None = None
        kind = ""
        patience_s = self._chain.switch_s if attempts.others else self._guard_s
        try:
            async with (
                until_first(patience_s, config=config, stage="llm", then=self._guard_s) as came,
                self._model(attempts.choice).stream(request) as stream,
            ):
                async for event in stream:
                    came()
                    if isinstance(event, UsageReport):
                        continue  # the stream's own account is taken below, however it ends
                    if not gave.something:
                        attempts.worked(stream.usage().first_ms)
                    gave.something = True
                    match event:
                        case TextDelta(text):
                            self._feed(ReplyText(generation, text))
                        case ToolCall():
                            self._feed(ReplyTool(generation, event))
                        case LlmDone(reason):
                            self._feed(ReplyDone(generation, reason))
                            return
        except ProviderError as error:
            kind = error.kind.value
            raise
        finally:
            if stream is not None:
                report = stream.usage()
                self._usage.write(entry, msgspec.structs.replace(report, error=report.error or kind))
            elif kind:
                self._usage.write(entry, _nothing(config, kind))


def _nothing(config: ProviderConfig, kind: str) -> UsageReport:
    return UsageReport(
        stage="llm", provider=config.provider, model=config.model, account_id=config.account_id, error=kind
    )


class _Gave:
    """Whether an attempt has given text or a tool call: then it cannot be made again."""

    something = False

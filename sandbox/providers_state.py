"""What the two AI providers of the sandbox share: latencies, faults, scripts and the ledger of who connected.

The routes of sandbox/openai and sandbox/elevenlabs ask it at every step; sandbox/providers_control.py sets it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

PROVIDERS = ("openai", "elevenlabs")
STAGES = ("llm", "tts", "stt", "other")

REFUSALS = frozenset(
    {
        "refuse",
        "unauthorized",
        "rate_limit",
        "too_many_concurrent_requests",
        "system_busy",
        "insufficient_quota",
        "server_error",
    }
)
_STREAM = frozenset(
    {
        "slow_first_byte",
        "stall",
        "garbage",
        "half_close",
        "drop",
        "mid_stream_error",
        "quota_runs_out",
        "unknown_messages",
    }
)
KINDS: dict[str, frozenset[str]] = {
    "llm": REFUSALS | _STREAM | {"split_utf8"},
    "tts": REFUSALS | _STREAM | {"close", "late_audio", "never_final", "other_spelling"},
    "stt": REFUSALS | _STREAM | {"close", "duplicate_final", "never_final"},
    "other": REFUSALS,
}
_MAX_ENTRIES = 20_000


class SettingError(ValueError):
    """A control request asks for what there is not; the message says what there is."""


@dataclasses.dataclass
class Latencies:
    """How slow the providers are, before the time scale; all 0: as fast as this machine.

    Attributes:
        stt_partial_ms: from audio to the partial text that covers it.
        stt_final_ms: from commit to the final text.
        llm_first_token_ms: from request to the first token.
        llm_tokens_per_s: pace of the tokens after it; 0: all at once.
        tts_first_byte_ms: from text to its first audio.
        tts_realtime_factor: time to make one second of audio, in seconds; 0: at once.
        http_ms: before any answer at all.
        tts_idle_ms: how long a speech socket or context may be silent; `inactivity_timeout` overrides it.
    """

    stt_partial_ms: float = 0
    stt_final_ms: float = 0
    llm_first_token_ms: float = 0
    llm_tokens_per_s: float = 0
    tts_first_byte_ms: float = 0
    tts_realtime_factor: float = 0
    http_ms: float = 0
    tts_idle_ms: float = 20_000


# Medians of public measurements of the services; benchmarks use them, the demonstration does not pretend.
TYPICAL = Latencies(
    stt_partial_ms=150,
    stt_final_ms=280,
    llm_first_token_ms=450,
    llm_tokens_per_s=100,
    tts_first_byte_ms=150,
    tts_realtime_factor=0.2,
)


@dataclasses.dataclass
class Fault:
    """One thing that goes wrong, for the next `count` requests that it fits.

    Attributes:
        kind: one of KINDS[stage].
        provider: "openai", "elevenlabs" or "*".
        count: how many requests it hits; -1: all, until cleared.
        after: chunks of the answer (tokens, pieces of audio, commits) that still arrive.
        delay_ms: of slow_first_byte and of late audio; before the time scale.
        code: WebSocket close code of `close`; 1006 is an abrupt end without a close frame.
        skip: requests that pass unharmed first.
    """

    kind: str
    stage: str
    provider: str = "*"
    count: int = 1
    after: int = 0
    delay_ms: float = 0
    code: int = 1008
    skip: int = 0

    def __post_init__(self) -> None:
        """Refuse what no route acts on."""
        if self.stage not in KINDS:
            message = f"no stage {self.stage!r}; there are: {', '.join(KINDS)}"
            raise SettingError(message)
        if self.kind not in KINDS[self.stage]:
            message = f"no fault {self.kind!r} of {self.stage}; there are: {', '.join(sorted(KINDS[self.stage]))}"
            raise SettingError(message)
        if self.provider not in (*PROVIDERS, "*"):
            message = f"no provider {self.provider!r}"
            raise SettingError(message)


@dataclasses.dataclass
class ScriptedReply:
    """What the model says to one request: text, tool calls ({"name", "arguments"}), why it stops."""

    text: str = ""
    tool_calls: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    finish_reason: str = ""


@dataclasses.dataclass
class Scripts:
    """What the providers answer to keys that are not of a demonstration.

    Attributes:
        transcripts: texts of the next commits, in order; then `default_transcript`.
        replies: replies to the next chat requests, in order; then `default_reply`, or without one a generated text of
            `reply_tokens` tokens.
    """

    transcripts: deque[str] = dataclasses.field(default_factory=deque)
    default_transcript: str = ""
    replies: deque[ScriptedReply] = dataclasses.field(default_factory=deque)
    default_reply: str = ""
    reply_tokens: int = 40


class Entry(dict[str, Any]):
    """One request or socket in the ledger; `note` fills it in while it lives."""

    def note(self, **details: Any) -> None:
        """Set details."""
        self.update(details)

    def count(self, name: str, step: int = 1) -> None:
        """Add to a number."""
        self[name] = self.get(name, 0) + step

    def add(self, name: str, value: Any) -> None:
        """Append to a list."""
        self.setdefault(name, []).append(value)


class ProvidersState:
    """The state of both providers in one sandbox."""

    def __init__(self, scale: float) -> None:
        self.scale = scale
        self.model_listings: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {}
        self.reset()

    def reset(self) -> None:
        """As it was at the start, the ledger empty."""
        self.latencies = Latencies()
        self.faults: list[Fault] = []
        self.scripts = Scripts()
        self.revoked_keys: set[str] = set()
        self._entries: deque[Entry] = deque(maxlen=_MAX_ENTRIES)
        self._numbers = itertools.count(1)
        self._connections: weakref.WeakKeyDictionary[asyncio.BaseTransport, int] = weakref.WeakKeyDictionary()
        self._connection_counts = dict.fromkeys(PROVIDERS, 0)
        self._request_counts = dict.fromkeys(PROVIDERS, 0)

    async def pause(self, milliseconds: float) -> None:
        """Wait so long, times the scale."""
        if milliseconds > 0:
            await asyncio.sleep(milliseconds * self.scale / 1000)

    def take_fault(self, provider: str, stage: str, kinds: Iterable[str]) -> Fault | None:
        """The first waiting fault of these kinds, used up by one."""
        wanted = frozenset(kinds)
        for fault in self.faults:
            if fault.stage != stage or fault.provider not in (provider, "*") or fault.kind not in wanted:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            if fault.count > 0:
                fault.count -= 1
            if fault.count == 0:
                self.faults.remove(fault)
            return fault
        return None

    @contextmanager
    def opened(self, request: web.Request, provider: str, stage: str) -> Iterator[Entry]:
        """Keep one request or socket in the ledger, from its arrival to its end."""
        transport = request.transport
        if transport is not None and transport not in self._connections:
            self._connection_counts[provider] += 1
            self._connections[transport] = sum(self._connection_counts.values())
        self._request_counts[provider] += 1
        entry = Entry(
            id=next(self._numbers),
            at=round(time.time(), 6),
            provider=provider,
            stage=stage,
            kind="ws" if request.headers.get("Upgrade", "").lower() == "websocket" else "http",
            method=request.method,
            path=request.path,
            connection=self._connections.get(transport, 0) if transport is not None else 0,
            ended=None,
        )
        self._entries.append(entry)
        try:
            yield entry
        finally:
            entry["ended"] = round(time.time(), 6)

    def entries(self, **wanted: str) -> list[Entry]:
        """The ledger, oldest first, limited to entries with these values."""
        return [
            entry for entry in self._entries if all(str(entry.get(name)) == value for name, value in wanted.items())
        ]

    def counts(self) -> dict[str, Any]:
        """Connections and requests seen, and sockets open now, per provider."""
        live = {
            provider: sum(entry["provider"] == provider and entry["ended"] is None for entry in self._entries)
            for provider in PROVIDERS
        }
        return {"connections": dict(self._connection_counts), "requests": dict(self._request_counts), "open": live}


STATE = web.AppKey("providers_state", ProvidersState)

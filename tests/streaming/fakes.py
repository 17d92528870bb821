"""Scripted providers, a voice detector that hears loudness, a store in memory: a live call without a network.

They follow ``agents.providers.base`` to the letter, so that a session cannot tell them from the real adapters.
"""

import asyncio
import datetime
import math
import threading
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from agents.providers.base import (
    MULAW_8K,
    AudioFormat,
    Clocks,
    Final,
    LlmDone,
    LlmRequest,
    Partial,
    ProviderConfig,
    SpeechChunk,
    TextDelta,
    ToolCall,
    UsageReport,
    WordTiming,
)
from agents.providers.errors import ErrorKind, ProviderError
from agents.spec import AgentSpec, StageSpec, TurnTaking
from calls.context import CallContext
from streaming.audio.recording_wav import Take
from streaming.audio.vad import VadHub
from streaming.resources import Resources

CLOCKS = Clocks().scaled(0.1)
MS_PER_CHAR = 20


def tone(ms: int, fmt: AudioFormat = MULAW_8K) -> bytes:
    """A loud 440 Hz tone."""
    samples = [int(12000 * math.sin(2 * math.pi * 440 * n / fmt.rate)) for n in range(ms * fmt.rate // 1000)]
    return encode(np.array(samples, np.int16), fmt)


def silence(ms: int, fmt: AudioFormat = MULAW_8K) -> bytes:
    """Digital silence."""
    return encode(np.zeros(ms * fmt.rate // 1000, np.int16), fmt)


def encode(samples: Any, fmt: AudioFormat) -> bytes:
    """int16 samples in the format's encoding."""
    from streaming.audio import codecs  # noqa: PLC0415

    return codecs.samples_to_mulaw(samples) if fmt.encoding == "mulaw" else codecs.samples_to_l16(samples)


def stage(provider: str) -> StageSpec:
    """A stage of a fake agent."""
    return StageSpec(account_id="", provider=provider, model="fake")


def spec(**changes: Any) -> AgentSpec:
    """An agent that greets with "Hello there." and may end the call."""
    defaults: dict[str, Any] = {
        "name": "Front desk",
        "system_prompt": "You are the front desk.",
        "greeting": "Hello there.",
        "stt": stage("elevenlabs"),
        "llm": stage("openai"),
        "tts": stage("elevenlabs"),
        "voice_id": "v",
        "record": False,
        "turn_taking": TurnTaking(min_wait_ms=100, max_wait_ms=800, commit_ms=120, speculate_ms=60, stt_final_ms=300),
    }
    return AgentSpec(**(defaults | changes))


def context(call_id: int = 1, **changes: Any) -> CallContext:
    """A call with ``spec()``; ``agent=spec(...)`` replaces the agent."""
    agent = changes.pop("agent", None) or spec()
    config = ProviderConfig(provider="openai", base_url="http://127.0.0.1:9", api_key="k", model="fake")
    defaults: dict[str, Any] = {
        "call_id": call_id,
        "public_id": f"00000000-0000-0000-0000-{call_id:012d}",
        "plivo_call_uuid": f"call-{call_id}",
        "spec": agent,
        "version_id": "v1",
        "stt": config,
        "llm": config,
        "tts": config,
        "variables": {},
        "session": f"session-{call_id}",
        "live_at": now(),
    }
    return CallContext(**(defaults | changes))


def now() -> datetime.datetime:
    """The time of day."""
    return datetime.datetime.now(datetime.UTC)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Waits until the condition holds; raises TimeoutError after ``seconds``."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110  (what is waited for lives in other threads and processes too)
            await asyncio.sleep(0.005)


class FakeStt:
    """Answers each commit with the script's next text; ``fail_after`` bytes break the session once."""

    def __init__(self, world: "FakeProviders", codec: AudioFormat, config: ProviderConfig | None = None) -> None:
        self.config = config or ProviderConfig(provider="fake", base_url="", api_key="", model="fake")
        self.input_format = world.stt_formats.get(self.config.model, codec)
        self.world = world
        self.received = bytearray()
        self.closed = False
        self._answered = 0
        self._commits = 0
        self._events: asyncio.Queue[Partial | Final | ProviderError] = asyncio.Queue()

    async def connect(self) -> None:
        self.world.opened.append("stt")
        await self.world.meet("stt", self.config)
        if self.world.stt_errors:
            raise self.world.stt_errors.pop(0)

    async def send(self, audio: bytes) -> None:
        self.received += audio
        limit = self.world.stt_breaks_after
        if limit is not None and len(self.received) >= limit:
            self.world.stt_breaks_after = None
            self._events.put_nowait(ProviderError(ErrorKind.DROPPED, provider="fake", stage="stt"))

    def send_at_once(self, audio: bytes) -> bool:
        return False

    async def commit(self) -> int:
        self._commits += 1
        text = self.world.heard.pop(0) if self.world.heard else ""
        if text:
            self._events.put_nowait(Partial(text))
        self._events.put_nowait(Final(text, self._commits))
        self._answered = len(self.received)
        return self._commits

    async def events(self) -> AsyncIterator[Partial | Final]:
        while True:
            event = await self._events.get()
            if isinstance(event, ProviderError):
                raise event
            yield event

    def unconfirmed(self) -> bytes:
        return bytes(self.received[self._answered :])

    def usage(self) -> UsageReport:
        return UsageReport(
            stage="stt",
            provider="fake",
            model=self.config.model,
            audio_ms=len(self.received) // self.input_format.bytes_per_ms,
        )

    async def close(self) -> None:
        self.closed = True

    async def check(self) -> str:
        await self.world.meet("stt", self.config)
        return "works"


class FakeReply:
    """One running reply."""

    def __init__(self, parts: Sequence[Any], pause: float, model: str = "fake") -> None:
        self._parts = list(parts)
        self._model = model
        self._pause = pause
        self.written = 0

    async def __aiter__(self) -> AsyncIterator[Any]:
        for part in self._parts:
            await asyncio.sleep(self._pause)
            if isinstance(part, Exception):
                raise part
            if isinstance(part, str):
                self.written += len(part)
                yield TextDelta(part)
            else:
                yield part
        yield self.usage()
        yield LlmDone("tool_calls" if any(isinstance(part, ToolCall) for part in self._parts) else "stop")

    def usage(self) -> UsageReport:
        return UsageReport(stage="llm", provider="fake", model=self._model, input_tokens=10, output_tokens=self.written)


class FakeLlm:
    """Gives the script's replies in order; a reply is text, or a list of texts, tool calls and errors."""

    def __init__(self, world: "FakeProviders", config: ProviderConfig) -> None:
        self.config = config
        self.world = world

    @asynccontextmanager
    async def stream(self, request: LlmRequest) -> AsyncIterator[FakeReply]:
        self.world.opened.append("llm")
        self.world.requests.append(request)
        await self.world.meet("llm", self.config)
        self.world.open_replies += 1
        parts: Any = self.world.replies.pop(0) if self.world.replies else "I see."
        try:
            if isinstance(parts, ProviderError):
                raise parts
            yield FakeReply([parts] if isinstance(parts, str) else parts, self.world.llm_pause, self.config.model)
        finally:
            self.world.open_replies -= 1

    async def warm(self) -> None:
        self.world.warmed += 1

    async def check(self) -> str:
        await self.world.meet("llm", self.config)
        return "works"


class FakeUtterance:
    """Speaks ``MS_PER_CHAR`` of tone for each character, in chunks of 100 ms, with word timings."""

    def __init__(self, tts: "FakeTts") -> None:
        self._tts = tts
        self._text = ""
        self._finished = asyncio.Event()
        self.cancelled = False

    async def say(self, text: str) -> None:
        self._tts.world.spoken.append(text)
        self._tts.world.spoken_by.append((self._tts.config.model, text))
        self._text += text

    async def finish(self) -> None:
        self._finished.set()

    async def cancel(self) -> None:
        self.cancelled = True
        self._tts.world.cancelled_utterances += 1

    async def chunks(self) -> AsyncIterator[SpeechChunk]:
        await self._finished.wait()
        world = self._tts.world
        await world.meet("tts", self._tts.config)
        if world.tts_errors and (error := world.tts_errors.pop(0)) is not None:
            raise error
        fmt = self._tts.output_format
        words, at = [], 0
        for word in self._text.split():
            words.append(WordTiming(word, at, at + len(word) * MS_PER_CHAR))
            at += (len(word) + 1) * MS_PER_CHAR
        audio = tone(len(self._text) * MS_PER_CHAR, fmt)
        step = 100 * fmt.bytes_per_ms
        for start in range(0, len(audio), step):
            await asyncio.sleep(world.tts_pause)
            yield SpeechChunk(audio[start : start + step], tuple(words) if start == 0 else ())

    def usage(self) -> UsageReport:
        return UsageReport(stage="tts", provider="fake", model=self._tts.config.model, characters=len(self._text))


class FakeTts:
    """A voice in the line's format or, with ``world.tts_format``, in another."""

    def __init__(self, world: "FakeProviders", config: ProviderConfig, codec: AudioFormat) -> None:
        self.config = config
        self.output_format = world.tts_format or codec
        self.world = world
        self.closed = False

    async def connect(self) -> None:
        self.world.opened.append("tts")
        await self.world.meet("tts", self.config)

    def utterance(self) -> FakeUtterance:
        return FakeUtterance(self)

    async def close(self) -> None:
        self.closed = True

    async def check(self) -> str:
        await self.world.meet("tts", self.config)
        return "works"


class FakeProviders:
    """The scripts, and what was done with them.

    Attributes:
        heard: text of each commit to come; "" once they are used up.
        replies: of the model, in order; "I see." once they are used up.
        opened: "stt", "llm" or "tts" for every connection.
        down: of a stage and a model the error that every request meets; None: it is never answered.
        spoken_by: by which model each text was spoken, or was to be.
    """

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.replies: list[Any] = []
        self.opened: list[str] = []
        self.down: dict[tuple[str, str], ErrorKind | None] = {}
        self.stt_formats: dict[str, AudioFormat] = {}
        self.spoken_by: list[tuple[str, str]] = []
        self.requests: list[LlmRequest] = []
        self.spoken: list[str] = []
        self.stts: list[FakeStt] = []
        self.ttss: list[FakeTts] = []
        self.stt_errors: list[ProviderError] = []
        self.tts_errors: list[ProviderError | None] = []
        self.stt_breaks_after: int | None = None
        self.tts_format: AudioFormat | None = None
        self.llm_pause = 0.0
        self.tts_pause = 0.0
        self.open_replies = 0
        self.cancelled_utterances = 0
        self.warmed = 0

    async def meet(self, stage: str, config: ProviderConfig) -> None:
        """What a request to a service that is down meets."""
        if (stage, config.model) in self.down:
            kind = self.down[stage, config.model]
            if kind is None:
                await asyncio.Event().wait()
            else:
                raise ProviderError(kind, provider="fake", stage=stage)

    def language_model(self, config: ProviderConfig) -> FakeLlm:
        return FakeLlm(self, config)

    def speech_to_text(self, config: ProviderConfig, *, codec: AudioFormat) -> FakeStt:
        self.stts.append(FakeStt(self, codec, config))
        return self.stts[-1]

    def text_to_speech(self, config: ProviderConfig, *, codec: AudioFormat) -> FakeTts:
        self.ttss.append(FakeTts(self, config, codec))
        return self.ttss[-1]

    async def open(self) -> None:
        return None

    async def close(self) -> None:
        return None


def _rows(by_call: Mapping[int, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    return [row for rows in by_call.values() for row in rows]


class FakeStore:
    """``calls.live_calls`` in memory. ``gate`` cleared: what has ``begun`` hangs, as in a stalled database."""

    def __init__(self) -> None:
        self.turns: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.usage: dict[str, dict[str, Any]] = {}
        self.ended: list[tuple[int, str | None, bool]] = []
        self.found_machines: set[int] = set()
        self.renewed: list[tuple[dict[int, str], set[int]]] = []
        self.taken: set[int] = set()
        self.begun = 0
        self.calls: list[str] = []
        self.errors: list[Exception] = []
        self.gate = threading.Event()
        self.gate.set()

    def _enter(self, name: str) -> None:
        self.begun += 1
        self.gate.wait(30)
        self.calls.append(name)
        if self.errors:
            raise self.errors.pop(0)

    def write_turns(self, turns: Mapping[int, Sequence[dict[str, Any]]]) -> None:
        self._enter("turns")
        self.turns += _rows(turns)

    def write_events(self, events: Mapping[int, Sequence[dict[str, Any]]]) -> None:
        self._enter("events")
        self.events += _rows(events)

    def write_usage(self, usage: Mapping[int, Sequence[dict[str, Any]]]) -> None:
        self._enter("usage")
        self.usage.update({row["key"]: row for row in _rows(usage)})

    def machines(self, call_ids: Collection[int]) -> set[int]:
        self._enter("machines")
        return self.found_machines & set(call_ids)

    def renew(self, *, held: Mapping[int, str], silent: Collection[int], now: datetime.datetime) -> set[int]:
        self._enter("renew")
        self.renewed.append((dict(held), set(silent)))
        return self.taken & set(held)

    def stream_ended(
        self,
        *,
        call_id: int,
        session: str,
        reason: str | None,
        normal: bool,
        now: datetime.datetime,
        transfer_to: str = "",
        answered_by: str = "",
    ) -> None:
        self._enter("ended")
        self.ended.append((call_id, reason, normal))


class FakeVault:
    """``calls.recordings`` in memory; ``ended`` are the calls that are over."""

    def __init__(self) -> None:
        self.opened: list[int] = []
        self.ended: set[int] = set()
        self.kept: dict[int, tuple[Take, bytes]] = {}
        self.failed: dict[int, str] = {}
        self.held: dict[int, bool] = {}

    def open(self, *, call_id: int, host: str, rate: int) -> None:
        self.opened.append(call_id)

    def over(self, call_ids: Collection[int]) -> set[int]:
        return self.ended & set(call_ids)

    def keep(self, call_id: int, take: Take) -> None:
        with take.wav(None, 0).open() as file:
            self.kept[call_id] = (take, file.read())

    def fail(self, call_id: int, *, host: str, error: str, held: bool) -> None:
        self.failed[call_id] = error
        self.held[call_id] = held


class LoudnessDetector:
    """Speech is what is loud: deterministic, and silent for silence."""

    def reset(self, slot: int) -> None:
        return None

    def probabilities(self, windows: Any, slots: list[int]) -> Any:
        return (np.abs(windows).mean(axis=1) > 0.05).astype(np.float32)


class FakeTurnModel:
    """Says ``answer`` to every question and keeps what it was asked."""

    def __init__(self, answer: float | None) -> None:
        self.answer = answer
        self.asked: list[tuple[int, int]] = []  # samples and their rate
        self.closed = False

    async def predict(self, audio: Any, *, rate: int, loop_lag_ms: float) -> float | None:
        self.asked.append((audio.size, rate))
        assert loop_lag_ms >= 0
        await asyncio.sleep(0.02)
        return self.answer

    def close(self) -> None:
        self.closed = True


def resources(
    world: FakeProviders,
    store: FakeStore,
    var_dir: Path,
    vault: FakeVault | None = None,
    turn_model: FakeTurnModel | None = None,
) -> Resources:
    """Resources with scripted providers; to be opened by the test."""
    return Resources(
        providers=world,
        store=store,
        var_dir=var_dir,
        clocks=CLOCKS,
        clock=now,
        vad=VadHub(LoudnessDetector()),
        vault=vault or FakeVault(),
        turn_model=lambda: turn_model,
    )

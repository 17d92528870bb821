"""Whole calls in this process: the real adapters over the sandbox's servers, a phone that notes what it hears.

Every call has servers of its own, so that many can run beside each other in one event loop; the phone tells phrases by
their sound, which is always the same for the same text in the same voice.
"""

import asyncio
import contextlib
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from agents.providers.base import MULAW_8K, Clocks, ProviderConfig
from calls.context import CallContext
from calls.live_calls import history
from calls.models import Turn
from sandbox.speech import parse_format, render
from sandbox.testing import Sandbox, running_sandbox
from sandbox.voice import BY_ID
from streaming.audio.vad import VadHub
from streaming.consumers import PhoneLine
from streaming.line import Socket
from streaming.live import Process
from streaming.phrases import Phrase, phrase_key
from streaming.planning import constant_phrases
from streaming.protocol import Start
from streaming.resources import RegistryProviders, Resources
from tests.streaming import fakes
from tests.streaming.fakes import FakeStore, FakeVault, LoudnessDetector
from tests.streaming.phone import Phone

VOICE = "sandboxClaraEnUs0001"
KEY = "test-canary-51d2c8"
FRAME_MS = 20
BROKEN_MS = 100  # so much of a phrase is heard as the beginning of it


def sound_of(text: str) -> bytes:
    """The text as the sandbox's voice says it, in mu-law; the sandbox has it ready from then on."""
    return render(f"{text} ", BY_ID[VOICE], parse_format("ulaw_8000"), 1.0).audio


class Ear(Phone):
    """A phone that knows some phrases by their sound.

    Attributes:
        phrases: name of each phrase and its audio.
        longest_silence_s: the longest time in which neither side was heard while the caller waited for something.
    """

    def __init__(self, phrases: Mapping[str, str], **more: Any) -> None:
        super().__init__(**more)
        self.phrases = {name: sound_of(text) for name, text in phrases.items()}
        self.longest_silence_s = 0.0
        self._quiet_since: float | None = None

    def start(self, **changes: Any) -> None:
        super().start(**changes)
        self._quiet_since = asyncio.get_running_loop().time()

    def _play(self) -> None:
        heard, speaking = len(self.heard), bool(self._to_say)
        super()._play()
        if speaking or self.muted or len(self.heard) > heard:
            self._sound()

    def _sound(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._quiet_since is not None:
            self.longest_silence_s = max(self.longest_silence_s, now - self._quiet_since)
        self._quiet_since = now

    async def send(self, message: dict[str, Any]) -> None:
        await super().send(message)
        if message["type"] == "websocket.close":
            self._sound()
            self._quiet_since = None

    def content(self) -> None:
        """The caller has what it waited for: no silence counts until it speaks again."""
        self._quiet_since = None

    def picked_up(self) -> None:
        """Another stream of the same call begins: what the last one had not played is gone."""
        self.incoming = asyncio.Queue()
        self._queue.clear()
        self.closed, self.muted = None, False

    @property
    def transcript(self) -> list[str]:
        """The phrases that were heard, in order; "..." behind one that broke off, "?" for sound that is none."""
        heard, at, found = bytes(self.heard), 0, list[str]()
        while at < len(heard):
            name, length = max(
                ((name, _common(heard, at, audio)) for name, audio in self.phrases.items()), key=lambda each: each[1]
            )
            if length >= BROKEN_MS * 8:
                found.append(name if length == len(self.phrases[name]) else f"{name}...")
                at += length
            else:
                found += [] if found and found[-1] == "?" else ["?"]
                at += FRAME_MS * 8
        return found


def _common(heard: bytes, at: int, audio: bytes) -> int:
    """How many bytes of ``audio`` stand at ``at``."""
    size = min(len(audio), len(heard) - at)
    if heard[at : at + size] == audio[:size]:
        return size
    low = 0
    step = FRAME_MS * 8
    while heard[at + low : at + low + step] == audio[low : low + step] and low + step <= size:
        low += step
    return low


ENDS_S = 0.5  # what would wait for a provider, or keep a connection alive, takes longer


class CallStores:
    """``calls.live_calls`` in memory, call by call."""

    def __init__(self) -> None:
        self.of: dict[int, FakeStore] = defaultdict(FakeStore)
        self._lock = threading.Lock()

    def _call(self, call_id: int) -> FakeStore:
        with self._lock:
            return self.of[call_id]

    def write_turns(self, turns: Mapping[int, Any]) -> None:
        for call_id, rows in turns.items():
            self._call(call_id).write_turns({call_id: rows})

    def write_events(self, events: Mapping[int, Any]) -> None:
        for call_id, rows in events.items():
            self._call(call_id).write_events({call_id: rows})

    def write_usage(self, usage: Mapping[int, Any]) -> None:
        for call_id, rows in usage.items():
            self._call(call_id).write_usage({call_id: rows})

    def machines(self, call_ids: Collection[int]) -> set[int]:
        return set()

    def renew(self, *, held: Mapping[int, str], silent: Collection[int], now: Any) -> set[int]:
        del held, silent, now
        return set()

    def stream_ended(self, *, call_id: int, **how: Any) -> None:
        self._call(call_id).stream_ended(call_id=call_id, **how)


def _of_a_server(task: asyncio.Task[Any]) -> bool:
    """Whether the sandbox runs it, which shares the loop: a server that was told to be slow notices an end late."""
    frame = getattr(task.get_coro(), "cr_frame", None)
    return frame is not None and frame.f_globals["__name__"].startswith(("sandbox.", "aiohttp."))


@contextlib.asynccontextmanager
async def live_process(folder: Path, clocks: Clocks) -> AsyncIterator[tuple[Process, CallStores]]:
    """A stream process with the real adapters; once it is closed no task of it may be left."""
    stores = CallStores()
    before = asyncio.all_tasks()
    resources = Resources(
        providers=RegistryProviders(clocks),
        store=stores,
        var_dir=folder,
        clocks=clocks,
        clock=fakes.now,
        vad=VadHub(LoudnessDetector()),
        vault=FakeVault(),
        turn_model=lambda: None,
    )
    process = Process(resources, max_calls=0)
    await process.open()
    try:
        yield process, stores
    finally:
        await process.close()
    # A connection that was cut off takes its own tasks with it, a few turns of the loop later.
    if left := {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not _of_a_server(task)}:
        _, left = await asyncio.wait(left, timeout=ENDS_S)
    assert not left, f"tasks left behind: {sorted(repr(task.get_coro()) for task in left)}"


class Call:
    """One call: its servers, its phone, and the task that carries it.

    Attributes:
        box: the sandbox of this call alone.
        spare: that of its second choices, where there are some.
        store: what was written of it.
    """

    def __init__(
        self,
        process: Process,
        store: FakeStore,
        box: Sandbox,
        spare: Sandbox | None,
        context: CallContext,
        phone: Ear,
    ) -> None:
        self.process = process
        self.store = store
        self.box = box
        self.spare = spare
        self.context = context
        self.phone = phone
        self.task: asyncio.Task[None] | None = None

    @property
    def _boxes(self) -> list[Sandbox]:
        return [self.box] if self.spare is None else [self.box, self.spare]

    async def fault(self, kind: str, stage: str, **more: Any) -> None:
        """From now on something goes wrong (``sandbox/README.md``)."""
        await self.box.control.request("POST", "providers/faults", {"kind": kind, "stage": stage, **more})

    async def mend(self) -> None:
        """Takes back what was to go wrong and has not."""
        await self.box.control.request("DELETE", "providers/faults")

    async def latencies(self, **values: float) -> None:
        """How slow the providers are (``sandbox/README.md``)."""
        await self.box.control.request("PATCH", "providers/latencies", values)

    async def says(self, *texts: str, default: str = "") -> None:
        """What the recogniser makes of what is said from now on."""
        await self._everywhere("transcripts", {"texts": list(texts), "default": default})

    async def replies(self, *replies: dict[str, Any], default: str = "") -> None:
        """What the model says next, and then always."""
        await self._everywhere("replies", {"replies": list(replies), "default": default})

    async def _everywhere(self, what: str, body: dict[str, Any]) -> None:
        for box in self._boxes:
            await box.control.request("POST", f"providers/{what}", body)

    async def ledger(self, stage: str) -> list[dict[str, Any]]:
        """The requests and sockets that a stage's servers have seen."""
        return list((await self.box.control.request("GET", "providers/ledger", stage=stage))["entries"])

    def ring(self) -> None:
        """Puts the call through."""
        self.phone.start()
        self.phone.incoming.get_nowait()  # the consumer has read it
        self.task = asyncio.create_task(self._carry(), name="test-carry")

    async def _carry(self) -> None:
        phone, context = self.phone, self.context
        start = Start(phone.call_id, phone.stream_id, "", 0, {})
        line = PhoneLine(Socket(phone.receive, phone.send), fmt=phone.fmt, start=start, context=context)
        with self.process.socket():
            async with self.process.claim(context.call_id) as ours:
                assert ours
                await self.process.carry(context, line)

    async def answered(self, *, pause_s: float, seconds: float, beyond: int | None = None) -> None:
        """Waits until the agent has said something and then nothing for ``pause_s``, or is gone.

        Args:
            beyond: bytes heard, from which on it counts; None: from now on.
        """
        clock, phone = asyncio.get_running_loop().time, self.phone
        heard = len(phone.heard) if beyond is None else beyond
        since, end = None, clock() + seconds
        while not self.over and clock() < end and (since is None or clock() - since < pause_s):
            if len(phone.heard) > heard or phone.playing:
                heard, since = len(phone.heard), clock()
            await asyncio.sleep(FRAME_MS / 1000)
        if since is not None:
            phone.content()

    async def goes_on(self) -> None:
        """Plivo has asked what comes after the stream that ended, and opens another one."""
        await self.ended()
        turns = [Turn(**{name: row[name] for name in ("role", "kind", "text", "heard")}) for row in self.store.turns]
        self.context = msgspec.structs.replace(
            self.context, resumed=True, history=history(turns), next_turn_index=len(turns), session="next"
        )
        self.phone.picked_up()
        self.task = asyncio.create_task(self._carry(), name="test-carry")

    @property
    def over(self) -> bool:
        """The stream has ended."""
        if self.task is None or not self.task.done():
            return False
        self.task.result()
        return True

    async def ended(self, seconds: float = 8) -> None:
        """Waits for the end of the session."""
        assert self.task is not None
        async with asyncio.timeout(seconds):
            await asyncio.shield(self.task)

    async def hang_up(self, seconds: float = 8) -> None:
        """The caller leaves, if the agent has not."""
        if not self.over:
            self.phone.hang_up()
        await self.ended(seconds)
        await self.phone.stop()

    async def connections_left(self, seconds: float = 5) -> int:
        """Requests and sockets that stay open at the providers; waits for them to end."""
        left = 1
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while left := sum([await _open_at(box) for box in self._boxes]):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        return left


async def _open_at(box: Sandbox) -> int:
    return sum((await box.control.request("GET", "providers"))["open"].values())


def configured(context: CallContext, url: str, *, stt: str = "elevenlabs", tts: str = "elevenlabs") -> CallContext:
    """The context with its three providers at ``url``; stt and tts of that vendor."""
    bases = {"openai": f"{url}/v1", "elevenlabs": url}
    ears = {"openai": "gpt-live-transcribe", "elevenlabs": "scribe_v2_realtime"}
    voices = {"openai": ("gpt-4o-mini-tts", VOICE), "elevenlabs": ("eleven_flash_v2_5", VOICE)}

    def config(provider: str, model: str, voice: str = "") -> ProviderConfig:
        return ProviderConfig(
            provider=provider, base_url=bases[provider], api_key=KEY, model=model, voice_id=voice, language="en-US"
        )

    return msgspec.structs.replace(
        context, stt=config(stt, ears[stt]), llm=config("openai", "gpt-6-luna"), tts=config(tts, *voices[tts])
    )


@contextlib.asynccontextmanager
async def call_on(
    process: Process,
    stores: CallStores,
    call_id: int,
    phrases: Mapping[str, str],
    *,
    time_scale: float = 1.0,
    variables: Mapping[str, str] | None = None,
    second_choice: bool = False,
    stt: str = "elevenlabs",
    tts: str = "elevenlabs",
    **agent: Any,
) -> AsyncIterator[Call]:
    """A call that can be put through; hung up when the block is left. The agent's fixed texts are kept as audio.

    Args:
        phrases: name and text of what the phone is to tell apart.
        variables: the call's own.
        second_choice: there is one of everything, on servers of its own.
        agent: fields of its ``AgentSpec``.
    """
    async with contextlib.AsyncExitStack() as stack:
        parts = frozenset({"openai", "elevenlabs"})
        box = await stack.enter_async_context(running_sandbox(parts=parts, time_scale=time_scale))
        context = fakes.context(call_id, agent=fakes.spec(**agent), variables=dict(variables or {}))
        context = configured(context, box.url, stt=stt, tts=tts)
        spare = None
        if second_choice:
            spare = await stack.enter_async_context(running_sandbox(parts=parts, time_scale=time_scale))
            other = configured(context, spare.url, stt=stt, tts=tts)
            context = msgspec.structs.replace(
                context, stt_further=(other.stt,), llm_further=(other.llm,), tts_further=(other.tts,)
            )
        for text in constant_phrases(context.spec):
            key = phrase_key(text, config=context.tts, fmt=MULAW_8K)
            await process.resources.phrases.put(key, Phrase(sound_of(text)))
        phone = Ear(phrases, call_id=context.plivo_call_uuid)
        call = Call(process, stores.of[call_id], box, spare, context, phone)
        try:
            yield call
        finally:
            await phone.stop()
            if call.task is not None and not call.task.done():
                phone.hang_up()
                await asyncio.wait([call.task], timeout=8)

"""What all live calls of one process share: provider pools, voice detector, phrases, journal, recordings, threads.

Opened by ``live`` on the loop that serves the calls, closed by it; tests open one with scripted providers.
"""

import asyncio
import datetime
import time
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, Protocol

import structlog

from agents.providers import registry
from agents.providers.base import AudioFormat, Clocks, LanguageModel, ProviderConfig, SpeechToText, TextToSpeech
from agents.providers.board import Board
from agents.providers.errors import ProviderError
from agents.providers.pools import Pools
from streaming import journal, leases
from streaming.archive import Archive, Vault
from streaming.audio.turn_model import TurnModel, open_turn_model
from streaming.audio.vad import VadHub
from streaming.opt_outs import OptOuts
from streaming.phrases import PhraseCache, phrase_key, prepare
from streaming.pulse import Pulse
from streaming.threads import Worker
from streaming.usage import UsageBook

log = structlog.get_logger(__name__)

EDGE_LIMIT = 200  # handshakes that may wait for the database; a flood beyond it is refused unread
CLOSE_S = 10.0


class Providers(Protocol):
    """Makes adapters; ``RegistryProviders`` outside tests."""

    def language_model(self, config: ProviderConfig) -> LanguageModel:
        """A model for one call."""
        ...

    def speech_to_text(self, config: ProviderConfig, *, codec: AudioFormat) -> SpeechToText:
        """A recognition session, not yet connected."""
        ...

    def text_to_speech(self, config: ProviderConfig, *, codec: AudioFormat) -> TextToSpeech:
        """A synthesis session, not yet connected."""
        ...

    async def open(self) -> None:
        """Before the first call."""

    async def close(self) -> None:
        """After the last call."""


class Store(journal.Store, leases.Register, Protocol):
    """What live calls need of the database: ``calls.live_calls``, as a module, outside tests."""


class RegistryProviders:
    """The real adapters, over pools that outlive a call.

    Args:
        clocks: scaled.
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self._pools = Pools()

    def language_model(self, config: ProviderConfig) -> LanguageModel:
        """See ``Providers``."""
        return registry.language_model(config, pools=self._pools, clocks=self._clocks)

    def speech_to_text(self, config: ProviderConfig, *, codec: AudioFormat) -> SpeechToText:
        """See ``Providers``."""
        return registry.speech_to_text(config, pools=self._pools, clocks=self._clocks, codec=codec)

    def text_to_speech(self, config: ProviderConfig, *, codec: AudioFormat) -> TextToSpeech:
        """See ``Providers``."""
        return registry.text_to_speech(config, pools=self._pools, clocks=self._clocks, codec=codec)

    async def open(self) -> None:
        """See ``Providers``; the vendors' libraries are imported now, not at the first call."""
        await asyncio.to_thread(registry.preload)
        await self._pools.open()

    async def close(self) -> None:
        """See ``Providers``."""
        await self._pools.close()


class Resources:
    """One per process; made and opened on the loop that serves the calls.

    Args:
        var_dir: of this host; parent of the folders of the journal, of opt-outs and of recordings.
        phrases_dir: shared with the workers; under ``var_dir`` where none is given.
        store: where the journal writes and the leases stand.
        vault: where finished recordings go; ``calls.recordings`` where none is given.
        clocks: of the provider calls, scaled.
        clock: the time of day.
        turn_model: makes the model that judges how a turn ends, or None; called off the loop.

    Attributes:
        pulse: reads what the sockets bring; each beat ends with the voice detector's judgement of all calls.
        loop_lag_ms: how late the event loop ran when it was last measured.
    """

    def __init__(
        self,
        *,
        providers: Providers,
        store: Store,
        var_dir: Path,
        phrases_dir: Path | None = None,
        clocks: Clocks,
        clock: Callable[[], datetime.datetime],
        vad: VadHub | None = None,
        vault: Vault | None = None,
        turn_model: Callable[[], TurnModel | None] = open_turn_model,
    ) -> None:
        self.providers = providers
        self.clocks = clocks
        self.clock = clock
        self.edge = Worker("stream-edge", limit=EDGE_LIMIT)
        self._files = Worker("stream-files", limit=EDGE_LIMIT)
        self.journal = journal.Journal(store=store, folder=var_dir / "journal", clock=clock)
        self.opt_outs = OptOuts(folder=var_dir / "opt-outs", database=self.edge, clock=clock)
        self.board = Board(clock=time.time)
        self.leases = leases.Leases(register=store, clock=clock)
        self.phrases = PhraseCache(folder=phrases_dir or var_dir / "phrases", worker=self._files)
        self.recordings = Archive(folder=var_dir / "live", clock=clock, vault=vault)
        self.turn_model: TurnModel | None = None
        self.loop_lag_ms = 0.0
        self._make_turn_model = turn_model
        self._vad = vad
        self._loop = asyncio.get_running_loop()
        self.pulse = Pulse(self._judge_voices)
        self._background: set[asyncio.Task[None]] = set()
        self._preparing: set[tuple[str, ...]] = set()  # keys of phrases

    @property
    def vad(self) -> VadHub:
        """The process's voice detector."""
        if self._vad is None:
            raise RuntimeError("the resources are not open")
        return self._vad

    async def open(self) -> None:
        """Opens everything; what an earlier process of this host has left is written and repaired on the way."""
        if self._vad is None:
            self._vad = await asyncio.to_thread(VadHub)
        self.turn_model = await asyncio.to_thread(self._make_turn_model)
        await self.providers.open()
        self.opt_outs.open()
        self.journal.open()
        await self.leases.open()
        await self.recordings.open()

    async def close(self) -> None:
        """Waits for what is under way and closes everything; bounded."""
        end = self._loop.time() + CLOSE_S
        while self._background and (left := end - self._loop.time()) > 0:  # what ends may have begun something more
            await asyncio.wait(set(self._background), timeout=left)
        late = set(self._background)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self.opt_outs.close()
        self.pulse.close()
        await self.leases.close()
        await self.recordings.close()
        await self.journal.close()
        await self.providers.close()
        await self.edge.close()
        await self._files.close()
        if self.turn_model is not None:
            await asyncio.to_thread(self.turn_model.close)

    def background(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Runs work that must outlive the socket it came from; its failure is logged."""
        task = self._loop.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background_done)
        return task

    def _background_done(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", task=task.get_name(), exc_info=error)

    def _judge_voices(self) -> None:
        self.vad.tick()

    def prepare_later(
        self, texts: Iterable[str], *, config: ProviderConfig, fmt: AudioFormat, usage: UsageBook
    ) -> None:
        """Speaks and keeps the texts that are not kept yet, behind everything else."""
        wanted = tuple(texts)
        keys = tuple(phrase_key(text, config=config, fmt=fmt) for text in wanted)
        if keys in self._preparing or all(map(self.phrases.peek, keys)):
            return
        self._preparing.add(keys)
        task = self.background(self._prepare(wanted, config=config, fmt=fmt, usage=usage), "phrases-prepare")
        task.add_done_callback(lambda _: self._preparing.discard(keys))

    async def _prepare(
        self, texts: tuple[str, ...], *, config: ProviderConfig, fmt: AudioFormat, usage: UsageBook
    ) -> None:
        """Beside the calls: a failing voice is logged, a call has its own ways to deal with it."""
        try:
            await prepare(
                texts,
                make=lambda: self.providers.text_to_speech(config, codec=fmt),
                config=config,
                fmt=fmt,
                clocks=self.clocks,
                cache=self.phrases,
                account=lambda report: usage.write(usage.entry("phrase"), report),
            )
        except ProviderError as error:
            log.warning("phrases_not_prepared", kind=error.kind.value, provider=error.provider)

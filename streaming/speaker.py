"""The agent's mouth: segments of text become paced audio on the line.

Owned by one ``session.CallSession``. Synthesis runs ahead of playback by a limited stretch; the pacer decides what
leaves when, the line carries it, checkpoints come back through ``acknowledge``. A segment that fails before it brought
audio is asked of the next voice of the chain; one that breaks later is cut, and what follows is for the next voice.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import msgspec
import structlog

from agents.providers.base import (
    AudioFormat,
    Clocks,
    ProviderConfig,
    SpeechChunk,
    TextToSpeech,
    UsageReport,
    WordTiming,
)
from agents.providers.chain import Attempts, Chain
from agents.providers.clocks import until_first
from agents.providers.errors import ErrorKind, ProviderError
from streaming.audio.loudness import loudest_window
from streaming.audio.pacer import Pacer, PlayAudio
from streaming.conversation.events import Event, Note, SegmentAudio, SegmentHeard, Speak, VoiceFailed, VoicePaused
from streaming.line import Line
from streaming.phrases import Phrase, PhraseCache, phrase_key
from streaming.usage import Purpose, UsageBook
from streaming.voice import speakable, synthesise

log = structlog.get_logger(__name__)

AHEAD_MS = 8000  # audio that a generation may have waiting before its next segment is synthesised
PARALLEL = 2  # segments of one generation in synthesis; ElevenLabs takes five in all
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class _Generation:
    """What the speaker keeps of one utterance of the agent."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self.slots = asyncio.Semaphore(PARALLEL)
        self.waiting_ms: dict[int, int] = {}  # audio of segments that have not been heard to their end
        self.room = asyncio.Event()
        self.room.set()
        self.released = False

    def count(self, segment: int, duration_ms: int) -> None:
        """Notes the audio of a segment; 0 ms when it was heard."""
        self.waiting_ms[segment] = duration_ms
        if sum(self.waiting_ms.values()) <= AHEAD_MS:
            self.room.set()
        else:
            self.room.clear()


class Speaker:
    """Speaks on one line.

    Args:
        make: gives a synthesis session, which the speaker opens and closes; raises ProviderError.
        chain: the agent's voices.
        clocks: scaled.
        feed: the conversation's ear.
        placements: whether what was heard is kept for the recording.
    """

    def __init__(
        self,
        *,
        make: Callable[[ProviderConfig], TextToSpeech],
        chain: Chain,
        line: Line,
        clocks: Clocks,
        phrases: PhraseCache,
        feed: Callable[[Event], None],
        note: Callable[[Note], None],
        usage: UsageBook,
        spawn: Spawn,
        placements: bool,
    ) -> None:
        self._make = make
        self._chain = chain
        self._voices: dict[int, TextToSpeech] = {}
        self._given_up = False  # no voice could be had when one was last needed
        self._line = line
        self._fmt: AudioFormat = line.fmt
        self._clocks = clocks
        self._phrases = phrases
        self._feed = feed
        self._note = note
        self._usage = usage
        self._spawn = spawn
        self._generations: dict[int, _Generation] = {}
        self._dropped: set[int] = set()
        self._connected: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.pacer = Pacer(self._fmt, placements=placements)

    # --- called by the session, never waiting ------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to open a synthesis session, behind the greeting."""
        self._connected = self._spawn(self._connect(), "voice-connect")

    def speak(self, action: Speak) -> None:
        """Begins a segment."""
        if action.generation in self._dropped:
            return
        generation = self._generations.setdefault(action.generation, _Generation())
        if action.phrase:
            phrases = map(self._phrases.peek, self._keys(action.text))
            if (phrase := next(filter(None, phrases), None)) is not None:
                self._whole(action, phrase)
                self._last(action)
                return
        task = self._spawn(self._segment(action, generation), f"voice-{action.generation}-{action.segment}")
        generation.tasks.add(task)
        task.add_done_callback(generation.tasks.discard)
        self._last(action)

    def _last(self, action: Speak) -> None:
        if action.last:
            # The pacer learns of the segment first: a finished generation without it would be over at once.
            self.pacer.add_words(action.generation, action.segment, ())
            self.finish(action.generation)

    def finish(self, generation: int) -> None:
        """No further segment will follow in this generation."""
        if generation not in self._dropped:
            self.pacer.finish(generation)

    def release(self, generation: int) -> None:
        """The generation may be heard."""
        self._generations.setdefault(generation, _Generation()).released = True
        self.pacer.release(generation)

    def hold(self, generation: int) -> None:
        """The generation, of which nothing was sent, is not to be heard yet."""
        self.pacer.hold(generation)

    def cancel(self, generation: int, now_ms: int) -> None:
        """Forgets a generation, and silences the line if it was playing."""
        self._dropped.add(generation)
        state = self._generations.pop(generation, None)
        if state is not None:
            for task in list(state.tasks):
                task.cancel()
        if self.pacer.drop(generation, now_ms) is not None:
            self._line.clear()

    def pause(self, now_ms: int) -> VoicePaused:
        """Silences the line at once; what was not heard is kept."""
        at_carrier = self.pacer.at_carrier(now_ms)
        paused = self.pacer.pause(now_ms)
        if at_carrier:
            self._line.clear()
        return paused

    def resume(self, now_ms: int) -> None:
        """Plays on."""
        self.pacer.resume(now_ms)

    def acknowledge(self, name: str, now_ms: int) -> None:
        """The line has played everything before a checkpoint."""
        self.pacer.acknowledge(name, now_ms)

    def poll(self, now_ms: int) -> None:
        """Sends what is due and tells the conversation what was sent and heard."""
        output = self.pacer.poll(now_ms)
        for item in output.send:
            if isinstance(item, PlayAudio):
                self._line.play(item.audio)
            else:
                self._line.checkpoint(item.name)
        for event in output.events:
            if isinstance(event, SegmentHeard):
                state = self._generations.get(event.generation)
                if state is not None:
                    state.count(event.segment, 0)
            self._feed(event)

    # --- one segment -------------------------------------------------------------------------------------------------

    def _keys(self, text: str) -> list[str]:
        """Of a phrase in every voice, that of the call first: one kept in another voice is better than none."""
        return [self._key(text, choice) for choice in self._chain.order()]

    def _key(self, text: str, choice: int) -> str:
        return phrase_key(text, config=self._chain.configs[choice], fmt=self._fmt)

    def _whole(self, action: Speak, phrase: Phrase) -> None:
        """A segment whose audio is all there."""
        self.pacer.add(action.generation, action.segment, phrase.audio)
        self.pacer.add_words(action.generation, action.segment, phrase.words)
        self.pacer.complete(action.generation, action.segment)
        duration_ms = len(phrase.audio) // self._fmt.bytes_per_ms
        state = self._generations.get(action.generation)
        if state is not None:
            state.count(action.segment, duration_ms)
        loudest = loudest_window(phrase.audio, self._fmt)
        self._feed(
            SegmentAudio(action.generation, action.segment, duration_ms, phrase.words, complete=True, loudest=loudest)
        )

    async def _segment(self, action: Speak, generation: _Generation) -> None:
        if not speakable(action.text):
            self._whole(action, Phrase(b""))
            return
        if action.phrase:
            for key in self._keys(action.text):
                if (phrase := await self._phrases.get(key)) is not None:
                    self._whole(action, phrase)
                    return
            if self._given_up:  # the last words are on their way: nobody waits for voices that have just failed
                self._lost(action, ErrorKind.REFUSED, fatal=True)
                return
        async with generation.slots:
            await generation.room.wait()
            await self._synthesise(action, generation)

    async def _synthesise(self, action: Speak, generation: _Generation) -> None:
        if self._connected is not None:
            await asyncio.wait([self._connected])
        attempts = self._chain.attempts()
        while True:
            spoken = _Spoken()
            silent = False
            try:
                await self._stream(action, generation, attempts, spoken)
            except ProviderError as failed:
                error = failed
            else:
                if spoken.audio:
                    await self._complete(action, attempts.choice, spoken)
                    return
                silent = True
                error = ProviderError(
                    ErrorKind.GARBAGE, provider=attempts.config.provider, stage="tts", detail="no audio came"
                )
            step, goes_on = None, silent
            if spoken.audio:
                goes_on = attempts.broke(error) or error.retryable
            else:
                step = attempts.failed(error, retryable=error.retryable or error.kind is ErrorKind.GARBAGE)
            again = step is not None
            log.warning("voice_failed", kind=error.kind.value, provider=error.provider, again=again)
            self._note(Note("tts_failed", {"kind": error.kind.value, "detail": error.detail, "again": again}))
            if step is None:
                self._given_up = not goes_on and not spoken.audio
                # A voice that spoke, or that answers all the same, may speak the next segment, or another one does.
                self._lost(action, error.kind, fatal=not goes_on)
                return
            await asyncio.sleep(step.wait_s)

    def _lost(self, action: Speak, kind: ErrorKind, *, fatal: bool) -> None:
        """No more audio comes for a segment."""
        # What came is played; without this the segments behind would wait for ever.
        self.pacer.complete(action.generation, action.segment)
        self._feed(VoiceFailed(action.generation, action.segment, kind, fatal=fatal))

    async def _stream(self, action: Speak, generation: _Generation, attempts: Attempts, spoken: "_Spoken") -> None:
        purpose: Purpose = "phrase" if action.phrase else "turn" if generation.released else "speculative"
        entry = self._usage.entry(purpose)
        started = self._loop.time()
        reports: list[UsageReport] = []
        kind = ""
        patience_s = self._chain.switch_s if attempts.others else None
        try:
            chunks = synthesise(
                self._voice(attempts.choice), action.text, fmt=self._fmt, clocks=self._clocks, account=reports.append
            )
            async with until_first(patience_s, config=attempts.config, stage="tts") as came, aclosing(chunks):
                async for chunk in chunks:
                    came()
                    if chunk.audio and not spoken.audio:
                        self._given_up = False
                        attempts.worked(round((self._loop.time() - started) * 1000))
                    self._add(action, generation, chunk, spoken)
        except ProviderError as error:
            kind = error.kind.value
            raise
        finally:
            for report in reports:
                self._usage.write(entry, msgspec.structs.replace(report, error=report.error or kind))

    def _add(self, action: Speak, generation: _Generation, chunk: SpeechChunk, spoken: "_Spoken") -> None:
        spoken.audio += chunk.audio
        spoken.words += chunk.words
        loudest = loudest_window(chunk.audio, self._fmt)
        self.pacer.add(action.generation, action.segment, chunk.audio)
        if chunk.words:
            self.pacer.add_words(action.generation, action.segment, chunk.words)
        duration_ms = len(spoken.audio) // self._fmt.bytes_per_ms
        generation.count(action.segment, duration_ms)
        self._feed(SegmentAudio(action.generation, action.segment, duration_ms, spoken.words, loudest=loudest))

    async def _complete(self, action: Speak, choice: int, spoken: "_Spoken") -> None:
        self.pacer.complete(action.generation, action.segment)
        duration_ms = len(spoken.audio) // self._fmt.bytes_per_ms
        self._feed(SegmentAudio(action.generation, action.segment, duration_ms, spoken.words, complete=True))
        if action.phrase and spoken.audio:
            await self._phrases.put(self._key(action.text, choice), Phrase(bytes(spoken.audio), spoken.words))

    async def _connect(self) -> None:
        """Opens the session of the first voice that lets itself be opened.

        Where none does, the first segment tries again, and tells.
        """
        attempts = self._chain.attempts()
        patience_s = self._clocks.connect + self._clocks.first
        while True:
            config = attempts.config
            try:
                async with until_first(
                    self._chain.switch_s if attempts.others else patience_s, config=config, stage="tts"
                ):
                    await self._voice(attempts.choice).connect()
            except ProviderError as error:
                log.warning("voice_not_connected", kind=error.kind.value, provider=config.provider)
                self._note(Note("tts_not_connected", {"kind": error.kind.value}))
                step = attempts.failed(error) if attempts.others else None
                if step is None:
                    return
                await asyncio.sleep(step.wait_s)
            else:
                return

    async def close(self) -> None:
        """Ends the synthesis sessions."""
        await asyncio.gather(*(voice.close() for voice in self._voices.values()))

    def _voice(self, choice: int) -> TextToSpeech:
        if choice not in self._voices:
            self._voices[choice] = self._make(self._chain.configs[choice])
        return self._voices[choice]


class _Spoken:
    """What an attempt at a segment has brought so far."""

    def __init__(self) -> None:
        self.audio = bytearray()
        self.words: tuple[WordTiming, ...] = ()

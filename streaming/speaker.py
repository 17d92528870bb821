"""The agent's mouth: segments of text become paced audio on the line.

Owned by one ``session.CallSession``. Synthesis runs ahead of playback by a limited stretch; the pacer decides what
leaves when, the line carries it, checkpoints come back through ``acknowledge``.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import structlog

from agents.providers.base import AudioFormat, Clocks, ProviderConfig, TextToSpeech, WordTiming
from agents.providers.errors import ErrorKind, ProviderError
from streaming.audio.pacer import Pacer, PlayAudio
from streaming.conversation.events import Event, Note, SegmentAudio, SegmentHeard, Speak, VoiceFailed, VoicePaused
from streaming.line import Line
from streaming.phrases import Phrase, PhraseCache, phrase_key
from streaming.usage import Purpose, UsageBook
from streaming.voice import speakable, synthesise

log = structlog.get_logger(__name__)

AHEAD_MS = 8000  # audio that a generation may have waiting before its next segment is synthesised
PARALLEL = 2  # segments of one generation in synthesis; ElevenLabs takes five in all
ATTEMPTS = 2
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
        make: gives the call's synthesis session, which the speaker opens and closes; raises ProviderError.
        config: of that session.
        clocks: scaled.
        feed: the conversation's ear.
        placements: whether what was heard is kept for the recording.
    """

    def __init__(
        self,
        *,
        make: Callable[[], TextToSpeech],
        config: ProviderConfig,
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
        self._config = config
        self._tts: TextToSpeech | None = None
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
        self.pacer = Pacer(self._fmt, placements=placements)

    # --- called by the session, never waiting ------------------------------------------------------------------------

    def open(self) -> None:
        """Begins to open the synthesis session, behind the greeting."""
        self._connected = self._spawn(self._connect(), "voice-connect")

    def speak(self, action: Speak) -> None:
        """Begins a segment."""
        if action.generation in self._dropped:
            return
        generation = self._generations.setdefault(action.generation, _Generation())
        if action.phrase:
            phrase = self._phrases.peek(self._key(action.text))
            if phrase is not None:
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

    def _key(self, text: str) -> str:
        return phrase_key(text, config=self._config, fmt=self._fmt)

    def _whole(self, action: Speak, phrase: Phrase) -> None:
        """A segment whose audio is all there."""
        self.pacer.add(action.generation, action.segment, phrase.audio)
        self.pacer.add_words(action.generation, action.segment, phrase.words)
        self.pacer.complete(action.generation, action.segment)
        duration_ms = len(phrase.audio) // self._fmt.bytes_per_ms
        state = self._generations.get(action.generation)
        if state is not None:
            state.count(action.segment, duration_ms)
        self._feed(SegmentAudio(action.generation, action.segment, duration_ms, phrase.words, complete=True))

    async def _segment(self, action: Speak, generation: _Generation) -> None:
        if not speakable(action.text):
            self._whole(action, Phrase(b""))
            return
        if action.phrase:
            phrase = await self._phrases.get(self._key(action.text))
            if phrase is not None:
                self._whole(action, phrase)
                return
        async with generation.slots:
            await generation.room.wait()
            await self._synthesise(action, generation)

    async def _synthesise(self, action: Speak, generation: _Generation) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            spoken = _Spoken()
            silent = False
            try:
                if self._connected is not None:
                    await asyncio.wait([self._connected])
                await self._stream(action, generation, spoken)
            except ProviderError as failed:
                error = failed
            else:
                if spoken.audio:
                    await self._complete(action, spoken)
                    return
                silent = True
                error = ProviderError(
                    ErrorKind.GARBAGE, provider=self._config.provider, stage="tts", detail="no audio came"
                )
            again = (error.retryable or error.kind is ErrorKind.GARBAGE) and not spoken.audio and attempt < ATTEMPTS
            log.warning("voice_failed", kind=error.kind.value, provider=error.provider, again=again)
            self._note(Note("tts_failed", {"kind": error.kind.value, "detail": error.detail, "again": again}))
            if not again:
                # A voice that spoke, or that answers all the same, may speak the next segment.
                fatal = not (silent or (spoken.audio and error.retryable))
                self._feed(VoiceFailed(action.generation, action.segment, error.kind, fatal=fatal))
                # What came is played; without this the segments behind would wait for ever.
                self.pacer.complete(action.generation, action.segment)
                return

    async def _stream(self, action: Speak, generation: _Generation, spoken: "_Spoken") -> None:
        purpose: Purpose = "phrase" if action.phrase else "turn" if generation.released else "speculative"
        entry = self._usage.entry(purpose)
        chunks = synthesise(
            self._ready(),
            action.text,
            fmt=self._fmt,
            clocks=self._clocks,
            account=lambda report: self._usage.write(entry, report),
        )
        async with aclosing(chunks):
            async for chunk in chunks:
                spoken.audio += chunk.audio
                spoken.words += chunk.words
                self.pacer.add(action.generation, action.segment, chunk.audio)
                if chunk.words:
                    self.pacer.add_words(action.generation, action.segment, chunk.words)
                duration_ms = len(spoken.audio) // self._fmt.bytes_per_ms
                generation.count(action.segment, duration_ms)
                self._feed(SegmentAudio(action.generation, action.segment, duration_ms, spoken.words))

    async def _complete(self, action: Speak, spoken: "_Spoken") -> None:
        self.pacer.complete(action.generation, action.segment)
        duration_ms = len(spoken.audio) // self._fmt.bytes_per_ms
        self._feed(SegmentAudio(action.generation, action.segment, duration_ms, spoken.words, complete=True))
        if action.phrase and spoken.audio:
            await self._phrases.put(self._key(action.text), Phrase(bytes(spoken.audio), spoken.words))

    async def _connect(self) -> None:
        """Opens the session; a failure shows when the first segment is spoken, which tries again."""
        try:
            async with asyncio.timeout(self._clocks.connect + self._clocks.first):
                await self._ready().connect()
        except (ProviderError, TimeoutError) as error:
            kind = error.kind.value if isinstance(error, ProviderError) else ErrorKind.TIMEOUT.value
            log.warning("voice_not_connected", kind=kind, provider=self._config.provider)
            self._note(Note("tts_not_connected", {"kind": kind}))

    async def close(self) -> None:
        """Ends the synthesis session."""
        if self._tts is not None:
            await self._tts.close()

    def _ready(self) -> TextToSpeech:
        if self._tts is None:
            self._tts = self._make()
        return self._tts


class _Spoken:
    """What an attempt at a segment has brought so far."""

    def __init__(self) -> None:
        self.audio = bytearray()
        self.words: tuple[WordTiming, ...] = ()

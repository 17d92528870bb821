"""A phone call in virtual time: the real conversation core and the real pacer between a scripted caller and scripted
providers. No clock, no sleep, no randomness: the same script gives the same call, five minutes of it in milliseconds.

The caller follows a script of ``Say``, ``Noise``, ``Press``, ``Type``, ``Wait`` and ``HangUp`` steps. Providers have
the delays that ``facts`` of the field report; each can be told to fail.
"""

import heapq
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from agents.providers.base import MULAW_8K, Message, ToolCall, WordTiming
from agents.providers.errors import ErrorKind
from streaming.audio.pacer import Checkpoint, Pacer, PlayAudio
from streaming.conversation import events
from streaming.conversation.events import Action, Event, Note, SpeechWindow, Started, Tick, WriteTurn
from streaming.conversation.machine import Conversation
from streaming.conversation.plan import ConversationPlan

WINDOW_MS = 32
SPEECH, SILENCE = 0.95, 0.02
# Active speech at a usual level, its window's power; the agent's voice is as loud unless told otherwise.
SPEECH_DBFS, SILENCE_DBFS = -22.0, -70.0
LINE_MS = 30  # one way to the carrier

# --- the caller's script ---------------------------------------------------------------------------------------------
TURN_MODEL_MS = 70
ECHO_MS = 200
OPT_OUT_MS = 50
BACKLOG_MS = 992
BROKEN_MS = 600


@dataclass
class Step:
    """When a step begins. Without any of these: 500 ms after the agent has fallen silent.

    Attributes:
        at: ms on the call's clock.
        after: ms after the agent was last heard (it must have spoken since the step before).
        into: ms after the agent has begun to be heard (since the step before).
        pause: ms after the end of the step before, whatever the agent does.
    """

    at: int | None = field(default=None, kw_only=True)
    after: int | None = field(default=None, kw_only=True)
    into: int | None = field(default=None, kw_only=True)
    pause: int | None = field(default=None, kw_only=True)


@dataclass
class Say(Step):
    """The caller says this, word by word.

    Attributes:
        final: what the STT makes of it in the end, where that differs.
    """

    text: str
    word_ms: int = 280
    final: str | None = None
    seen_by_vad: bool = True
    dbfs: float = SPEECH_DBFS


@dataclass
class Noise(Step):
    """Sound that the VAD takes for speech and the STT finds no words in."""

    ms: int
    probability: float = SPEECH
    dbfs: float = SPEECH_DBFS


@dataclass
class Press(Step):
    """Keys, one after the other."""

    keys: str
    gap_ms: int = 300


@dataclass
class Type(Step):
    """A typed line."""

    text: str


@dataclass
class Wait(Step):
    """Nothing, for so long."""

    ms: int


@dataclass
class HangUp(Step):
    """The caller hangs up."""


@dataclass
class Do(Step):
    """An event from outside."""

    event: Event


# --- the providers' scripts ------------------------------------------------------------------------------------------


@dataclass
class Answer:
    """What the model says to one request."""

    text: str = ""
    tools: Sequence[ToolCall] = ()
    first_ms: int = 350
    chars_per_s: float = 400.0
    reason: str = "stop"
    fails: ErrorKind | None = None
    silent: bool = False  # never says anything


Brain = Callable[[tuple[Message, ...]], Answer]


def brain(*pairs: tuple[str, str | Answer], default: str | Answer = "I see. What else can I do for you?") -> Brain:
    """Answers by what the last message contains, the first pair that fits; sees the whole last message."""

    def answer(messages: tuple[Message, ...]) -> Answer:
        last = messages[-1].content.lower() if messages else ""
        found = next((reply for key, reply in pairs if key.lower() in last), default)
        return Answer(found) if isinstance(found, str) else found

    return answer


@dataclass
class Ears:
    """The STT. ``lost`` commits are never answered; ``ends_itself`` gives finals that no commit asked for."""

    partial_ms: int | None = 150
    final_ms: int = 280
    lost: frozenset[int] = frozenset()
    late: dict[int, int] = field(default_factory=dict)  # commit: its own delay
    ends_itself: bool = False


@dataclass
class Mouth:
    """The TTS. ``ms_per_char`` is its pace of speech.

    Attributes:
        fails: texts that the voice fails of, for good.
        breaks: texts of which only the first ``BROKEN_MS`` come.
        mute: texts that bring no audio.
    """

    first_ms: int = 120
    phrase_ms: int = 2
    real_time_factor: float = 0.2
    ms_per_char: int = 60
    words: bool = True
    fails: Callable[[str], bool] = lambda text: False
    breaks: Callable[[str], bool] = lambda text: False
    mute: Callable[[str], bool] = lambda text: False


@dataclass
class Carrier:
    """The line.

    Attributes:
        acknowledges: False when no checkpoint ever is.
        deaf_to: so many checkpoints, the first ones, are never acknowledged.
        agent_dbfs: how loud the agent's voice is.
        echo_db: how much softer the agent's voice comes back, 200 ms later; None: it does not.
        stall: from when and for how long (ms) nothing comes from the caller; then all of it comes at once.
    """

    acknowledges: bool = True
    deaf_to: int = 0
    agent_dbfs: float = SPEECH_DBFS
    echo_db: float | None = None
    stall: tuple[int, int] = (0, 0)

    def delivers_at(self, ms: int) -> int:
        """When sound of that moment comes."""
        start, length = self.stall
        return start + length if start < ms <= start + length else ms

    def delivered(self, ms: int) -> int:
        """Up to when sound has come by then."""
        start, length = self.stall
        return start if start < ms < start + length else ms


@dataclass
class Word:
    """A spoken word; ``line_ms`` is when the line that it belongs to began."""

    text: str
    line_ms: int
    start_ms: int
    end_ms: int

    def lies_in(self, spans: Sequence[tuple[float, float]]) -> bool:
        """Whether any of it does."""
        return any(start < self.end_ms and self.start_ms < end for start, end in spans)


# --- the call --------------------------------------------------------------------------------------------------------


class Simulation:
    """One simulated call.

    Attributes:
        log: every (time, event or action) of the call, in order.
        turns: what was written, in order.
        requests: what the model was asked.
        ended: why the agent hung up, None when it did not.
        turn_model: what the turn model answers whenever it is asked; None: there is none.
        opts_out: whether somebody who asks for it gets onto the do-not-call list.
    """

    def __init__(
        self,
        plan: ConversationPlan,
        *,
        script: Sequence[Step] = (),
        model: Brain | None = None,
        ears: Ears | None = None,
        mouth: Mouth | None = None,
        carrier: Carrier | None = None,
        tools: dict[str, tuple[int, str]] | None = None,
        resumed: bool = False,
        turn_model: float | None = None,
        opts_out: bool = True,
    ) -> None:
        self.conversation = Conversation(plan)
        self.pacer = Pacer(MULAW_8K)
        self.script = list(script)
        self.model = model or brain()
        self.ears = ears or Ears()
        self.mouth = mouth or Mouth()
        self.carrier = carrier or Carrier()
        self.tools = tools or {}
        self.resumed = resumed
        self.turn_model = turn_model
        self.opts_out = opts_out
        self.now = 0
        self.log: list[tuple[int, Event | Action]] = []
        self.requests: list[events.StartReply] = []
        self.ended: events.EndReason | None = None
        self.ended_ms: int | None = None
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._step = 0
        self._step_from = 0
        self._step_began = -1
        self._agent_since: int | None = None  # from when an utterance is heard that is newer than the last step
        self._agent_until = -1
        self._generation_now = 0
        self._generation_then = 0
        self._released: set[int] = set()
        self._spans: list[tuple[int, int, float, float]] = []
        self._shut: list[tuple[int, float]] = []  # when the STT heard nothing of the caller
        self._checkpoints = 0
        self._words: list[Word] = []
        self._finals_from = 0
        self._cancelled: set[int] = set()
        self._next_window = WINDOW_MS
        self._finals: dict[str, str] = {}
        self._segments: dict[tuple[int, int], str] = {}

    # --- reading the result ------------------------------------------------------------------------------------------

    def actions(self, kind: type) -> list[tuple[int, Action]]:
        return [(at, entry) for at, entry in self.log if type(entry) is kind]

    def notes(self, kind: str) -> list[tuple[int, Note]]:
        return [(at, entry) for at, entry in self.log if isinstance(entry, Note) and entry.kind == kind]

    @property
    def turns(self) -> list[WriteTurn]:
        return [entry for _, entry in self.log if isinstance(entry, WriteTurn)]

    def said_by(self, role: str) -> list[str]:
        return [turn.text if role == "caller" else turn.heard for turn in self.turns if turn.role == role]

    def transcript(self) -> list[tuple[str, str]]:
        return [(turn.role, turn.heard if turn.role == "agent" else turn.text) for turn in self.turns]

    def spoke_at(self, text: str) -> int:
        """When the caller ended saying ``text``'s last word (the latest such line)."""
        last = text.rsplit(maxsplit=1)[-1]
        return next(word.end_ms for word in reversed(self._words) if word.text == last)

    # --- running -----------------------------------------------------------------------------------------------------

    def run(self, until_ms: int = 600_000) -> "Simulation":
        """Runs until the call is over, or for so long."""
        if self.ears.partial_ms is not None and self.carrier.stall[1]:
            self._later(sum(self.carrier.stall) + self.ears.partial_ms, self._partial)
        self._give(Started(resumed=self.resumed))
        while not self.conversation.over and self.now < until_ms:
            self._next(until_ms)
        return self

    def _next(self, until_ms: int) -> None:
        due = [self.carrier.delivers_at(self._next_window), until_ms]
        if self._queue:
            due.append(self._queue[0][0])
        if self.conversation.wake_at_ms is not None:
            due.append(self.conversation.wake_at_ms)
        if self.pacer.next_poll_ms is not None:
            due.append(self.pacer.next_poll_ms)
        start = self._step_due()
        if start is not None:
            due.append(start)
        self.now = max(self.now, min(due))
        while self._queue and self._queue[0][0] <= self.now:
            heapq.heappop(self._queue)[2]()
        if (poll := self.pacer.next_poll_ms) is not None and poll <= self.now:
            self._poll()
        if start is not None and start <= self.now:
            self._take_step()
        if self.carrier.delivers_at(self._next_window) <= self.now:
            # The detector gives up what is older than a second.
            self._next_window += max(0, self.now - self._next_window - BACKLOG_MS) // WINDOW_MS * WINDOW_MS
            self._give(SpeechWindow(*self._sound(self._next_window - WINDOW_MS)), quiet=True)
            self._next_window += WINDOW_MS
        wake = self.conversation.wake_at_ms
        if wake is not None and wake <= self.now:
            self._give(Tick(), quiet=True)
            after = self.conversation.wake_at_ms
            assert after is None or after > self.now, "a tick at its time must move on"

    def _later(self, ms: int, what: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._queue, (self.now + max(0, ms), self._count, what))

    def _give(self, event: Event, *, quiet: bool = False) -> None:
        if not quiet:
            self.log.append((self.now, event))
        for action in self.conversation.handle(event, self.now):
            self.log.append((self.now, action))
            self._carry_out(action)

    # --- the caller --------------------------------------------------------------------------------------------------

    def _step_due(self) -> int | None:
        if self._step >= len(self.script):
            return None
        step = self.script[self._step]
        if step.at is not None:
            return max(step.at, self._step_from)
        if step.pause is not None:
            return self._step_from + step.pause
        if step.into is not None:
            return None if self._agent_since is None else self._agent_since + step.into
        after = 500 if step.after is None else step.after
        if self._agent_until <= self._step_began or self._agent_busy():
            return None
        return max(self._agent_until, self._step_from) + after

    def _agent_busy(self) -> bool:
        """The agent has released something that the caller has not heard to its end."""
        return any(
            generation in self._released and generation not in self._cancelled for generation, _ in self._segments
        )

    def _take_step(self) -> None:
        step = self.script[self._step]
        self._step += 1
        self._agent_since = None
        self._step_began = self.now
        self._generation_then = self._generation_now
        length = 0
        match step:
            case Say():
                words = step.text.split()
                length = len(words) * step.word_ms
                self._spans.append((self.now, self.now + length, SPEECH if step.seen_by_vad else SILENCE, step.dbfs))
                for index, text in enumerate(words):
                    word = Word(text, self.now, self.now + index * step.word_ms, self.now + (index + 1) * step.word_ms)
                    self._words.append(word)
                    if self.ears.partial_ms is not None:
                        self._later((index + 1) * step.word_ms + self.ears.partial_ms, self._partial)
                if step.final is not None:
                    self._finals[step.text] = step.final
                if self.ears.ends_itself:
                    self._later(length + self.ears.final_ms, lambda: self._final(0))
            case Noise():
                length = step.ms
                self._spans.append((self.now, self.now + length, step.probability, step.dbfs))
            case Press():
                length = (len(step.keys) - 1) * step.gap_ms
                for index, key in enumerate(step.keys):
                    self._later(index * step.gap_ms, lambda key=key: self._give(events.Dtmf(key)))
            case Type():
                self._give(events.Typed(step.text))
            case Wait():
                length = step.ms
            case Do():
                self._give(step.event)
            case HangUp():
                self._give(events.HungUp("caller_hung_up"))
        self._step_from = self.now + length

    def _sound(self, at_ms: int) -> tuple[float, float]:
        """Probability of speech, and power."""
        heard = [(level, dbfs) for start, end, level, dbfs in self._spans if start <= at_ms < end]
        level, dbfs = max(heard, default=(SILENCE, SILENCE_DBFS))
        return level, 10 ** (dbfs / 10)

    # --- ears --------------------------------------------------------------------------------------------------------

    def _spoken(self, until_ms: int) -> str:
        callers = [(word.start_ms, word.end_ms) for word in self._words if word.text != "echo"]
        return " ".join(
            word.text
            for word in self._words
            if self._finals_from < word.end_ms <= until_ms
            and not word.lies_in(self._shut)
            and not (word.text == "echo" and word.lies_in(callers))
        )

    def _partial(self) -> None:
        assert self.ears.partial_ms is not None
        text = self._spoken(self.carrier.delivered(self.now - self.ears.partial_ms))
        if text:
            self._give(events.TranscriptPartial(text))

    def _final(self, commit: int, until_ms: int | None = None) -> None:
        until_ms = self.carrier.delivered(self.now if until_ms is None else until_ms)
        text = self._spoken(until_ms)
        text = self._finals.get(text, text)
        self._finals_from = max(self._finals_from, until_ms)
        self._give(events.TranscriptFinal(text, commit))

    # --- carrying out ------------------------------------------------------------------------------------------------

    def _carry_out(self, action: Action) -> None:
        now = self.now
        match action:
            case events.Commit(commit=number):
                if number not in self.ears.lost:
                    delay = self.ears.late.get(number, self.ears.final_ms)
                    self._later(delay, lambda: self._final(number, now))
            case events.ShutEars():
                self._shut.append((now, math.inf))
            case events.OpenEars(back_ms=back_ms):
                self._shut[-1] = (self._shut[-1][0], now - back_ms)
            case events.JudgeTurn():
                if (probability := self.turn_model) is not None:
                    self._later(TURN_MODEL_MS, lambda: self._give(events.TurnProbability(probability)))
            case events.StartReply():
                self.requests.append(action)
                self._think(action)
            case events.CancelGeneration(generation=generation):
                self._cancelled.add(generation)
                if self.pacer.drop(generation, now) is not None:
                    self._no_echo()
            case events.Speak():
                self._synthesise(action)
            case events.FinishVoice(generation=generation):
                self.pacer.finish(generation)
            case events.HoldVoice(generation=generation):
                self.pacer.hold(generation)
            case events.ReleaseVoice(generation=generation):
                self._released.add(generation)
                self.pacer.release(generation)
            case events.PauseVoice():
                self._no_echo()
                self._give(self.pacer.pause(now))
            case events.ResumeVoice():
                self.pacer.resume(now)
            case events.RunTool(generation=generation, call=call):
                delay, content = self.tools.get(call.name, (300, "done"))
                result = events.ToolResult(generation, call.id, content)
                if delay >= 0:
                    self._later(delay, lambda: self._give(result))
            case events.OptOut():
                self._later(OPT_OUT_MS, lambda: self._give(events.OptedOut(self.opts_out)))
            case events.EndCall(reason=reason):
                self.ended, self.ended_ms = reason, now

    def _think(self, action: events.StartReply) -> None:
        answer = self.model(action.messages)
        generation = action.generation
        if answer.silent:
            return
        at = answer.first_ms
        for token in re.findall(r"\S+\s*", answer.text):
            self._to_model(generation, at, events.ReplyText(generation, token))
            at += int(len(token) / answer.chars_per_s * 1000)
        for call in answer.tools:
            self._to_model(generation, at, events.ReplyTool(generation, call))
        if answer.fails is not None:
            self._to_model(generation, at, events.ReplyFailed(generation, answer.fails))
        else:
            self._to_model(generation, at, events.ReplyDone(generation, answer.reason))

    def _to_model(self, generation: int, at: int, event: Event) -> None:
        self._later(at, lambda: None if generation in self._cancelled else self._give(event))

    def _synthesise(self, action: events.Speak) -> None:
        generation, segment, text = action.generation, action.segment, action.text
        self._segments[generation, segment] = text
        first = self.mouth.phrase_ms if action.phrase else self.mouth.first_ms
        if self.mouth.fails(text):
            failure = events.VoiceFailed(generation, segment, ErrorKind.SERVER_ERROR)
            self._later(first, lambda: None if generation in self._cancelled else self._give(failure))
            if action.last:
                self.pacer.finish(generation)
            return
        duration = max(200, len(text) * self.mouth.ms_per_char)
        words: list[WordTiming] = []
        at = 0
        for word in text.split() if self.mouth.words else []:
            end = at + (len(word) + 1) * self.mouth.ms_per_char
            words.append(WordTiming(word, at, end))
            at = end

        def begin() -> None:
            self._audio(action, min(duration, 200), 0, tuple(words[:1]), complete=duration <= 200)

        def rest() -> None:
            self._audio(action, duration, min(duration, 200), tuple(words), complete=True)

        def break_off() -> None:
            if generation not in self._cancelled:
                kind = ErrorKind.GARBAGE if self.mouth.mute(text) else ErrorKind.DROPPED
                self._give(events.VoiceFailed(generation, segment, kind, fatal=False))
                self.pacer.complete(generation, segment)

        if self.mouth.breaks(text):
            known = tuple(word for word in words if word.start_ms < BROKEN_MS)
            self._later(first, lambda: self._audio(action, BROKEN_MS, 0, known, complete=False))
        elif not self.mouth.mute(text):
            self._later(first, begin)
        if self.mouth.breaks(text) or self.mouth.mute(text):
            self._later(first + 50, break_off)
        elif duration > 200:
            self._later(first + (0 if action.phrase else int(duration * self.mouth.real_time_factor)), rest)
        if action.last:
            self.pacer.add_words(generation, segment, ())
            self.pacer.finish(generation)

    def _audio(
        self, action: events.Speak, duration: int, before: int, words: tuple[WordTiming, ...], *, complete: bool
    ) -> None:
        if action.generation in self._cancelled:
            return
        self.pacer.add(action.generation, action.segment, b"\x7f" * ((duration - before) * 8))
        self.pacer.add_words(action.generation, action.segment, words)
        if complete:
            self.pacer.complete(action.generation, action.segment)
        loudest = 10 ** (self.carrier.agent_dbfs / 10)
        self._give(events.SegmentAudio(action.generation, action.segment, duration, words, complete, loudest))

    def _poll(self) -> None:
        output = self.pacer.poll(self.now)
        for item in output.send:
            match item:
                case PlayAudio(generation=generation, plays_at_ms=plays_at):
                    self._echo(item)
                    self._generation_now = generation
                    if self._agent_since is None and generation > self._generation_then:
                        self._agent_since = plays_at
                case Checkpoint(name=name):
                    self._checkpoints += 1
                    if self.carrier.acknowledges and self._checkpoints > self.carrier.deaf_to:
                        self._acknowledge(name, item)
        for event in output.events:
            if isinstance(event, events.SegmentHeard):
                self._segments.pop((event.generation, event.segment), None)
                self._agent_until = self.now
            self._give(event)

    def _echo(self, item: PlayAudio) -> None:
        """What is played comes back to the caller's microphone, as speech to the VAD and as words to the STT."""
        if self.carrier.echo_db is None:
            return
        start = item.plays_at_ms + ECHO_MS
        end = start + len(item.audio) // 8
        self._spans.append((start, end, SPEECH, self.carrier.agent_dbfs + self.carrier.echo_db))
        self._words.append(Word("echo", start, start, end))
        assert self.ears.partial_ms is not None
        self._later(end + self.ears.partial_ms - self.now, self._partial)

    def _no_echo(self) -> None:
        """What was to be played is cleared, and does not come back."""
        last = self.now + ECHO_MS
        self._spans = [span for span in self._spans if span[0] < last or span[3] >= SPEECH_DBFS]
        self._words = [word for word in self._words if word.start_ms < last or word.text != "echo"]

    def _acknowledge(self, name: str, item: Checkpoint) -> None:
        """Plivo acknowledges once everything before the checkpoint was played, and never what was cleared."""

        def played() -> None:
            position = self.pacer.position(self.now)
            if position is not None and position[:2] == (item.generation, item.segment):
                self._later(20, played)
            else:
                self.pacer.acknowledge(name, self.now)

        self._later(LINE_MS, played)

"""The bar for noise: how often what is around the caller makes the agent pause, and whether it ever gives up a reply;
and the other side of it, how soon a caller who speaks up in that noise silences the agent.

Offline and in virtual time: the real detector on the audio, the real conversation and pacer behind it. The agent tells
one thing after another for as long as the noise lasts; the recogniser finds no word in it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from agents.providers.base import MULAW_8K
from benchmarks.figures import percentile
from benchmarks.noises import KINDS, RATE, Wave, active
from sandbox import audio
from sandbox.voice import say
from streaming.audio.codecs import samples_to_mulaw
from streaming.audio.pacer import Checkpoint, Pacer
from streaming.audio.vad import VadHub
from streaming.conversation import events
from streaming.conversation.events import Action, Event, SpeechWindow
from streaming.conversation.machine import Conversation
from streaming.conversation.plan import ConversationPlan
from streaming.conversation.utterance import WINDOW_MS

SECONDS = 60
UNDER_SPEECH_DB = 15.0
# A loud, a usual and a soft caller: active speech at -20, -26 and -32 dBFS.
SPEECH_DBFS = (-20.0, -26.0, -32.0)
SEEDS = (1, 2, 3)
SPEAKS_UP_S = 8
AGENT_LOUDEST = 10 ** (-13 / 10)  # power of the loudest window of the agent's voice, whose echo might come back
INTERRUPTION = "Wait, I would like to ask you something else."
MOST_PAUSES = {"white": 1, "street": 1, "babble": 4}

FRAME = RATE // 50
QUIET_MS = 1000
LINE_DBFS = -65.0
QUESTION = "Tell me about your tables."
MS_PER_CHARACTER = 60
# Utterances of five to seven seconds: the agent's own limit of pauses in one utterance hardly ever helps it.
SAID = (
    "We have a table by the window at seven, and there is a quieter one in the garden room as well.",
    "In the evening it is a little louder by the window, because of the bar. Most guests like the garden better.",
    "The kitchen is open until ten. On Sundays we close earlier, at nine, so please come a little before that.",
)


@dataclass(frozen=True)
class Disturbed:
    """What became of the agent's voice in a noise.

    Attributes:
        pauses: how often it was silenced.
        cancelled: replies that it gave up.
        silent_ms: how long it was silenced, all in all.
    """

    pauses: int
    cancelled: int
    silent_ms: int

    def __str__(self) -> str:
        """For a reader."""
        return f"{self.pauses} pauses of {self.silent_ms / 1000:.1f} s, {self.cancelled} replies cancelled"


def on_the_line(noise: Wave, *, speech_dbfs: float) -> audio.Samples:
    """A caller asks at that level (RMS of the active speech), then there is the noise alone; 8 kHz."""
    question = active(say(QUESTION, "en-us+f3"))
    quiet = np.zeros(QUIET_MS * RATE // 1000)
    softer = noise * 10 ** (-UNDER_SPEECH_DB / 20)
    line = np.concatenate([quiet, question, quiet, softer]) * 32768 * 10 ** (speech_dbfs / 20)
    line += audio.noise(line.size * 1000 / RATE, RATE, level_dbfs=LINE_DBFS)
    return np.clip(line, -32768, 32767).astype(np.int16)


def windows(samples: audio.Samples) -> list[SpeechWindow]:
    """What the detector says of each 32 ms of a caller's audio, which comes in frames of mu-law."""
    heard: list[SpeechWindow] = []
    hub = VadHub()
    lane = hub.attach(MULAW_8K, lambda probability: heard.append(SpeechWindow(probability, lane.power)))
    for start in range(0, samples.size, FRAME):
        lane.feed(samples_to_mulaw(samples[start : start + FRAME]))
        hub.tick()
    return heard


class Monologue:
    """An agent that always has something to say, in virtual time."""

    def __init__(self) -> None:
        self._conversation = Conversation(ConversationPlan(reprompts=(), max_call_ms=3_600_000))
        self._pacer = Pacer(MULAW_8K)
        self._now = 0
        self._told = 0
        self._played: list[tuple[int, Checkpoint]] = []
        self.log: list[tuple[int, Action]] = []
        self._give(events.Started())

    def hear(self, heard: Sequence[SpeechWindow]) -> None:
        """Goes on while the caller's side sounds like this."""
        for window in heard:
            end = self._now + WINDOW_MS
            while (due := self._due(end)) is not None:
                self._now = max(self._now, due)
                self._work()
            self._now = end
            self._give(window)
            if self._finished():
                self._give(events.Typed("Go on."))

    def _finished(self) -> bool:
        turns = [action for _, action in self.log if isinstance(action, events.WriteTurn) and action.role == "agent"]
        return self._told == len(turns) > 0

    def _due(self, end: int) -> int | None:
        moments = [self._conversation.wake_at_ms, self._pacer.next_poll_ms, *(at for at, _ in self._played[:1])]
        return min((moment for moment in moments if moment is not None and moment <= end), default=None)

    def _work(self) -> None:
        while self._played and self._played[0][0] <= self._now:
            at, checkpoint = self._played.pop(0)
            position = self._pacer.position(self._now)
            if position is not None and position[:2] == (checkpoint.generation, checkpoint.segment):
                self._played.append((at + WINDOW_MS, checkpoint))
            else:
                self._pacer.acknowledge(checkpoint.name, self._now)
        output = self._pacer.poll(self._now)
        self._played += [(self._now, item) for item in output.send if isinstance(item, Checkpoint)]
        for event in output.events:
            self._give(event)
        self._give(events.Tick())

    def _give(self, event: Event) -> None:
        for action in self._conversation.handle(event, self._now):
            self.log.append((self._now, action))
            for answer in self._answers(action):
                self._give(answer)

    def _answers(self, action: Action) -> Iterator[Event]:
        match action:
            case events.Commit(commit=number):
                words = "" if self._told else QUESTION
                yield events.TranscriptPartial(words)
                yield events.TranscriptFinal(words, number)
            case events.StartReply(generation=generation):
                yield events.ReplyText(generation, SAID[self._told % len(SAID)])
                yield events.ReplyDone(generation, "stop")
            case events.Speak(generation=generation, segment=segment, text=text):
                length = len(text) * MS_PER_CHARACTER
                self._pacer.add(generation, segment, b"\x7f" * (length * MULAW_8K.bytes_per_ms))
                self._pacer.complete(generation, segment)
                if action.last:
                    self._pacer.finish(generation)
                yield events.SegmentAudio(generation, segment, length, complete=True, loudest=AGENT_LOUDEST)
            case events.FinishVoice(generation=generation):
                self._pacer.finish(generation)
            case events.ReleaseVoice(generation=generation):
                self._told += 1
                self._pacer.release(generation)
            case events.CancelGeneration(generation=generation):
                self._pacer.drop(generation, self._now)
            case events.PauseVoice():
                yield self._pacer.pause(self._now)
            case events.ResumeVoice():
                self._pacer.resume(self._now)


def disturbed(heard: Sequence[SpeechWindow]) -> Disturbed:
    """What the agent does while the caller's side sounds like this."""
    agent = Monologue()
    agent.hear(heard)
    paused_ms, silent_ms, pauses, cancelled = None, 0, 0, 0
    for at, action in agent.log:
        match action:
            case events.PauseVoice():
                pauses, paused_ms = pauses + 1, at
            case events.ResumeVoice() if paused_ms is not None:
                silent_ms, paused_ms = silent_ms + at - paused_ms, None
            case events.WriteTurn(role="agent", interrupted=True):
                cancelled += 1
    if paused_ms is not None:
        silent_ms += len(heard) * WINDOW_MS - paused_ms
    return Disturbed(pauses, cancelled, silent_ms)


def speaks_up(noise: Wave, *, speech_dbfs: float) -> float:
    """From the first sound of a caller who speaks over the agent's voice in this noise until it is silenced, in ms.

    Infinity when it never is.
    """
    line = on_the_line(noise, speech_dbfs=speech_dbfs).astype(np.float64)
    speech = active(say(INTERRUPTION, "en-us+m3")) * 32768 * 10 ** (speech_dbfs / 20)
    at = line.size - noise.size // 2
    line[at : at + speech.size] += speech
    agent = Monologue()
    agent.hear(windows(np.clip(line, -32768, 32767).astype(np.int16)))
    onset_ms = at * 1000 / RATE
    pauses = (now for now, action in agent.log if isinstance(action, events.PauseVoice) and now >= onset_ms)
    return next(pauses, float("inf")) - onset_ms


def measure() -> tuple[str, bool]:
    """The worst minute of each kind of noise, at three levels of speech, and how soon a caller is noticed in it."""
    texts, holds = [], True
    for kind, make in KINDS.items():
        cases = [(seed, dbfs) for seed in SEEDS for dbfs in SPEECH_DBFS]
        lines = [windows(on_the_line(make(SECONDS, seed), speech_dbfs=dbfs)) for seed, dbfs in cases]
        found = _worst(disturbed(line) for line in lines)
        alone = _worst(disturbed([SpeechWindow(window.probability) for window in line]) for line in lines)
        noticed = [speaks_up(make(SPEAKS_UP_S, seed), speech_dbfs=dbfs) for seed, dbfs in cases]
        texts.append(
            f"{kind}: {found} (by the detector alone {alone}), "
            f"a caller noticed after {percentile(noticed, 50):.0f} ms, p95 {percentile(noticed, 95):.0f} ms"
        )
        holds = holds and found.pauses <= MOST_PAUSES[kind] and not found.cancelled
    return "; ".join(texts), holds


def _worst(minutes: Iterable[Disturbed]) -> Disturbed:
    minutes = list(minutes)
    return Disturbed(
        *(max(getattr(minute, name) for minute in minutes) for name in ("pauses", "cancelled", "silent_ms"))
    )

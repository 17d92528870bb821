"""Scenes of a telephone call, played all at once over real sockets, and what the simulated phone heard of each.

A scene is a caller's script with the faults of its line; ``play`` rings the agent with each and gives an ``Act`` for
each: the sandbox's report, the audio of both sides, and the rows that Parley wrote.
"""

import asyncio
import base64
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sandbox import audio, voice
from sandbox.grammar import scenario
from sandbox.resampling import convert_rate
from streaming.conversation.segmenter import Segmenter
from tests.integration.house import CALLED, House, until
from tests.streaming.audio.speech import prompt

RATE = 8000
FRAME_MS = 10
AUDIBLE_RMS = 120.0
# A voice's own pauses, between sentences and within them, are shorter.
PAUSE_MS = 450.0
LEVEL_RMS = 3500.0
SCENARIO = "telephone_manners"
LATE_EVERY_S = 0.005
PROCESSES = 3
LINES = 6  # the sandbox really decodes what callers say

Step = Any
FINISHES = {"wait_agent_finishes": {"timeout_ms": 40_000, "silence_ms": 700}}


def sounds(samples: audio.Samples, text: str) -> Step:
    """A step in which the caller makes this sound (8 kHz)."""
    return {"say": {"wav": base64.b64encode(audio.wav_bytes(samples, RATE)).decode(), "text": text}}


def says(text: str, *, pace: int = 175) -> Step:
    """A step in which the caller says this in espeak-ng's voice, as quickly as people do."""
    speech = voice.say(text, "en-us+f2", pace)
    samples = audio.trim(convert_rate(speech.samples, speech.rate, RATE), RATE)
    return sounds(np.rint(samples * (LEVEL_RMS / audio.rms(samples))).astype(np.int16), text)


def human(*prompts: str, text: str) -> Step:
    """A step in which a human voice says this: prompts of Asterisk, one after the other."""
    pause = np.zeros(60 * RATE // 1000, np.int16)
    pieces = [piece for name in prompts for piece in (prompt(name), pause)]
    return sounds(np.concatenate(pieces[:-1]), text)


@dataclass(frozen=True)
class Scene:
    """What one caller does, and what is wrong with the line."""

    steps: tuple[Step, ...]
    faults: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Turn:
    """A turn as Parley wrote it."""

    role: str
    kind: str
    text: str
    heard: str
    interrupted: bool
    end_reason: str


@dataclass(frozen=True)
class Act:
    """A scene that was played. Times in ms since the call was answered.

    Attributes:
        late_ms: by how much a busy machine may have delayed what is measured: phone, server and provider, each as late
            as this process was woken up at the worst.
    """

    report: dict[str, Any]
    said: audio.Samples
    heard: audio.Samples
    turns: tuple[Turn, ...]
    events: tuple[str, ...]
    status: tuple[str, str]
    late_ms: float

    # --- what Parley wrote -------------------------------------------------------------------------------------------

    def texts(self, role: str) -> list[str]:
        """What a side said, as far as it was heard, turn by turn; fillers left out."""
        turns = [turn for turn in self.turns if turn.role == role and turn.kind != "filler"]
        return [turn.heard if role == "agent" else turn.text for turn in turns]

    # --- what the phone heard ----------------------------------------------------------------------------------------

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The caller's utterances."""
        return [entry for entry in self.report["caller"]["log"] if "speech_end_ms" in entry]

    def line(self, text: str) -> dict[str, Any]:
        """The first utterance of this text."""
        return next(entry for entry in self.lines if entry["text"] == text)

    @property
    def streams(self) -> list[dict[str, Any]]:
        return list(self.report["streams"])

    @property
    def cleared(self) -> list[dict[str, Any]]:
        """Every ``clearAudio``."""
        return [clear for stream in self.streams for clear in stream["playout"]["cleared"]]

    @property
    def pauses(self) -> list[float]:
        """How long the agent was silenced each time that it went on afterwards, in ms."""
        return [gap["ms"] for stream in self.streams for gap in stream["playout"]["gaps"] if gap["after_clear"]]

    @property
    def hung_up_ms(self) -> float:
        """When the last stream ended."""
        return float(self.streams[-1]["connections"][-1]["closed_ms"])

    def played_ms(self, start_ms: float, end_ms: float) -> float:
        """How much of the agent was played in between, its silences included."""
        played = [piece for stream in self.streams for piece in stream["playout"]["played"]]
        parts = (min(end_ms, piece["end_ms"]) - max(start_ms, piece["start_ms"]) for piece in played)
        return sum(part for part in parts if part > 0)

    def agent(self) -> list[tuple[float, float]]:
        """The stretches of the agent's voice."""
        return stretches(self.heard)

    def answer_ms(self, line: dict[str, Any]) -> float:
        """From the end of an utterance to the first sound of the agent after it."""
        return next(start for start, _ in self.agent() if start > line["speech_end_ms"]) - line["speech_end_ms"]

    def silences(self) -> list[float]:
        """How long neither side made a sound, each time before somebody spoke again."""
        both = sorted([*stretches(self.said), *self.agent()])
        ends = itertools.accumulate((end for _, end in both), max)
        return [start - end for end, (start, _) in zip(ends, both[1:], strict=False)]

    def silenced_ms(self, line: dict[str, Any]) -> float:
        """From the first sound of an utterance over the agent's voice to the last one of that voice."""
        loud = levels(self.heard) >= AUDIBLE_RMS
        onset = int(line["onset_ms"] // FRAME_MS)
        until = onset + int(PAUSE_MS // FRAME_MS)
        last = np.flatnonzero(loud[onset:until])
        return float((last[-1] + 1) * FRAME_MS) if last.size else 0.0


def levels(samples: audio.Samples) -> np.ndarray:
    """RMS of each 10 ms."""
    size = RATE * FRAME_MS // 1000
    frames = samples[: samples.size - samples.size % size].reshape(-1, size).astype(np.float64)
    return np.sqrt(np.mean(frames**2, axis=1))


def stretches(samples: audio.Samples) -> list[tuple[float, float]]:
    """(start, end) in ms of what can be heard; a voice's own pauses do not end a stretch."""
    found: list[tuple[float, float]] = []
    for frame in np.flatnonzero(levels(samples) >= AUDIBLE_RMS):
        start, end = float(frame * FRAME_MS), float((frame + 1) * FRAME_MS)
        if found and start - found[-1][1] < PAUSE_MS:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def words_said(text: str, played_ms: float) -> int:
    """How many words of a reply in the sandbox's voice had been said after so much of it."""
    segmenter = Segmenter()
    count, at = 0, 0.0
    for piece in [*segmenter.feed(text), *segmenter.flush()]:
        speech = voice.synthesise(piece, voice.BY_ID["demo"])
        for word in speech.words:
            if at + word.end_ms > played_ms:
                return count + len(piece[: word.start].split())
        count, at = count + len(piece.split()), at + speech.duration_ms
    return count


def length_ms(text: str) -> float:
    """How long a reply takes in the sandbox's voice."""
    segmenter = Segmenter()
    pieces = [*segmenter.feed(text), *segmenter.flush()]
    return sum(voice.synthesise(piece, voice.BY_ID["demo"]).duration_ms for piece in pieces)


@asynccontextmanager
async def lateness() -> AsyncIterator[list[float]]:
    """How late this process is woken up, ms: what a busy machine does to everything that is measured."""
    late = [0.0]

    async def watch() -> None:
        while True:
            due = time.perf_counter() + LATE_EVERY_S
            await asyncio.sleep(LATE_EVERY_S)
            late.append((time.perf_counter() - due) * 1000)

    watching = asyncio.create_task(watch())
    try:
        yield late
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def play(built: House, scenes: Mapping[str, Scene]) -> dict[str, Act]:
    """Rings with every scene, as many at once as two cores bear; what became of each."""
    lines = asyncio.Semaphore(LINES)

    async def ring(scene: Scene) -> Act:
        async with lines, lateness() as late:
            return await _play(built, scene, late)

    acts = await asyncio.gather(*(ring(scene) for scene in scenes.values()))
    return dict(zip(scenes, acts, strict=True))


async def _play(built: House, scene: Scene, late: list[float]) -> Act:
    caller = scenario(SCENARIO)["caller"]
    script = {"scenario": SCENARIO, "voice": caller["voice"], "lines": caller["lines"]}
    script["steps"] = [*scene.steps, "hangup"]
    call_uuid = await built.control.inbound_call(CALLED.lstrip("+"), script=script, faults=dict(scene.faults))
    report = await built.control.report(call_uuid, wait="ended", timeout_s=120)
    await until(lambda: built.call(call_uuid)["status"] == "ended", 10, "the call's end was not written")
    stereo, _ = audio.read_wav(await built.control.audio(call_uuid))
    call = built.call(call_uuid)
    turns = built.rows(
        'SELECT role, kind, text, heard, interrupted, end_reason FROM calls_turn WHERE call_id = ? ORDER BY "index"',
        call["id"],
    )
    events = built.rows("SELECT kind FROM calls_callevent WHERE call_id = ? ORDER BY at, id", call["id"])
    return Act(
        report=report,
        said=stereo[:, 0],
        heard=stereo[:, 1],
        turns=tuple(Turn(*row[:4], bool(row[4]), row[5]) for row in turns),
        events=tuple(kind for (kind,) in events),
        status=(call["status"], call["end_reason"]),
        late_ms=PROCESSES * max(late),
    )

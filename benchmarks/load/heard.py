"""What one caller experienced, computed from when it spoke and what its phone played: pure, no clock.

All times are ms since the caller's stream began; ``caller`` fills a ``CallLog``, ``report`` adds the calls up.
"""

import itertools
import statistics
from dataclasses import dataclass, field

import numpy as np

from sandbox import audio
from sandbox.plivo.playout import Chunk, Playout

PER_MS = 8
AUDIBLE = 200  # of int16: about -44 dBFS
UTTERANCE_HOLE_MS = 200.0  # silence after which a voice that was talked over counts as silent


@dataclass(frozen=True)
class Said:
    """One utterance of the caller.

    Attributes:
        onset_ms, end_ms: its first and last sound, when they left the phone.
        over_agent: spoken over the agent's voice.
        clip: which one, of its kind.
        phase: samples of the stream before its first, modulo the detector's window.
    """

    onset_ms: float
    end_ms: float
    over_agent: bool
    clip: int
    phase: int


@dataclass(frozen=True)
class Arrival:
    """One piece of agent audio: when it came, and when it was played, if at all."""

    at_ms: float
    plays_ms: float
    length_ms: float


@dataclass
class CallLog:
    """What happened on one call."""

    playout: Playout
    said: list[Said] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    clears_ms: list[float] = field(default_factory=list)


@dataclass
class Experience:
    """Figures of one call, or of several together; lists of ms.

    Attributes:
        responses: from the caller's last sound to the first audible sound of the answer, after a question.
        turns: (clip, phase, response) of the same.
        clears: from the caller's first sound over the agent's voice to ``clearAudio``.
        silences: from the same to the end of the agent's voice.
        gaps: holes inside an answer.
        late: by how much pieces came after their sender's own cadence.
        unanswered: questions without an answer.
        undisturbed: interruptions that brought no ``clearAudio``.
    """

    responses: list[float] = field(default_factory=list)
    turns: list[tuple[int, int, float]] = field(default_factory=list)
    clears: list[float] = field(default_factory=list)
    silences: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    unanswered: int = 0
    undisturbed: int = 0

    def add(self, other: "Experience") -> None:
        """Adds another call's."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


def audible_from(chunk: Chunk) -> float | None:
    """When the first audible sound of a piece is heard; None: there is none in it."""
    loud = np.flatnonzero(np.abs(audio.mulaw_decode(chunk.data).astype(np.int32)) >= AUDIBLE)
    return (chunk.start + int(loud[0])) / PER_MS if loud.size else None


def experience(log: CallLog, *, begin_ms: float, end_ms: float, patience_ms: float) -> Experience:
    """What counts between ``begin_ms`` and ``end_ms``.

    Args:
        patience_ms: an answer that has not come so long after a question will not come.
    """
    found = Experience()
    for index, said in enumerate(log.said):
        if not begin_ms <= said.onset_ms < end_ms:
            continue
        until = log.said[index + 1].onset_ms if index + 1 < len(log.said) else float("inf")
        if said.over_agent:
            _interruption(log, said, found)
        answer = _answer(log, said, until)
        heard_ms = next((at for chunk in answer if (at := audible_from(chunk)) is not None), None)
        if heard_ms is None:
            if not said.over_agent and min(end_ms, until) - said.end_ms >= patience_ms:
                found.unanswered += 1
            continue
        if not said.over_agent:
            found.responses.append(heard_ms - said.end_ms)
            found.turns.append((said.clip, said.phase, heard_ms - said.end_ms))
        found.gaps += _gaps(answer)
        found.late += lateness([each for each in log.arrivals if said.end_ms <= each.at_ms < until])
    return found


def _answer(log: CallLog, said: Said, until: float) -> list[Chunk]:
    """The pieces played after the utterance; after an interruption, those after the voice that was talked over."""
    after = said.end_ms if said.over_agent else said.onset_ms
    return [chunk for chunk in log.playout.chunks if after * PER_MS <= chunk.start < until * PER_MS]


def _interruption(log: CallLog, said: Said, found: Experience) -> None:
    clear = next((at for at in log.clears_ms if said.onset_ms <= at < said.end_ms + 1000), None)
    if clear is None:
        found.undisturbed += 1
        return
    found.clears.append(clear - said.onset_ms)
    silent = said.onset_ms
    for chunk in log.playout.chunks:
        if chunk.end <= said.onset_ms * PER_MS:
            continue
        if chunk.start / PER_MS - silent > UTTERANCE_HOLE_MS:
            break
        silent = chunk.end / PER_MS
    found.silences.append(silent - said.onset_ms)


def _gaps(answer: list[Chunk]) -> list[float]:
    holes = (after.start - before.end for before, after in itertools.pairwise(answer))
    return [hole / PER_MS for hole in holes if hole > 0]


def lateness(pieces: list[Arrival]) -> list[float]:
    """By how much each piece of an answer came later than its sender's cadence had it; the first is never late.

    The cadence is the median distance between the arrival of a piece and its place in the answer, so a sender that
    keeps a lead is measured by its lead, and one that sends in real time by the clock.
    """
    if not pieces:
        return []
    places = np.cumsum([0.0, *(piece.length_ms for piece in pieces[:-1])])
    first = pieces[0].at_ms
    distance = statistics.median(piece.at_ms - first - place for piece, place in zip(pieces, places, strict=True))
    due = (first + max(0.0, place + distance) for place in places)
    return [max(0.0, piece.at_ms - moment) for piece, moment in zip(pieces, due, strict=True)]

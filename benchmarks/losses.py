"""What the log lacks of a call: audio that was said or heard and is silent on the recording, turns that have no row.

Pure; used by ``benchmarks.kill``. All times are ms on the simulated phone's clock, which counts from the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RATE = 8000
FRAME_MS = 20
LOUD_RMS = 200.0
JOIN_MS = 400  # a shorter quiet belongs to the same stretch of voice
REACH_MS = 400  # how far a stretch may lie from where it is expected on the recording
KEPT_SHARE = 0.5  # of a frame's level that must be on the recording
_FRAME = RATE * FRAME_MS // 1000
_REACH = RATE * REACH_MS // 1000

Samples = NDArray[np.int16]


@dataclass(frozen=True)
class Span:
    """From when to when somebody spoke."""

    start_ms: float
    end_ms: float

    def meets(self, other: "Span") -> bool:
        """Whether the two share any time."""
        return self.start_ms < other.end_ms and other.start_ms < self.end_ms


def lost_voice(said: Samples, recorded: Samples, *, offset_ms: float) -> list[int]:
    """When the voiced frames of 20 ms began that were said and are not on the recording.

    Each stretch of voice is looked for around its place, so that a recording that is a little early or late loses
    nothing by that; a frame is lost when less than half of its level is there.

    Args:
        said: the true track, from the answer on, at 8 kHz.
        recorded: the same track of the recording, at 8 kHz.
        offset_ms: when the recording begins.
    """
    levels = _levels(said)
    lost: list[int] = []
    for first, last in _stretches(levels):
        stretch = said[first * _FRAME : last * _FRAME]
        found = _nearest(stretch, recorded, first * _FRAME - round(offset_ms * RATE / 1000))
        there = _levels(found) >= KEPT_SHARE * levels[first:last]
        voiced = levels[first:last] >= LOUD_RMS
        lost += [int(first + frame) * FRAME_MS for frame in np.flatnonzero(voiced & ~there)]
    return lost


def voiced_ms(said: Samples, until_ms: float) -> int:
    """How much voice there was by then."""
    return int(np.count_nonzero(_levels(said)[: int(until_ms // FRAME_MS)] >= LOUD_RMS)) * FRAME_MS


def ended_turns(lines: Sequence[Span], voice: Sequence[Span], *, before_ms: float) -> tuple[list[Span], list[Span]]:
    """The turns of caller and agent that had ended by then, as somebody who only listens can tell.

    A caller's line has ended as a turn at the latest when its answer begins; an agent's answer is over when its last
    stretch is, which is certain once the caller's next line begins, or when nothing more was to be played.

    Args:
        lines: what the caller said, in order.
        voice: the stretches of the agent's voice, in order; without a last one that was cut short.
    """
    caller: list[Span] = []
    agent: list[Span] = []
    begins = [0.0, *(line.end_ms for line in lines)]
    ends = [*(line.start_ms for line in lines), float("inf")]
    for number, (begin, end) in enumerate(zip(begins, ends, strict=True)):
        answer = [stretch for stretch in voice if begin <= stretch.start_ms < end]
        if number and answer and answer[0].start_ms <= before_ms:
            caller.append(lines[number - 1])
        if answer and answer[-1].end_ms <= before_ms:
            agent.append(Span(answer[0].start_ms, answer[-1].end_ms))
    return caller, agent


def _levels(samples: Samples) -> NDArray[np.float64]:
    """RMS of each whole frame."""
    frames = samples[: samples.size // _FRAME * _FRAME].reshape(-1, _FRAME).astype(np.float64)
    return np.sqrt((frames**2).mean(axis=1))


def _stretches(levels: NDArray[np.float64]) -> list[tuple[int, int]]:
    """First frame and frame behind the last of each stretch of voice."""
    found: list[tuple[int, int]] = []
    for frame in np.flatnonzero(levels >= LOUD_RMS):
        if found and (frame - found[-1][1]) * FRAME_MS < JOIN_MS:
            found[-1] = (found[-1][0], int(frame) + 1)
        else:
            found.append((int(frame), int(frame) + 1))
    return found


def _nearest(stretch: Samples, recorded: Samples, at: int) -> Samples:
    """What is recorded where the stretch fits best, within the reach around ``at``; as long as the stretch."""
    window = np.zeros(stretch.size + 2 * _REACH, np.int16)
    begin, end = max(0, at - _REACH), min(recorded.size, at + stretch.size + _REACH)
    if begin < end:
        window[begin - at + _REACH : end - at + _REACH] = recorded[begin:end]
    size = window.size + stretch.size
    product = np.fft.rfft(window, size) * np.conj(np.fft.rfft(stretch, size))
    best = int(np.argmax(np.fft.irfft(product, size)[: 2 * _REACH + 1]))
    return window[best : best + stretch.size]

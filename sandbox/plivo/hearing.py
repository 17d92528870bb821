"""What the caller notices of the agent: when it begins and ends to speak, by the energy of the audio played out.

Used by the scripted caller, whose steps wait for it, and by the report, which measures response and barge-in times.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from sandbox.audio import Samples, rms
from sandbox.plivo.media_format import FRAME_MS, PHONE_FRAME, PHONE_RATE

LOUD_RMS = 200.0
LOUD_SAMPLE = 400
JOIN_MS = 400.0  # a shorter quiet belongs to the same stretch of speech


@dataclasses.dataclass
class Stretch:
    """One stretch of the agent's speech, in ms since the call was answered."""

    start_ms: float
    end_ms: float


class Hearing:
    """Fed one frame of 20 ms at a time."""

    def __init__(self) -> None:
        """Nothing heard yet."""
        self.stretches: list[Stretch] = []

    def feed(self, frame: int, samples: Samples | None) -> None:
        """Frame number `frame` since answer; None is silence."""
        if samples is None or rms(samples) < LOUD_RMS:
            return
        loud = np.flatnonzero(np.abs(samples.astype(np.int32)) >= LOUD_SAMPLE)
        if loud.size == 0:
            return
        base = frame * FRAME_MS
        start = base + int(loud[0]) * 1000 / PHONE_RATE
        end = base + (int(loud[-1]) + 1) * 1000 / PHONE_RATE
        if self.stretches and start - self.stretches[-1].end_ms < JOIN_MS:
            self.stretches[-1].end_ms = end
        else:
            self.stretches.append(Stretch(start, end))

    def speaking_at(self, ms: float) -> bool:
        """Whether the agent is in the middle of a stretch, as far as heard by then."""
        return bool(self.stretches) and ms - self.stretches[-1].end_ms < JOIN_MS / 2

    def first_after(self, ms: float) -> Stretch | None:
        """The first stretch that ends after `ms`."""
        return next((stretch for stretch in self.stretches if stretch.end_ms > ms), None)


def speech_bounds(clip: Samples) -> tuple[int, int]:
    """Onset and end of the speech in a clip, in samples."""
    loud = np.flatnonzero(np.abs(clip.astype(np.int32)) >= LOUD_SAMPLE)
    return (int(loud[0]), int(loud[-1]) + 1) if loud.size else (0, clip.size)


def as_frame(pieces: list[tuple[int, Samples]], frame: int) -> Samples | None:
    """Lay 8 kHz pieces (position since answer, samples) into frame number `frame`; None when there is none."""
    if not pieces:
        return None
    mixed = np.zeros(PHONE_FRAME, np.int32)
    for position, samples in pieces:
        offset = position - frame * PHONE_FRAME
        first, last = max(0, offset), min(PHONE_FRAME, offset + samples.size)
        if last > first:
            mixed[first:last] += samples[first - offset : last - offset]
    return np.clip(mixed, -32768, 32767).astype(np.int16)

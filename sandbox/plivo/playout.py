"""What the far party hears of a stream, to the sample: the playback queue of Plivo as arithmetic, without a clock.

Positions are samples since the call was answered, at the stream's rate. A chunk that arrives is laid behind what is
queued, or at its moment of arrival when the queue has run dry; nothing that has been played can change afterwards. The
stream client calls it with the time; the call report is made of it.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from typing import Any

UNDERRUN_LIMIT_MS = 400  # a longer hole is a pause between two utterances


@dataclasses.dataclass
class Chunk:
    """Audio of one playAudio message: [start, end) in samples."""

    start: int
    end: int
    data: bytes


@dataclasses.dataclass(frozen=True)
class Marker:
    """A checkpoint and where it is reached."""

    name: str
    position: int
    asked_at: int


@dataclasses.dataclass(frozen=True)
class Cleared:
    """One clearAudio: when, how many samples it cut, which checkpoints it took along."""

    at: int
    samples: int
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Gap:
    """Silence between two pieces of played audio, in samples."""

    start: int
    end: int
    after_clear: bool
    after_checkpoint: bool


class Playout:
    """The queue. `sample_bytes` is 1 for mu-law and 2 for linear audio; `limit` is the longest queue in samples."""

    def __init__(self, *, rate: int, sample_bytes: int, limit: int) -> None:
        """An empty queue."""
        self.rate = rate
        self.sample_bytes = sample_bytes
        self.limit = limit
        self.chunks: list[Chunk] = []
        self.markers: deque[Marker] = deque()
        self.reached_markers: list[Marker] = []
        self.cleared: list[Cleared] = []
        self.gaps: list[Gap] = []
        self.received = 0
        self.overflowed = 0
        self.longest_queue = 0
        self._tail = 0
        self._reading = 0
        self._cleared_since = False
        self._marked_since = False

    def play(self, at: int, data: bytes) -> bool:
        """Queue audio that arrived at `at`; False when the queue is full and the chunk is lost."""
        count = len(data) // self.sample_bytes
        self.received += count
        queued = max(0, self._tail - at)
        if queued + count > self.limit:
            self.overflowed += count
            return False
        start = max(self._tail, at)
        if self.chunks and start > self._tail:
            self.gaps.append(Gap(self._tail, start, self._cleared_since, self._marked_since))
        self._cleared_since = self._marked_since = False
        self.chunks.append(Chunk(start, start + count, data))
        self._tail = start + count
        self.longest_queue = max(self.longest_queue, self._tail - at)
        return True

    def checkpoint(self, at: int, name: str) -> Marker:
        """A marker behind everything queued; it is reached at its `position`."""
        marker = Marker(name=name, position=max(self._tail, at), asked_at=at)
        self.markers.append(marker)
        self._marked_since = True
        return marker

    def reached(self, now: int) -> list[Marker]:
        """Take out the markers that lie at or before `now`."""
        done = []
        while self.markers and self.markers[0].position <= now:
            done.append(self.markers.popleft())
        self.reached_markers.extend(done)
        return done

    def clear(self, at: int) -> Cleared:
        """Drop what has not been played at `at`, and the markers not yet reached. The sample at `at` is not heard."""
        cut = 0
        while self.chunks and self.chunks[-1].end > at:
            chunk = self.chunks[-1]
            keep = max(0, at - chunk.start)
            cut += (chunk.end - chunk.start) - keep
            if keep:
                chunk.end = at
                chunk.data = chunk.data[: keep * self.sample_bytes]
                break
            self.chunks.pop()
        self._tail = min(self._tail, at)
        names = tuple(marker.name for marker in self.markers)
        self.markers.clear()
        cleared = Cleared(at=at, samples=cut, names=names)
        self.cleared.append(cleared)
        self._cleared_since = True
        return cleared

    def read(self, start: int, end: int) -> list[tuple[int, bytes]]:
        """What is heard in [start, end): pieces of (position, audio). Reads go forward only."""
        while self._reading < len(self.chunks) and self.chunks[self._reading].end <= start:
            self._reading += 1
        pieces = []
        for chunk in self.chunks[self._reading :]:
            if chunk.start >= end:
                break
            first, last = max(chunk.start, start), min(chunk.end, end)
            offset = (first - chunk.start) * self.sample_bytes
            pieces.append((first, chunk.data[offset : offset + (last - first) * self.sample_bytes]))
        return pieces

    def finish(self, at: int) -> None:
        """The stream is over at `at`: what was not played is never heard. Not counted as cleared."""
        cleared = self.clear(at)
        self.cleared.remove(cleared)

    def played(self) -> list[tuple[int, int]]:
        """The stretches that were heard without a hole, as (start, end) in samples."""
        stretches: list[tuple[int, int]] = []
        for chunk in self.chunks:
            if stretches and stretches[-1][1] == chunk.start:
                stretches[-1] = (stretches[-1][0], chunk.end)
            else:
                stretches.append((chunk.start, chunk.end))
        return stretches

    def forget_audio(self, before: int) -> None:
        """Let go of the bytes played before a position (calls whose audio is not kept); the accounting stays."""
        for chunk in reversed(self.chunks):
            if chunk.end <= before:
                if not chunk.data:
                    break
                chunk.data = b""

    def report(self) -> dict[str, Any]:
        """The accounting in JSON: samples and ms since the call was answered."""

        def ms(samples: int) -> float:
            return round(samples * 1000 / self.rate, 3)

        gaps = [
            {
                "start_ms": ms(gap.start),
                "ms": ms(gap.end - gap.start),
                "after_clear": gap.after_clear,
                "after_checkpoint": gap.after_checkpoint,
                "underrun": not gap.after_clear and ms(gap.end - gap.start) <= UNDERRUN_LIMIT_MS,
            }
            for gap in self.gaps
        ]
        return {
            "rate": self.rate,
            "samples_received": self.received,
            "samples_played": sum(chunk.end - chunk.start for chunk in self.chunks),
            "samples_cleared": sum(cleared.samples for cleared in self.cleared),
            "samples_overflowed": self.overflowed,
            "longest_queue_ms": ms(self.longest_queue),
            "played": [
                {"start": start, "end": end, "start_ms": ms(start), "end_ms": ms(end)} for start, end in self.played()
            ],
            "gaps": gaps,
            "underruns": sum(gap["underrun"] is True for gap in gaps),
            "cleared": [
                {"at_ms": ms(item.at), "samples": item.samples, "ms": ms(item.samples), "checkpoints": list(item.names)}
                for item in self.cleared
            ],
            "checkpoints": [
                {"name": marker.name, "asked_ms": ms(marker.asked_at), "played_ms": ms(marker.position)}
                for marker in self.reached_markers
            ],
            "checkpoints_pending": [marker.name for marker in self.markers],
        }

"""What the carrier holds of ours and when the caller hears it: the playback clock of one stream.

``pacer`` puts pieces and checkpoints on it; acknowledgements correct it. Sans-I/O. Every instant here is a *tick*:
bytes of audio since the call's zero (``ms * bytes_per_ms``), integers in which no rounding can accumulate.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from agents.providers.base import AudioFormat

# The first acknowledgement is taken to have spent at most this on the network; anything beyond is a late carrier.
MAX_ROUND_TRIP_MS = 250
# Acknowledgements vary by this much on a healthy line; the playback clock is not corrected for less.
JITTER_MS = 40


class Placed(msgspec.Struct, frozen=True, gc=False):
    """Audio that was played, and when: for the recording."""

    plays_at_ms: int
    audio: bytes


@dataclass(slots=True, eq=False)
class Piece:
    """Audio at the carrier.

    Attributes:
        offset: bytes from the beginning of its segment.
        start: the tick at which it plays, as now believed.
        earliest: the same with a carrier that is never late.
        placed: bytes already given to the recording.
    """

    generation: int
    segment: int
    offset: int
    audio: bytes
    start: int
    earliest: int
    placed: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.audio)


@dataclass(slots=True, eq=False)
class Mark:
    """The end of a segment at the carrier; without a name where the segment had no audio and needs no checkpoint."""

    generation: int
    segment: int
    name: str
    tick: int
    earliest: int
    heard: bool = False


class Playback:
    """Pieces and marks in the order in which the carrier plays them.

    Args:
        fmt: codec of the stream; its rate must be a multiple of 1000 Hz.
        ack_timeout_ms: a checkpoint counts as played this long after its time, if no acknowledgement came.
        placements: keep what was played for ``heard``.
    """

    def __init__(self, fmt: AudioFormat, *, ack_timeout_ms: int, placements: bool) -> None:
        if fmt.rate % 1000:
            message = f"the pacer counts in whole ms: a rate of {fmt.rate} Hz is not a multiple of 1000"
            raise ValueError(message)
        self.per_ms = fmt.bytes_per_ms
        self.sample = 1 if fmt.encoding == "mulaw" else 2
        self.end = 0  # tick at which all that was sent is played
        self._earliest_end = 0
        self._timeout = ack_timeout_ms * self.per_ms
        self._placements = placements
        self._items: deque[Piece | Mark] = deque()
        self._open: deque[Mark] = deque()  # the marks that are not yet heard
        self._carrier_until = 0
        self._round_trip: int | None = None
        self._names = 0

    # --- sending -----------------------------------------------------------------------------------------------------

    def send(self, generation: int, segment: int, offset: int, audio: bytes, now: int) -> int:
        """Appends a piece sent at ``now``; after a gap the clock starts afresh. Returns the tick at which it plays."""
        start, earliest = max(self.end, now), max(self._earliest_end, now)
        self._items.append(Piece(generation, segment, offset, audio, start, earliest))
        self.end, self._earliest_end = start + len(audio), earliest + len(audio)
        self._carrier_until = max(self._carrier_until, self.end)
        return start

    def mark(self, generation: int, segment: int, *, silent: bool) -> str:
        """Appends the end of a segment; returns its checkpoint's name, unique on this stream, empty when ``silent``."""
        name = ""
        if not silent:
            self._names += 1
            name = f"g{generation}-s{segment}-{self._names}"
        mark = Mark(generation, segment, name, self.end, self._earliest_end)
        self._items.append(mark)
        self._open.append(mark)
        return name

    # --- being played ------------------------------------------------------------------------------------------------

    def acknowledge(self, name: str, now: int) -> list[Mark]:
        """The carrier says that a checkpoint was played, and so those before it; unknown and old names are ignored.

        When the answer is later than the line's usual round trip, what is still to play is taken to play later by as
        much; the next answer in time takes that back. An answer earlier than the audio can have been played corrects
        nothing.
        """
        acknowledged = next((mark for mark in self._open if mark.name == name), None) if name else None
        if acknowledged is None:
            return []
        heard = []
        while not acknowledged.heard:
            heard.append(self._hear())
        taken = max(0, now - acknowledged.earliest)
        usual = MAX_ROUND_TRIP_MS * self.per_ms if self._round_trip is None else self._round_trip
        self._round_trip = min(taken, usual)
        late = taken - self._round_trip
        if late <= JITTER_MS * self.per_ms:
            late = 0
        self._place_again(acknowledged, acknowledged.earliest + late)
        return heard

    def _place_again(self, origin: Mark, played: int) -> None:
        items = list(self._items)
        at = items.index(origin)
        clock = played
        for item in reversed(items[:at]):  # over by then, so never believed to play later
            if isinstance(item, Piece):
                item.start = min(item.start, clock - len(item.audio))
                clock = item.start
        clock = played
        for item in items[at + 1 :]:
            if isinstance(item, Piece):
                item.start = max(item.earliest, clock)
                clock = item.end
            else:
                item.tick = max(item.earliest, clock)
                clock = item.tick
        self.end = max(self._earliest_end, clock)
        self._carrier_until = max(self._carrier_until, self.end)

    def _hear(self) -> Mark:
        mark = self._open.popleft()
        mark.heard = True
        return mark

    def expired(self, now: int) -> list[Mark]:
        """Takes as heard the marks whose time, and the time for an acknowledgement, is over."""
        heard = []
        while self._open and (due := self.next_expiry) is not None and due <= now:
            heard.append(self._hear())
        return heard

    @property
    def next_expiry(self) -> int | None:
        """The tick at which ``expired`` will have something."""
        if not self._open:
            return None
        mark = self._open[0]
        return mark.tick + (self._timeout if mark.name else 0)

    def settled(self, now: int) -> list[Mark]:
        """Takes as heard what is over by the clock alone: its acknowledgements will be swallowed, or concern nobody."""
        heard = []
        while self._open and self._open[0].tick <= now:
            heard.append(self._hear())
        return heard

    def position(self, now: int) -> tuple[int, int, int] | None:
        """(generation, segment, bytes from its beginning) of what is heard at ``now``."""
        for piece in self._pieces():
            if piece.start <= now < piece.end:
                return piece.generation, piece.segment, piece.offset + now - piece.start
        return None

    def heard(self, now: int) -> list[Placed]:
        """What was played since the last call; stretches without a gap between them come as one."""
        placed: list[Placed] = []
        if not self._placements:
            return placed
        parts: list[bytes] = []
        begin = end = 0
        for piece in self._pieces():
            first = piece.start + piece.placed
            stop = self._whole(min(len(piece.audio), now - piece.start))
            if stop <= piece.placed:
                continue
            if parts and first != end:
                placed.append(Placed(begin // self.per_ms, b"".join(parts)))
                parts = []
            if not parts:
                begin = first
            parts.append(piece.audio[piece.placed : stop])
            piece.placed = stop
            end = piece.start + stop
        if parts:
            placed.append(Placed(begin // self.per_ms, b"".join(parts)))
        self.forget(now)
        return placed

    def forget(self, now: int) -> None:
        """Drops from the front what neither the recording nor an acknowledgement needs any more."""
        while self._items:
            item = self._items[0]
            if isinstance(item, Mark):
                over = item.heard
            elif self._placements:
                over = item.placed == len(item.audio)
            else:
                over = item.end <= now
            if not over:
                break
            self._items.popleft()

    # --- clearing ----------------------------------------------------------------------------------------------------

    def busy(self, now: int) -> bool:
        """Whether the carrier may hold audio of ours; what was cut counts until it would have been played."""
        return now < self._carrier_until or any(mark.name for mark in self._open)

    def holds(self, generation: int, now: int) -> bool:
        """Whether audio of this generation is at the carrier, unheard."""
        return any(piece.generation == generation and piece.end > now for piece in self._pieces())

    def awaits(self, generation: int) -> bool:
        """Whether marks of this generation are not yet heard."""
        return any(mark.generation == generation for mark in self._open)

    def forget_marks(self, generation: int) -> None:
        """Drops the open marks of a generation; their acknowledgements will be ignored."""
        self._open = deque(mark for mark in self._open if mark.generation != generation)
        self._items = deque(i for i in self._items if isinstance(i, Piece) or i.heard or i.generation != generation)

    def cut(self, now: int) -> list[tuple[int, int, int | None]]:
        """Ends playback at ``now``, as clearAudio does; call ``settled`` first.

        Returns:
            (generation, segment, bytes of the segment that were heard) of each piece that was not heard to its end, in
            playing order; with None in the third place where only the segment's mark is gone.
        """
        back: list[tuple[int, int, int | None]] = []
        kept: deque[Piece | Mark] = deque()
        for item in self._items:
            if isinstance(item, Mark):
                if item.heard:
                    kept.append(item)
                else:
                    back.append((item.generation, item.segment, None))
            elif item.end <= now:
                kept.append(item)
            else:
                played = self._whole(max(0, now - item.start, item.placed))
                back.append((item.generation, item.segment, item.offset + played))
                item.audio = item.audio[:played]
                if played:
                    kept.append(item)
        self._open.clear()
        self._items = kept
        self.end = self._earliest_end = now
        return back

    def _pieces(self) -> Iterator[Piece]:
        return (item for item in self._items if isinstance(item, Piece))

    def _whole(self, count: int) -> int:
        return count - count % self.sample

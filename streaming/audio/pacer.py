"""The agent's voice queue: which audio goes to the carrier when, and how it stops and resumes.

Sans-I/O: ``streaming.speaker`` polls it on a live call, ``tests/streaming/simulator.py`` in virtual time. Audio goes
out in pieces, a little ahead of playback, on the absolute clock of ``playback``: a late poll delays nothing after it.
"""

from dataclasses import dataclass, field

import msgspec

from agents.providers.base import AudioFormat, WordTiming
from streaming.audio.playback import Mark, Placed, Playback
from streaming.conversation.events import SegmentHeard, SegmentSent, VoicePaused

__all__ = ["Checkpoint", "Pacer", "PacerOutput", "Placed", "PlayAudio"]

# Without word timings a resumed voice steps back by this much, about one short word.
RESUME_REWIND_MS = 200


class PlayAudio(msgspec.Struct, frozen=True, gc=False):
    """Audio to send now, in the stream's codec; the caller hears it from ``plays_at_ms`` on."""

    audio: bytes
    generation: int
    segment: int
    plays_at_ms: int


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """A named checkpoint to send now, behind all audio of its segment."""

    name: str
    generation: int
    segment: int


class PacerOutput(msgspec.Struct, frozen=True):
    """What one ``poll`` asks for: messages to send, in order, and events for the conversation."""

    send: list[PlayAudio | Checkpoint]
    events: list[SegmentSent | SegmentHeard]


@dataclass(slots=True, eq=False)
class _Segment:
    audio: bytearray = field(default_factory=bytearray)
    words: dict[int, int] = field(default_factory=dict)  # start ms: end ms
    complete: bool = False
    sent: int = 0  # bytes
    announced: bool = False  # SegmentSent was given


@dataclass(slots=True, eq=False)
class _Generation:
    number: int
    segments: dict[int, _Segment] = field(default_factory=dict)  # those not yet heard
    cursor: int = 0  # the segment being sent
    released: bool = False
    finished: bool = False

    def segment(self, number: int) -> _Segment:
        return self.segments.setdefault(number, _Segment())

    @property
    def through(self) -> bool:
        """Everything was sent and nothing more is expected."""
        return self.finished and not any(number >= self.cursor for number in self.segments)


class Pacer:
    """Paces one stream's outgoing audio.

    Generations play in the order of their release, segments in the order of their numbers, which run from 0 without
    gaps; a segment waits for the one before it to be complete, a generation for the one before it to be finished.

    Args:
        fmt: codec of the stream; its rate must be a multiple of 1000 Hz (ValueError).
        piece_ms: length of one message.
        lead_ms: a piece is sent this long before it plays; a stall of the event loop below it is not heard.
        ack_timeout_ms: a checkpoint counts as played this long after its time, if no acknowledgement came.
        placements: keep what was played for ``heard``; switch it off for a call without a recording.
    """

    def __init__(
        self,
        fmt: AudioFormat,
        *,
        piece_ms: int = 200,
        lead_ms: int = 400,
        ack_timeout_ms: int = 1500,
        placements: bool = True,
    ) -> None:
        self._playback = Playback(fmt, ack_timeout_ms=ack_timeout_ms, placements=placements)
        self._per_ms = self._playback.per_ms
        self._piece = piece_ms * self._per_ms
        self._lead = lead_ms * self._per_ms
        self._hurry = min(self._piece, self._lead)  # with less than this ahead, send what there is
        self._generations: dict[int, _Generation] = {}
        self._dropped: set[int] = set()
        self._order: list[_Generation] = []  # released, with something left to send
        self._events: list[SegmentSent | SegmentHeard] = []
        self._paused: VoicePaused | None = None
        self._held_by: set[int] = set()  # the generations that a pause holds; it ends when none is left
        self._cut_inside = False  # the pause fell into audio, not into a gap

    # --- what the voice brings ---------------------------------------------------------------------------------------

    def add(self, generation: int, segment: int, audio: bytes) -> None:
        """Appends audio to a segment; audio of a dropped generation is ignored.

        Raises:
            ValueError: the segment was already complete.
        """
        if generation in self._dropped or not audio:
            return
        target = self._open(generation).segment(segment)
        if target.complete:
            message = f"audio after the end of segment {segment} of generation {generation}"
            raise ValueError(message)
        target.audio += audio

    def add_words(self, generation: int, segment: int, words: tuple[WordTiming, ...]) -> None:
        """Adds word timings (ms from the segment's beginning), new ones or all so far; they tell where to resume.

        Without any it announces the segment: a generation is not over, even finished, before its audio has come.
        """
        if generation not in self._dropped:
            target = self._open(generation).segment(segment)
            target.words.update((word.start_ms, word.end_ms) for word in words)

    def complete(self, generation: int, segment: int) -> None:
        """All audio of the segment was given (none at all is allowed); its checkpoint may go."""
        if generation not in self._dropped:
            self._open(generation).segment(segment).complete = True

    def release(self, generation: int) -> None:
        """Lets a generation be heard; before this nothing of it is sent."""
        if generation not in self._dropped:
            state = self._open(generation)
            if not state.released:
                state.released = True
                self._order.append(state)

    def hold(self, generation: int) -> None:
        """Takes a release back, for a generation of which nothing was sent."""
        state = self._generations.get(generation)
        if state is not None and state.released:
            state.released = False
            self._order.remove(state)

    def finish(self, generation: int) -> None:
        """No segment will follow those already known; the next generation need not wait any longer."""
        if generation not in self._dropped:
            self._open(generation).finished = True

    def _open(self, generation: int) -> _Generation:
        state = self._generations.get(generation)
        if state is None:
            state = self._generations[generation] = _Generation(generation)
        elif state.released and state not in self._order:
            self._order.append(state)  # finished too early by its owner: what still comes is played, not lost
        return state

    # --- sending -----------------------------------------------------------------------------------------------------

    def poll(self, now_ms: int) -> PacerOutput:
        """What is due at ``now_ms``; to be sent in order. May be called at any time, as often as wanted."""
        now = now_ms * self._per_ms
        self._hear(self._playback.expired(now))
        send: list[PlayAudio | Checkpoint] = []
        while (head := self._head()) is not None:
            generation, segment = head
            if self._ended(segment):
                number = generation.cursor
                name = self._playback.mark(generation.number, number, silent=not segment.sent)
                generation.cursor += 1
                if name:
                    send.append(Checkpoint(name, generation.number, number))
            elif (due := self._due(segment)) is not None and due <= now:
                send.append(self._send(generation, segment, now))
            else:
                break
        self._hear(self._playback.expired(now))  # a segment without audio may be over at once
        self._playback.forget(now)
        events, self._events = self._events, []
        return PacerOutput(send, events)

    @property
    def next_poll_ms(self) -> int | None:
        """When ``poll`` is next needed (a past time: at once); None: not before something is added or acknowledged.

        Look again after each call of another method.
        """
        if self._events:
            return 0
        due = [] if (tick := self._playback.next_expiry) is None else [tick]
        head = self._head()
        if head is not None:
            if self._ended(head[1]):
                return 0
            if (tick := self._due(head[1])) is not None:
                due.append(tick)
        return -(-min(due) // self._per_ms) if due else None

    def _head(self) -> tuple[_Generation, _Segment] | None:
        """The generation and segment whose turn it is, if known; drops those that are through from the order."""
        while self._order and self._paused is None:
            generation = self._order[0]
            segment = generation.segments.get(generation.cursor)
            if segment is not None:
                return generation, segment
            if not generation.through:
                return None
            self._order.pop(0)
        return None

    def _available(self, segment: _Segment) -> int:
        count = len(segment.audio) - segment.sent
        return count - count % self._playback.sample

    def _ended(self, segment: _Segment) -> bool:
        return segment.complete and not self._available(segment)

    def _due(self, segment: _Segment) -> int | None:
        """The tick from which the segment's next piece may go; None while there is nothing to send."""
        available = self._available(segment)
        if not available:
            return None
        whole = segment.complete or available >= self._piece
        return self._playback.end - (self._lead if whole else self._hurry)

    def _send(self, generation: _Generation, segment: _Segment, now: int) -> PlayAudio:
        size = min(self._available(segment), self._piece)
        audio = bytes(segment.audio[segment.sent : segment.sent + size])
        start = self._playback.send(generation.number, generation.cursor, segment.sent, audio, now)
        segment.sent += size
        plays_at_ms = start // self._per_ms
        if not segment.announced:
            segment.announced = True
            self._events.append(SegmentSent(generation.number, generation.cursor, plays_at_ms))
        return PlayAudio(audio, generation.number, generation.cursor, plays_at_ms)

    # --- what was played ---------------------------------------------------------------------------------------------

    def acknowledge(self, name: str, now_ms: int) -> None:
        """The carrier says that a checkpoint was played; those before it then were too.

        Unknown, repeated and cleared names are ignored. Corrects the playback clock (``Playback.acknowledge``).
        """
        self._hear(self._playback.acknowledge(name, now_ms * self._per_ms))

    def _hear(self, marks: list[Mark]) -> None:
        for mark in marks:
            self._events.append(SegmentHeard(mark.generation, mark.segment))
            generation = self._generations.get(mark.generation)
            if generation is not None:
                generation.segments.pop(mark.segment, None)

    def position(self, now_ms: int) -> tuple[int, int, int] | None:
        """(generation, segment, ms from the segment's beginning) of what the caller hears now; None for silence."""
        found = self._playback.position(now_ms * self._per_ms)
        return None if found is None else (found[0], found[1], found[2] // self._per_ms)

    def heard(self, now_ms: int) -> list[Placed]:
        """Audio played since the last call, by the playback clock; never what a pause or drop has removed.

        Stretches that follow each other without a gap come as one. Empty without ``placements``.
        """
        return self._playback.heard(now_ms * self._per_ms)

    # --- interruption ------------------------------------------------------------------------------------------------

    def at_carrier(self, now_ms: int) -> bool:
        """Whether the carrier may hold audio of ours, so that a pause needs clearAudio.

        May be asked before or after the ``pause``: what was taken back counts until it would have been played.
        """
        return self._playback.busy(now_ms * self._per_ms)

    def pause(self, now_ms: int) -> VoicePaused:
        """Stops sending and takes back what the caller has not heard; the caller of this sends clearAudio.

        The pause holds until ``resume``, or until the generations that were waiting or playing are dropped.

        Returns:
            where the voice stopped; a released generation whose audio is yet to come counts as stopped at that place;
            generation 0 when nothing was left to play, and then nothing is held.
        """
        if self._paused is not None:
            return self._paused
        taken = self._cut(now_ms * self._per_ms)
        self._cut_inside = bool(taken)
        stopped = self._stopped(taken) or self._waiting()
        if stopped is None:
            return VoicePaused(0, 0, 0)
        self._paused = stopped
        self._held_by = {generation.number for generation in self._order if not generation.through}
        return stopped

    def resume(self, now_ms: int) -> None:
        """Plays on from the start of the interrupted word; without timings, from ``RESUME_REWIND_MS`` earlier."""
        paused = self._paused
        if paused is None:
            return
        self._unhold()
        self._playback.cut(now_ms * self._per_ms)  # nothing is there: it starts the clock afresh
        generation = self._generations.get(paused.generation)
        if self._cut_inside and generation is not None and paused.segment in generation.segments:
            segment = generation.segments[paused.segment]
            segment.sent = min(segment.sent, self._resume_at(segment))

    def drop(self, generation: int, now_ms: int) -> VoicePaused | None:
        """Forgets a generation for good; audio of it that still arrives is ignored.

        Returns:
            where it stopped, when some of its audio was at the carrier: the caller then sends clearAudio; what that
            takes away from other generations is sent again. None otherwise.
        """
        now = now_ms * self._per_ms
        stopped = None
        if self._playback.holds(generation, now):
            stopped = self._stopped([entry for entry in self._cut(now) if entry[0] == generation])
        elif self._playback.awaits(generation):
            self._hear(self._playback.settled(now))
            self._playback.forget_marks(generation)
        self._dropped.add(generation)
        state = self._generations.pop(generation, None)
        if state in self._order:
            self._order.remove(state)
        self._held_by.discard(generation)
        if self._paused is not None and not self._held_by:
            self._unhold()
        return stopped

    def _unhold(self) -> None:
        self._paused = None
        self._held_by = set()

    def _cut(self, now: int) -> list[tuple[int, int, int]]:
        """Ends playback and returns what was not heard to the queue.

        Returns:
            (generation, segment, bytes of it that were heard) of each unheard piece, in playing order.
        """
        self._hear(self._playback.settled(now))
        back: list[_Generation] = []
        taken: list[tuple[int, int, int]] = []
        for number, segment_number, heard in self._playback.cut(now):
            generation = self._generations[number]
            generation.cursor = min(generation.cursor, segment_number)
            if generation not in back:
                back.append(generation)
            if heard is not None:
                segment = generation.segments[segment_number]
                segment.sent = min(segment.sent, heard)
                segment.announced = segment.sent > 0
                taken.append((number, segment_number, heard))
        self._order = back + [generation for generation in self._order if generation not in back]
        return taken

    def _stopped(self, taken: list[tuple[int, int, int]]) -> VoicePaused | None:
        return VoicePaused(taken[0][0], taken[0][1], taken[0][2] // self._per_ms) if taken else None

    def _waiting(self) -> VoicePaused | None:
        """Where a released generation stands of which nothing is playing at the moment."""
        for generation in self._order:
            segment = generation.segments.get(generation.cursor)
            if segment is not None:
                return VoicePaused(generation.number, generation.cursor, segment.sent // self._per_ms)
            if not generation.through:
                return VoicePaused(generation.number, generation.cursor, 0)
        return None

    def _resume_at(self, segment: _Segment) -> int:
        at_ms = segment.sent // self._per_ms
        spoken_until = 0
        for start_ms, end_ms in sorted(segment.words.items()):
            if start_ms <= at_ms < end_ms:
                return start_ms * self._per_ms
            if end_ms <= at_ms:
                spoken_until = max(spoken_until, end_ms)
        return max(spoken_until, at_ms - RESUME_REWIND_MS) * self._per_ms

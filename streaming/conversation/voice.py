"""The agent's voice: who has the floor, what waits for it, and what the driver is told to play.

At most one utterance has the floor (is released to the caller), at most one waits behind it: a speculative reply, a
decided one, or a closing. Used by ``machine.Conversation`` and its other parts.
"""

from collections.abc import Iterable

from streaming.conversation.desk import Desk
from streaming.conversation.events import (
    CancelGeneration,
    EndReason,
    FinishVoice,
    HoldVoice,
    PauseVoice,
    ReleaseVoice,
    ResumeVoice,
    SegmentAudio,
    SegmentSent,
    ShowPartial,
    Speak,
    TurnKind,
    VoicePaused,
)
from streaming.conversation.reply import Reply, Segment
from streaming.conversation.speakable import can_be_spoken, speakable

# So many segments in a row without their audio, and the voice is given up. Not two: the driver synthesises two at a
# time, and one lost connection takes both.
MAX_BROKEN = 3


class Voice:
    """The floor and the queue of one behind it.

    Attributes:
        floor: the utterance that is released to the caller.
        next: the utterance that is prepared, its audio held.
        last_heard_ms: when the agent was last heard to the end of an utterance, or stopped.
        loudest: power (1: full scale) of the loudest 32 ms of all its audio so far.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._generation = 0
        self._broken = 0
        self.floor: Reply | None = None
        self.next: Reply | None = None
        self.last_heard_ms = 0
        self.loudest = 0.0

    # --- new utterances ----------------------------------------------------------------------------------------------

    def new(self, kind: TurnKind, *, by_model: bool) -> Reply:
        """A new utterance, next for the floor; whatever waited is cancelled."""
        self.cancel_next("replaced")
        self._generation += 1
        self.next = Reply(
            generation=self._generation,
            kind=kind,
            by_model=by_model,
            now_ms=self._desk.now,
            language=self._desk.plan.language,
        )
        self.next.interruptible = self._desk.plan.interruptible
        return self.next

    def say_phrases(
        self, kind: TurnKind, texts: Iterable[str], *, interruptible: bool, ends_call: EndReason | None = None
    ) -> Reply | None:
        """Fixed texts, each a segment that the phrase cache may hold; None when there is nothing to say."""
        phrases = [text.strip() for text in texts if can_be_spoken(speakable(text))]
        if not phrases:
            return None
        reply = self.new(kind, by_model=False)
        reply.interruptible = interruptible
        reply.ends_call = ends_call
        for index, text in enumerate(phrases):
            self._speak(reply, text, phrase=True, last=index == len(phrases) - 1)
        if kind != "filler":  # it answers nothing
            self._desk.history.agent_says(reply)
        return reply

    def add(self, reply: Reply, pieces: list[str], *, last: bool) -> None:
        """More text of a reply of the model; before the turn is decided only its first piece goes to the voice."""
        reply.waiting.extend(pieces)
        reply.text_done = reply.text_done or last
        if reply.decided or (not reply.segments and reply.waiting):
            self._speak_waiting(reply, limit=None if reply.decided else 1)

    def adopt(self, reply: Reply) -> None:
        """The turn that this reply answers is decided: it is going to be heard."""
        reply.decided = True
        self._desk.history.agent_says(reply)
        self._speak_waiting(reply, limit=None)

    def _speak_waiting(self, reply: Reply, *, limit: int | None) -> None:
        said_last = False
        count = 0
        while reply.waiting and (limit is None or count < limit):
            text = reply.waiting.popleft()
            said_last = reply.text_done and not reply.waiting
            self._speak(reply, text, phrase=False, last=said_last)
            count += 1
        if reply.text_done and not reply.waiting and not reply.finish_told:
            if not said_last:
                self._desk.do(FinishVoice(reply.generation))
            reply.finish_told = True

    def _speak(self, reply: Reply, text: str, *, phrase: bool, last: bool) -> None:
        self._desk.do(Speak(reply.generation, len(reply.segments), text, phrase=phrase, last=last))
        reply.segments.append(Segment(text))

    # --- the floor ---------------------------------------------------------------------------------------------------

    def find(self, generation: int) -> Reply | None:
        """The live utterance of this number; None for one that is over."""
        for reply in (self.floor, self.next):
            if reply is not None and reply.generation == generation:
                return reply
        return None

    def give_floor(self) -> None:
        """The waiting utterance is released; the floor must be free and the utterance decided."""
        reply = self.next
        assert self.floor is None and reply is not None and reply.decided  # noqa: S101, PT018 - the machine's invariant
        self.floor, self.next = reply, None
        if not reply.bridged:
            reply.progress_ms = self._desk.now
        self._desk.do(ReleaseVoice(reply.generation))

    @property
    def waits(self) -> Reply | None:
        """The utterance that has the floor and no sound yet, with nothing behind it; None when there is none."""
        reply = self.floor
        if reply is None or reply.kind == "filler" or reply.paused_ms is not None or self.next is not None:
            return None
        return reply if reply.mute else None

    def say_before(self, reply: Reply, kind: TurnKind, texts: Iterable[str]) -> None:
        """Fixed texts ahead of what ``waits``, which has the floor again after them."""
        self._desk.do(HoldVoice(reply.generation))
        reply.bridged = True
        self.floor = None
        if self.say_phrases(kind, texts, interruptible=True) is not None:
            self.give_floor()
        self.next = reply

    def cancel_next(self, why: str) -> None:
        """Whatever waits for the floor is forgotten."""
        if self.next is not None:
            self._drop(self.next, why)
            self.next = None

    def cancel(self, reply: Reply, why: str) -> None:
        """An utterance of which nothing was sent is forgotten, wherever it is."""
        if reply is self.floor:
            self.cancel_unheard(why)
        else:
            self.cancel_next(why)

    def cancel_unheard(self, why: str) -> None:
        """The utterance on the floor, of which nothing was sent, is forgotten."""
        if self.floor is not None and not self.floor.audible:
            self._drop(self.floor, why)
            self.floor = None

    def _drop(self, reply: Reply, why: str) -> None:
        reply.over_ms = self._desk.now
        if not reply.tool_calls:
            self._desk.history.forget(reply)
        self._desk.do(CancelGeneration(reply.generation))
        self._desk.note(
            "reply_dropped", generation=reply.generation, turn_kind=reply.kind, speculative=not reply.decided, why=why
        )

    def stop(self, why: str) -> None:
        """The utterance on the floor ends here, unfinished; what was heard of it stays."""
        reply = self.floor
        if reply is None:
            return
        if not reply.audible:
            self.cancel_unheard(why)
            return
        now = self._desk.now
        reply.interrupted = True
        reply.times.interrupted_ms = now if reply.paused_ms is None else reply.paused_ms
        self._desk.do(CancelGeneration(reply.generation))
        self._close(reply, why)

    def finish(self) -> None:
        """The utterance on the floor was heard to its end."""
        if self.floor is not None:
            if self.floor.paused_ms is not None:
                self._desk.do(CancelGeneration(self.floor.generation))  # frees the voice that the driver holds paused
            self._close(self.floor, "finished")

    def _close(self, reply: Reply, end_reason: str) -> None:
        now = self._desk.now
        self.floor = None
        reply.over_ms = now
        self.last_heard_ms = now
        if reply.segments or reply.written:
            self._desk.do(reply.turn(now_ms=now, end_reason=end_reason))
            self._desk.do(ShowPartial(role="agent", text=reply.heard_text(now), final=True))

    # --- pausing -----------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Silences the utterance on the floor at once; it may go on later."""
        reply = self.floor
        if reply is not None and reply.paused_ms is None:
            reply.paused_ms = self._desk.now
            self._desk.do(PauseVoice())
            self._desk.note("voice_paused", generation=reply.generation)

    def resume(self) -> None:
        """The paused utterance goes on."""
        reply = self.floor
        if reply is not None and reply.paused_ms is not None:
            paused_for = self._desk.now - reply.paused_ms
            reply.false_alarms += 1
            reply.resumed(self._desk.now)
            self._desk.do(ResumeVoice(reply.generation))
            self._desk.note("voice_resumed", generation=reply.generation, paused_for_ms=paused_for)

    # --- what the driver reports -------------------------------------------------------------------------------------

    def _segment(self, generation: int, index: int) -> tuple[Reply, Segment] | None:
        reply = self.find(generation)
        if reply is None or not 0 <= index < len(reply.segments):
            return None
        return reply, reply.segments[index]

    def audio(self, event: SegmentAudio) -> None:
        """Audio of a segment has arrived."""
        self.loudest = max(self.loudest, event.loudest)
        if found := self._segment(event.generation, event.segment):
            reply, segment = found
            segment.duration_ms = max(segment.duration_ms, event.duration_ms)
            segment.words = event.words or segment.words
            segment.complete = segment.complete or event.complete
            reply.progress_ms = self._desk.now
            if reply.times.tts_first_ms is None and event.duration_ms > 0:
                reply.times.tts_first_ms = self._desk.now
            if event.complete and event.duration_ms > 0:
                self._broken = 0

    def broke_off(self, generation: int, index: int) -> bool:
        """No more audio comes for a segment, too little of it or none came; False when the voice is to be given up."""
        found = self._segment(generation, index)
        if found is None:
            return False
        reply, segment = found
        segment.complete = segment.broken = True
        reply.progress_ms = self._desk.now
        self._broken += 1
        return self._broken < MAX_BROKEN

    def sent(self, event: SegmentSent) -> None:
        """A segment has begun to go out."""
        found = self._segment(event.generation, event.segment)
        if found and found[0] is self.floor:
            reply, segment = found
            if segment.heard_from_ms is None:
                self._desk.do(ShowPartial(role="agent", text=segment.text, final=False))
            reply.sent(event.segment, event.heard_from_ms, self._desk.now)

    def heard(self, generation: int, index: int) -> None:
        """A segment was heard to its end."""
        found = self._segment(generation, index)
        if found and found[0] is self.floor:
            reply, segment = found
            if segment.heard_from_ms is None and not (segment.broken and segment.duration_ms == 0):
                reply.sent(index, max(0, self._desk.now - segment.duration_ms), self._desk.now)
            for earlier in reply.segments[: index + 1]:
                earlier.heard = True  # segments play in order
            if reply.kind == "greeting":
                # That an AI talks, and for whom, is to be told by law: this shows when it was heard.
                self._desk.note("opening_heard", part=index, from_ms=segment.heard_from_ms)
            reply.progress_ms = self._desk.now

    def paused(self, event: VoicePaused) -> None:
        """Where the voice stopped."""
        found = self._segment(event.generation, event.segment)
        if found and found[0] is self.floor and found[0].paused_ms is not None:
            found[0].position = (event.segment, max(0, event.offset_ms))

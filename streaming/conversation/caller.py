"""What the caller's speech, words, keys and typed lines lead to: turns that begin, go on, end and are answered.

``machine.Conversation`` hands the caller's events and timers here; the parts that this ties together know nothing of
each other.
"""

from streaming.conversation import events
from streaming.conversation.answering import Answering
from streaming.conversation.bargein import BargeIn
from streaming.conversation.closing import Closing
from streaming.conversation.desk import Desk
from streaming.conversation.hearing import HeardTurn, Hearing
from streaming.conversation.keypad import Keypad
from streaming.conversation.opening import Opening
from streaming.conversation.replies import Replies
from streaming.conversation.silence import Silence
from streaming.conversation.timers import Timer
from streaming.conversation.utterance import Change
from streaming.conversation.voice import Voice


class Caller:
    """The caller's side of one conversation."""

    def __init__(
        self,
        desk: Desk,
        *,
        hearing: Hearing,
        voice: Voice,
        replies: Replies,
        bargein: BargeIn,
        silence: Silence,
        opening: Opening,
        closing: Closing,
        keypad: Keypad,
        answering: Answering,
    ) -> None:
        self._desk = desk
        self._plan = desk.plan
        self._timers = desk.timers
        self._hearing = hearing
        self._voice = voice
        self._replies = replies
        self._bargein = bargein
        self._silence = silence
        self._opening = opening
        self._closing = closing
        self._keypad = keypad
        self._answering = answering
        self._answered = desk.plan.mode == "conversation"
        self._beside: list[tuple[str, events.TurnKind, int]] = []  # keys and lines: text, kind, since when

    # --- the caller speaks -------------------------------------------------------------------------------------------

    def speech(self, change: Change) -> None:
        """A burst of speech has begun or stopped, or the caller is loud enough to be heard over the agent."""
        if change is Change.LOUD:
            self._bargein.caller_began()
            return
        self._answering.speech(change)
        if change is Change.PAUSE:
            self._hearing.caller_paused()
            self._bargein.caller_paused()
            self._hearing.weigh()
            return
        cancelled = self._caller_goes_on("caller_spoke")
        agent_heard_since = self._voice.floor is not None or self._voice.last_heard_ms > self._hearing.silent_from_ms
        self._hearing.caller_began(same_turn=(cancelled or self._hearing.open) and not agent_heard_since)
        self._bargein.caller_began()

    def _caller_goes_on(self, why: str) -> bool:
        """Nothing that the caller has not heard yet may come now; True when an answer was in the making."""
        if self._closing.reason is not None:
            return False
        pending = False
        for reply in (self._voice.next, self._voice.floor):
            if reply is None or reply.audible or reply.kind in {"greeting", "screening"}:
                continue
            pending = pending or reply.by_model
            if reply.by_model and reply.decided and not reply.tools_running:
                self._replies.owed = True
            if reply is self._voice.next:
                self._voice.cancel_next(why)
            else:
                self._voice.cancel_unheard(why)
        return pending

    def burst_due(self) -> None:
        """A burst of speech is looked at."""
        if self._hearing.burst_ends():
            self.speech(Change.PAUSE)

    def partial(self, event: events.TranscriptPartial) -> None:
        """Words so far."""
        if self._hearing.heard_partial(event.text):
            if self._answering.words():
                self._hearing.weigh()
                return
            self._words_came()
            if Timer.SPECULATE not in self._timers:
                self.speculate()

    def final(self, event: events.TranscriptFinal) -> None:
        """Words that stay."""
        if self._hearing.heard_final(event.text, event.commit):
            self._words_final()

    def final_overdue(self) -> None:
        """The STT has not answered a commit in time."""
        self._hearing.final_overdue()
        self._words_final()

    def probability(self, event: events.TurnProbability) -> None:
        """A turn model's view of the pause."""
        self._hearing.model_says(event.probability)
        self._hearing.weigh()

    def _words_came(self) -> None:
        hearing = self._hearing
        if hearing.text:
            self._silence.broken(self._desk.now)
            if hearing.speech.active or self._voice.next is None or self._voice.next.decided:
                self._caller_goes_on("caller_spoke")
            self._bargein.words_came()
        hearing.weigh()

    def _words_final(self) -> None:
        """A final text has come (or was given up): what does the open turn hold?"""
        hearing = self._hearing
        if not hearing.settled:
            self._words_came()
            return
        if self._beside:
            self._answer_beside()
            self._bargein.turn_settled()
            return
        if not hearing.text:
            self._turn_was_empty()
            return
        if self._answering.words():
            hearing.weigh()
            return
        if self._bargein.is_courtesy(hearing.text) and not self._bargein.words_came():
            self._answering.heard(hearing.text)
            hearing.write(hearing.take(), end_reason="backchannel")
            self._desk.note("backchannel")
            self._bargein.turn_settled()
            return
        self._words_came()
        self._bargein.turn_settled()
        self.speculate(final=True)

    def _turn_was_empty(self) -> None:
        """Noise: no turn, and whatever it held up goes on."""
        self._hearing.take()
        if self._voice.next is not None and not self._voice.next.decided:
            self._voice.cancel_next("no_words")
        self._bargein.turn_settled()

    # --- the turn ends -----------------------------------------------------------------------------------------------

    def speculate(self, *, final: bool = False) -> None:
        """Begins a reply on trust when the open turn looks finished and nothing stands in its way.

        Partial words that ask for patience are not worth a guess; ``final`` ones are, unless they break off.
        """
        if (
            not self._answered
            or self._plan.turn_taking.speculate_ms <= 0
            or self._voice.floor is not None
            or self._opening.due
            or self._closing.reason is not None
            or self._closing.leaving is not None
            or self._replies.tools_running
            or self._keypad.digits
            or self._hearing.speech.active
            or self._answering.holds
        ):
            return
        wait = self._hearing.endpointing.wait(self._hearing.text)
        longest = self._plan.turn_taking.max_wait_ms
        if wait.ms < (longest if final else longest // 2):
            self._replies.speculate(self._hearing.text)

    def turn_ends(self) -> None:
        """The caller has been silent for long enough."""
        rule = self._hearing.wait.rule
        waited = self._desk.now - self._hearing.speech.end_ms
        turn = self._hearing.take()
        self._hearing.write(turn, end_reason=rule)
        self._desk.note("turn_decided", rule=rule, silence_ms=max(0, waited), characters=len(turn.text))
        self._answer(turn)

    def _answer(self, turn: HeardTurn) -> None:
        """A turn of the caller is complete and written: the agent owes an answer."""
        if self._answering.turn(turn):
            return
        talking = self._answered and self._closing.reason is None
        # A caller who begins with a request hears the opening, then the answer: the request comes last in the context.
        opened = talking and not self._bargein.only_greets(turn.text) and self._opening.say()
        self._desk.history.caller_said(turn.text)
        self._silence.caller_is_there()
        if talking:
            self._replies.turn_decided(turn)
            if not opened and self._opening.say():
                self._replies.owed = False

    def dtmf(self, event: events.Dtmf) -> None:
        """A key."""
        if self._opts_out(event.digit):
            return
        before = self._keypad.digits
        complete = self._keypad.press(event.digit)
        if self._keypad.digits != before or complete:
            self._silence.caller_is_there()
            self._take_floor("keypad")
        if complete:
            self.keypad_done()

    def _opts_out(self, digit: str) -> bool:
        """Whether a key asks never to be called again: the first of an entry, on a call on which it means that."""
        if not digit or digit != self._plan.opt_out_key or self._keypad.digits or self._closing.reason == "opted_out":
            return False
        now = self._desk.now
        self._silence.caller_is_there()
        self._take_floor("keypad")
        turn = HeardTurn(f"[keypad] {digit}", now, now, None, now)
        self._hearing.write(turn, end_reason="dtmf", kind="dtmf")
        self._desk.history.caller_said(turn.text)
        self._desk.do(events.OptOut(f"pressed {digit}"))
        return True

    def keypad_done(self) -> None:
        """The entry is complete."""
        began = self._keypad.began_ms
        digits = self._keypad.take()
        if digits:
            self._said_otherwise(f"[keypad] {digits}", kind="dtmf", began_ms=began)

    def typed(self, event: events.Typed) -> None:
        """A typed line."""
        text = event.text.strip()
        if text:
            self._take_floor("typed")
            self._said_otherwise(text, kind="typed", began_ms=self._desk.now)

    def _take_floor(self, why: str) -> None:
        """A key or a typed line stops the agent as words do, where it may be stopped."""
        self._caller_goes_on(why)
        if self._bargein.contested is not None:
            self._timers.clear(Timer.RESUME)
            self._voice.stop(f"interrupted_by_{why}")

    def _said_otherwise(self, text: str, *, kind: events.TurnKind, began_ms: int) -> None:
        """Keys or a typed line, a turn at once; words spoken just before are waited for and belong to it."""
        self._beside.append((text, kind, began_ms))
        if self._hearing.settled:
            self._answer_beside()
        else:
            self._hearing.hurry()

    def _answer_beside(self) -> None:
        kind = self._beside[0][1]
        if self._hearing.text:
            spoken = self._hearing.take()
            self._hearing.write(spoken, end_reason=kind)
            self._desk.history.caller_said(spoken.text)
        turns = self.write_beside()
        for turn in turns[:-1]:
            self._desk.history.caller_said(turn.text)
        self._desk.note("turn_decided", rule=kind, silence_ms=0, characters=len(turns[-1].text))
        self._answer(turns[-1])

    def write_beside(self, *, interrupted: bool = False) -> list[HeardTurn]:
        """Records the keys and typed lines that wait for words, and forgets them."""
        now = self._desk.now
        turns = []
        for text, kind, began_ms in self._beside:
            turn = HeardTurn(text=text, started_ms=began_ms, speech_end_ms=now, stt_final_ms=None, decided_ms=now)
            self._hearing.write(
                turn, end_reason="call_ended" if interrupted else kind, kind=kind, interrupted=interrupted
            )
            turns.append(turn)
        self._beside.clear()
        return turns

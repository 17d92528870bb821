"""The conversation itself: events in, actions out, no I/O and no clock of its own.

``streaming.session`` drives one per live call, ``tests/streaming/simulator.py`` drives it in virtual time. The duties
lie with its parts (``hearing``, ``voice``, ``replies``, ``bargein``, ``silence``, ``closing``, ``keypad``); here is
what ties them together: who may speak when. Every event ends in ``_settle``, which does whatever the state now allows.
"""

from collections.abc import Callable
from typing import Any

from agents.providers.errors import ErrorKind
from streaming.conversation import events
from streaming.conversation.answering import Answering
from streaming.conversation.bargein import BargeIn
from streaming.conversation.caller import Caller
from streaming.conversation.closing import Closing
from streaming.conversation.desk import Desk
from streaming.conversation.ears import Ears
from streaming.conversation.events import Action, EndCall, EndReason, Event, SpeechWindow
from streaming.conversation.failures import Failures
from streaming.conversation.hearing import HeardTurn, Hearing
from streaming.conversation.keypad import Keypad
from streaming.conversation.languages import wants_no_calls
from streaming.conversation.opening import Opening
from streaming.conversation.plan import ConversationPlan
from streaming.conversation.replies import Replies
from streaming.conversation.reply import Reply
from streaming.conversation.silence import Silence
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice

# Watchdogs behind the driver's own clocks, so that no lost event can leave a call hanging.
MODEL_STALL_MS = 20_000
VOICE_STALL_MS = 20_000
# After a goodbye, a caller who is making a sound has this long to make words of it.
LINGER_MS = 3000


class Conversation:
    """One call's conversation.

    Attributes:
        over: the call has ended; every further event is ignored.
        answering: who has answered, on a call that we placed.
    """

    def __init__(self, plan: ConversationPlan) -> None:
        self._plan = plan
        self._desk = Desk(plan)
        self._timers = self._desk.timers
        self._hearing = Hearing(self._desk)
        self._voice = Voice(self._desk)
        self._replies = Replies(self._desk, self._voice)
        self._bargein = BargeIn(self._desk, self._hearing, self._voice)
        self._ears = Ears(self._desk, self._hearing, self._voice)
        self._silence = Silence(self._desk)
        self._keypad = Keypad(self._desk)
        self._opening = Opening(self._desk, self._voice)
        self._closing = Closing(self._desk, self._voice)
        self.answering = Answering(
            self._desk,
            hearing=self._hearing,
            voice=self._voice,
            replies=self._replies,
            opening=self._opening,
            closing=self._closing,
            end=self._end,
        )
        self._failures = Failures(
            self._desk,
            voice=self._voice,
            replies=self._replies,
            closing=self._closing,
            close=self._close,
            end=self._end,
        )
        self._caller = Caller(
            self._desk,
            hearing=self._hearing,
            voice=self._voice,
            replies=self._replies,
            bargein=self._bargein,
            silence=self._silence,
            opening=self._opening,
            closing=self._closing,
            keypad=self._keypad,
            answering=self.answering,
        )
        self._speaks = plan.mode == "conversation"
        self._started = False
        self.over = False
        self._on_event: dict[type, Callable[[Any], None]] = {
            events.Started: self._on_started,
            events.TranscriptPartial: self._caller.partial,
            events.TranscriptFinal: self._caller.final,
            events.TurnProbability: self._caller.probability,
            events.TranscriberFailed: self._failures.of_transcriber,
            events.ReplyText: self._replies.text,
            events.ReplyTool: self._replies.tool,
            events.ReplyDone: self._replies.done,
            events.ReplyFailed: self._failures.of_model,
            events.SegmentAudio: self._voice.audio,
            events.VoiceFailed: self._failures.of_voice,
            events.SegmentSent: self._voice.sent,
            events.SegmentHeard: self._on_segment_heard,
            events.VoicePaused: self._voice.paused,
            events.Dtmf: self._caller.dtmf,
            events.Typed: self._caller.typed,
            events.ToolResult: self._replies.result,
            events.OptedOut: self._on_opted_out,
            events.Beep: lambda _: self.answering.beep(),
            events.MachineReported: lambda _: self.answering.carrier_says_machine(),
            events.EndRequested: self._on_end_requested,
            events.HungUp: self._on_hung_up,
            events.Tick: lambda _: None,
        }
        self._on_timer: dict[Timer, Callable[[], None]] = {
            Timer.SPECULATE: self._caller.speculate,
            Timer.COMMIT: self._hearing.commit,
            Timer.FINAL: self._caller.final_overdue,
            Timer.DECIDE: self._caller.turn_ends,
            Timer.BURST: self._caller.burst_due,
            Timer.RESUME: self._bargein.resume_due,
            Timer.EARS: lambda: None,  # ``_settle`` asks them
            Timer.KEYPAD: self._caller.keypad_done,
            Timer.REPROMPT: self._caller_silent,
            Timer.FILLER: self._replies.fillers.say,
            Timer.TOOL: self._replies.tools_overdue,
            Timer.WATCH: self._stalled,
            Timer.ANSWERED: self.answering.due,
            Timer.MAX_CALL: self._longest_call,
            Timer.CLOSE: self._close_overdue,
        }

    @property
    def wake_at_ms(self) -> int | None:
        """When the driver must send a ``Tick`` unless another event comes first; None: no need."""
        return self._timers.next_ms

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """Takes one event and returns what is to be done, in order.

        Args:
            now_ms: ms on the call's clock; a time before the last event's counts as the last event's.
        """
        if self.over:
            return []
        desk = self._desk
        now_ms = max(now_ms, desk.now)
        if type(event) is SpeechWindow:
            change = self._hearing.window(event.probability, now_ms, event.power)
            next_ms = self._timers.next_ms
            if change is None and (next_ms is None or next_ms > now_ms):
                return []  # 29 of 30 windows
            desk.now, desk.actions = now_ms, []
            if change is not None:
                self._caller.speech(change)
        else:
            desk.now, desk.actions = now_ms, []
            self._on_event[type(event)](event)
        self._settle()
        while not self.over and (timer := self._timers.pop_due(now_ms)) is not None:
            self._on_timer[timer]()
            self._settle()
        return desk.actions

    # --- the start ---------------------------------------------------------------------------------------------------

    def _on_started(self, event: events.Started) -> None:
        if self._started:
            return
        self._started = True
        self._silence.broken(self._desk.now)
        self._timers.set(Timer.MAX_CALL, max(self._plan.max_call_ms, self._desk.now))
        if not self._speaks:
            return
        if event.resumed:
            self._desk.note("resumed")
            if self._desk.history.awaits_answer:
                self._replies.owed = True
            elif self._desk.rules.lost:
                self._voice.say_phrases("reprompt", [self._desk.rules.lost], interruptible=True)
            return
        self._opening.due = True
        if self._plan.speaks_first == "agent":
            self._opening.say()

    # --- the agent speaks --------------------------------------------------------------------------------------------

    def _on_segment_heard(self, event: events.SegmentHeard) -> None:
        self._voice.heard(event.generation, event.segment)

    def _settle(self) -> None:
        """Does what the state allows now: end, speak, answer; then sets the watches."""
        while not self.over:
            floor = self._voice.floor
            if floor is not None and floor.all_heard and floor.model_done:
                self._utterance_heard(floor)
            elif self._closing.leaving is not None:
                if not self._take_leave(self._closing.leaving):
                    break
            elif floor is None and self._voice.next is not None and self._may_release(self._voice.next):
                self._voice.give_floor()
            elif self._may_answer():
                self._replies.start()
            else:
                break
        if not self.over:
            self._ears.settle()
            self._set_watches()

    def _utterance_heard(self, reply: Reply) -> None:
        self._timers.clear(Timer.RESUME)
        if reply.said_nothing:
            self._replies.nothing_said(reply)
            return
        if reply.segments:
            self._hearing.endpointing.agent_said(reply.text)
            self._silence.broken(self._desk.now)
        self._voice.finish()
        if reply.ends_call is not None and (self._closing.reason is not None or reply.transfer_to):
            self._end(reply.ends_call, transfer_to=reply.transfer_to)
        elif reply.ends_call is not None:
            self._closing.leaving = reply.ends_call
            self._timers.set(Timer.CLOSE, self._desk.now + LINGER_MS)

    def _take_leave(self, reason: EndReason) -> bool:
        """The goodbye was heard: hangs up unless the caller has more to say; False while that is not known."""
        said = self._hearing.text
        if self._replies.owed or self._voice.next is not None or self._closing.reason is not None:
            self._stay(reason)
        elif self._hearing.settled and not self._keypad.digits and self._nothing_more(said):
            self._end(reason)
        else:
            return False
        return True

    def _nothing_more(self, said: str) -> bool:
        return self._bargein.is_farewell(said) if said else not self._hearing.missing_words

    def _stay(self, reason: EndReason) -> None:
        self._desk.note("closing_called_off", reason=reason)
        self._closing.leaving = None
        if self._closing.reason is None:
            self._timers.clear(Timer.CLOSE)

    def _may_release(self, reply: Reply) -> bool:
        return reply.decided and (not self._hearing.speech.active or not reply.by_model)

    def _may_answer(self) -> bool:
        return (
            self._replies.owed
            and self._voice.next is None
            and self._closing.reason is None
            and not self._replies.tools_running
            and not self._keypad.digits
            and not self.answering.holds
            and self._hearing.quiet
        )

    # --- silence, time limits, failures ------------------------------------------------------------------------------

    def _set_watches(self) -> None:
        hearing, voice = self._hearing, self._voice
        free = (
            self._started
            and self._speaks
            and self._closing.reason is None
            and self._closing.leaving is None
            and not self._keypad.digits
            and not self.answering.holds
            and not hearing.text
            and not hearing.awaits_words
        )
        silent = free and voice.floor is None and voice.next is None
        mute = silent or (free and voice.waits is not None)
        since_ms = max(self._silence.since_ms, hearing.silent_from_ms, voice.last_heard_ms)
        self._replies.watch(quiet=mute and not hearing.speech.active, since_ms=since_ms)
        idle = silent and not self._replies.owed and not self._replies.tools_running
        self._silence.watch(idle=idle, noise_since_ms=hearing.speech.onset_ms if hearing.speech.active else None)
        due = min((at for at in map(self._watch_of, (voice.floor, voice.next)) if at is not None), default=None)
        if due is None:
            self._timers.clear(Timer.WATCH)
        else:
            self._timers.set(Timer.WATCH, due)

    def _watch_of(self, reply: Reply | None) -> int | None:
        """When this utterance should have moved on at the latest."""
        if reply is None or reply.paused_ms is not None:
            return None
        if reply.by_model and not reply.model_done:
            return reply.progress_ms + MODEL_STALL_MS + reply.unheard_ms()
        if reply is self._voice.floor:
            return reply.progress_ms + VOICE_STALL_MS + reply.unheard_ms()
        return None

    def _stalled(self) -> None:
        for reply in (self._voice.next, self._voice.floor):
            due = self._watch_of(reply)
            if reply is None or due is None or due > self._desk.now:
                continue
            self._desk.note("stalled", generation=reply.generation, turn_kind=reply.kind)
            self._failures.of_reply(reply, ErrorKind.STALLED)
            return  # it may have ended the call; the other is watched again

    def _caller_silent(self) -> None:
        if self._opening.say():
            return
        text = self._silence.next_text
        self._silence.said += 1
        if text is not None:
            self._desk.note("reprompt", number=self._silence.said)
            if self._voice.say_phrases("reprompt", [text], interruptible=self._plan.interruptible) is None:
                self._silence.broken(self._desk.now)
        elif (
            self._voice.say_phrases(
                "goodbye", [self._plan.goodbye], interruptible=self._plan.interruptible, ends_call="silence"
            )
            is None
        ):
            self._end("silence")

    def _longest_call(self) -> None:
        if not self._speaks:
            self._end("max_length")
        else:
            self._close("max_length", "wrap_up", (self._plan.wrap_up, self._plan.goodbye))

    def _on_end_requested(self, event: events.EndRequested) -> None:
        if not event.say_goodbye or not self._speaks:
            self._end(event.reason)
        else:
            self._close(event.reason, "goodbye", (self._plan.goodbye,), at_once=True)

    def _on_opted_out(self, event: events.OptedOut) -> None:
        """Who pressed the key is told so, and the call ends; what could not be written is not said to have been."""
        rules = self._desk.rules
        if event.done:
            self._closing.reason = None  # whatever else was about to end the call
            self._close("opted_out", "goodbye", (rules.opted_out or self._plan.goodbye,), at_once=True)
        elif self._closing.reason is None and self._voice.floor is None:
            self._voice.say_phrases("filler", (rules.not_opted_out,), interruptible=True)

    # --- the end -----------------------------------------------------------------------------------------------------

    def _close(
        self, reason: EndReason, kind: events.TurnKind, texts: tuple[str, ...], *, at_once: bool = False
    ) -> None:
        self._replies.owed = False
        if not self._closing.begin(reason, kind, texts, at_once=at_once):
            self._end(self._closing.reason or reason)

    def _close_overdue(self) -> None:
        if (
            self._closing.leaving is not None
            and self._hearing.text
            and not self._bargein.is_farewell(self._hearing.text)
        ):
            self._stay(self._closing.leaving)
        elif self._closing.leaving is not None or not self._closing.overdue():
            self._end(self._closing.leaving or self._closing.reason or "max_length")

    def _end(self, reason: EndReason, *, transfer_to: str = "") -> None:
        self._write_open_turns()
        for reply in (self._voice.next, self._voice.floor):
            if reply is not None:
                self._desk.do(events.CancelGeneration(reply.generation))
        self._desk.do(EndCall(self.answering.end_reason(reason), transfer_to))
        self._over()

    def _on_hung_up(self, event: events.HungUp) -> None:
        self._write_open_turns()
        self._desk.note("stream_ended", reason=event.reason)
        self._over()

    def _over(self) -> None:
        self.over = True
        self._timers.clear_all()

    def _opt_out_if_asked(self) -> None:
        """Who says that they want no more calls and hangs up has asked, though no model answers any more.

        So has a screener that says it for them.
        """
        if not self._plan.opt_out_key or self._closing.reason == "opted_out":
            return
        if words := next((text for text in reversed(self._hearing.latest) if wants_no_calls(text)), ""):
            self._desk.do(events.OptOut(words, spoken=True))

    def _write_open_turns(self) -> None:
        """What was under way is kept: the caller's words, the agent's as far as they were heard, tools unanswered."""
        now = self._desk.now
        if self._hearing.text:
            self._hearing.write(self._hearing.take(), end_reason="call_ended", interrupted=True)
        self._caller.write_beside(interrupted=True)
        if digits := self._keypad.take():
            turn = HeardTurn(f"[keypad] {digits}", self._keypad.began_ms, now, None, now)
            self._hearing.write(turn, end_reason="call_ended", kind="dtmf", interrupted=True)
        for reply in (self._voice.floor, self._voice.next):
            if reply is not None and reply.decided and reply.text:
                reply.interrupted = True
                self._desk.do(reply.turn(now_ms=now, end_reason="call_ended"))
        self._replies.abandon()
        self._opt_out_if_asked()

"""Who has answered a call that we placed: a person, an answering machine, or something that asks who is calling.

The agent talks at once, as to a person; this listens beside it, for the first minute. Words tell most, then a beep, a
greeting that does not pause, and the carrier's own verdict. A machine is hung up on or left a message, after its
greeting; a screener is told who calls, and whoever then comes is greeted. Asked by ``machine`` and ``caller``.
"""

from collections.abc import Callable
from typing import Literal

from streaming.conversation.closing import Closing
from streaming.conversation.desk import Desk
from streaming.conversation.events import EndReason
from streaming.conversation.hearing import HeardTurn, Hearing
from streaming.conversation.languages import normalise
from streaming.conversation.machines import told
from streaming.conversation.opening import Opening
from streaming.conversation.replies import Replies
from streaming.conversation.reply import Reply
from streaming.conversation.timers import Timer
from streaming.conversation.utterance import Change
from streaming.conversation.voice import Voice

AnsweredBy = Literal["", "human", "machine", "screening"]

WONDER_MS = 60_000  # from the start; what answers later is whoever has answered before
HUMAN_TURNS = 2  # whoever has said so much and was no machine is a person
PAUSE_MS = 1000  # a greeting that is read out or recorded has none so long
PICKED_UP_MS = 5000  # from the start: greetings begin within it
LONG_GREETING_MS = 10_000  # no person says so much at first
HINTED_GREETING_MS = 4000
GREETING_OVER_MS = 2500  # of silence: a beep should have come by then
LONGEST_GREETING_MS = 60_000
LONGEST_MESSAGE_MS = 90_000
BEEP_LATE_MS = 15_000  # a beep so soon after the message's beginning: the machine records from here
PROMPT_OVER_MS = 700  # of silence, and the screener has asked
SCREENED_MS = 60_000  # how long somebody may take to look at the answer
FEW_WORDS = 12  # a greeting for whoever calls is longer
PERSON_WORDS = 2  # over a message that a carrier's guess had us leave


class Answering:
    """The answerer of one call.

    Args:
        end: ends the call.

    Attributes:
        verdict: who it is, as far as that is known.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        hearing: Hearing,
        voice: Voice,
        replies: Replies,
        opening: Opening,
        closing: Closing,
        end: Callable[[EndReason], None],
    ) -> None:
        self._desk = desk
        self._plan = desk.plan.answering
        self._hearing = hearing
        self._voice = voice
        self._replies = replies
        self._opening = opening
        self._closing = closing
        self._end = end
        self.verdict: AnsweredBy = ""
        self._certain = False  # by words or a beep, not by a guess
        self._refuted = False  # somebody has talked as people do: guesses count no more
        self._heard: list[str] = []  # turns so far
        self._since_ms: int | None = None  # of speech without a pause
        self._answers = False  # it began after something that the agent has said, or too late for a greeting
        self._quiet_ms = 0  # when the latest burst of speech ended
        self._decided_ms = 0
        self._message: Reply | None = None
        self._message_ms = 0
        self._beeped = False
        self._told_screener = False

    @property
    def holds(self) -> bool:
        """What is said now is not the beginning of a conversation: it gets no answer, and silence no question."""
        leaves = self._plan is not None and self._plan.on_machine != "go_on"
        return self.verdict == "screening" or (self.verdict == "machine" and leaves)

    @property
    def answered_by(self) -> AnsweredBy:
        """Who answered, for the call's row: a person is one who has talked as people do, or has said enough."""
        return self.verdict or ("human" if self._refuted or len(self._heard) >= HUMAN_TURNS else "")

    def end_reason(self, reason: EndReason) -> EndReason:
        """A message that was not heard to its end was not left."""
        message = self._message
        whole = message is not None and message.all_heard and not any(part.broken for part in message.segments)
        return "machine" if reason == "message_left" and not whole else reason

    @property
    def wonders(self) -> bool:
        """Nothing has told yet who it is; a carrier's guess would be welcome."""
        return self.verdict == "" and self._listens and not self._refuted

    @property
    def _listens(self) -> bool:
        early = self._desk.now <= WONDER_MS and len(self._heard) < HUMAN_TURNS
        return self._plan is not None and self.verdict in {"", "screening"} and early

    # --- what is heard -----------------------------------------------------------------------------------------------

    def speech(self, change: Change) -> None:
        """A burst of speech has begun or stopped."""
        now = self._desk.now
        if change is Change.ONSET:
            if self._since_ms is None or now - self._quiet_ms > PAUSE_MS:
                self._since_ms = now
                self._answers = self._voice.last_heard_ms > 0 or now > PICKED_UP_MS
            if self.wonders and not self._answers:
                self._desk.timers.set(Timer.ANSWERED, self._since_ms + LONG_GREETING_MS)
        elif change is Change.PAUSE:
            self._quiet_ms = self._hearing.speech.end_ms
            if self.holds and self._message is None:
                self._wait()

    def words(self) -> bool:
        """The open turn has new words; True when they are not for the agent."""
        if self._plan is None:
            return False
        text = self._hearing.text
        if self.verdict == "machine":
            return self.holds and not self._is_person(text)
        if not self._listens:
            return False
        said = told(" ".join([*self._heard, text]), self._desk.plan.language)
        if said.machine or (said.hint and self._greeting_ms() >= HINTED_GREETING_MS):
            self._is_machine("words", certain=said.machine)
        elif self.verdict == "" and said.screening:
            self._is_screener()
        return self.holds

    def turn(self, turn: HeardTurn) -> bool:
        """A turn is complete; True when it is not for the agent."""
        if self._plan is None:
            return False
        if self.verdict == "screening" and self._told_screener:
            said = told(turn.text, self._desk.plan.language)
            if not (said.hold or said.screening or said.machine):
                self._person_comes()
                return False
        if self.verdict == "machine" and self._message is None and self._talks(turn.text):
            self._refute()
        if not self.holds:
            self._heard.append(turn.text)
            self.heard(turn.text)
        return self.holds

    def heard(self, text: str) -> None:
        """Somebody has said this, and be it a mere hello."""
        self._refuted = self._refuted or self._is_short(text)

    def beep(self) -> None:
        """A machine's beep has ended: from now on it records."""
        if self._listens:
            self._is_machine("beep", certain=True)
        if self.verdict != "machine" or not self.holds:
            return
        self._beeped = True
        if self._message is None:
            self._leave()
        elif self._desk.now - self._message_ms <= BEEP_LATE_MS and not self._message.all_heard:
            self._desk.note("message_begun_anew")
            self._voice.stop("beep")
            self._say_message()

    def carrier_says_machine(self) -> None:
        """The carrier believes that it is a machine: a guess that counts unless a person or a screener has talked."""
        if self.wonders:
            self._is_machine("carrier", certain=False)
        elif self.verdict == "" and self._plan is not None:
            self._desk.note("carriers_verdict_ignored")

    def _greeting_ms(self) -> int:
        """How long whoever picked up has talked without a pause; 0 for what may answer the agent."""
        if self._since_ms is None or self._answers:
            return 0
        return self._hearing.speech.end_ms - self._since_ms

    # --- what is done ------------------------------------------------------------------------------------------------

    def due(self) -> None:
        """Time is up for whatever is waited for."""
        speech, now = self._hearing.speech, self._desk.now
        if self._message is not None:
            return
        if self.verdict == "":
            if self.wonders and speech.active and self._greeting_ms() >= LONG_GREETING_MS - PAUSE_MS:
                self._is_machine("long_greeting", certain=False)
        elif self.verdict == "machine":
            overdue = now - self._decided_ms >= LONGEST_GREETING_MS
            if overdue:
                self._end("machine")
            elif speech.active or now - speech.end_ms < GREETING_OVER_MS:
                self._wait()
            else:
                self._leave()
        elif self._told_screener:
            self._end("silence")
        elif speech.active or now - speech.end_ms < PROMPT_OVER_MS:
            self._wait()
        else:
            self._tell_screener()

    def _is_machine(self, evidence: str, *, certain: bool) -> None:
        assert self._plan is not None  # noqa: S101  (``_listens``)
        self.verdict, self._certain, self._decided_ms = "machine", certain, self._desk.now
        self._desk.note("answered_by", who="machine", evidence=evidence)
        self._desk.timers.clear(Timer.ANSWERED)
        match self._plan.on_machine:
            case "hang_up":
                self._end("machine")
            case "leave_message":
                self._fall_silent()
                self._wait()
            case "go_on":
                pass

    def _is_screener(self) -> None:
        self.verdict, self._decided_ms = "screening", self._desk.now
        self._desk.note("answered_by", who="screening", evidence="words")
        self._fall_silent()
        self._wait()

    def _fall_silent(self) -> None:
        """Whatever the agent was saying or about to say was meant for a person."""
        self._replies.owed = False
        self._opening.due = False
        self._voice.cancel_next("nobody_there")
        self._voice.stop("nobody_there")
        self._desk.timers.clear(Timer.RESUME)

    def _wait(self) -> None:
        """Until the greeting or the question is over."""
        silence = GREETING_OVER_MS if self.verdict == "machine" else PROMPT_OVER_MS
        if self.verdict == "screening" and self._told_screener:
            return  # it lasts as long as it may
        since = self._desk.now if self._hearing.speech.active else max(self._hearing.speech.end_ms, self._decided_ms)
        self._desk.timers.set(Timer.ANSWERED, max(since + silence, self._desk.now + 100))

    def _leave(self) -> None:
        self._desk.timers.clear(Timer.ANSWERED)
        self._say_message()
        if self._message is None:  # nothing to say after all
            self._end("machine")

    def _say_message(self) -> None:
        assert self._plan is not None  # noqa: S101
        self._message_ms = self._desk.now
        reply = self._voice.say_phrases(
            "voicemail", [self._plan.message], interruptible=False, ends_call="message_left"
        )
        self._message = reply
        self._closing.reason = "message_left"
        self._desk.timers.set(Timer.CLOSE, self._desk.now + LONGEST_MESSAGE_MS)

    def _tell_screener(self) -> None:
        assert self._plan is not None  # noqa: S101
        self._told_screener = True
        texts = [self._plan.screening] if self._plan.screening else self._desk.plan.opening
        self._voice.say_phrases("screening", texts, interruptible=False)
        self._desk.timers.set(Timer.ANSWERED, self._desk.now + SCREENED_MS)

    def _is_person(self, text: str) -> bool:
        """Somebody talks over a message that only a guess had us leave: they are a person after all."""
        if self._message is None or self._message.all_heard or not self._talks(text):
            return False
        if len(normalise(text).split()) < PERSON_WORDS:
            return False
        self._person_comes()
        return True

    def _talks(self, text: str) -> bool:
        """Whether these words, said to what only a guess had taken for a machine, are no machine's."""
        return not self._certain and not self._beeped and self._is_short(text)

    def _is_short(self, text: str) -> bool:
        """Whether a turn is what people say, and no machine's greeting."""
        words, said = normalise(text).split(), told(text, self._desk.plan.language)
        return 0 < len(words) <= FEW_WORDS and not (said.machine or said.hint)

    def _refute(self) -> None:
        """A short turn before any message: most likely a person's. What is said next may still tell a machine."""
        if self.holds:  # else it was not cut off
            self._opening.due = True
        self.verdict, self._refuted = "", True
        self._desk.note("answered_by", who="human", evidence="words")
        self._desk.timers.clear(Timer.ANSWERED)

    def _person_comes(self) -> None:
        """They are greeted and answered like anybody."""
        self.verdict = "human"
        self._desk.note("answered_by", who="human", evidence="words")
        self._desk.timers.clear(Timer.ANSWERED, Timer.CLOSE)
        self._closing.reason = None
        self._message = None
        self._voice.cancel_next("person")
        self._voice.stop("person")
        self._opening.due = True

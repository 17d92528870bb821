"""Speech over the agent's voice: silence it at once, then find out whether the caller wants the floor.

The voice is only paused at first. Words decide: an interruption ends the utterance, a backchannel or a cough lets it
play on. Asked by ``machine.Conversation``.
"""

from streaming.conversation.desk import Desk
from streaming.conversation.hearing import Hearing
from streaming.conversation.interruption import Verdict, is_courtesy, judge
from streaming.conversation.reply import Reply
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice

# The agent's last second: what is said then answers it (LiveKit's backchannel boundary).
NEARLY_DONE_MS = 1000
# From our resuming to the caller's hearing it.
HEARD_AGAIN_MS = 50
# A burst that begins sooner after the first sound of the greeting answers the phone: nobody reacts to a voice so fast.
REACTION_MS = 150
# Such a "hello?" has so long from when the greeting was due; then it goes on all the same: who picks up is greeted
# within half a second.
PICKING_UP_MS = 300
# After so many pauses for nothing in one utterance only words stop it: noise must not make it stutter for ever.
MAX_FALSE_ALARMS = 3


class BargeIn:
    """The paused voice of one conversation, and what becomes of it."""

    def __init__(self, desk: Desk, hearing: Hearing, voice: Voice) -> None:
        self._desk = desk
        self._hearing = hearing
        self._voice = voice
        self._numbers = desk.plan.turn_taking
        self._resume_ms = max(0, self._numbers.resume_ms - HEARD_AGAIN_MS)

    @property
    def contested(self) -> Reply | None:
        """The utterance that the caller may stop: it has begun, and the plan allows it."""
        floor = self._voice.floor
        return floor if floor is not None and floor.audible and floor.interruptible else None

    def caller_began(self) -> None:
        """A burst of speech has begun; one that is too soft to be the caller stops nothing yet."""
        reply, speech = self.contested, self._hearing.speech
        if reply is None or reply.false_alarms >= MAX_FALSE_ALARMS or not (speech.active and speech.loud):
            return
        self._voice.pause()
        self._allow(self._desk.now + self._resume_ms)

    def caller_paused(self) -> None:
        """The burst has ended: what was short is given until ``resume_ms``, what was long until its final text."""
        reply = self.contested
        if reply is None or reply.paused_ms is None:
            return
        silent = self._hearing.speech.end_ms + self._numbers.commit_ms
        if self._hearing.burst_ms() >= self._numbers.interrupt_min_ms:
            self._allow(silent + self._numbers.stt_final_ms)
        else:
            self._allow(max(reply.paused_ms + self._resume_ms, silent))
        if self._verdict(reply) is Verdict.BACKCHANNEL:
            self.resume()

    def words_came(self) -> bool:
        """The open turn has new words; True when they take the floor from the agent."""
        reply = self.contested
        if reply is None:
            return False
        verdict = self._verdict(reply)
        if verdict is Verdict.INTERRUPTION:
            self._interrupt(reply)
            return True
        if verdict is Verdict.BACKCHANNEL and not self._hearing.speech.active:
            self.resume()
        return False

    def turn_settled(self) -> None:
        """The words are final and did not take the floor: the voice goes on."""
        if self.contested is not None:
            self.resume()

    def resume_due(self) -> None:
        """Time is up for the paused voice."""
        reply = self.contested
        if reply is None or reply.paused_ms is None:
            return
        speech = self._hearing.speech
        if not speech.active or speech.loud_ms + self._resume_ms <= self._desk.now:
            self.resume()
        elif self._verdict(reply) is Verdict.INTERRUPTION:
            self._interrupt(reply)
        elif self._picks_up(reply):
            self.resume()
        else:  # sound goes on: it becomes long enough, gives words, stops or proves noise (``Hearing.burst_ends``)
            long_enough = speech.onset_ms + self._numbers.interrupt_min_ms
            self._allow(long_enough if long_enough > self._desk.now else self._desk.now + self._resume_ms)

    def is_courtesy(self, text: str) -> bool:
        """Whether a turn said over the agent's voice asks for nothing ("uh-huh", "hello?" while it greets)."""
        floor = self._voice.floor
        if floor is None or not floor.audible:
            return False
        opening, closing = floor.kind == "greeting", floor.ends_call is not None
        if self._nearly_done(floor) and not opening and not closing:
            return False  # a "yes" is then an answer
        return is_courtesy(
            text, rules=self._desk.rules, opening=opening, picking_up=self._picks_up(floor), closing=closing
        )

    def resume(self) -> None:
        """Lets the paused voice play on."""
        self._desk.timers.clear(Timer.RESUME)
        self._voice.resume()

    def _allow(self, until_ms: int) -> None:
        reply = self.contested
        if reply is not None and self._picks_up(reply):
            until_ms = min(until_ms, max(self._desk.now, reply.begun_ms + PICKING_UP_MS))
        self._desk.timers.set(Timer.RESUME, until_ms)

    def _picks_up(self, reply: Reply) -> bool:
        """Whether the latest burst answers the phone rather than the greeting over which it is said."""
        heard_ms = reply.times.first_heard_ms or 0
        return reply.kind == "greeting" and self._hearing.speech.onset_ms <= heard_ms + REACTION_MS

    def _interrupt(self, reply: Reply) -> None:
        self._desk.timers.clear(Timer.RESUME)
        self._desk.note(
            "interrupted",
            generation=reply.generation,
            speech_ms=self._speech_ms(reply),
            closing_called_off=reply.ends_call is not None,
        )
        self._voice.cancel_next("interrupted")
        self._voice.stop("interrupted")
        self._hearing.endpointing.agent_said(reply.heard_text(self._desk.now))

    def _verdict(self, reply: Reply) -> Verdict:
        return judge(
            self._hearing.text,
            speech_ms=self._speech_ms(reply),
            turn_taking=self._numbers,
            rules=self._desk.rules,
            opening=reply.kind == "greeting",
            picking_up=self._picks_up(reply),
            closing=reply.ends_call is not None,
            nearly_done=self._nearly_done(reply),
        )

    def _speech_ms(self, reply: Reply) -> int:
        """How long the latest burst has lasted over this utterance; 0 for one that ended before it."""
        speech = self._hearing.speech
        began = max(speech.onset_ms, reply.times.first_heard_ms or 0)
        return max(0, (self._desk.now if speech.active else speech.end_ms) - began)

    def _nearly_done(self, reply: Reply) -> bool:
        left = reply.left_ms(self._desk.now)
        return left is not None and left <= NEARLY_DONE_MS

    def is_farewell(self, text: str) -> bool:
        """Whether what the caller says after the goodbye asks for nothing."""
        return is_courtesy(text, rules=self._desk.rules, closing=True)

    def only_greets(self, text: str) -> bool:
        """Whether a caller who speaks first has said no more than hello."""
        return is_courtesy(text, rules=self._desk.rules, opening=True)

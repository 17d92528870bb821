"""What the STT gets to hear while the agent speaks: nothing, unless something is loud enough to be the caller.

Its own voice comes back to the agent from many a loudspeaker, some 20 dB softer, and a recogniser writes down what it
says; so it does with people who talk near the caller. Asked by ``machine.Conversation`` after every event.
"""

from streaming.conversation.desk import Desk
from streaming.conversation.events import OpenEars, ShutEars
from streaming.conversation.hearing import Hearing
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice

# The way to a phone and back, and the room: so long after its last word the agent's voice still comes back.
ECHO_MS = 400
# A word's quiet beginning and end, and the pauses within a sentence.
STAY_OPEN_MS = 1000
# What is softer before the first loud window of a word, and what it takes to notice one.
SOFT_BEGINNING_MS = 250
NOTICED_MS = 100


class Ears:
    """Open or shut, in one conversation."""

    def __init__(self, desk: Desk, hearing: Hearing, voice: Voice) -> None:
        self._desk = desk
        self._hearing = hearing
        self._voice = voice
        self._shut = False

    def settle(self) -> None:
        """Opens and shuts them as the state now asks for."""
        now, speech = self._desk.now, self._hearing.speech
        floor = self._voice.floor
        speaking = floor is not None and floor.audible and floor.paused_ms is None
        quiet_at = self._voice.last_heard_ms + ECHO_MS
        caller_until = speech.loud_ms + STAY_OPEN_MS
        caller = caller_until > now or (speech.active and speech.loud)
        self._desk.timers.clear(Timer.EARS)
        speech.agent_speaks(self._voice.loudest)
        if self._shut:
            if caller or (floor is not None and floor.paused_ms is not None):
                self._open(SOFT_BEGINNING_MS)
            elif not speaking and now >= quiet_at:
                self._open(NOTICED_MS)
            elif not speaking:
                self._desk.timers.set(Timer.EARS, quiet_at)
        elif speaking and not caller:
            self._shut = speech.expects_loud = True
            self._desk.do(ShutEars())
        elif speaking and caller_until > now:
            self._desk.timers.set(Timer.EARS, int(caller_until))

    def _open(self, back_ms: int) -> None:
        self._shut = self._hearing.speech.expects_loud = False
        self._desk.do(OpenEars(back_ms))

"""What broke and how the call goes on: the recogniser, the model, the voice, after whatever the driver has tried.

The driver's own retries and other choices come first; what reaches this has none left, or came too late for them. Asked
by ``machine.Conversation``.
"""

from collections.abc import Callable
from typing import Protocol

from agents.providers.errors import FACTS, ErrorKind
from streaming.conversation.closing import Closing
from streaming.conversation.desk import Desk
from streaming.conversation.events import EndReason, ReplyFailed, TranscriberFailed, TurnKind, VoiceFailed
from streaming.conversation.replies import Replies
from streaming.conversation.reply import Reply
from streaming.conversation.timers import Timer
from streaming.conversation.voice import Voice


class Close(Protocol):
    """Ends the call with last words."""

    def __call__(self, reason: EndReason, kind: TurnKind, texts: tuple[str, ...]) -> None: ...


class Failures:
    """Of one conversation.

    Args:
        close: ends the call after last words.
        end: ends it now.
    """

    def __init__(
        self,
        desk: Desk,
        *,
        voice: Voice,
        replies: Replies,
        closing: Closing,
        close: Close,
        end: Callable[[EndReason], None],
    ) -> None:
        self._desk = desk
        self._voice = voice
        self._replies = replies
        self._closing = closing
        self._close = close
        self._end = end

    def of_transcriber(self, event: TranscriberFailed) -> None:
        """Speech-to-text broke."""
        self._desk.note("transcriber_failed", error=event.kind.value, fatal=event.fatal)
        if event.fatal:
            self._give_up()

    def of_model(self, event: ReplyFailed) -> None:
        """The language model failed at a reply."""
        reply = self._voice.find(event.generation)
        if reply is None or not reply.by_model or reply.model_done:
            return
        self._desk.note("reply_failed", generation=reply.generation, error=event.kind.value)
        helps = event.another or FACTS[event.kind].retryable
        if self._replies.asks_again(reply, helps=helps):
            return
        if not self._replies.broke_off(reply):
            self.of_reply(reply, event.kind)
        elif event.kind is not ErrorKind.CONTENT_FILTER and not self._replies.goes_on(reply, helps=helps):
            self._give_up()

    def of_voice(self, event: VoiceFailed) -> None:
        """Text-to-speech failed at a segment."""
        reply = self._voice.find(event.generation)
        if reply is not None:
            self._desk.note("voice_failed", generation=reply.generation, segment=event.segment, error=event.kind.value)
            # Before the turn's decision a flawed start is worth nothing: the decision asks again.
            if event.fatal or not reply.decided or not self._voice.broke_off(event.generation, event.segment):
                self.of_reply(reply, event.kind)

    def of_reply(self, reply: Reply, kind: ErrorKind) -> None:
        """Model or voice of an utterance broke, after whatever the driver tried."""
        if reply is self._voice.floor:
            self._desk.timers.clear(Timer.RESUME)
            self._voice.stop("failed")
        else:
            self._voice.cancel_next("failed")
        if not reply.decided or reply.kind == "filler":
            return  # it was begun on trust: the turn's decision will ask again; what a filler bridges goes on
        if reply.ends_call is not None:
            self._end(self._closing.reason or reply.ends_call)
        elif kind is ErrorKind.CONTENT_FILTER and reply.by_model:
            self._replies.say_again()
        else:
            self._give_up()

    def _give_up(self) -> None:
        if self._desk.plan.mode == "conversation":
            self._close("provider_failure", "apology", (self._desk.plan.apology,))
        else:
            self._end("provider_failure")

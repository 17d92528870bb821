"""Plivo's obedience to a stream's server: plays what it sends, answers its checkpoints, clears, notes what is wrong.

Fed with text by the stream client; the arithmetic of the queue is in playout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from sandbox.audio import Samples
from sandbox.plivo.media_format import PHONE_FRAME, PHONE_RATE
from sandbox.plivo.playout import Marker, Playout
from sandbox.plivo.stream_protocol import Command, ProtocolError, StreamSpec, parse_command

if TYPE_CHECKING:
    from sandbox.plivo.call import Call
    from sandbox.plivo.media import CallMedia

_LATE_ACK_S = 0.3


class Say(Protocol):
    """Sends an event of this stream to its server, while there is one."""

    def __call__(self, event: str, **fields: Any) -> None:
        """`fields` are the event's own."""


class StreamPlayer:
    """What one stream does with the server's messages. `limit_s` is the longest playback queue."""

    def __init__(self, call: Call, media: CallMedia, spec: StreamSpec, *, limit_s: float, say: Say) -> None:
        """An empty queue."""
        self._call, self._media, self._spec, self._faults, self._say = call, media, spec, call.faults, say
        self._timers: set[asyncio.TimerHandle] = set()
        self.messages: dict[str, int] = {}
        media_format = spec.media_format
        self.playout = Playout(
            rate=media_format.rate,
            sample_bytes=media_format.sample_bytes,
            limit=int(limit_s * media_format.rate),
        )

    def handle(self, text: str) -> None:
        """One message."""
        try:
            command = parse_command(text, self._spec, self._faults)
        except ProtocolError as error:
            self._call.violation(error.kind, str(error))
            if error.reason:
                self._say("playFailed", reason=error.reason)
            return
        self.messages[command.event] = self.messages.get(command.event, 0) + 1
        for warning in command.warnings:
            self._call.violation(warning, command.event)
        if command.event == "playAudio":
            self._play(command)
        elif command.event == "checkpoint":
            self._checkpoint(command.name)
        elif command.event == "clearAudio":
            self._clear()
        else:
            self._call.digits_from_agent.append({"ms": self._media.now_ms(), "digits": command.digits, "by": "stream"})

    def finish(self) -> None:
        """The stream is over: what has not been played is never heard."""
        for timer in self._timers:
            timer.cancel()
        self.playout.finish(self._position())

    def heard(self, frame: int) -> list[tuple[int, Samples]]:
        """What the far party hears of this stream in a frame, as pieces at 8 kHz."""
        media_format = self._spec.media_format
        factor = media_format.rate // PHONE_RATE
        start = frame * PHONE_FRAME * factor
        pieces = self.playout.read(start, start + PHONE_FRAME * factor)
        if not self._media.keep_audio:
            self.playout.forget_audio(start)
        return [(at // factor, media_format.to_phone(media_format.decode(data))) for at, data in pieces]

    def _position(self) -> int:
        return self._media.position(self.playout.rate)

    def _play(self, command: Command) -> None:
        if self.playout.received == 0:
            self._call.note("first_audio")
        if not self.playout.play(self._position(), command.audio):
            self._call.violation("buffer_overflow", f"{len(command.audio)} bytes on a full playback queue")
            if self._faults.overflow == "drop_newest":
                self._say("error", reason="buffer_overflow")

    def _checkpoint(self, name: str) -> None:
        marker = self.playout.checkpoint(self._position(), name)
        self._later(self._media.moment(marker.position, self.playout.rate), self._reach, marker)

    def _later(self, moment: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do it at a loop time, unless the stream ends before."""

        def due() -> None:
            self._timers.discard(timer)
            action(*arguments)

        timer = asyncio.get_running_loop().call_at(moment, due)
        self._timers.add(timer)

    def _reach(self, marker: Marker) -> None:
        before = len(self.playout.reached_markers)
        for number, reached in enumerate(self.playout.reached(marker.position), before + 1):
            if number > self._faults.checkpoints_unanswered:
                self._played(reached.name)

    def _played(self, name: str) -> None:
        self._say(self._faults.played_name, name=name)

    def _clear(self) -> None:
        now = asyncio.get_running_loop().time()
        cleared = self.playout.clear(self._position())
        if self._call.caller:
            self._call.caller.cleared(round(cleared.at * 1000 / self.playout.rate, 3))
        if self._faults.clear_delay_ms:
            self._later(now + self._faults.clear_delay_ms / 1000, self._say, "clearedAudio")
        else:
            self._say("clearedAudio")
        if self._faults.cleared_markers == "late_ack":
            for name in cleared.names:
                self._later(now + _LATE_ACK_S, self._played, name)

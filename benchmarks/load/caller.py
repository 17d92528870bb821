"""One simulated caller behind Plivo: speaks Plivo's stream protocol, asks, listens, and where told interrupts.

Its audio leaves in ``tick``, called every 20 ms by ``benchmarks.callers``; what comes back is played by the sandbox's
model of Plivo's queue.
"""

import base64
import random
import time
import uuid
from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from picows import WSFrame, WSListener, WSMsgType, WSTransport

from benchmarks.load.clips import FRAME, Clip
from benchmarks.load.heard import PER_MS, Arrival, CallLog, Said
from sandbox.plivo.playout import Playout

WINDOW = 256  # samples of the voice detector's window
OVER_AFTER_S = 0.8  # an agent that is silent for so long has finished
PATIENCE_S = 8.0
QUEUE_SAMPLES = 60 * 8000


class _Media(msgspec.Struct):
    payload: str


class _Command(msgspec.Struct):
    event: str
    name: str = ""
    media: _Media | None = None


_decode = msgspec.json.Decoder(_Command).decode


@dataclass(frozen=True)
class Part:
    """What callers of one run have to say.

    Attributes:
        interrupts: every second answer is talked over, 1 to 2 s after it began.
    """

    questions: tuple[Clip, ...]
    interruptions: tuple[Clip, ...]
    noise: tuple[str, ...]
    interrupts: bool


class Caller(WSListener):
    """One call. ``ended`` is called when the server closes the stream."""

    def __init__(self, loop: AbstractEventLoop, call_id: str, part: Part, seed: int, ended: Callable[[], None]) -> None:
        self.log = CallLog(Playout(rate=8000, sample_bytes=1, limit=QUEUE_SAMPLES))
        self.zero = 0.0  # monotonic time at which the stream began
        self.greeted_ms: float | None = None
        self._loop = loop
        self._call_id = call_id
        self._stream_id = str(uuid.uuid4())
        self._part = part
        self._random = random.Random(seed)
        self._ended = ended
        self._transport: WSTransport | None = None
        self._sequence = 0
        self._chunk = 0
        self._timers: set[TimerHandle] = set()
        self._clip: Clip | None = None
        self._clip_at = 0
        self._speaks_at = 0.0
        self._asked_at: float | None = None  # waits for the answer to what ended then
        self._answer_at: float | None = None
        self._interrupt_at: float | None = None
        self._agent_until = 0.0
        self._over_agent = False
        self._answers = 0

    # --- the socket --------------------------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Plivo's first message."""
        self._transport = transport
        self.zero = time.monotonic()
        self._speaks_at = self.zero + 1.5 + self._random.uniform(0.0, 3.0)
        media = '{"encoding":"audio/x-mulaw","sampleRate":8000}'
        self._send(
            f'"event":"start","start":{{"callId":"{self._call_id}","streamId":"{self._stream_id}","accountId":"bench",'
            f'"tracks":["inbound"],"mediaFormat":{media}}},"extra_headers":""'
        )

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002  (picows' signature)
        """The server has closed the stream, or was told to."""
        self._transport = None
        for timer in self._timers:
            timer.cancel()
        self._ended()

    def hang_up(self) -> None:
        """The caller leaves."""
        if self._transport is not None:
            self._transport.send_close(1000)
            self._transport.disconnect()

    def _send(self, members: str) -> None:
        if self._transport is not None:
            self._transport.send(WSMsgType.TEXT, f'{{"sequenceNumber":{self._sequence},{members}}}'.encode())
            self._sequence += 1

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002  (picows' signature)
        """What the server wants played, marked or cleared."""
        if frame.msg_type != WSMsgType.TEXT:
            return
        command = _decode(frame.get_payload_as_memoryview())
        now = time.monotonic()
        at = self._position(now)
        if command.event == "playAudio" and command.media is not None:
            self._play(now, at, base64.b64decode(command.media.payload))
        elif command.event == "checkpoint":
            marker = self.log.playout.checkpoint(at, command.name)
            self._at(self.zero + marker.position / 8000, lambda: self._reach(marker.position))
        elif command.event == "clearAudio":
            self.log.playout.clear(at)
            self.log.clears_ms.append(at / PER_MS)
            self._agent_until = now
            self._send(f'"event":"clearedAudio","streamId":"{self._stream_id}"')

    def _position(self, now: float) -> int:
        return int((now - self.zero) * 8000)

    def _play(self, now: float, at: int, data: bytes) -> None:
        playout = self.log.playout
        if not playout.play(at, data):
            return
        last = playout.chunks[-1]
        self.log.arrivals.append(Arrival(at / PER_MS, last.start / PER_MS, (last.end - last.start) / PER_MS))
        self._agent_until = self.zero + last.end / 8000
        if self.greeted_ms is None:
            self.greeted_ms = last.start / PER_MS
        if self._asked_at is not None and self._answer_at is None and self._clip is None:
            self._answer_at = now
            self._answers += 1
            if self._part.interrupts and self._answers % 2:
                self._interrupt_at = now + self._random.uniform(1.0, 2.0)

    def _at(self, when: float, action: Callable[[], None]) -> None:
        def due() -> None:
            self._timers.discard(timer)
            action()

        timer = self._loop.call_at(when, due)
        self._timers.add(timer)

    def _reach(self, position: int) -> None:
        for marker in self.log.playout.reached(position):
            self._send(f'"event":"playedStream","streamId":"{self._stream_id}","name":"{marker.name}"')

    # --- the person --------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Sends the 20 ms that have just passed, and decides what to do next."""
        if self._transport is None:
            return
        if self._clip is None:
            self._decide(now)
        clip = self._clip
        if clip is None:
            payload = self._part.noise[self._chunk % len(self._part.noise)]
        else:
            payload = clip.payloads[self._clip_at]
            self._clip_at += 1
            if self._clip_at == len(clip.payloads):
                self._clip = None
                self._asked_at, self._answer_at = now, None
        self._chunk += 1
        self._send(
            f'"streamId":"{self._stream_id}","event":"media","media":{{"track":"inbound","timestamp":'
            f'"{int(time.time() * 1000)}","chunk":{self._chunk},"payload":"{payload}"}},"extra_headers":""'
        )

    def _decide(self, now: float) -> None:
        if self._interrupt_at is not None:
            if now >= self._interrupt_at:
                self._interrupt_at = None
                self._say(now, over_agent=now < self._agent_until)
            return
        silent = now > self._agent_until + OVER_AFTER_S
        if self._asked_at is not None:
            if (self._answer_at is not None and silent) or now > self._asked_at + PATIENCE_S:
                self._asked_at = None
                self._speaks_at = now + self._random.uniform(0.1, 1.1)
        elif silent and now >= self._speaks_at:
            self._say(now, over_agent=False)

    def _say(self, now: float, *, over_agent: bool) -> None:
        clips = self._part.interruptions if over_agent else self._part.questions
        number = self._random.randrange(len(clips))
        self._clip, self._clip_at, self._asked_at = clips[number], 0, None
        onset = (now - self.zero) * 1000 - 20  # the frame that leaves now was spoken in the last 20 ms
        end = onset + self._clip.voiced / PER_MS
        self.log.said.append(Said(onset, end, over_agent, number, self._chunk * FRAME % WINDOW))

"""The audio of one answered call: an absolute 20 ms clock that moves the caller, the prompts and the streams together.

Started by the engine when the call is answered, ended at hang-up. It keeps what the caller said and heard, for
recordings and for the stereo file of the control API.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import numpy as np

from sandbox.audio import Samples, l16_decode, l16_encode
from sandbox.plivo.hearing import as_frame
from sandbox.plivo.media_format import FRAME_MS, PHONE_FRAME, PHONE_RATE
from sandbox.plivo.playout import Playout

if TYPE_CHECKING:
    from sandbox.plivo.caller import ScriptedCaller
    from sandbox.plivo.stream_client import StreamClient

_LONGEST_PROMPT = 4 * 3600 * PHONE_RATE


class CallMedia:
    """The media clock of a call. Position 0 is the moment of its making."""

    def __init__(self, caller: ScriptedCaller | None, *, keep_audio: bool) -> None:
        """Take the time of the answer."""
        self._loop = asyncio.get_running_loop()
        self.answered = self._loop.time()
        self.caller = caller
        self.keep_audio = keep_audio
        self.streams: list[StreamClient] = []
        self.prompts = Playout(rate=PHONE_RATE, sample_bytes=2, limit=_LONGEST_PROMPT)
        self.frame = 0
        self.last_said_ms = 0.0
        self._said: dict[int, bytes] = {}
        self._heard: dict[int, bytes] = {}

    def now_ms(self) -> float:
        """Milliseconds since the answer."""
        return (self._loop.time() - self.answered) * 1000

    def position(self, rate: int) -> int:
        """Samples since the answer, at a rate."""
        return int((self._loop.time() - self.answered) * rate)

    def moment(self, position: int, rate: int) -> float:
        """The loop time at which a position is reached."""
        return self.answered + position / rate

    async def run(self) -> None:
        """Tick until cancelled. Late ticks are caught up at once: the clock does not drift."""
        while True:
            wait = self.answered + (self.frame + 1) * FRAME_MS / 1000 - self._loop.time()
            await asyncio.sleep(max(0.0, wait))
            self._tick()

    def _tick(self) -> None:
        frame = self.frame
        said = self.caller.say() if self.caller else None
        heard = self._mix(frame)
        for stream in self.streams:
            stream.media_frame(frame, said, heard)
        if said is not None:
            self.last_said_ms = float((frame + 1) * FRAME_MS)
        if self.keep_audio:
            if said is not None:
                self._said[frame] = l16_encode(said)
            if heard is not None:
                self._heard[frame] = l16_encode(heard)
        self.frame = frame + 1
        if self.caller:
            self.caller.streamed = any(stream.listens(self.frame) for stream in self.streams)
            self.caller.hear(heard)

    def _mix(self, frame: int) -> Samples | None:
        start = frame * PHONE_FRAME
        pieces = [(at, l16_decode(data)) for at, data in self.prompts.read(start, start + PHONE_FRAME)]
        for stream in self.streams:
            pieces.extend(stream.player.heard(frame))
        return as_frame(pieces, frame)

    def speak(self, samples: Samples) -> float:
        """Queue a prompt (8 kHz); the seconds until it has been played."""
        at = self.position(PHONE_RATE)
        self.prompts.play(at, l16_encode(samples))
        return (self.prompts.checkpoint(at, "prompt").position - at) / PHONE_RATE

    def stop_prompts(self) -> None:
        """Nobody hears the rest of the prompts."""
        self.prompts.clear(self.position(PHONE_RATE))

    def stereo(self, start_ms: float = 0.0, end_ms: float | None = None) -> Samples:
        """(n, 2) samples at 8 kHz: left what the caller said, right what it heard."""
        first = int(start_ms // FRAME_MS)
        last = self.frame if end_ms is None else min(self.frame, int(end_ms // FRAME_MS))
        out = np.zeros((max(0, last - first) * PHONE_FRAME, 2), np.int16)
        for channel, frames in enumerate((self._said, self._heard)):
            for frame, data in frames.items():
                if first <= frame < last:
                    offset = (frame - first) * PHONE_FRAME
                    out[offset : offset + PHONE_FRAME, channel] = l16_decode(data)
        return out

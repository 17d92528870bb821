"""Plivo's side of one stream: it dials the server's WebSocket, sends the caller's audio and plays what comes back.

Started by the XML interpreter or by REST; its `run` ends when the stream has ended, for good or after the
reconnect that a fault asks for. All frames leave through one queue, so that sequence numbers and order agree.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import aiohttp

from sandbox.audio import Samples
from sandbox.plivo.media_format import FRAME_MS, PHONE_FRAME, PHONE_RATE, FrameEncoder
from sandbox.plivo.playout import Marker, Playout
from sandbox.plivo.stream_dial import connect
from sandbox.plivo.stream_protocol import (
    Command,
    ProtocolError,
    StreamSpec,
    extra_headers_text,
    parse_command,
    start_message,
    status_params,
)

if TYPE_CHECKING:
    from sandbox.plivo.call import Call
    from sandbox.plivo.exchange import Exchange

_SOCKET_BUFFER_FRAMES = 2000  # 40 s of audio that the server does not read
_DEGRADED_AT = (600, 1200, 1800)
_LATE_ACK_S = 0.3


class StreamClient:
    """One stream of one call."""

    def __init__(self, exchange: Exchange, call: Call, spec: StreamSpec, stream_id: str) -> None:
        """Nothing is opened before run()."""
        assert call.media is not None  # noqa: S101 (a stream needs an answered call)
        self.exchange, self.call, self.spec, self.stream_id = exchange, call, spec, stream_id
        self.media = call.media
        self.faults = call.faults
        self.status = "connecting"
        self.reason = ""
        self.started_at: dt.datetime | None = None
        self.ended_at: dt.datetime | None = None
        self.start_sent_ms: float | None = None
        self.frames_sent = 0
        self.messages: dict[str, int] = {}
        self.connections: list[dict[str, Any]] = []
        media_format = spec.media_format
        self.playout = Playout(
            rate=media_format.rate,
            sample_bytes=media_format.sample_bytes,
            limit=int(exchange.settings.playback_queue_s * media_format.rate),
        )
        self._stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._live = False
        self._out: asyncio.Queue[str] = asyncio.Queue()
        self._encoders = {track: FrameEncoder(media_format) for track in spec.tracks}
        self._chunks = dict.fromkeys(spec.tracks, 0)
        self._sequence: int = self.faults.sequence_from
        self._stream_frame = 0
        self._held: list[str] = []
        self._degraded = 0
        self._timers: set[asyncio.TimerHandle] = set()

    # --- life ---

    async def run(self) -> str:
        """Connect, converse, end; the reason why it ended. Cancelling it closes the socket."""
        self.media.streams.append(self)
        try:
            self.reason = await self._live_through()
        except asyncio.CancelledError:
            self.reason = self._stop.result() if self._stop.done() else "call_hangup"
            raise
        finally:
            self._end()
        return self.reason

    def stop(self, reason: str) -> None:
        """End the stream from this side (REST, hang-up): `run` returns that reason."""
        if not self._stop.done():
            self._stop.set_result(reason)

    def drop(self) -> None:
        """Lose the TCP connection, without a close frame."""
        sock = self._ws.get_extra_info("socket") if self._ws is not None else None
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError as error:
                self.call.note("drop_failed", error=str(error))

    async def _live_through(self) -> str:
        deadline = asyncio.get_running_loop().time() + self.spec.timeout_s
        first = True
        while True:
            websocket = await self._open()
            if websocket is None:
                if self._stop.done():
                    return self._stop.result()
                self._status("DroppedStream", "failed", reason="connection_failed")
                return "connection_failed"
            if first:
                self.started_at = dt.datetime.now(dt.UTC)
                self._status("StartStream", "started")
            self.status = "in-progress"
            reason = await self._converse(websocket, deadline, fault_drop=first)
            if reason != "dropped" or self.faults.reconnect == "none" or not first:
                event = "DroppedStream" if reason in ("dropped", "slow_socket") else "StopStream"
                self._status(event, "failed" if event == "DroppedStream" else "stopped", reason=reason)
                return reason
            first = False
            pause = self.faults.reconnect_delay_ms * self.exchange.settings.time_scale / 1000
            await asyncio.wait({self._stop}, timeout=pause)
            if self.faults.reconnect == "new_stream":
                self.stream_id = self.exchange.new_id()
            self._sequence = self.faults.sequence_from
            self._chunks = dict.fromkeys(self.spec.tracks, 0)
            self._out = asyncio.Queue()

    async def _open(self) -> aiohttp.ClientWebSocketResponse | None:
        """Connect, unless the stream is stopped before."""
        opening = asyncio.create_task(connect(self.exchange, self.call, self.spec, self.stream_id))
        try:
            either: set[asyncio.Future[Any]] = {opening, self._stop}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        finally:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)

    async def _converse(self, websocket: aiohttp.ClientWebSocketResponse, deadline: float, *, fault_drop: bool) -> str:
        self._ws = websocket
        connection: dict[str, Any] = {"opened_ms": self.media.now_ms(), "stream_id": self.stream_id}
        self.connections.append(connection)
        loop = asyncio.get_running_loop()
        tasks: dict[asyncio.Future[Any], str] = {
            asyncio.create_task(self._receive(websocket)): "server_closed",
            asyncio.create_task(self._write(websocket)): "write",
            self._stop: "stop",
        }
        if fault_drop and self.faults.drop_after_ms:
            tasks[asyncio.create_task(asyncio.sleep(self.faults.drop_after_ms / 1000))] = "dropped"
        await self._begin()
        try:
            done, _ = await asyncio.wait(
                tasks, timeout=max(0.0, deadline - loop.time()), return_when=asyncio.FIRST_COMPLETED
            )
            words = {tasks[task] for task in done}
            reason = self._stop.result() if "stop" in words else next(iter(sorted(words)), "stream_timeout")
            if reason == "write":
                reason = "slow_socket" if self._out.qsize() >= _SOCKET_BUFFER_FRAMES else "server_closed"
            await self._hang_up_socket(websocket, reason)
        finally:
            self._live = False
            self._ws = None
            for task in tasks:
                if task is not self._stop:
                    task.cancel()
            await asyncio.gather(*(task for task in tasks if task is not self._stop), return_exceptions=True)
            if not websocket.closed:
                await websocket.close()
            connection.update(closed_ms=self.media.now_ms(), close_code=websocket.close_code)
        connection["reason"] = reason
        return reason

    async def _begin(self) -> None:
        faults = self.faults
        if faults.start_delay_ms:
            await asyncio.sleep(faults.start_delay_ms / 1000)
        if not faults.no_start:
            self._send(
                start_message(
                    self.spec,
                    faults,
                    call_id=self.call.uuid,
                    stream_id=self.stream_id,
                    account_id=self.call.auth_id,
                )
            )
        self.start_sent_ms = self.media.now_ms()
        self.call.note("stream_started", stream_id=self.stream_id)
        self._live = True
        if faults.unknown_event:
            self._send({"event": "someNewThing", "streamId": self.stream_id, "detail": {"a": [1, None]}})
        if faults.error_event:
            self._send({"event": "error", "streamId": self.stream_id, "reason": "authentication_failed"})

    async def _hang_up_socket(self, websocket: aiohttp.ClientWebSocketResponse, reason: str) -> None:
        self._live = False
        abrupt = self.faults.close_abrupt or (reason == "dropped" and self.faults.drop_mode == "abrupt")
        if reason not in ("server_closed", "dropped") and self.faults.send_stop and not websocket.closed:
            await websocket.send_str(self._numbered({"event": "stop", "streamId": self.stream_id, "reason": reason}))
        if abrupt:
            self.drop()
        await websocket.close()

    def _end(self) -> None:
        if self in self.media.streams:
            self.media.streams.remove(self)
        for timer in self._timers:
            timer.cancel()
        self.playout.finish(self.media.position(self.playout.rate))
        self.status = "stopped"
        self.ended_at = dt.datetime.now(dt.UTC)
        self.call.note("stream_ended", stream_id=self.stream_id, reason=self.reason)

    # --- to the server ---

    def _numbered(self, message: dict[str, Any]) -> str:
        number: int | str = self._sequence
        self._sequence += 1
        return json.dumps({**message, "sequenceNumber": str(number) if self.faults.sequence_as_string else number})

    def _send(self, message: dict[str, Any]) -> None:
        self._out.put_nowait(self._numbered(message))

    async def _write(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            while self._out.qsize() < _SOCKET_BUFFER_FRAMES:
                await websocket.send_str(await self._out.get())
        except (ConnectionError, aiohttp.ClientError) as error:
            self.call.note("stream_write_failed", error=type(error).__name__)

    def media_frame(self, frame: int, said: Samples | None, heard: Samples | None) -> None:
        """One tick of the call's clock: 20 ms of each track."""
        if not self._live or self.start_sent_ms is None or (frame + 1) * FRAME_MS <= self.start_sent_ms:
            return
        at = self._stream_frame * FRAME_MS
        self._stream_frame += 1
        faults = self.faults
        gap_end = faults.media_gap_at_ms + faults.media_gap_frames * FRAME_MS
        lost = bool(faults.media_gap_frames) and faults.media_gap_at_ms <= at < gap_end
        for track in self.spec.tracks:
            payload = self._encoders[track].encode(said if track == "inbound" else heard)
            if lost:
                continue
            self._chunks[track] += 1
            message = {
                "event": "media",
                "streamId": self.stream_id,
                "media": {
                    "track": track,
                    "timestamp": str(int(time.time() * 1000)),
                    "chunk": self._chunks[track],
                    "payload": base64.b64encode(payload).decode(),
                },
                "extra_headers": extra_headers_text(self.spec.extra_headers, faults.extra_headers_form),
            }
            self._held.append(self._numbered(message))
        if not faults.media_stall_ms or not faults.media_stall_at_ms <= at < faults.media_stall_at_ms + (
            faults.media_stall_ms
        ):
            self._release()

    def _release(self) -> None:
        self.frames_sent += len(self._held)
        for text in self._held:
            self._out.put_nowait(text)
        self._held.clear()
        waiting = self._out.qsize()
        if self._degraded < len(_DEGRADED_AT) and waiting >= _DEGRADED_AT[self._degraded]:
            self._degraded += 1
            self._status("DegradedStream", "degraded", reason="slow_socket")
        elif self.faults.degraded and self._degraded == 0:
            self._degraded = 1
            self._status("DegradedStream", "degraded", reason="slow_socket")

    def press(self, digit: str) -> None:
        """The caller pressed a key."""
        if self._live:
            self._send(
                {
                    "event": "dtmf",
                    "streamId": self.stream_id,
                    "dtmf": {"track": "inbound", "digit": digit, "timestamp": str(int(time.time() * 1000))},
                    "extra_headers": extra_headers_text(self.spec.extra_headers, self.faults.extra_headers_form),
                }
            )

    # --- from the server ---

    async def _receive(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self._handle(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.call.violation("binary_frame", f"{len(message.data)} bytes")

    def _handle(self, text: str) -> None:
        try:
            command = parse_command(text, self.spec, self.faults)
        except ProtocolError as error:
            self.call.violation(error.kind, str(error))
            if error.reason:
                self._send({"event": "playFailed", "streamId": self.stream_id, "reason": error.reason})
            return
        self.messages[command.event] = self.messages.get(command.event, 0) + 1
        for warning in command.warnings:
            self.call.violation(warning, command.event)
        if command.event == "playAudio":
            self._play(command)
        elif command.event == "checkpoint":
            self._checkpoint(command.name)
        elif command.event == "clearAudio":
            self._clear()
        else:
            self.call.digits_from_agent.append({"ms": self.media.now_ms(), "digits": command.digits, "by": "stream"})

    def _play(self, command: Command) -> None:
        if self.playout.received == 0:
            self.call.note("first_audio", stream_id=self.stream_id)
        if not self.playout.play(self.media.position(self.playout.rate), command.audio):
            self.call.violation("buffer_overflow", f"{len(command.audio)} bytes on a full playback queue")
            if self.faults.overflow == "drop_newest":
                self._send({"event": "error", "streamId": self.stream_id, "reason": "buffer_overflow"})

    def _checkpoint(self, name: str) -> None:
        marker = self.playout.checkpoint(self.media.position(self.playout.rate), name)
        self._later(self.media.moment(marker.position, self.playout.rate), self._reach, marker)

    def _later(self, moment: float, action: Callable[..., None], *arguments: Any) -> None:
        """Do it at a loop time, unless the stream ends before."""

        def due() -> None:
            self._timers.discard(timer)
            action(*arguments)

        timer = asyncio.get_running_loop().call_at(moment, due)
        self._timers.add(timer)

    def _reach(self, marker: Marker) -> None:
        for reached in self.playout.reached(marker.position):
            self._played(reached.name)

    def _played(self, name: str) -> None:
        if self._live:
            self._send({"event": self.faults.played_name, "streamId": self.stream_id, "name": name})

    def _clear(self) -> None:
        now = asyncio.get_running_loop().time()
        cleared = self.playout.clear(self.media.position(self.playout.rate))
        if self.call.caller:
            self.call.caller.cleared(round(cleared.at * 1000 / self.playout.rate, 3))
        if self.faults.clear_delay_ms:
            self._later(now + self.faults.clear_delay_ms / 1000, self._say_cleared)
        else:
            self._say_cleared()
        if self.faults.cleared_markers == "late_ack":
            for name in cleared.names:
                self._later(now + _LATE_ACK_S, self._played, name)

    def _say_cleared(self) -> None:
        if self._live:
            self._send({"event": "clearedAudio", "streamId": self.stream_id})

    def heard(self, frame: int) -> list[tuple[int, Samples]]:
        """What the far party hears of this stream in a frame, as pieces at 8 kHz."""
        media_format = self.spec.media_format
        factor = media_format.rate // PHONE_RATE
        start = frame * PHONE_FRAME * factor
        pieces = self.playout.read(start, start + PHONE_FRAME * factor)
        if not self.media.keep_audio:
            self.playout.forget_audio(start)
        return [(at // factor, media_format.to_phone(media_format.decode(data))) for at, data in pieces]

    # --- callbacks ---

    def _status(self, word: str, other_word: str, *, reason: str = "") -> None:
        self.call.note("stream_status", event=word, reason=reason)
        if not self.spec.status_url:
            return
        params = status_params(
            self.spec,
            self.call.base_params(),
            stream_id=self.stream_id,
            event=word if self.faults.stream_events == "A" else other_word,
            reason=reason,
            started_at=self.started_at,
        )
        self.exchange.spawn(
            self.exchange.send(
                self.call,
                self.spec.status_url,
                self.spec.status_method,
                params,
                event="stream",
                as_json=self.faults.stream_status_json,
            )
        )

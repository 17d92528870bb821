"""Plivo's side of one stream: it dials the server's WebSocket, sends the caller's audio and hands on what comes back.

Started by the XML interpreter or by REST; its `run` ends when the stream has ended, for good or after the
reconnect that a fault asks for. All frames leave through one outbox, so that sequence numbers and order agree.
"""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import socket
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from sandbox.audio import Samples
from sandbox.plivo.media_format import FRAME_MS, FrameEncoder
from sandbox.plivo.stream_dial import CLOSE_TIMEOUT_S, connect
from sandbox.plivo.stream_outbox import Outbox
from sandbox.plivo.stream_player import StreamPlayer
from sandbox.plivo.stream_protocol import StreamSpec, extra_headers_text, start_message, status_params

if TYPE_CHECKING:
    from sandbox.plivo.call import Call
    from sandbox.plivo.exchange import Exchange


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
        self.connections: list[dict[str, Any]] = []
        self.player = StreamPlayer(call, self.media, spec, limit_s=exchange.settings.playback_queue_s, say=self._say)
        self._stop: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._ws: aiohttp.ClientWebSocketResponse | None = None
        self._live = False
        self._out = self._outbox()
        self._encoders = {track: FrameEncoder(spec.media_format) for track in spec.tracks}
        self._chunks = dict.fromkeys(spec.tracks, 0)
        self._stream_frame = 0
        self._degraded = False

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
            self._chunks = dict.fromkeys(self.spec.tracks, 0)
            self._out = self._outbox()

    def _outbox(self) -> Outbox:
        return Outbox(
            limit=int(self.exchange.settings.socket_buffer_s * 1000 / FRAME_MS) * len(self.spec.tracks),
            first=self.faults.sequence_from,
            as_string=self.faults.sequence_as_string,
            degraded=self._report_degraded,
        )

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
            asyncio.create_task(self._write(websocket)): "server_closed",
            asyncio.create_task(self._out.full.wait()): "slow_socket",
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
            self._out.send(
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
            self._say("someNewThing", detail={"a": [1, None]})
        if faults.error_event:
            self._say("error", reason="authentication_failed")

    async def _hang_up_socket(self, websocket: aiohttp.ClientWebSocketResponse, reason: str) -> None:
        self._live = False
        abrupt = self.faults.close_abrupt or (reason == "dropped" and self.faults.drop_mode == "abrupt")
        if abrupt or reason == "slow_socket":
            self.drop()
        says_stop = self.faults.send_stop and reason not in ("server_closed", "dropped", "slow_socket")
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                if says_stop and not websocket.closed:
                    stop = {"event": "stop", "streamId": self.stream_id, "reason": reason}
                    await websocket.send_str(self._out.numbered(stop))
                await websocket.close()
        except TimeoutError:  # the server reads nothing, not even that it is over
            self.drop()

    def _end(self) -> None:
        if self in self.media.streams:
            self.media.streams.remove(self)
        self.player.finish()
        self.status = "stopped"
        self.ended_at = dt.datetime.now(dt.UTC)
        self.call.note("stream_ended", stream_id=self.stream_id, reason=self.reason)

    # --- to the server ---

    def _say(self, event: str, **fields: Any) -> None:
        if self._live:
            self._out.send({"event": event, "streamId": self.stream_id, **fields})

    async def _write(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            await self._out.write(websocket)
        except (ConnectionError, aiohttp.ClientError) as error:
            self.call.note("stream_write_failed", error=type(error).__name__)

    def listens(self, frame: int) -> bool:
        """Whether it has begun by that frame since the answer; one that is late is still from before."""
        return self.start_sent_ms is not None and (frame + 1) * FRAME_MS > self.start_sent_ms

    def media_frame(self, frame: int, said: Samples | None, heard: Samples | None) -> None:
        """One tick of the call's clock: 20 ms of each track."""
        if not self._live or not self.listens(frame):
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
            self._out.hold(message)
        if not faults.media_stall_ms or not faults.media_stall_at_ms <= at < faults.media_stall_at_ms + (
            faults.media_stall_ms
        ):
            self.frames_sent += self._out.release()
            if self.faults.degraded and not self._degraded:
                self._report_degraded()

    def _report_degraded(self) -> None:
        self._degraded = True
        self._status("DegradedStream", "degraded", reason="slow_socket")

    def press(self, digit: str) -> None:
        """The caller pressed a key."""
        self._say(
            "dtmf",
            dtmf={"track": "inbound", "digit": digit, "timestamp": str(int(time.time() * 1000))},
            extra_headers=extra_headers_text(self.spec.extra_headers, self.faults.extra_headers_form),
        )

    async def _receive(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in websocket:
            if message.type is aiohttp.WSMsgType.TEXT:
                self.player.handle(message.data)
            elif message.type is aiohttp.WSMsgType.BINARY:
                self.call.violation("binary_frame", f"{len(message.data)} bytes")

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

"""The WebSocket edge of phone calls: a stream proves itself here before anything of its call is opened anywhere.

Channels' own dispatch hops to the shared database thread on every message; this consumer awaits ASGI itself, so that a
frame meets no thread, no task and no query. Runs alike under uvicorn and Daphne.
"""

import asyncio
import contextlib
from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

import structlog
from channels.consumer import AsyncConsumer
from django.db import DatabaseError

from agents.providers.base import AudioFormat
from agents.services import AccountError
from calls import live_calls
from calls.context import CallContext
from calls.telephony.stream_tokens import Ticket
from streaming import doorkeeper, live, protocol
from streaming.conversation.events import EndReason, ShowPartial, WriteTurn
from streaming.doorkeeper import Handshake, Refusal
from streaming.line import DIRECT, DIRECT_FAILED, AsgiMessage, Hears, LineLost, Outbox, Receive, Send, Socket
from streaming.protocol import Cleared, Digit, Encoder, Malformed, Media, Meter, Played, Start, Stop, Unknown
from streaming.session import FRESH_S
from streaming.threads import Overloaded

T = TypeVar("T")
log = structlog.get_logger(__name__)

START_S = 3.0
HANDSHAKE_S = 5.0  # Plivo gives up a connection after a few seconds and tries again
ENTER_S = 5.0
# How long a call that another process carries is waited for: that one may have died, or its line just now.
TAKE_OVER_S = live_calls.LEASE.total_seconds() + FRESH_S
ASK_AGAIN_S = 0.25
STRANGE_BEFORE_START = 10  # unknown events that may come before start
PAST_LONGEST_S = 120
NORMAL, UNSUPPORTED, POLICY, FAILED = 1000, 1003, 1008, 1011


class StreamConsumer(AsyncConsumer):
    """One WebSocket of Plivo's at ``/stream/<token>/``."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serves the socket from its handshake to its end."""
        process = await live.current()
        with process.socket() as reason:
            await receive()  # websocket.connect
            token = scope["url_route"]["kwargs"]["token"]
            ticket = Refusal(reason) if reason else await self._inspect(process, scope, token)
            if isinstance(ticket, Refusal):
                process.refused(ticket)
                await send({"type": "websocket.close", "code": POLICY})  # before accept: HTTP 403
                return
            await send({"type": "websocket.accept"})
            direct = scope.get("extensions", {}).get(DIRECT)
            socket = Socket(receive, send, direct and partial(direct, later=process.resources.pulse.do))
            refusal = await self._prove_and_carry(process, token, ticket, socket)
            if refusal is not None:
                process.refused(refusal)
                await Outbox(send).close(_CLOSE_CODES.get(refusal.reason, POLICY))

    async def _prove_and_carry(
        self, process: live.Process, token: str, ticket: Ticket, socket: Socket
    ) -> Refusal | None:
        start = await self._start(socket.receive)
        clock = asyncio.get_running_loop().time
        started = clock()
        refusal = _unproved(ticket, start)
        if refusal is not None or start is None:
            return refusal
        async with process.claim(ticket.call_id) as ours:
            if not ours:
                return doorkeeper.SECOND_STREAM
            context = await _entered(process, token, ticket, start)
            if isinstance(context, Refusal):
                return context
            fmt = protocol.stream_format(start, asked=protocol.CODECS[context.spec.codec])
            if fmt is None:
                return Refusal("codec", {"encoding": start.encoding, "rate": start.rate})
            line = PhoneLine(socket, fmt=fmt, start=start, context=context, waited_s=clock() - started)
            await process.carry(context, line)
            return None

    async def _inspect(self, process: live.Process, scope: dict[str, Any], token: str) -> Ticket | Refusal:
        """Everything that is checked before the connection is accepted."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        if "origin" in headers:
            return Refusal("origin")
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
        query = scope["query_string"].decode("latin-1")
        handshake = Handshake(token, f"{path}?{query}" if query else path, headers)
        return await _asked(process.resources.edge.run(HANDSHAKE_S, doorkeeper.inspect, handshake))

    async def _start(self, receive: Receive) -> Start | None:
        """The stream's first message, which must be ``start`` and come within 3 s."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_S):
                for _ in range(STRANGE_BEFORE_START):
                    event = await receive()
                    message = protocol.decode(event.get("text") or "")
                    if isinstance(message, Start):
                        return message
                    if not isinstance(message, Unknown):
                        return None
        return None


# What is our trouble rather than the peer's; Plivo then asks for the next document, which may lead to another process.
_CLOSE_CODES = {"codec": UNSUPPORTED, "busy": FAILED, "database": FAILED, "provider_account": FAILED}


def _unproved(ticket: Ticket, start: Start | None) -> Refusal | None:
    """What is wrong with the first message; checked before an earlier stream of the call gives way to this one."""
    if start is None:
        return Refusal("no_start")
    if ticket.plivo_call_uuid and ticket.plivo_call_uuid != start.call_id:
        return Refusal("token_wrong_call")
    return None


async def _entered(process: live.Process, token: str, ticket: Ticket, start: Start) -> CallContext | Refusal:
    """The call's context, once no other process carries the call; a refusal when one goes on doing so."""
    clock = asyncio.get_running_loop().time
    until = clock() + TAKE_OVER_S
    while True:
        entering = process.resources.edge.run(
            ENTER_S,
            doorkeeper.enter,
            token=token,
            call_id=ticket.call_id,
            plivo_call_uuid=start.call_id,
            stream_id=start.stream_id,
        )
        context = await _asked(entering)
        if context != doorkeeper.SECOND_STREAM or clock() >= until:
            return context
        await asyncio.sleep(ASK_AGAIN_S)


async def _asked(answer: Awaitable[T | Refusal]) -> T | Refusal:
    """The database's answer, or a refusal when it gives none."""
    try:
        return await answer
    except Overloaded:
        return Refusal("busy")
    except (TimeoutError, DatabaseError) as error:
        log.error("stream_without_database", error=type(error).__name__)
        return Refusal("database")
    except AccountError as error:
        log.error("stream_without_provider", error=str(error))
        return Refusal("provider_account")


class PhoneLine:
    """A caller behind Plivo's stream (``line.Line``)."""

    leaving_is_final = False

    def __init__(
        self, socket: Socket, *, fmt: AudioFormat, start: Start, context: CallContext, waited_s: float = 0.0
    ) -> None:
        self.fmt = fmt
        self.waited_s = waited_s
        self._receive = socket.receive
        self._direct = socket.direct
        self._outbox = Outbox(socket.send)
        self._encoder = Encoder(fmt, start.stream_id)
        longest_s = context.spec.max_call_ms // 1000 + PAST_LONGEST_S
        self._meter = Meter(total=longest_s * protocol.FRAMES_PER_SECOND)
        self._strange: set[str] = set()
        self._clock = asyncio.get_running_loop().time

    async def read(self, session: Hears) -> None:
        """See ``line.Line``."""
        if self._direct is None:
            await self._read(session)
            return
        try:
            self._direct(lambda text: self._take(text, session))
            await self._read(session)
        finally:
            self._direct(None)

    async def _read(self, session: Hears) -> None:
        while True:
            event = await self._receive()
            if event["type"] == DIRECT_FAILED:
                raise event["error"]
            if event["type"] == "websocket.disconnect":
                session.left(_left(event))
                return
            self._take(event.get("text"), session)

    def _take(self, text: str | None, session: Hears) -> None:
        if not self._meter.admit(self._clock()):
            raise LineLost("flood")
        message = Malformed("binary") if text is None else protocol.decode(text)
        if type(message) is Media:
            if message.track != "outbound":
                session.audio(message.audio, timestamp=message.timestamp, chunk=message.chunk)
        else:
            self._other(message, session)

    def _other(self, message: protocol.Message, session: Hears) -> None:
        match message:
            case Played(name):
                session.played(name)
            case Digit(digit):
                session.digit(digit)
            case Malformed("size"):
                raise LineLost("size")
            case Malformed(why):
                session.malformed(why)
            case Stop():
                session.left("caller_hung_up")
            case Start():
                session.malformed("second_start")
            case Unknown(event):
                if event not in self._strange and len(self._strange) < STRANGE_BEFORE_START:
                    self._strange.add(event)
                    log.info("unknown_stream_event", stream_event=event)
                session.malformed("unknown")
            case Cleared():
                return

    async def write(self) -> None:
        """See ``line.Line``."""
        await self._outbox.write()

    def play(self, audio: bytes) -> None:
        """See ``line.Line``."""
        self._outbox.text(self._encoder.play(audio), playback=True)

    def checkpoint(self, name: str) -> None:
        """See ``line.Line``."""
        self._outbox.text(self._encoder.checkpoint(name), playback=True)

    def press(self, keys: str) -> None:
        """See ``line.Line``."""
        self._outbox.text(self._encoder.digits(keys))

    def clear(self) -> None:
        """See ``line.Line``."""
        self._outbox.forget_playback()
        self._outbox.text(self._encoder.clear)

    def show(self, update: ShowPartial | WriteTurn) -> None:
        """A phone shows nothing."""

    async def close(self, code: int) -> None:
        """See ``line.Line``."""
        await self._outbox.close(code)


def _left(event: AsgiMessage) -> EndReason:
    code = event.get("code") or NORMAL
    return "stream_lost" if code in {1006, 1011, 1012} else "caller_hung_up"

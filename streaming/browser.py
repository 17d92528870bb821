"""The line behind the "Talk to it" page: a browser's microphone and loudspeaker in place of a phone.

``/talk/<agent's UUID>/`` (``?draft=1`` talks to the unpublished draft) needs the session cookie of a user with the
permission ``agents.talk_to_agent`` and an Origin equal to that of PUBLIC_URL; otherwise the upgrade gets a 403.
Text messages are JSON objects with a ``type``; binary messages are audio, mu-law 8 kHz mono without a header.

Page to server:
    binary                            the microphone, 20 ms (160 bytes) at a time, without gaps (silence is 0xFF bytes);
                                      none for 5 s ends the call
    {"type": "played", "name": n}     everything that came before the checkpoint ``n`` has left the loudspeaker
    {"type": "digit", "digit": "5"}   the keypad, one of 0-9 * # A-D
    {"type": "text", "text": "..."}   a typed line, at most 1000 characters
    {"type": "hangup"}                the visitor ends the call; closing the socket does the same

Server to page:
    {"type": "ready", "call": uuid, "agent": name, "draft": bool, "sandbox": bool}      first; audio may be sent now
    binary                            audio to play after what came before, up to 200 ms, some 400 ms ahead of time
    {"type": "checkpoint", "name": n} to be answered by ``played``; dropped, unanswered, by a ``clear`` that comes first
    {"type": "clear"}                 stop at once and forget all queued audio and checkpoints
    {"type": "partial", "role": "caller" | "agent", "text": "...", "final": bool}       replaces the role's last partial
    {"type": "turn", "role": "caller" | "agent" | "tool", "kind": "speech" ..., "text": "...", "heard": "...",
     "interrupted": bool, "started_ms": n, "ended_ms": n,
     "timings": {"response_ms", "decision_ms", "stt_ms", "llm_ms", "tts_ms"}}           a turn ended; unknown ones null
    {"type": "error", "message": "..."}                                                 one sentence for the visitor
    {"type": "ended"}                                                                   last, before the socket closes

``response_ms`` runs from the visitor's last sound to the first sound of the answer; the others are its parts.
"""

import asyncio
import uuid
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import structlog
from channels.consumer import AsyncConsumer
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.base import SessionBase
from django.core.exceptions import ValidationError
from django.db import DatabaseError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.module_loading import import_string

from agents.models import Agent
from agents.providers.base import MULAW_8K
from agents.services import AccountError
from calls import live_calls
from calls.context import CallContext
from streaming import live
from streaming.conversation.events import ShowPartial, WriteTurn
from streaming.line import AsgiMessage, Hears, LineLost, Outbox, Receive, Send
from streaming.metrics import timings
from streaming.protocol import FRAMES_PER_SECOND, KEYS, Meter
from streaming.threads import Overloaded

log = structlog.get_logger(__name__)

POLICY, FAILED = 1008, 1011
OPEN_S = 8.0
MAX_TEXT = 1000
MAX_MESSAGE = 64 * 1024
MAX_AUDIO = 16_000  # bytes of one message: 2 s


class NotAllowed(Exception):  # noqa: N818  (an answer, not a fault)
    """The visitor may not talk to this agent; the message is for them."""


class _FromPage(msgspec.Struct, gc=False):
    type: str
    name: str = ""
    digit: str = ""
    text: str = ""


_from_page = msgspec.json.Decoder(_FromPage)


class TalkConsumer(AsyncConsumer):
    """One visitor's line."""

    async def __call__(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:
        """Serves the socket from its handshake to its end."""
        process = await live.current()
        with process.socket() as refusal:
            await self._serve(process, scope, receive, send, refused=bool(refusal))

    async def _serve(
        self, process: live.Process, scope: dict[str, Any], receive: Receive, send: Send, *, refused: bool
    ) -> None:
        await receive()  # websocket.connect
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        draft = parse_qs(scope["query_string"].decode("latin-1")).get("draft") == ["1"]
        agent = scope["url_route"]["kwargs"]["agent"]
        if not _same_origin(headers.get("origin", "")) or refused:
            await send({"type": "websocket.close", "code": POLICY})
            return
        try:
            context = await process.resources.edge.run(
                OPEN_S, open_call, agent_id=agent, session_key=_session_key(headers), draft=draft
            )
        except NotAllowed:
            await send({"type": "websocket.close", "code": POLICY})
            return
        except (ValidationError, ValueError, AccountError) as error:
            await _explain(send, " ".join(error.messages) if isinstance(error, ValidationError) else str(error))
            return
        except (TimeoutError, Overloaded, DatabaseError):
            await _explain(send, "The database did not answer in time. Try again in a moment.")
            return
        await send({"type": "websocket.accept"})
        line = BrowserLine(receive, send, context=context, draft=draft)
        async with process.claim(context.call_id):
            await process.carry(context, line)


async def _explain(send: Send, message: str) -> None:
    """Accepts the socket only to say in words why there is no call: a page cannot see the body of a 403."""
    await send({"type": "websocket.accept"})
    await Outbox(send).close(FAILED, last=_json({"type": "error", "message": message}))


def _same_origin(origin: str) -> bool:
    ours = urlsplit(settings.PUBLIC_URL)
    return origin == f"{ours.scheme}://{ours.netloc}"


def _session_key(headers: dict[str, str]) -> str:
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return cookie.value if cookie is not None else ""


def open_call(*, agent_id: str, session_key: str, draft: bool) -> CallContext:
    """Makes the visitor's call (blocking).

    Raises:
        NotAllowed: not logged in, or without the permission.
        ValueError, ValidationError, AccountError: the agent cannot be talked to; the message says why.
    """
    request = HttpRequest()
    store: type[SessionBase] = import_string(settings.SESSION_ENGINE + ".SessionStore")
    request.session = store(session_key)
    user = get_user(request)
    if not (user.is_authenticated and user.is_active and user.has_perm("agents.talk_to_agent")):
        raise NotAllowed("This user may not talk to agents.")
    agent = Agent.objects.filter(pk=agent_id).first()
    if agent is None:
        raise ValueError("There is no such agent any more.")
    call = live_calls.create_browser_call(agent=agent, user=user, draft=draft, now=timezone.now())
    session = uuid.uuid4().hex
    live_calls.claim(call_id=call.pk, session=session)
    context = live_calls.stream_started(call_id=call.pk, stream_id="browser", session=session, now=timezone.now())
    if context is None:
        raise ValueError("The call could not be started. Try again.")
    return context


class BrowserLine:
    """A visitor behind a web page (``line.Line``)."""

    waited_s = 0.0
    leaving_is_final = True
    fmt = MULAW_8K

    def __init__(self, receive: Receive, send: Send, *, context: CallContext, draft: bool) -> None:
        self._receive = receive
        self._outbox = Outbox(send)
        self._meter = Meter(total=(context.spec.max_call_ms // 1000 + 120) * FRAMES_PER_SECOND)
        ready = {
            "type": "ready",
            "call": context.public_id,
            "agent": context.spec.name,
            "draft": draft,
            "sandbox": context.is_sandbox,
        }
        self._outbox.text(_json(ready))

    async def read(self, session: Hears) -> None:
        """See ``line.Line``."""
        clock = asyncio.get_running_loop().time
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                session.left("caller_hung_up")
                return
            if not self._meter.admit(clock()):
                raise LineLost("flood")
            audio = event.get("bytes")
            if audio is not None:
                if len(audio) > MAX_AUDIO:
                    raise LineLost("size")
                session.audio(audio, timestamp=None, chunk=None)
            elif self._control(event, session):
                return

    def _control(self, event: AsgiMessage, session: Hears) -> bool:
        """A text message; True when it ends the call."""
        text = event.get("text") or ""
        if len(text) > MAX_MESSAGE:
            raise LineLost("size")
        try:
            message = _from_page.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            session.malformed("json")
            return False
        match message:
            case _FromPage(type="played", name=name) if name:
                session.played(name)
            case _FromPage(type="digit", digit=digit) if digit in KEYS:
                session.digit(digit)
            case _FromPage(type="text", text=typed) if typed.strip():
                session.typed(typed.strip()[:MAX_TEXT])
            case _FromPage(type="hangup"):
                session.left("caller_hung_up")
                return True
            case _:
                session.malformed("shape")
        return False

    async def write(self) -> None:
        """See ``line.Line``."""
        await self._outbox.write()

    def play(self, audio: bytes) -> None:
        """See ``line.Line``."""
        self._outbox.binary(audio, playback=True)

    def checkpoint(self, name: str) -> None:
        """See ``line.Line``."""
        self._outbox.text(_json({"type": "checkpoint", "name": name}), playback=True)

    def press(self, keys: str) -> None:
        """See ``line.Line``; the page shows them, there is nobody to hear them."""
        self._outbox.text(_json({"type": "keys", "keys": keys}))

    def clear(self) -> None:
        """See ``line.Line``."""
        self._outbox.forget_playback()
        self._outbox.text('{"type":"clear"}')

    def show(self, update: ShowPartial | WriteTurn) -> None:
        """See ``line.Line``."""
        if isinstance(update, ShowPartial):
            shown: dict[str, Any] = {
                "type": "partial",
                "role": update.role,
                "text": update.text,
                "final": update.final,
            }
        else:
            shown = {
                "type": "turn",
                "role": update.role,
                "kind": update.kind,
                "text": update.text,
                "heard": update.heard,
                "interrupted": update.interrupted,
                "started_ms": update.started_ms,
                "ended_ms": update.ended_ms,
                "timings": timings(update),
            }
        self._outbox.text(_json(shown))

    async def close(self, code: int) -> None:
        """See ``line.Line``."""
        await self._outbox.close(code, last='{"type":"ended"}')


def _json(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()

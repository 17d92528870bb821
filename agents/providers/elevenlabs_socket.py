"""One ElevenLabs multi-context socket: what goes over it, which contexts are open on it, how it ends.

``elevenlabs_tts`` opens one per call and speaks every utterance as a context of its own. The provider's rules that this
keeps: at most 5 contexts; the first message of a context fixes its voice settings; any message creates the context that
it names, so none is ever sent for one that is not open; closing a context does not stop audio already made for it.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Protocol

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import WebSocketException

from agents.providers.base import ProviderConfig
from agents.providers.classify import kind_of_event, make_error
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.sockets import close_quietly, socket_error

MAX_CONTEXTS = 5
GOODBYE_S = 1.0


class ContextSink(Protocol):
    """Receives what comes for one context; called on the event loop, must not block."""

    def audio_message(self, context_id: str, message: Mapping[str, Any]) -> None:
        """A message of this context, perhaps with audio and alignment."""

    def context_final(self, context_id: str) -> None:
        """No more audio will come for it."""

    def context_lost(self, context_id: str, error: ProviderError) -> None:
        """The context or its socket is gone."""


class _Context:
    """An open context; ``sink`` is None once its audio is no longer wanted."""

    def __init__(self, sink: ContextSink, now: float) -> None:
        self.sink: ContextSink | None = sink
        self.closing = False
        self.spoke_at = now


class MultiContextSocket:
    """A connected socket with its reading and keep-alive tasks; ``close`` ends both."""

    def __init__(self, socket: ClientConnection, config: ProviderConfig, *, keepalive_s: float, send_s: float) -> None:
        self._socket = socket
        self._config = config
        self._keepalive_s = keepalive_s
        self._send_s = send_s
        self._contexts: dict[str, _Context] = {}
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Event()
        self._room.set()
        self._complaint: ProviderError | None = None
        self.dead = False
        self.heard_at = self._loop.time()
        self._reader = asyncio.create_task(self._read(), name="elevenlabs-tts-read")
        self._keeper = asyncio.create_task(self._keep_alive(), name="elevenlabs-tts-keepalive")

    @property
    def unheard(self) -> bool:
        """No context is open on it whose audio is still wanted."""
        return all(context.sink is None for context in self._contexts.values())

    @property
    def room(self) -> int:
        """Contexts that may still be opened on it; a closed one counts until the provider has said its last of it."""
        return MAX_CONTEXTS - len(self._contexts)

    async def wait_for_room(self, seconds: float) -> bool:
        """Waits until another context may be opened; False when none became free in that time or the socket died."""
        try:
            async with asyncio.timeout(seconds):
                await self._room.wait()
        except TimeoutError:
            return False
        return not self.dead

    async def open_context(self, context_id: str, sink: ContextSink, settings: Mapping[str, Any]) -> None:
        """Opens a context with its voice settings, which no later message may repeat. Raises ProviderError."""
        self._contexts[context_id] = _Context(sink, self._loop.time())
        if len(self._contexts) >= MAX_CONTEXTS:
            self._room.clear()
        first: dict[str, Any] = {"text": " ", "context_id": context_id}
        if settings:
            first["voice_settings"] = dict(settings)
        await self._send(first)

    async def say(self, context_id: str, text: str) -> None:
        """Has ``text`` spoken now; ignored for a context that is not open. Raises ProviderError."""
        context = self._contexts.get(context_id)
        if context is not None and not context.closing:
            context.spoke_at = self._loop.time()
            await self._send({"text": text, "context_id": context_id, "flush": True})

    async def close_context(self, context_id: str, *, forget: bool = False) -> None:
        """Ends a context: the provider finishes it and says so at once. ``forget``: what still comes is dropped."""
        context = self._contexts.get(context_id)
        if context is None:
            return
        if forget:
            context.sink = None
        if not context.closing:
            context.closing = True
            await self._send({"context_id": context_id, "close_context": True})

    def abandon(self, error: ProviderError) -> None:
        """Ends all that is open on it: nothing is expected of it any more."""
        self._die(error)

    async def close(self) -> None:
        """Says goodbye to the provider, then closes within 2 s; never raises."""
        self._die(make_error(ErrorKind.DROPPED, self._config, "tts", "the session was closed"))
        try:
            async with asyncio.timeout(0.3):
                await self._socket.send('{"close_socket":true}')
        except (TimeoutError, OSError, WebSocketException):
            self._socket.transport.abort()
        # The provider closes by itself, after what it had still to say, which the reading task drops.
        await asyncio.wait([self._reader], timeout=GOODBYE_S)
        self._reader.cancel()
        await close_quietly(self._socket, seconds=0.5)
        await asyncio.wait([self._reader, self._keeper], timeout=0.2)

    async def _send(self, message: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._send_s):
                await self._socket.send(json.dumps(message, ensure_ascii=False))
        except (OSError, WebSocketException) as error:
            self.dead = True
            self._socket.transport.abort()
            raise self._complaint or socket_error(error, self._config, "tts") from None

    async def _read(self) -> None:
        error = make_error(ErrorKind.DROPPED, self._config, "tts", "the provider closed the connection")
        try:
            async for raw in self._socket:
                self._take(raw)
        except (OSError, WebSocketException) as broken:
            error = socket_error(broken, self._config, "tts")
        except ProviderError as broken:
            error = broken
        finally:
            self._die(self._complaint or error)
        await close_quietly(self._socket)

    def _take(self, raw: str | bytes) -> None:
        self.heard_at = self._loop.time()
        try:
            message = json.loads(raw)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            raise make_error(ErrorKind.GARBAGE, self._config, "tts", "a message that is not a JSON object")
        context_id = message.get("contextId") or message.get("context_id")
        if message.get("error"):
            words = f"{message['error']}: {message.get('message') or ''}"
            error = make_error(kind_of_event(message), self._config, "tts", words)
            if context_id in self._contexts:
                self._lose(context_id, error)
            else:
                # The provider closes the socket next, often without a reason: this is it.
                self._complaint = error
            return
        context = self._contexts.get(context_id) if isinstance(context_id, str) else None
        if context is None:
            return
        if context.sink is not None:
            context.sink.audio_message(str(context_id), message)
        if message.get("isFinal") or message.get("is_final"):
            self._remove(str(context_id))
            if context.sink is not None:
                context.sink.context_final(str(context_id))

    def _remove(self, context_id: str) -> None:
        self._contexts.pop(context_id, None)
        self._room.set()

    def _lose(self, context_id: str, error: ProviderError) -> None:
        context = self._contexts.get(context_id)
        self._remove(context_id)
        if context is not None and context.sink is not None:
            context.sink.context_lost(context_id, error)

    def _die(self, error: ProviderError) -> None:
        self.dead = True
        self._keeper.cancel()
        for context_id in list(self._contexts):
            self._lose(context_id, error)
        self._room.set()

    async def _keep_alive(self) -> None:
        """An open context that is silent for too long is ended by the provider, which also ends the socket."""
        while not self.dead:
            await asyncio.sleep(self._keepalive_s / 2)
            now = self._loop.time()
            for context_id, context in list(self._contexts.items()):
                if not context.closing and now - context.spoke_at >= self._keepalive_s / 2:
                    context.spoke_at = now
                    try:
                        await self._send({"text": "", "context_id": context_id})
                    except ProviderError:
                        return  # the reading task sees the same end and reports it

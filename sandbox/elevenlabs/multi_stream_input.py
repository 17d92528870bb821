"""WebSocket /v1/text-to-speech/{voice}/multi-stream-input: up to five contexts, each a stretch of speech of its own."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from sandbox.elevenlabs.contexts import Context
from sandbox.elevenlabs.speech_socket import IDLE, PolicyError, SpeechSocket, open_socket, receive
from sandbox.provider_wire import BrokenOffError
from sandbox.providers_state import Entry

MOST_CONTEXTS = 5
_DEFAULT = "default"


async def serve(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Serve one socket. Raises ElevenLabsError or BrokenOffError."""
    opened = await open_socket(request, entry)
    contexts = _Contexts(opened)
    try:
        if opened.has_key:
            opened.admit({})
        await contexts.talk()
        await opened.socket.close()
    except PolicyError as error:
        await opened.refuse(error)
    finally:
        await contexts.end()
    return opened.socket


class _Contexts:
    """The contexts of one socket. A closed one counts until its isFinal is out, as the vendor counts."""

    def __init__(self, opened: SpeechSocket) -> None:
        self._opened = opened
        self._idle_s = opened.query.idle_ms * opened.state.scale / 1000
        self._open: dict[str, Context] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()

    async def talk(self) -> None:
        """Read until the client is done. Raises PolicyError or BrokenOffError."""
        heard = asyncio.get_running_loop().time()
        while True:
            listening = asyncio.create_task(receive(self._opened, self._patience(heard)))
            waiting: set[asyncio.Future[Any]] = {listening, self._failed}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if self._failed.done():
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                raise self._failed.result()
            try:
                message = await listening
            except TimeoutError as error:
                if asyncio.get_running_loop().time() - heard >= self._idle_s:
                    raise IDLE from error
                self._close_idle()
                continue
            if message is None:
                return
            heard = asyncio.get_running_loop().time()
            self._opened.admit(message)
            if message.get("close_socket"):
                await self._finish()
                return
            self._take(message)

    def _patience(self, heard: float) -> float:
        moments = [heard, *(context.touched for context in self._open.values() if not context.closing)]
        return max(0.001, min(moments) + self._idle_s - asyncio.get_running_loop().time())

    def _close_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, context in self._open.items():
            if not context.closing and now - context.touched >= self._idle_s:
                self._opened.entry.add("idle_contexts", name)
                context.close(flush=True)

    def _take(self, message: dict[str, Any]) -> None:
        name = str(message.get("context_id") or message.get("contextId") or _DEFAULT)
        context = self._open.get(name)
        if message.get("close_context"):
            if context is not None:
                self._opened.entry.add("closed_contexts", name)
                context.close(flush=bool(message.get("flush")))
            return
        if context is not None and context.closing:
            context = None  # its name may be used again; the old one only finishes what it began
        first = context is None
        if context is None:
            context = self._create(name, message)
        context.take(message, first=first)

    def _create(self, name: str, message: dict[str, Any]) -> Context:
        if len(self._running) >= MOST_CONTEXTS:
            text = (
                f"Maximum simultaneous contexts per WebSocket connection exceeded ({MOST_CONTEXTS}). "
                "Please close an existing context before opening a new one."
            )
            raise PolicyError("max_active_conversations", text)
        context = Context(self._opened, message, name)
        self._open[name] = context
        self._opened.entry.add("contexts", name)
        task = asyncio.create_task(self._run(name, context))
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return context

    async def _run(self, name: str, context: Context) -> None:
        try:
            await context.run()
        except (PolicyError, BrokenOffError) as error:
            if not self._failed.done():
                self._failed.set_result(error)
        except ConnectionResetError:
            self._opened.entry.note(client_left=True)
        finally:
            if self._open.get(name) is context:
                del self._open[name]

    async def _finish(self) -> None:
        """Speak what all contexts still hold."""
        for context in list(self._open.values()):
            context.close(flush=True)
        if self._running:
            await asyncio.wait(self._running, timeout=self._idle_s)
        if self._failed.done():
            raise self._failed.result()

    async def end(self) -> None:
        """Stop all that still speaks."""
        tasks = list(self._running)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

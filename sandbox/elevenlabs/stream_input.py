"""WebSocket /v1/text-to-speech/{voice}/stream-input: one text, sent in pieces, ended by an empty one."""

from __future__ import annotations

import asyncio

from aiohttp import web

from sandbox.elevenlabs.contexts import Context
from sandbox.elevenlabs.speech_socket import IDLE, PolicyError, SpeechSocket, open_socket, receive
from sandbox.provider_wire import BrokenOffError
from sandbox.providers_state import Entry


async def serve(request: web.Request, entry: Entry) -> web.StreamResponse:
    """Serve one socket. Raises ElevenLabsError or BrokenOffError."""
    opened = await open_socket(request, entry)
    try:
        if opened.has_key:
            opened.admit({})
        await _talk(opened)
        await opened.socket.close()
    except PolicyError as error:
        await opened.refuse(error)
    return opened.socket


async def _talk(opened: SpeechSocket) -> None:
    idle_s = opened.query.idle_ms * opened.state.scale / 1000
    context: Context | None = None
    speaking: asyncio.Task[None] | None = None
    try:
        while True:
            listening = asyncio.create_task(receive(opened, idle_s))
            waiting = {listening, speaking} if speaking is not None else {listening}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if speaking is not None and speaking.done():
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)
                await speaking
                return
            try:
                message = await listening
            except TimeoutError as error:
                raise IDLE from error
            if message is None:
                return
            opened.admit(message)
            first = context is None
            if context is None:
                context = Context(opened, message, None)
                speaking = asyncio.create_task(context.run())
            if message.get("text") == "":
                context.close(flush=True)
                if speaking is not None:
                    await speaking
                return
            context.take(message, first=first)
    finally:
        if speaking is not None:
            speaking.cancel()
            outcome = (await asyncio.gather(speaking, return_exceptions=True))[0]
            if isinstance(outcome, BrokenOffError):
                opened.entry.note(broken=str(outcome))

"""The ElevenLabs-compatible part of the sandbox, at the root (the SDK's base_url). Mounted by sandbox.app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from sandbox.config import SandboxConfig
from sandbox.elevenlabs import catalog, multi_stream_input, scribe, speech_http, stream_input
from sandbox.elevenlabs.errors import ElevenLabsError
from sandbox.provider_wire import BrokenOffError
from sandbox.providers_control import install
from sandbox.providers_state import STATE, Entry

Work = Callable[[web.Request, Entry], Awaitable[web.StreamResponse]]


def _route(stage: str, work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Put a request into the ledger, and its refusals into ElevenLabs' words."""

    async def handle(request: web.Request) -> web.StreamResponse:
        with request.app[STATE].opened(request, "elevenlabs", stage) as entry:
            try:
                response = await work(request, entry)
            except ElevenLabsError as error:
                entry.note(status=error.http_status, error=error.status)
                return error.response()
            except (BrokenOffError, ConnectionResetError) as error:
                entry.note(broken=type(error).__name__)
                return web.Response()
            entry.note(status=response.status)
            return response

    return handle


def add_routes(app: web.Application, config: SandboxConfig) -> None:
    """Mount the ElevenLabs-compatible API."""
    install(app, config).model_listings["elevenlabs"] = _route("other", catalog.models)
    speak = _route("tts", speech_http.speak)
    voice = "/v1/text-to-speech/{voice}"
    for ending in ("", "/stream", "/with-timestamps", "/stream/with-timestamps"):
        app.router.add_post(voice + ending, speak)
    app.router.add_get(f"{voice}/stream-input", _route("tts", stream_input.serve))
    app.router.add_get(f"{voice}/multi-stream-input", _route("tts", multi_stream_input.serve))
    app.router.add_get("/v1/speech-to-text/realtime", _route("stt", scribe.transcribe))
    app.router.add_get("/v2/voices", _route("other", catalog.voices))
    app.router.add_get("/v1/voices/{voice}", _route("other", catalog.voice))
    app.router.add_get("/v1/user", _route("other", catalog.user))
    app.router.add_get("/v1/user/subscription", _route("other", catalog.subscription))

"""The OpenAI-compatible part of the sandbox, at /v1 (the SDK's base_url). Mounted by sandbox.app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from aiohttp import web

from sandbox.config import SandboxConfig
from sandbox.openai import audio, chat, models, realtime
from sandbox.openai.errors import OpenAIError, enter
from sandbox.provider_wire import BrokenOffError
from sandbox.providers_control import install
from sandbox.providers_state import STATE, Entry

Work = Callable[[web.Request, Entry], Awaitable[web.StreamResponse]]


def _route(stage: str, work: Work) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Put a request into the ledger, and its refusals into OpenAI's words."""

    async def handle(request: web.Request) -> web.StreamResponse:
        with request.app[STATE].opened(request, "openai", stage) as entry:
            try:
                response = await work(request, entry)
            except OpenAIError as error:
                entry.note(status=error.status, error=error.body["code"] or error.body["message"])
                return error.response()
            except (BrokenOffError, ConnectionResetError) as error:
                entry.note(broken=type(error).__name__)
                return web.Response()
            entry.note(status=response.status)
            return response

    return handle


async def _models(request: web.Request, entry: Entry) -> web.StreamResponse:
    await enter(request, "other", entry)
    return models.listing()


async def _model(request: web.Request, entry: Entry) -> web.StreamResponse:
    await enter(request, "other", entry)
    return models.single(request.match_info["model"])


def add_routes(app: web.Application, config: SandboxConfig) -> None:
    """Mount the OpenAI-compatible API."""
    base = "/v1"
    install(app, config).model_listings["openai"] = _route("other", _models)
    app.router.add_get(f"{base}/models/{{model}}", _route("other", _model))
    app.router.add_post(f"{base}/chat/completions", _route("llm", chat.complete))
    app.router.add_post(f"{base}/audio/speech", _route("tts", audio.speech))
    app.router.add_post(f"{base}/audio/transcriptions", _route("stt", audio.transcription))
    app.router.add_get(f"{base}/realtime", _route("stt", realtime.transcribe))

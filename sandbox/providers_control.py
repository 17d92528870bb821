"""/control/providers: how tests and benchmarks set the sandbox's AI providers and read what those saw.

Installed by the routes of both providers, whichever comes first.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from typing import Any

from aiohttp import web

from sandbox.config import SandboxConfig
from sandbox.providers_state import STATE, TYPICAL, Fault, Latencies, ProvidersState, ScriptedReply, SettingError

_LATENCIES = {field.name for field in dataclasses.fields(Latencies)}


def install(app: web.Application, config: SandboxConfig) -> ProvidersState:
    """Give the application its state and control routes, once; return the state."""
    if STATE not in app:
        app[STATE] = ProvidersState(config.time_scale)
        app.router.add_routes(
            [
                web.get("/v1/models", _models),
                web.get("/control/providers", _show),
                web.patch("/control/providers/latencies", _set_latencies),
                web.post("/control/providers/faults", _add_fault),
                web.delete("/control/providers/faults", _clear_faults),
                web.post("/control/providers/transcripts", _script_transcripts),
                web.post("/control/providers/replies", _script_replies),
                web.post("/control/providers/keys", _revoke_keys),
                web.get("/control/providers/ledger", _ledger),
                web.post("/control/providers/reset", _reset),
            ]
        )
    return app[STATE]


async def _models(request: web.Request) -> web.StreamResponse:
    """Both vendors list their models at this path; their keys come in different headers."""
    listings = request.app[STATE].model_listings
    wanted = "elevenlabs" if "xi-api-key" in request.headers else "openai"
    return await listings.get(wanted, next(iter(listings.values())))(request)


def _bad(message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": message}), content_type="application/json")


async def _body(request: web.Request, allowed: set[str]) -> dict[str, Any]:
    try:
        body = await request.json()
    except json.JSONDecodeError as error:
        raise _bad("the body is not JSON") from error
    if not isinstance(body, dict) or set(body) - allowed:
        raise _bad(f"an object with some of: {', '.join(sorted(allowed))} is expected")
    return body


def _state_json(state: ProvidersState) -> dict[str, Any]:
    return {
        "scale": state.scale,
        "latencies": dataclasses.asdict(state.latencies),
        "faults": [dataclasses.asdict(fault) for fault in state.faults],
        "transcripts": list(state.scripts.transcripts),
        "replies": len(state.scripts.replies),
        **state.counts(),
    }


async def _show(request: web.Request) -> web.Response:
    return web.json_response(_state_json(request.app[STATE]))


async def _set_latencies(request: web.Request) -> web.Response:
    body = await _body(request, _LATENCIES | {"profile"})
    state = request.app[STATE]
    profile = body.pop("profile", None)
    if profile not in (None, "none", "typical"):
        raise _bad("profile is none or typical")
    if not all(
        isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 for value in body.values()
    ):
        raise _bad("latencies are numbers from 0")
    base = {None: state.latencies, "none": Latencies(), "typical": TYPICAL}[profile]
    state.latencies = dataclasses.replace(base, **body)
    return web.json_response(_state_json(state))


async def _add_fault(request: web.Request) -> web.Response:
    body = await _body(request, {field.name for field in dataclasses.fields(Fault)})
    try:
        fault = Fault(**body)
    except (SettingError, TypeError) as error:
        raise _bad(str(error)) from error
    request.app[STATE].faults.append(fault)
    return web.json_response(_state_json(request.app[STATE]))


async def _clear_faults(request: web.Request) -> web.Response:
    request.app[STATE].faults.clear()
    return web.json_response(_state_json(request.app[STATE]))


async def _script_transcripts(request: web.Request) -> web.Response:
    body = await _body(request, {"texts", "default"})
    scripts = request.app[STATE].scripts
    texts = body.get("texts", [])
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise _bad("texts is a list of strings")
    scripts.transcripts.extend(texts)
    scripts.default_transcript = str(body.get("default", scripts.default_transcript))
    return web.json_response(_state_json(request.app[STATE]))


async def _script_replies(request: web.Request) -> web.Response:
    body = await _body(request, {"replies", "default", "tokens"})
    scripts = request.app[STATE].scripts
    try:
        replies = deque(ScriptedReply(**reply) for reply in body.get("replies", []))
        tokens = int(body.get("tokens", scripts.reply_tokens))
    except (TypeError, ValueError) as error:
        raise _bad(str(error)) from error
    scripts.replies.extend(replies)
    scripts.default_reply = str(body.get("default", scripts.default_reply))
    scripts.reply_tokens = tokens
    return web.json_response(_state_json(request.app[STATE]))


async def _revoke_keys(request: web.Request) -> web.Response:
    body = await _body(request, {"revoked"})
    request.app[STATE].revoked_keys = set(body.get("revoked", []))
    return web.json_response(_state_json(request.app[STATE]))


async def _ledger(request: web.Request) -> web.Response:
    state = request.app[STATE]
    return web.json_response({**state.counts(), "entries": state.entries(**request.query)})


async def _reset(request: web.Request) -> web.Response:
    request.app[STATE].reset()
    return web.json_response(_state_json(request.app[STATE]))

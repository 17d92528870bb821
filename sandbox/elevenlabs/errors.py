"""ElevenLabs' error bodies and its way of checking a key. Used by all routes of this folder."""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web

from sandbox import provider_wire
from sandbox.providers_state import REFUSALS, STATE, Entry


class ElevenLabsError(Exception):
    """One refusal: HTTP status and `detail`, which is an object, or a list for a malformed request (422)."""

    def __init__(
        self, http_status: int, status: str, message: str, *, detail: list[dict[str, Any]] | None = None
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.status = status
        self.message = message
        self.detail: Any = detail if detail is not None else {"status": status, "message": message}

    def response(self) -> web.Response:
        """The refusal as the service sends it."""
        return web.json_response({"detail": self.detail}, status=self.http_status, headers={"request-id": request_id()})


def request_id() -> str:
    """A new id as in the header request-id."""
    return uuid.uuid4().hex[:20]


def malformed(place: list[str | int], message: str, kind: str) -> ElevenLabsError:
    """A field is missing or has the wrong type or range (422)."""
    detail = [{"type": kind, "loc": place, "msg": message}]
    return ElevenLabsError(422, "invalid_request", message, detail=detail)


def voice_not_found(voice: str) -> ElevenLabsError:
    """No such voice."""
    return ElevenLabsError(404, "voice_not_found", f"A voice with the voice_id {voice} was not found.")


def model_not_found(model: str) -> ElevenLabsError:
    """No such model."""
    return ElevenLabsError(400, "model_not_found", f"A model with model ID {model} does not exist.")


INVALID_KEY = ElevenLabsError(401, "invalid_api_key", "Invalid API key")
MISSING_KEY = ElevenLabsError(
    401, "needs_authorization", "Neither authorization header nor xi-api-key received, please provide one."
)
REFUSED: dict[str, ElevenLabsError] = {
    "unauthorized": INVALID_KEY,
    "insufficient_quota": ElevenLabsError(
        401, "quota_exceeded", "This request exceeds your quota of 10000. You have 0 credits remaining."
    ),
    "too_many_concurrent_requests": ElevenLabsError(
        429,
        "too_many_concurrent_requests",
        "Too many concurrent requests. Your current subscription has a maximum of 5 concurrent requests.",
    ),
    "rate_limit": ElevenLabsError(429, "rate_limit_exceeded", "Rate limit exceeded. Please try again later."),
    "system_busy": ElevenLabsError(
        429, "system_busy", "Our services are experiencing high traffic. Please try again later."
    ),
    "server_error": ElevenLabsError(500, "internal_server_error", "We are sorry, something went wrong."),
}


def key_of(request: web.Request) -> str:
    """The key in the header, or nothing."""
    return request.headers.get("xi-api-key", "").strip()


def check_key(request: web.Request, key: str) -> None:
    """Raises ElevenLabsError (401) unless the key is good."""
    if not key:
        raise MISSING_KEY
    if not provider_wire.key_is_good(request.app[STATE], key):
        raise INVALID_KEY


def refusal(request: web.Request, stage: str, entry: Entry) -> ElevenLabsError | None:
    """The refusal that is set for this request, if any. Raises BrokenOffError when it was to be a reset connection."""
    fault = request.app[STATE].take_fault("elevenlabs", stage, REFUSALS)
    if fault is None:
        return None
    entry.note(fault=fault.kind)
    if fault.kind == "refuse":
        provider_wire.abort(request)
        raise provider_wire.BrokenOffError(fault.kind)
    return REFUSED[fault.kind]


async def enter(request: web.Request, stage: str, entry: Entry) -> str:
    """Act out a refusal that is set, check the key, wait for the network; return the key.

    Raises ElevenLabsError, or BrokenOffError when the connection was reset.
    """
    state = request.app[STATE]
    refused = refusal(request, stage, entry)
    if refused is not None:
        raise refused
    key = key_of(request)
    check_key(request, key)
    entry.note(demo=provider_wire.scenario_of(key))
    await state.pause(state.latencies.http_ms)
    return key

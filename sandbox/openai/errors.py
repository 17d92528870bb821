"""OpenAI's error bodies and headers, and its way of checking a key. Used by all routes of this folder."""

from __future__ import annotations

import time
import uuid
from typing import Any

from aiohttp import web

from sandbox import provider_wire
from sandbox.providers_state import REFUSALS, STATE, Entry


class OpenAIError(Exception):
    """One refusal: HTTP status and the four fields of the body's `error`."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self.body: dict[str, Any] = {"message": message, "type": kind, "param": param, "code": code}

    def response(self) -> web.Response:
        """The refusal as the service sends it."""
        return web.json_response(
            {"error": self.body}, status=self.status, headers={"x-request-id": request_id(), **self.headers}
        )


def request_id() -> str:
    """A new id as in the header x-request-id."""
    return f"req_{uuid.uuid4().hex}"


def headers(started: float) -> dict[str, str]:
    """The headers of a good answer; `started` is time.monotonic() at its beginning."""
    return {
        "x-request-id": request_id(),
        "openai-processing-ms": str(int((time.monotonic() - started) * 1000)),
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": "10000",
        "x-ratelimit-remaining-requests": "9999",
        "x-ratelimit-reset-requests": "6ms",
    }


def missing(param: str) -> OpenAIError:
    """A required parameter is not there."""
    return OpenAIError(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def unknown(param: str) -> OpenAIError:
    """A parameter that the API does not have."""
    return OpenAIError(400, f"Unknown parameter: '{param}'.", param=param, code="unknown_parameter")


def invalid(param: str, message: str, code: str = "invalid_value") -> OpenAIError:
    """A parameter has a value that it cannot have."""
    return OpenAIError(400, message, param=param, code=code)


def model_not_found(model: str) -> OpenAIError:
    """No such model."""
    return OpenAIError(
        404, f"The model `{model}` does not exist or you do not have access to it.", code="model_not_found"
    )


def key_of(request: web.Request) -> str:
    """The bearer token, or nothing."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""


def check_key(request: web.Request) -> str:
    """Return the key of the request. Raises OpenAIError (401)."""
    key = key_of(request)
    if not key:
        raise OpenAIError(
            401,
            "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer "
            "auth (i.e. Authorization: Bearer YOUR_KEY).",
        )
    if not provider_wire.key_is_good(request.app[STATE], key):
        shown = f"{key[:4]}{'*' * 8}{key[-4:]}" if len(key) > 12 else "*" * len(key)
        raise OpenAIError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")
    return key


NO_QUOTA = OpenAIError(
    429,
    "You exceeded your current quota, please check your plan and billing details.",
    kind="insufficient_quota",
    code="insufficient_quota",
)
_REFUSED: dict[str, OpenAIError] = {
    "unauthorized": OpenAIError(401, "Incorrect API key provided: sk-a********bcde.", code="invalid_api_key"),
    "insufficient_quota": NO_QUOTA,
    "server_error": OpenAIError(
        500, "The server had an error while processing your request. Sorry about that!", kind="server_error"
    ),
    "system_busy": OpenAIError(
        503, "That model is currently overloaded with other requests. Please try again.", kind="server_error"
    ),
}
for _kind in ("rate_limit", "too_many_concurrent_requests"):
    _REFUSED[_kind] = OpenAIError(
        429,
        "Rate limit reached for requests. Limit: 3 / min. Please try again in 20ms.",
        kind="requests",
        code="rate_limit_exceeded",
        headers={"retry-after-ms": "20", "retry-after": "1"},
    )


async def enter(request: web.Request, stage: str, entry: Entry) -> str:
    """Act out a refusal that is set, check the key, wait for the network; return the key.

    Raises OpenAIError, or BrokenOffError when the connection was reset.
    """
    state = request.app[STATE]
    fault = state.take_fault("openai", stage, REFUSALS)
    if fault is not None:
        entry.note(fault=fault.kind)
        if fault.kind == "refuse":
            provider_wire.abort(request)
            raise provider_wire.BrokenOffError(fault.kind)
        raise _REFUSED[fault.kind]
    key = check_key(request)
    entry.note(demo=provider_wire.scenario_of(key))
    await state.pause(state.latencies.http_ms)
    return key

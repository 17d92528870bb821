"""From a provider's own error (HTTP status, error code, close code, words) to an ErrorKind and a safe detail.

Used by every adapter. The vendors' codes are those of facts seen in their documentation and SDKs: OpenAI puts them in
``error.code``/``error.type``, ElevenLabs in ``detail.status``, Scribe in ``message_type``.
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from agents.providers.base import ProviderConfig
from agents.providers.errors import ErrorKind, ProviderError, Stage

_CODES: dict[ErrorKind, tuple[str, ...]] = {
    ErrorKind.OUT_OF_CREDIT: (
        "insufficient_quota",
        "quota_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "payment_required",
        "payment_issue",
    ),
    ErrorKind.RATE_LIMITED: (
        "rate_limit_exceeded",
        "rate_limited",
        "too_many_concurrent_requests",
        "concurrent_limit_exceeded",
        "queue_overflow",
        "max_active_conversations",
    ),
    ErrorKind.SERVER_ERROR: (
        "system_busy",
        "resource_exhausted",
        "transcriber_error",
        "server_error",
        "internal_error",
        "internal_server_error",
        "service_unavailable",
        "overloaded",
    ),
    ErrorKind.UNAUTHORISED: (
        "invalid_api_key",
        "auth_error",
        "authentication_error",
        "invalid_authentication",
        "missing_api_key",
        "needs_authorization",
        "unauthorized",
    ),
    ErrorKind.FORBIDDEN: (
        "missing_permissions",
        "permission_denied",
        "insufficient_permissions",
        "unaccepted_terms",
        "unsupported_country_region_territory",
        "detected_unusual_activity",
    ),
    ErrorKind.NOT_FOUND: ("model_not_found", "voice_not_found", "voice_does_not_exist", "model_does_not_exist"),
    ErrorKind.DROPPED: (
        "input_timeout_exceeded",
        "session_time_limit_exceeded",
        "session_expired",
        "insufficient_audio_activity",
    ),
    ErrorKind.CONTENT_FILTER: ("content_filter", "content_policy_violation", "content_moderation"),
    ErrorKind.BAD_REQUEST: (
        "invalid_request",
        "invalid_value",
        "unsupported_value",
        "unsupported_parameter",
        "unknown_parameter",
        "missing_required_parameter",
        "context_length_exceeded",
        "input_error",
        "chunk_size_exceeded",
        "max_character_limit_exceeded",
        "voice_settings_changed",
        "invalid_voice_settings",
        "invalid_generation_config",
        "unsupported_model",
    ),
}
_KIND_BY_CODE = {code: kind for kind, codes in _CODES.items() for code in codes}
# Broad classes that OpenAI puts into ``type``: they count only where neither code nor status says more.
_KIND_BY_TYPE = {
    "insufficient_quota": ErrorKind.OUT_OF_CREDIT,
    "tokens": ErrorKind.RATE_LIMITED,
    "requests": ErrorKind.RATE_LIMITED,
    "server_error": ErrorKind.SERVER_ERROR,
    "invalid_request_error": ErrorKind.BAD_REQUEST,
}
_KIND_BY_STATUS = {
    401: ErrorKind.UNAUTHORISED,
    402: ErrorKind.OUT_OF_CREDIT,
    403: ErrorKind.FORBIDDEN,
    404: ErrorKind.NOT_FOUND,
    408: ErrorKind.TIMEOUT,
    425: ErrorKind.RATE_LIMITED,
    429: ErrorKind.RATE_LIMITED,
}
# RFC 6455 §7.4.1 and the IANA registry of close codes.
_KIND_BY_CLOSE = {
    1002: ErrorKind.GARBAGE,
    1003: ErrorKind.BAD_REQUEST,
    1007: ErrorKind.BAD_REQUEST,
    1008: ErrorKind.BAD_REQUEST,
    1009: ErrorKind.BAD_REQUEST,
    1011: ErrorKind.SERVER_ERROR,
    1013: ErrorKind.SERVER_ERROR,
    3000: ErrorKind.UNAUTHORISED,
    3003: ErrorKind.FORBIDDEN,
}
_PHRASES: tuple[tuple[str, ErrorKind], ...] = (
    ("maximum simultaneous contexts", ErrorKind.RATE_LIMITED),
    ("too many concurrent", ErrorKind.RATE_LIMITED),
    ("rate limit", ErrorKind.RATE_LIMITED),
    ("quota", ErrorKind.OUT_OF_CREDIT),
    ("api key", ErrorKind.UNAUTHORISED),
    ("api_key", ErrorKind.UNAUTHORISED),
    ("unauthori", ErrorKind.UNAUTHORISED),
    ("timeout", ErrorKind.DROPPED),
    ("system busy", ErrorKind.SERVER_ERROR),
    ("voice settings", ErrorKind.BAD_REQUEST),
    ("voice_settings", ErrorKind.BAD_REQUEST),
)
_KEY_SHAPED = re.compile(r"\b(?:sk|xi|pk|rk)[-_][A-Za-z0-9_*-]{6,}")
_SPACES = re.compile(r"\s+")
DETAIL_CHARS = 300


def scrub(text: str, key: str) -> str:
    """``text`` on one line, at most 300 characters, without ``key`` or anything shaped like a key."""
    if key:
        text = text.replace(key, "[key]")
    text = _KEY_SHAPED.sub("[key]", text)
    text = _SPACES.sub(" ", text).strip()
    return text if len(text) <= DETAIL_CHARS else text[: DETAIL_CHARS - 1] + "…"


def kind_of_code(code: str) -> ErrorKind | None:
    """The kind of a vendor's error code; None when it is unknown."""
    return _KIND_BY_CODE.get(code.strip().lower())


def kind_of_words(words: str) -> ErrorKind | None:
    """The kind that an error's prose tells, where there is no code; None when it tells nothing."""
    code = _KIND_BY_CODE.get(words.strip().lower())
    if code is not None:
        return code
    lowered = words.lower()
    for name, kind in _KIND_BY_CODE.items():
        if name in lowered:
            return kind
    return next((kind for phrase, kind in _PHRASES if phrase in lowered), None)


def decode_body(body: object) -> object:
    """A response body as Python data: JSON text and bytes are decoded, anything else stays what it is."""
    if isinstance(body, (bytes, bytearray)):
        body = bytes(body).decode("utf-8", "replace")
    if isinstance(body, str):
        try:
            return json.loads(body)
        except ValueError:
            return body
    return body


def _error_part(body: object) -> Mapping[str, Any] | None:
    if not isinstance(body, Mapping):
        return None
    for name in ("error", "detail"):
        part = body.get(name)
        if isinstance(part, Mapping):
            return part
    return body


def _text(part: Mapping[str, Any], *names: str) -> str:
    return next((value for name in names if isinstance(value := part.get(name), str) and value), "")


def message_of(body: object) -> str:
    """The provider's own words in an error body (OpenAI's, ElevenLabs', FastAPI's forms); else the body as text."""
    body = decode_body(body)
    part = _error_part(body)
    if part is None:
        return "" if body is None else str(body)
    if isinstance(faults := part.get("detail"), list) and faults and isinstance(faults[0], Mapping):
        place = faults[0].get("loc")
        field = f"{place[-1]}: " if isinstance(place, list) and place else ""
        return field + _text(faults[0], "msg", "message")
    words = _text(part, "message", "msg", "detail", "reason", "error")
    return words or json.dumps(part, ensure_ascii=False, default=str)


def kind_of_status(status: int, body: object = None) -> ErrorKind:
    """The kind of an HTTP error reply: by the code in its body, else by its status.

    A 404 whose body is not the API's JSON means that the address is not the API's.
    """
    body = decode_body(body)
    part = _error_part(body)
    if part is not None:
        code = _text(part, "code", "status")
        if (kind := kind_of_code(code)) is not None:
            return kind
        if status == 429 and (kind := _KIND_BY_TYPE.get(_text(part, "type"))) is not None:
            return kind
    elif status in (404, 405):
        return ErrorKind.GARBAGE
    if status in _KIND_BY_STATUS:
        return _KIND_BY_STATUS[status]
    if status >= 500:
        return ErrorKind.SERVER_ERROR
    return ErrorKind.BAD_REQUEST if 400 <= status < 500 else ErrorKind.GARBAGE


def kind_of_close(code: int | None, reason: str = "") -> ErrorKind:
    """The kind of a WebSocket's end that we did not ask for: by its reason, else by its close code."""
    if code is not None and code not in (1000, 1001, 1006) and (kind := kind_of_words(reason)) is not None:
        return kind
    return _KIND_BY_CLOSE.get(code or 1006, ErrorKind.DROPPED)


def kind_of_event(error: Mapping[str, Any]) -> ErrorKind:
    """The kind of an error object inside a stream or on a socket: code, then words, then type or close code."""
    for name in ("code", "error", "status"):
        value = error.get(name)
        if isinstance(value, str) and (kind := kind_of_code(value)) is not None:
            return kind
    if (kind := kind_of_words(_text(error, "message", "error"))) is not None:
        return kind
    if isinstance(close := error.get("code"), int) and close in _KIND_BY_CLOSE:
        return _KIND_BY_CLOSE[close]
    return _KIND_BY_TYPE.get(_text(error, "type"), ErrorKind.SERVER_ERROR)


def retry_after(headers: Mapping[str, str] | None) -> float | None:
    """After how many s a refusal asks to be tried again; None when it does not say so in a number."""
    lower = {name.lower(): value for name, value in (headers or {}).items()}
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            wait_s = float(lower[name]) * scale
        except (KeyError, ValueError):
            continue
        if math.isfinite(wait_s) and wait_s >= 0:
            return wait_s
    return None


def make_error(
    kind: ErrorKind, config: ProviderConfig, stage: Stage, words: str = "", *, retry_after: float | None = None
) -> ProviderError:
    """A ProviderError whose detail is scrubbed of the account's key."""
    detail = scrub(words, config.api_key)
    return ProviderError(kind, provider=config.provider, stage=stage, detail=detail, retry_after=retry_after)

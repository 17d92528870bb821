"""GET /v1/models: the models that this sandbox knows, with the shutdown dates that the vendor has announced."""

from __future__ import annotations

import time
from dataclasses import dataclass

from aiohttp import web

from sandbox.openai.errors import OpenAIError, headers, model_not_found

_CREATED = 1_790_000_000


@dataclass(frozen=True)
class Model:
    """One model: what it is for ("chat", "speech", "transcription", "realtime_transcription") and until when."""

    id: str
    purposes: frozenset[str]
    shutdown_date: str | None = None
    reasons: bool = False
    owner: str = "openai"


def _model(name: str, *purposes: str, until: str | None = None, reasons: bool = False, owner: str = "openai") -> Model:
    return Model(name, frozenset(purposes), until, reasons, owner)


# Dates: the vendor's deprecations page as repeated in the types of openai 3.54.
MODELS: dict[str, Model] = {
    model.id: model
    for model in (
        _model("demo-script", "chat", owner="sandbox-scripted"),
        _model("gpt-6-luna", "chat", reasons=True),
        _model("gpt-6-sol", "chat", reasons=True),
        _model("gpt-5.6-luna", "chat", reasons=True),
        _model("gpt-5.4-mini", "chat", reasons=True),
        _model("gpt-5.4-nano", "chat", until="2027-04-01", reasons=True),
        _model("gpt-5-mini", "chat", until="2026-12-11", reasons=True),
        _model("gpt-4o-mini", "chat", until="2027-01-14"),
        _model("gpt-4.1-mini", "chat", until="2027-01-14"),
        _model("gpt-4o-mini-tts", "speech", until="2027-01-06"),
        _model("tts-1", "speech", until="2027-01-06"),
        _model("tts-1-hd", "speech", until="2027-01-06"),
        _model("gpt-transcribe", "transcription", "realtime_transcription"),
        _model("gpt-live-transcribe", "realtime_transcription"),
        _model("gpt-realtime-whisper", "realtime_transcription"),
        _model("gpt-4o-transcribe", "transcription", "realtime_transcription", until="2027-02-26"),
        _model("gpt-4o-mini-transcribe", "transcription", "realtime_transcription", until="2027-02-26"),
        _model("whisper-1", "transcription", "realtime_transcription", until="2027-02-26"),
    )
}
NO_VAD = frozenset({"gpt-live-transcribe", "gpt-realtime-whisper"})


def require(name: str, purpose: str) -> Model:
    """The model of that name for that purpose. Raises OpenAIError: 404, or 400 when it is for something else."""
    model = MODELS.get(name)
    if model is None:
        raise model_not_found(name)
    if purpose not in model.purposes:
        message = f"The model `{name}` is not supported on this endpoint."
        raise OpenAIError(400, message, param="model", code="unsupported_model")
    return model


def _shown(model: Model) -> dict[str, object]:
    return {
        "id": model.id,
        "object": "model",
        "created": _CREATED,
        "owned_by": model.owner,
        "shutdown_date": model.shutdown_date,
    }


def listing() -> web.Response:
    """GET /v1/models."""
    data = [_shown(model) for model in MODELS.values()]
    return web.json_response({"object": "list", "data": data}, headers=headers(time.monotonic()))


def single(name: str) -> web.Response:
    """GET /v1/models/{model}. Raises OpenAIError (404)."""
    if name not in MODELS:
        raise model_not_found(name)
    return web.json_response(_shown(MODELS[name]), headers=headers(time.monotonic()))

"""What a realtime transcription session may be, and how the service words its refusals. Used by realtime.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sandbox.openai.errors import OpenAIError, invalid, missing, unknown
from sandbox.openai.models import NO_VAD, require

_LANGUAGE_LISTS = frozenset({"gpt-transcribe", "gpt-live-transcribe"})
_DELAYS = ("minimal", "low", "medium", "high", "xhigh")
_VAD_FIELDS = {
    "server_vad": {
        "type", "threshold", "prefix_padding_ms", "silence_duration_ms", "idle_timeout_ms", "create_response",
        "interrupt_response",
    },
    "semantic_vad": {"type", "eagerness", "create_response", "interrupt_response"},
}  # fmt: skip
_PATIENCE_MS = {"low": 8000, "medium": 4000, "high": 2000, "auto": 4000}


@dataclass
class Session:
    """Settings of one transcription session, as the service reports them."""

    audio_type: str = "audio/pcm"
    transcription: dict[str, Any] | None = None
    noise_reduction: dict[str, Any] | None = None
    turn_detection: dict[str, Any] | None = field(
        default_factory=lambda: {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": 300,
            "silence_duration_ms": 200,
            "idle_timeout_ms": None,
        }
    )
    include: list[str] = field(default_factory=list)

    @property
    def encoding(self) -> tuple[str, int]:
        """Encoding and rate in Hz, in the recogniser's terms."""
        return {"audio/pcm": ("l16", 24000), "audio/pcmu": ("mulaw", 8000), "audio/pcma": ("alaw", 8000)}[
            self.audio_type
        ]

    @property
    def bytes_per_ms(self) -> int:
        """Bytes of one ms of input."""
        return 48 if self.audio_type == "audio/pcm" else 8

    @property
    def silence_ms(self) -> int | None:
        """After how much silence the server commits by itself; None: never."""
        if self.turn_detection is None:
            return None
        if self.turn_detection["type"] == "semantic_vad":
            return _PATIENCE_MS[self.turn_detection.get("eagerness", "auto")]
        return int(self.turn_detection.get("silence_duration_ms", 500))

    def shown(self, identity: str) -> dict[str, Any]:
        """The session as in session.created and session.updated."""
        form: dict[str, Any] = {"type": self.audio_type}
        if self.audio_type == "audio/pcm":
            form["rate"] = 24000
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": identity,
            "expires_at": 0,
            "audio": {
                "input": {
                    "format": form,
                    "transcription": self.transcription,
                    "noise_reduction": self.noise_reduction,
                    "turn_detection": self.turn_detection,
                }
            },
            "include": self.include or None,
        }


def _only(value: Any, allowed: set[str], where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise invalid(where, f"Invalid type for '{where}': expected an object.", "invalid_type")
    for name in value:
        if name not in allowed:
            raise unknown(f"{where}.{name}")
    return value


def updated(session: Session, change: Any) -> Session:
    """The session after session.update. Raises OpenAIError and leaves the old one as it was."""
    change = _only(change, {"type", "audio", "include"}, "session")
    if "type" not in change:
        raise missing("session.type")
    if change["type"] != "transcription":
        text = "Passing a realtime session update event to a transcription session is not allowed."
        raise invalid("session.type", text)
    source = _only(change.get("audio", {}), {"input"}, "session.audio").get("input", {})
    source = _only(source, {"format", "transcription", "noise_reduction", "turn_detection"}, "session.audio.input")
    new = Session(
        session.audio_type, session.transcription, session.noise_reduction, session.turn_detection, session.include
    )
    if "format" in source:
        new.audio_type = _format(source["format"])
    if "transcription" in source:
        new.transcription = _transcription(source["transcription"])
    if "noise_reduction" in source:
        new.noise_reduction = source["noise_reduction"] and _only(
            source["noise_reduction"], {"type", "strength"}, "session.audio.input.noise_reduction"
        )
    model = (new.transcription or {}).get("model")
    if "turn_detection" in source:
        new.turn_detection = _turn_detection(source["turn_detection"], model)
    elif model in NO_VAD:
        new.turn_detection = None
    for item in change.get("include") or ():
        if item != "item.input_audio_transcription.logprobs":
            raise invalid("session.include[0]", f"Invalid value: '{item}'.")
    new.include = change.get("include") or []
    return new


def _format(form: Any) -> str:
    form = _only(form, {"type", "rate"}, "session.audio.input.format")
    kind = form.get("type")
    if kind not in ("audio/pcm", "audio/pcmu", "audio/pcma"):
        text = f"Invalid value: '{kind}'. Supported values are: 'audio/pcm', 'audio/pcmu', and 'audio/pcma'."
        raise invalid("session.audio.input.format.type", text)
    if kind == "audio/pcm" and form.get("rate", 24000) != 24000:
        text = f"Invalid 'session.audio.input.format.rate': only 24000 is supported, but got {form['rate']} instead."
        raise invalid("session.audio.input.format.rate", text, "integer_below_min_value")
    if kind != "audio/pcm" and "rate" in form:
        raise unknown("session.audio.input.format.rate")
    return str(kind)


def _transcription(value: Any) -> dict[str, Any] | None:
    where = "session.audio.input.transcription"
    if value is None:
        return None
    value = _only(value, {"model", "language", "languages", "keywords", "prompt", "delay"}, where)
    name = value.get("model")
    if not name:
        raise missing(f"{where}.model")
    try:
        model = require(name, "realtime_transcription").id
    except OpenAIError as error:
        text = f"Invalid value: '{name}'. The model is not supported in transcription sessions."
        raise invalid(f"{where}.model", text) from error
    for field_name in ("languages", "keywords"):
        if value.get(field_name) and model not in _LANGUAGE_LISTS:
            text = f"'{field_name}' is not supported with `{model}`."
            raise invalid(f"{where}.{field_name}", text, "unsupported_parameter")
    if value.get("delay") is not None and model != "gpt-realtime-whisper":
        raise invalid(f"{where}.delay", f"'delay' is not supported with `{model}`.", "unsupported_parameter")
    if value.get("delay") not in (None, *_DELAYS):
        raise invalid(f"{where}.delay", f"Invalid value: '{value['delay']}'.")
    if value.get("prompt") and model == "gpt-realtime-whisper":
        raise invalid(f"{where}.prompt", f"'prompt' is not supported with `{model}`.", "unsupported_parameter")
    return value


def _turn_detection(value: Any, model: str | None) -> dict[str, Any] | None:
    where = "session.audio.input.turn_detection"
    if value is None:
        return None
    if model in NO_VAD:
        text = f"Turn detection is not supported with `{model}`: '{where}' must be null."
        raise invalid(where, text, "unsupported_parameter")
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in _VAD_FIELDS:
        raise invalid(
            f"{where}.type", f"Invalid value: '{kind}'. Supported values are: 'server_vad' and 'semantic_vad'."
        )
    value = _only(value, _VAD_FIELDS[kind], where)
    if value.get("eagerness", "auto") not in _PATIENCE_MS:
        raise invalid(f"{where}.eagerness", f"Invalid value: '{value['eagerness']}'.")
    return value

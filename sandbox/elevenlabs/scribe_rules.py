"""What the address of a Scribe socket may ask for, and how the service words its refusals. Used by scribe.py."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aiohttp import web

_MODELS = ("scribe_v2_realtime",)
_FORMATS = ("pcm_8000", "pcm_16000", "pcm_22050", "pcm_24000", "pcm_44100", "pcm_48000", "ulaw_8000")
_KNOWN = frozenset(
    {
        "model_id", "audio_format", "commit_strategy", "vad_silence_threshold_secs", "vad_threshold",
        "min_speech_duration_ms", "min_silence_duration_ms", "language_code", "secondary_languages",
        "include_timestamps", "include_language_detection", "keyterms", "no_verbatim", "entity_detection",
        "entity_redaction", "entity_redaction_mode", "transcript_edit", "filter_background_audio", "enable_logging",
        "token",
    }
)  # fmt: skip
_MAX_KEYTERMS, _MAX_KEYTERM = 50, 20


class ScribeError(Exception):
    """A refusal inside the socket: its message_type and words; `fatal` ones close it."""

    def __init__(self, kind: str, message: str, *, fatal: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.fatal = fatal


@dataclass(frozen=True)
class Options:
    """The checked query; durations in the units of their names."""

    model: str
    audio_format: str
    commit_strategy: str
    vad_silence_s: float
    vad_threshold: float
    min_speech_ms: int
    min_silence_ms: int
    language_code: str | None
    include_timestamps: bool
    include_language_detection: bool
    keyterms: tuple[str, ...]
    no_verbatim: bool
    enable_logging: bool

    @property
    def encoding(self) -> str:
        """In the recogniser's terms."""
        return "mulaw" if self.audio_format == "ulaw_8000" else "l16"

    @property
    def rate(self) -> int:
        """Samples per second, Hz."""
        return int(self.audio_format.split("_")[1])

    @property
    def bytes_per_second(self) -> int:
        """Bytes in one second of input."""
        return self.rate * (1 if self.encoding == "mulaw" else 2)

    def shown(self) -> dict[str, Any]:
        """As session_started repeats it."""
        return {
            "sample_rate": self.rate,
            "audio_format": self.audio_format,
            "language_code": self.language_code,
            "commit_strategy": self.commit_strategy,
            "vad_silence_threshold_secs": self.vad_silence_s,
            "vad_threshold": self.vad_threshold,
            "min_speech_duration_ms": self.min_speech_ms,
            "min_silence_duration_ms": self.min_silence_ms,
            "model_id": self.model,
            "enable_logging": self.enable_logging,
            "include_timestamps": self.include_timestamps,
            "include_language_detection": self.include_language_detection,
            "keyterms": list(self.keyterms),
            "no_verbatim": self.no_verbatim,
        }


def _refused(message: str) -> ScribeError:
    return ScribeError("invalid_request", message, fatal=True)


def _choice(request: web.Request, name: str, default: str, choices: tuple[str, ...]) -> str:
    value = request.query.get(name, default)
    if value not in choices:
        raise _refused(f"{name} must be one of {', '.join(choices)}, not '{value}'.")
    return value


def _number(request: web.Request, name: str, default: float, low: float, high: float) -> float:
    raw = request.query.get(name)
    if raw is None:
        return default
    try:
        value = float(raw)
    except ValueError as error:
        raise _refused(f"{name} must be a number, not '{raw}'.") from error
    if not low <= value <= high:
        raise _refused(f"{name} must be between {low} and {high}, not {value}.")
    return value


def _flag(request: web.Request, name: str, *, default: bool = False) -> bool:
    return _choice(request, name, str(default).lower(), ("true", "false", "True", "False")).lower() == "true"


def read_options(request: web.Request) -> Options:
    """Check the query. Raises ScribeError (fatal)."""
    unknown = sorted(set(request.query) - _KNOWN)
    if unknown:
        raise _refused(f"Unknown parameters: {', '.join(unknown)}.")
    if "model_id" not in request.query:
        text = "model_id is required."
        raise _refused(text)
    keyterms = tuple(request.query.getall("keyterms", []))
    if len(keyterms) > _MAX_KEYTERMS or any(len(term) > _MAX_KEYTERM for term in keyterms):
        raise _refused(f"At most {_MAX_KEYTERMS} keyterms of at most {_MAX_KEYTERM} characters are allowed.")
    timestamps = _flag(request, "include_timestamps")
    if timestamps and _flag(request, "filter_background_audio"):
        text = "filter_background_audio cannot be combined with include_timestamps."
        raise _refused(text)
    return Options(
        model=_choice(request, "model_id", "", _MODELS),
        audio_format=_choice(request, "audio_format", "pcm_16000", _FORMATS),
        commit_strategy=_choice(request, "commit_strategy", "manual", ("manual", "vad")),
        vad_silence_s=_number(request, "vad_silence_threshold_secs", 1.5, 0.3, 3.0),
        vad_threshold=_number(request, "vad_threshold", 0.4, 0.1, 0.9),
        min_speech_ms=int(_number(request, "min_speech_duration_ms", 100, 50, 2000)),
        min_silence_ms=int(_number(request, "min_silence_duration_ms", 100, 50, 2000)),
        language_code=request.query.get("language_code"),
        include_timestamps=timestamps,
        include_language_detection=_flag(request, "include_language_detection"),
        keyterms=keyterms,
        no_verbatim=_flag(request, "no_verbatim"),
        enable_logging=_flag(request, "enable_logging", default=True),
    )

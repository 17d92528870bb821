"""The frames of a stream, both ways: what Plivo sends, and the check of what the server sends.

Pure functions of the documented shapes; the stream client adds the socket and the clock. Source: Plivo's streaming
reference, with the deviations that implementers report behind switches.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime as dt
import json
import re
from collections.abc import Mapping
from typing import Any

from sandbox.plivo.faults import Faults
from sandbox.plivo.media_format import MediaFormat

MAX_MESSAGE = 64 * 1024
_DTMF = re.compile(r"[0-9*#A-D]+")


@dataclasses.dataclass(frozen=True)
class StreamSpec:
    """One stream as XML or REST asked for it. `timeout_s` is real time; `keep_alive` is keepCallAlive."""

    url: str
    bidirectional: bool
    media_format: MediaFormat
    tracks: tuple[str, ...]
    timeout_s: float
    extra_headers: str
    status_url: str
    status_method: str
    keep_alive: bool


class ProtocolError(ValueError):
    """The server sent something that Plivo does not take: `kind` is our word for it, `reason` Plivo's, if any."""

    def __init__(self, kind: str, detail: str, *, reason: str = "") -> None:
        """Keep the word for the report."""
        super().__init__(detail)
        self.kind = kind
        self.reason = reason


@dataclasses.dataclass(frozen=True)
class Command:
    """A checked message of the server."""

    event: str
    audio: bytes = b""
    name: str = ""
    digits: str = ""
    warnings: tuple[str, ...] = ()


def extra_headers_text(given: str, form: str) -> str:
    """`k=v,k2=v2` in the form in which it is delivered."""
    pairs = [pair.split("=", 1) for pair in re.split(r"[;,]", given) if "=" in pair]
    if form == "empty":
        return ""
    if form == "json":
        return json.dumps({key.strip(): value for key, value in pairs})
    return (";" if form == "semicolon" else ",").join(f"{key.strip()}={value}" for key, value in pairs)


def start_message(spec: StreamSpec, faults: Faults, *, call_id: str, stream_id: str, account_id: str) -> dict[str, Any]:
    """The first frame."""
    return {
        "event": "start",
        "start": {
            "callId": faults.start_call_id or call_id,
            "streamId": stream_id,
            "accountId": account_id,
            "tracks": list(spec.tracks),
            "mediaFormat": {"encoding": spec.media_format.encoding, "sampleRate": spec.media_format.rate},
        },
        "extra_headers": extra_headers_text(spec.extra_headers, faults.extra_headers_form),
    }


def status_params(
    spec: StreamSpec,
    call_params: Mapping[str, Any],
    *,
    stream_id: str,
    event: str,
    reason: str,
    started_at: dt.datetime | None,
) -> dict[str, Any]:
    """What statusCallbackUrl is told: the union of both documented sets, under the `event` of one of them."""
    now = dt.datetime.now(dt.UTC)
    old_set = event.endswith("Stream")
    params: dict[str, Any] = {
        "CallUUID": call_params["CallUUID"],
        "StreamID": stream_id,
        "Event": event,
        "From": call_params["From"],
        "To": call_params["To"],
    }
    if old_set:
        return params | {
            "ParentAuthID": call_params["ParentAuthID"],
            "ServiceURL": spec.url,
            "Timestamp": now.strftime("%Y-%m-%d %H:%M:%S"),
            "Error": reason if event in ("DroppedStream", "DegradedStream") else "",
            "status_callback_url": spec.status_url,
            "status_callback_method": spec.status_method,
        }
    params |= {"Direction": call_params["Direction"], "Timestamp": now.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if reason:
        params["StatusReason"] = reason
    if event == "stopped" and started_at is not None:
        params["Duration"] = int((now - started_at).total_seconds())
    return params


def parse_command(text: str, spec: StreamSpec, faults: Faults) -> Command:
    """Check one text message. Raises ProtocolError with what is wrong; what Plivo only grumbles at is a warning."""
    if len(text.encode()) > MAX_MESSAGE:
        raise ProtocolError("message_too_large", f"{len(text.encode())} bytes, at most {MAX_MESSAGE}")
    try:
        message = json.loads(text)
    except ValueError as error:
        raise ProtocolError("not_json", text[:80]) from error
    if not isinstance(message, dict) or not isinstance(message.get("event"), str):
        raise ProtocolError("no_event", text[:80])
    event = message["event"]
    if event == "playAudio":
        return _play_audio(message, spec, faults)
    if event in ("checkpoint", "clearAudio"):
        warnings = () if isinstance(message.get("streamId"), str) else ("missing_stream_id",)
        name = message.get("name", "")
        if event == "checkpoint" and (not isinstance(name, str) or not name):
            raise ProtocolError("checkpoint_without_name", text[:80])
        return Command(event=event, name=name, warnings=warnings)
    if event == "sendDTMF":
        digits = message.get("dtmf")
        if not isinstance(digits, str) or not _DTMF.fullmatch(digits):
            raise ProtocolError("bad_dtmf", text[:80])
        return Command(event=event, digits=digits)
    raise ProtocolError("unknown_event", event)


def _play_audio(message: dict[str, Any], spec: StreamSpec, faults: Faults) -> Command:
    if not spec.bidirectional:
        raise ProtocolError("play_on_one_way", "playAudio on a stream that is not bidirectional")
    media = message.get("media")
    if not isinstance(media, dict) or not isinstance(media.get("payload"), str):
        raise ProtocolError("no_payload", "playAudio without media.payload")
    try:
        audio = base64.b64decode(media["payload"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise ProtocolError("bad_base64", str(error)) from error
    if audio[:4] == b"RIFF":
        raise ProtocolError("wav_header", "the payload is a file, not raw samples", reason="invalid_content_type")
    if len(audio) % spec.media_format.sample_bytes:
        raise ProtocolError("odd_length", f"{len(audio)} bytes of 16-bit audio")
    warnings: tuple[str, ...] = ()
    declared = f"{media.get('contentType')};rate={media.get('sampleRate')}"
    expected = f"{spec.media_format.encoding};rate={spec.media_format.rate}"
    if declared != expected:
        if faults.mismatch == "ignore":
            raise ProtocolError("format_mismatch", f"{declared} on {expected}", reason="invalid_content_type")
        warnings = ("format_mismatch",)
    return Command(event="playAudio", audio=audio, warnings=warnings)

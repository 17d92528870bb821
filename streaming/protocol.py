"""Plivo's stream messages: leniently read, exactly written (facts of its audio streaming reference).

Sans-I/O; ``consumers`` feeds it what the socket brings and sends what it makes. Nothing that a peer can send raises:
what cannot be understood becomes ``Unknown`` or ``Malformed`` and is counted by the caller.
"""

import base64
import binascii
import math
from typing import Any

import msgspec

from agents.providers.base import L16_8K, L16_16K, MULAW_8K, AudioFormat

MAX_MESSAGE = 64 * 1024  # characters; Plivo's documented limit of a message
FRAMES_PER_SECOND = 200  # four times what one 20 ms track sends
BURST_FRAMES = 1000  # a stall of 5 s, the longest that a stream survives, delivered at once, with room to spare
KEYS = frozenset("0123456789*#ABCD")
CONTENT_TYPES = {"mulaw": "audio/x-mulaw", "l16": "audio/x-l16"}
CODECS: dict[str, AudioFormat] = {
    "audio/x-mulaw;rate=8000": MULAW_8K,
    "audio/x-l16;rate=8000": L16_8K,
    "audio/x-l16;rate=16000": L16_16K,
}
_MAX_EXTRA_HEADERS = 32
_MAX_NAME = 120


class Start(msgspec.Struct, frozen=True, gc=False):
    """The stream begins.

    Attributes:
        call_id: Plivo's CallUUID; empty when missing.
        encoding: content type without parameters, such as "audio/x-mulaw"; empty when missing.
        rate: samples per second; 0 when missing.
    """

    call_id: str
    stream_id: str
    encoding: str
    rate: int
    extra_headers: dict[str, str]


class Media(msgspec.Struct, frozen=True, gc=False):
    """Audio of one frame, usually 20 ms.

    Attributes:
        track: "inbound" for the caller; empty when missing.
        timestamp: Plivo's clock in ms with an undocumented zero; None when missing.
        chunk: the track's own counter; None when missing.
    """

    audio: bytes
    track: str
    timestamp: int | None
    chunk: int | None


class Digit(msgspec.Struct, frozen=True, gc=False):
    """A key of the caller's phone, one of ``KEYS``."""

    digit: str


class Played(msgspec.Struct, frozen=True, gc=False):
    """Everything queued before the checkpoint ``name`` has been heard."""

    name: str


class Cleared(msgspec.Struct, frozen=True, gc=False):
    """The answer to clearAudio."""


class Stop(msgspec.Struct, frozen=True, gc=False):
    """The stream is over; undocumented, so the socket's end alone must do as well."""


class Unknown(msgspec.Struct, frozen=True, gc=False):
    """An event outside the reference: to be logged once and ignored."""

    event: str


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """Something that is not the protocol; ``why`` is one of json, shape, base64, size, digit, binary."""

    why: str


Message = Start | Media | Digit | Played | Cleared | Stop | Unknown | Malformed
_CLEARED = Cleared()
_STOP = Stop()


class _MediaBody(msgspec.Struct, gc=False):
    payload: bytes  # msgspec decodes the base64 in the same pass
    track: str = ""
    timestamp: str | int | float | None = None
    chunk: int | str | float | None = None


class _MediaFrame(msgspec.Struct, gc=False):
    event: str
    media: _MediaBody


_media_frame = msgspec.json.Decoder(_MediaFrame)
_anything = msgspec.json.Decoder()


def decode(raw: str) -> Message:
    """Reads one text message; never raises.

    Args:
        raw: the message as the socket brought it.
    """
    if len(raw) > MAX_MESSAGE:
        return Malformed("size")
    try:
        frame = _media_frame.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return _decode_leniently(raw)
    if frame.event != "media":
        return _decode_leniently(raw)
    body = frame.media
    return Media(body.payload, body.track, _number(body.timestamp), _number(body.chunk))


def _decode_leniently(raw: str) -> Message:  # noqa: PLR0911  (one return an event)
    try:
        message = _anything.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return Malformed("json")
    if not isinstance(message, dict):
        return Malformed("shape")
    match message.get("event"):
        case "media":
            return _media(_object(message, "media"))
        case "start":
            return _start(message)
        case "dtmf":
            return _digit(_object(message, "dtmf"))
        case "playedStream" | "played":
            name = _text(message.get("name") or _object(message, "playedStream").get("name"))
            return Played(name) if name else Malformed("shape")
        case "clearedAudio":
            return _CLEARED
        case "stop":
            return _STOP
        case str(event) if event:
            return Unknown(event[:_MAX_NAME])
        case _:
            return Malformed("shape")


def _media(body: dict[str, Any]) -> Message:
    payload = body.get("payload")
    if not isinstance(payload, str):
        return Malformed("shape")
    try:
        audio = base64.b64decode(payload, validate=True)
    except (binascii.Error, ValueError):
        return Malformed("base64")
    return Media(audio, _text(body.get("track")), _number(body.get("timestamp")), _number(body.get("chunk")))


def _start(message: dict[str, Any]) -> Start:
    body = _object(message, "start")
    media_format = _object(body, "mediaFormat")
    encoding, _, parameters = _text(media_format.get("encoding")).replace(" ", "").lower().partition(";")
    rate = _number(media_format.get("sampleRate")) or _number(parameters.removeprefix("rate=")) or 0
    return Start(
        call_id=_text(body.get("callId")),
        stream_id=_text(body.get("streamId") or message.get("streamId")),
        encoding=encoding,
        rate=rate if rate > 0 else 0,
        extra_headers=parse_extra_headers(message.get("extra_headers", body.get("extra_headers"))),
    )


def _digit(body: dict[str, Any]) -> Message:
    digit = _text(body.get("digit")).upper()
    return Digit(digit) if digit in KEYS and len(digit) == 1 else Malformed("digit")


def _object(message: dict[str, Any], key: str) -> dict[str, Any]:
    value = message.get(key)
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """Text of a value that should be text; numbers count, anything else is missing."""
    if isinstance(value, str):
        return value[:_MAX_NAME]
    return str(value)[:_MAX_NAME] if isinstance(value, int) and not isinstance(value, bool) else ""


def _number(value: Any) -> int | None:
    """An int from a number or the text of one; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, str) and len(value) <= 20 and value.isascii():
        try:
            value = float(value) if "." in value or "e" in value.lower() else int(value)
        except ValueError:
            return None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and abs(value) < 2**63 else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def parse_extra_headers(value: Any) -> dict[str, str]:
    """Custom headers in any form seen: ``k=v;k2=v2``, ``k=v,k2=v2``, JSON text, an object, or nothing."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            value = _anything.decode(value)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return {}
    if isinstance(value, dict):
        pairs = [(_text(key), _text(item)) for key, item in value.items()]
    elif isinstance(value, str):
        split = (part.partition("=") for part in value.replace(",", ";").split(";"))
        pairs = [(key.strip()[:_MAX_NAME], item.strip()[:_MAX_NAME]) for key, _, item in split]
    else:
        return {}
    return {key: item for key, item in pairs[:_MAX_EXTRA_HEADERS] if key}


def stream_format(start: Start, *, asked: AudioFormat) -> AudioFormat | None:
    """The format that the stream really has.

    Args:
        asked: what our XML asked for; stands in for whatever ``start`` leaves out.

    Returns:
        None when Plivo announces something that was never offered.
    """
    names = {content: encoding for encoding, content in CONTENT_TYPES.items()}
    encoding = names.get(start.encoding) if start.encoding else asked.encoding
    rate = start.rate or (asked.rate if encoding == asked.encoding else 8000)
    return next((codec for codec in CODECS.values() if (codec.encoding, codec.rate) == (encoding, rate)), None)


class Encoder:
    """Writes our messages for one stream, from templates: most of a message never changes.

    Args:
        fmt: of the stream; playAudio must match it.
        stream_id: required by clearAudio and checkpoint.
    """

    def __init__(self, fmt: AudioFormat, stream_id: str) -> None:
        stream = msgspec.json.encode(stream_id).decode()
        self._play = (
            f'{{"event":"playAudio","media":{{"contentType":"{CONTENT_TYPES[fmt.encoding]}",'
            f'"sampleRate":{fmt.rate},"payload":"'
        )
        self._checkpoint = f'{{"event":"checkpoint","streamId":{stream},"name":'
        self.clear = f'{{"event":"clearAudio","streamId":{stream}}}'

    def play(self, audio: bytes) -> str:
        """playAudio of raw samples in the stream's format."""
        return self._play + binascii.b2a_base64(audio, newline=False).decode("ascii") + '"}}'

    def checkpoint(self, name: str) -> str:
        """checkpoint; Plivo answers with playedStream of the same name."""
        return self._checkpoint + msgspec.json.encode(name).decode() + "}"

    @staticmethod
    def digits(digits: str) -> str:
        """sendDTMF.

        Raises:
            ValueError: a character that is no key.
        """
        if not digits or not set(digits) <= KEYS:
            raise ValueError("digits must be 0-9, *, # or A-D")
        return f'{{"event":"sendDTMF","dtmf":"{digits}"}}'


class Meter:
    """Limits of what one peer may send: a rate with room for bursts, and a total per call.

    Args:
        total: most messages of the whole stream.
    """

    def __init__(self, *, total: int, rate: int = FRAMES_PER_SECOND, burst: int = BURST_FRAMES) -> None:
        self._left = total
        self._rate = rate
        self._burst = burst
        self._tokens = float(burst)
        self._at: float | None = None

    def admit(self, now: float) -> bool:
        """Counts one message at ``now`` (s, monotonic); False when a limit is passed."""
        if self._at is not None:
            self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        self._left -= 1
        return self._tokens >= 0 and self._left >= 0

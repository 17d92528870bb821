"""What a peer may send that is not Plivo, or is Plivo gone wrong; by the same dice every time."""

import base64
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

JUNK: tuple[Any, ...] = (
    None, True, False, [], {}, "", 0, -1, 2**63, -(2**70), 1e308, 0.5, "NaN", "\x00", "\ud800", "x" * 5000, [[]],
    {"event": "media"}, "٣", "1e9999", "-", "0x10", ["media"],
)  # fmt: skip
EVENTS = ("media", "start", "dtmf", "playedStream", "clearedAudio", "mark", "connected", "playAudio", "clearAudio", "")


def messages(dice: random.Random, call_uuid: str) -> Iterator[str | bytes]:
    """Messages without end for a stream that has begun; none of them is one that may end it."""
    while True:
        yield dice.choice(KINDS)(dice, call_uuid)


def media(audio: bytes = b"\xff" * 160, **members: Any) -> dict[str, Any]:
    """A frame as it should be, but for ``members``."""
    body = {"track": "inbound", "timestamp": "1", "chunk": 1, "payload": base64.b64encode(audio).decode()}
    return {"sequenceNumber": 1, "event": "media", "media": body | members}


def _truncated(dice: random.Random, call_uuid: str) -> str:
    whole = json.dumps(dice.choice((media(), _start(call_uuid), {"event": "dtmf", "dtmf": {"digit": "5"}})))
    return whole[: dice.randrange(len(whole))]


def _mistyped(dice: random.Random, call_uuid: str) -> str:
    """A message of which one value, at any depth, is something else."""
    message = dice.choice((media(), _start(call_uuid), {"event": "dtmf", "dtmf": {"digit": "5"}}))
    place = message
    while (key := dice.choice(list(place))) in place and isinstance(place[key], dict) and dice.random() < 0.8:
        place = place[key]
    place[key] = dice.choice(JUNK)
    return json.dumps(message, ensure_ascii=dice.random() < 0.5).encode(errors="replace").decode()


def _nested(dice: random.Random, call_uuid: str) -> str:
    depth = dice.choice((50, 1000, 20_000))
    opening, closing = dice.choice((("[", "]"), ('{"event":', "}"), ('{"event":"media","media":', "}")))
    depth = min(depth, 60_000 // (len(opening) + 1))
    return opening * depth + "1" + closing * dice.choice((depth, 0))


def _not_a_number(dice: random.Random, call_uuid: str) -> str:
    number = dice.choice(("NaN", "Infinity", "-Infinity", "1e400", "-0", "1E5", "00", "1_000", "9" * 400))
    member = dice.choice(("timestamp", "chunk", "sequenceNumber"))
    return json.dumps(media()).replace(f'"{member}": ', f'"{member}": {number}, "x": ')


def _odd_audio(dice: random.Random, call_uuid: str) -> str:
    length = dice.choice((0, 1, 3, 7, 159, 161, 333, 4001))
    return json.dumps(media(dice.randbytes(length), track=dice.choice(("inbound", "outbound", "", "both"))))


def _no_base64(dice: random.Random, call_uuid: str) -> str:
    return json.dumps(media(payload=dice.choice(("%%%%", "====", "A", "ÿÿÿÿ", "QUJD\n", "QUJ=QUJ=", "a" * 40_001))))


def _huge(dice: random.Random, call_uuid: str) -> str:
    return json.dumps(media(dice.randbytes(dice.choice((8_000, 45_000)))))


def _elsewhen(dice: random.Random, call_uuid: str) -> str:
    """Claims of gaps, of repeats and of a past before the call."""
    far = dice.choice((0, -1, 2**31, 2**40, 2**62, -(2**62)))
    return json.dumps(media(timestamp=str(far), chunk=dice.choice((far, 1, far // 2))))


def _start_again(dice: random.Random, call_uuid: str) -> str:
    codec = dice.choice(({"encoding": "audio/x-opus", "sampleRate": 48_000}, {"encoding": "audio/x-mulaw"}, {}, []))
    return json.dumps(_start(dice.choice((call_uuid, "somebody-else", "")), codec))


def _unasked(dice: random.Random, call_uuid: str) -> str:
    event = dice.choice(EVENTS)
    names = ("", "x" * 300, "s0", "nobody asked", 7, None)
    digits = ("E", "", "55", "*#*#" * 500, 5, None)
    return json.dumps(
        {"event": event, "name": dice.choice(names), "dtmf": {"digit": dice.choice(digits)}, "media": dice.choice(JUNK)}
    )


def _unknown(dice: random.Random, call_uuid: str) -> str:
    return json.dumps(
        {"event": dice.choice(("x" * 50_000, "Media", "media\x00", "🤖", "../../etc", str(dice.random())))}
    )


def _no_object(dice: random.Random, call_uuid: str) -> str:
    choices = ("", " ", "null", "1", "true", '"media"', "[]", "{}", "\ufeff{}", "media", "{'event': 'media'}")
    return dice.choice((*choices, '{"event":"media"}', '{"event":"media","event":"start"}', '{"media":{}}'))


def _binary(dice: random.Random, call_uuid: str) -> bytes:
    return dice.choice((b"", dice.randbytes(160), dice.randbytes(30_000), json.dumps(media()).encode()))


def _start(call_uuid: str, codec: Any = None) -> dict[str, Any]:
    codec = {"encoding": "audio/x-mulaw", "sampleRate": 8000} if codec is None else codec
    return {"event": "start", "start": {"callId": call_uuid, "streamId": "x", "mediaFormat": codec}}


KINDS: tuple[Callable[[random.Random, str], str | bytes], ...] = (
    _truncated, _mistyped, _mistyped, _mistyped, _nested, _not_a_number, _odd_audio, _no_base64, _huge, _elsewhen,
    _start_again, _unasked, _unknown, _no_object, _binary,
)  # fmt: skip


def handshakes(dice: random.Random, token: str) -> Iterator[bytes]:
    """What somebody sends who has just connected, without end; none of it may open a stream."""
    while True:
        yield dice.choice(OPENINGS)(dice, token)


def _request(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers)
    return "\r\n".join((*lines, "", "")).encode("latin-1")


def _upgrade(path: str, *headers: str, key: str = "AAAAAAAAAAAAAAAAAAAAAA==", version: str = "13") -> bytes:
    fixed = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Version: {version}")
    return _request(path, *fixed, f"Sec-WebSocket-Key: {key}", *headers)


def _wrong_path(dice: random.Random, token: str) -> bytes:
    odd = (
        "/stream/",
        "/stream/../admin/",
        "/stream/%00/",
        "/stream/%ff%fe/",
        "//",
        "/stream/" + "a" * 3000,
        "/talk/1/",
    )
    return _upgrade(dice.choice((*odd, f"/stream/{token}/x", f"/stream/{dice.randbytes(16).hex()}/")))


def _wrong_signature(dice: random.Random, token: str) -> bytes:
    signature = dice.choice(("A" * 28 + "=", "x" * 5000, "\xe9\xff", "a,b"))
    names = ("X-Plivo-Signature-V3", "X-Plivo-Signature-V2", "X-Plivo-Signature-V3-Nonce")
    return _upgrade(f"/stream/{token}/", *(f"{name}: {signature}" for name in names))


def _web_page(dice: random.Random, token: str) -> bytes:
    return _upgrade(
        f"/stream/{token}/?{'q' * dice.choice((0, 1, 3000))}", f"Origin: {dice.choice(('null', 'http://x'))}"
    )


def _wrong_upgrade(dice: random.Random, token: str) -> bytes:
    path = f"/stream/{token}/"
    return dice.choice(
        (
            _upgrade(path, key="short"), _upgrade(path, version="7"), _request(path), _request(path, method="POST"),
            _request(path, "Connection: Upgrade", "Upgrade: h2c"), _request(path) * 3,
            _request(path, "Content-Length: -1", method="POST"), _request(path, "Transfer-Encoding: chunked, x"),
        )
    )  # fmt: skip


def _no_http(dice: random.Random, token: str) -> bytes:
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + dice.randbytes(200)
    return dice.choice(
        (b"", b"\x00", hello, dice.randbytes(3000), b"GET /\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    )


def _half(dice: random.Random, token: str) -> bytes:
    whole = _upgrade(f"/stream/{token}/")
    return whole[: dice.randrange(1, len(whole) - 1)]


def _long(dice: random.Random, token: str) -> bytes:
    return dice.choice((_upgrade("/stream/", f"X: {'y' * 200_000}"), b"GET /" + b"z" * 200_000))


OPENINGS: tuple[Callable[[random.Random, str], bytes], ...] = (
    _wrong_path, _wrong_signature, _web_page, _wrong_upgrade, _no_http, _half, _long,
)  # fmt: skip

# After a handshake: what is no frame, or none that a client may send.
NO_FRAMES = (
    b"\x81\x05hello",  # not masked
    b"\xf1\x80\x00\x00\x00\x00",  # reserved bits
    b"\x83\x80\x00\x00\x00\x00",  # an opcode that there is not
    b"\x80\x80\x00\x00\x00\x00",  # the continuation of nothing
    b"\x89\xfe\x00\x80\x00\x00\x00\x00" + b"p" * 128,  # a ping that is too long
    b"\x81\x82\x00\x00\x00\x00\xff\xfe",  # text that is no UTF-8
    b"\x88\x81\x00\x00\x00\x00\x03",  # half a close code
    b"\x01\x80\x00\x00\x00\x00\x81\x80\x00\x00\x00\x00",  # a second message within the first
    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00",  # eight exabytes are announced
)

"""Plivo's messages: everything that it is known to send is understood, and nothing at all can raise."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import L16_8K, L16_16K, MULAW_8K
from streaming import protocol
from streaming.protocol import Cleared, Digit, Encoder, Malformed, Media, Meter, Played, Start, Stop, Unknown

pytestmark = pytest.mark.pure

AUDIO = bytes(range(160))


def media(**changes: object) -> str:
    body = {"track": "inbound", "timestamp": "1767612345678", "chunk": 1, "payload": base64.b64encode(AUDIO).decode()}
    return json.dumps({"event": "media", "sequenceNumber": 2, "streamId": "s", "media": body | changes})


def test_a_media_frame_becomes_its_audio() -> None:
    assert protocol.decode(media()) == Media(AUDIO, "inbound", 1767612345678, 1)


@pytest.mark.parametrize(
    ("changes", "timestamp", "chunk"),
    [
        ({"timestamp": 17.0, "chunk": "3"}, 17, 3),
        ({"timestamp": None, "chunk": None}, None, None),
        ({"timestamp": "soon", "chunk": {}}, None, None),
        ({"timestamp": True, "chunk": "1e999"}, None, None),
        ({"timestamp": "12.7", "chunk": 4.0}, 12, 4),
    ],
)
def test_numbers_of_a_frame_may_have_any_form(changes: dict, timestamp: int | None, chunk: int | None) -> None:
    assert protocol.decode(media(**changes)) == Media(AUDIO, "inbound", timestamp, chunk)


def test_a_frame_without_all_but_its_payload_is_audio() -> None:
    raw = json.dumps({"event": "media", "media": {"payload": base64.b64encode(AUDIO).decode()}})
    assert protocol.decode(raw) == Media(AUDIO, "", None, None)


@pytest.mark.parametrize("payload", ["%%%", "AAA", "AA==AA", "\u00e9\u00e9\u00e9\u00e9"])
def test_invalid_base64_is_malformed(payload: str) -> None:
    assert protocol.decode(media(payload=payload)) == Malformed("base64")


@pytest.mark.parametrize("body", [{}, {"payload": None}, {"payload": 5}, None, "x", []])
def test_a_frame_without_a_payload_is_malformed(body: object) -> None:
    assert protocol.decode(json.dumps({"event": "media", "media": body})) == Malformed("shape")


def test_start_is_read_with_its_ids_and_format() -> None:
    raw = {
        "event": "start",
        "sequenceNumber": 0,
        "start": {
            "callId": "c",
            "streamId": "s",
            "accountId": "MA",
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000},
        },
        "extra_headers": "lead=42;agent=7",
    }
    assert protocol.decode(json.dumps(raw)) == Start("c", "s", "audio/x-mulaw", 8000, {"lead": "42", "agent": "7"})


@pytest.mark.parametrize(
    ("announced", "expected"),
    [
        ({"encoding": "audio/x-l16", "sampleRate": "16000"}, L16_16K),
        ({"encoding": "audio/x-l16;rate=16000"}, L16_16K),
        ({"encoding": "audio/x-l16"}, L16_8K),
        ({"encoding": "Audio/X-Mulaw; rate=8000"}, MULAW_8K),
        ({"sampleRate": 8000}, MULAW_8K),
        ({}, MULAW_8K),
        ({"encoding": "audio/opus", "sampleRate": 48000}, None),
        ({"encoding": "audio/x-mulaw", "sampleRate": 16000}, None),
        ({"encoding": "audio/x-l16", "sampleRate": -5}, L16_8K),
    ],
)
def test_the_stream_has_the_format_that_it_announces(announced: dict, expected: object) -> None:
    start = protocol.decode(json.dumps({"event": "start", "start": {"mediaFormat": announced}}))
    assert isinstance(start, Start)
    assert protocol.stream_format(start, asked=MULAW_8K) == expected


@pytest.mark.parametrize("body", [None, [], "x", {"mediaFormat": 7}, {"callId": {"a": 1}}])
def test_start_with_missing_fields_is_still_a_start(body: object) -> None:
    assert protocol.decode(json.dumps({"event": "start", "start": body})) == Start("", "", "", 0, {})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("lead=42;agent=7", {"lead": "42", "agent": "7"}),
        ("lead=42,agent=7", {"lead": "42", "agent": "7"}),
        ('{"lead": "42", "agent": 7}', {"lead": "42", "agent": "7"}),
        ({"lead": "42"}, {"lead": "42"}),
        ("{}", {}),
        ("{broken", {}),
        ("", {}),
        (None, {}),
        (["lead"], {}),
        ("=4; ;lead", {"lead": ""}),
    ],
)
def test_extra_headers_are_read_in_every_form(value: object, expected: dict) -> None:
    assert protocol.parse_extra_headers(value) == expected


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"event": "dtmf", "dtmf": {"digit": "5"}}, Digit("5")),
        ({"event": "dtmf", "dtmf": {"digit": 5, "timestamp": 1}}, Digit("5")),
        ({"event": "dtmf", "dtmf": {"digit": "d"}}, Digit("D")),
        ({"event": "dtmf", "dtmf": {"digit": "12"}}, Malformed("digit")),
        ({"event": "dtmf", "dtmf": {"digit": ""}}, Malformed("digit")),
        ({"event": "dtmf"}, Malformed("digit")),
        ({"event": "playedStream", "name": "a", "sequenceNumber": "75"}, Played("a")),
        ({"event": "played", "name": "a"}, Played("a")),
        ({"event": "playedStream"}, Malformed("shape")),
        ({"event": "clearedAudio"}, Cleared()),
        ({"event": "stop", "reason": "hangup"}, Stop()),
        ({"event": "stop"}, Stop()),
        ({"event": "muteStream"}, Unknown("muteStream")),
        ({"event": "error", "reason": "buffer_overflow"}, Unknown("error")),
        ({"event": 7}, Malformed("shape")),
        ({}, Malformed("shape")),
        ([], Malformed("shape")),
    ],
)
def test_every_other_event_is_read_leniently(message: object, expected: object) -> None:
    assert protocol.decode(json.dumps(message)) == expected


@pytest.mark.parametrize(
    "raw", ["", "{", "null", "[" * 60_000, '{"event":"media","media":' * 2000, "\ud800", '{"a":' + "9" * 5000 + "}"]
)
def test_text_that_is_no_message_is_malformed(raw: str) -> None:
    assert isinstance(protocol.decode(raw), Malformed)


def test_a_message_over_64_kb_is_refused_unread() -> None:
    assert protocol.decode(media(payload="A" * 70_000)) == Malformed("size")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
events = st.sampled_from(["media", "start", "dtmf", "playedStream", "played", "clearedAudio", "stop", "error", ""])
bodies = st.dictionaries(
    st.sampled_from(["payload", "track", "timestamp", "chunk", "callId", "streamId", "mediaFormat", "digit", "name"]),
    json_values,
)
Anything = Start | Media | Digit | Played | Cleared | Stop | Unknown | Malformed


@given(st.text())
def test_no_text_can_raise(raw: str) -> None:
    assert isinstance(protocol.decode(raw), Anything)


@given(
    events,
    st.dictionaries(st.sampled_from(["media", "start", "dtmf", "name", "extra_headers"]), bodies | json_values),
)
def test_no_message_of_a_known_event_can_raise(event: str, fields: dict) -> None:
    assert isinstance(protocol.decode(json.dumps({"event": event} | fields)), Anything)


@given(st.binary(max_size=2000))
def test_any_audio_survives_the_way_out_and_back(audio: bytes) -> None:
    written = json.loads(Encoder(L16_16K, "s").play(audio))
    assert written["event"] == "playAudio"
    assert written["media"] == {
        "contentType": "audio/x-l16",
        "sampleRate": 16000,
        "payload": base64.b64encode(audio).decode(),
    }
    assert protocol.decode(media(payload=written["media"]["payload"])) == Media(audio, "inbound", 1767612345678, 1)


def test_commands_carry_the_stream_id_safely() -> None:
    encoder = Encoder(MULAW_8K, 'quo"te')
    assert json.loads(encoder.checkpoint("7-1")) == {"event": "checkpoint", "streamId": 'quo"te', "name": "7-1"}
    assert json.loads(encoder.clear) == {"event": "clearAudio", "streamId": 'quo"te'}
    assert json.loads(encoder.digits("12#*D")) == {"event": "sendDTMF", "dtmf": "12#*D"}


@pytest.mark.parametrize("digits", ["", "12w", '"'])
def test_digits_that_no_phone_has_are_refused(digits: str) -> None:
    with pytest.raises(ValueError, match="digits must be"):
        Encoder.digits(digits)


def test_the_meter_lets_a_stalled_second_through_and_stops_a_flood() -> None:
    meter = Meter(total=10**6, rate=200, burst=400)
    assert all(meter.admit(frame * 0.02) for frame in range(1000))
    assert all(meter.admit(25.0) for _ in range(300))
    assert not all(meter.admit(25.0 + frame / 2000) for frame in range(1000))


def test_the_meter_stops_a_stream_that_never_ends() -> None:
    meter = Meter(total=100)
    assert [meter.admit(float(frame)) for frame in range(101)] == [True] * 100 + [False]

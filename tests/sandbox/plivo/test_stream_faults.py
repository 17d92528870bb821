"""The fault menu of the stream, one test for each switch."""

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import socket

import plivo
import pytest

from sandbox.config import DEMO_AUTH_TOKEN
from tests.sandbox.plivo.conftest import NUMBER, silent_script
from tests.sandbox.plivo.test_streams import STAY, ended, streaming

pytestmark = pytest.mark.sandbox


def valid_handshake(stream, url):
    return plivo.utils.validate_v3_signature(
        "GET",
        url,
        stream.headers["X-Plivo-Signature-V3-Nonce"],
        DEMO_AUTH_TOKEN,
        stream.headers["X-Plivo-Signature-V3"],
    )


async def test_the_handshake_can_come_unsigned_or_signed_wrongly(line, peer):
    uuid, stream = await streaming(line, peer, faults={"handshake_signature": "missing"})
    assert "X-Plivo-Signature-V3" not in stream.headers
    await ended(line, uuid)
    uuid, stream = await streaming(line, peer, faults={"handshake_signature": "wrong"})
    assert not valid_handshake(stream, f"{peer.url}/stream/abc")
    await ended(line, uuid)


async def test_the_handshake_can_be_signed_over_another_form_of_the_url(line, peer):
    uuid, stream = await streaming(line, peer, faults={"handshake_url": "websocket"})
    assert valid_handshake(stream, f"{peer.url}/stream/abc/websocket")
    assert not valid_handshake(stream, f"{peer.url}/stream/abc")
    await ended(line, uuid)


async def test_the_first_attempts_can_fail_and_the_third_connects(line, peer):
    uuid, _ = await streaming(line, peer, faults={"connect_fails": 2})
    report = await ended(line, uuid)
    assert [socket["opened"] for socket in report["sockets"]] == [False, False, True]


async def test_connecting_and_starting_can_be_slow(line, peer):
    uuid, _ = await streaming(line, peer, faults={"connect_delay_ms": 200, "start_delay_ms": 200})
    report = await ended(line, uuid)
    assert report["streams"][0]["start_ms"] >= 400


async def test_a_call_can_end_while_its_stream_is_being_opened(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    faults = {"connect_delay_ms": 20000}
    uuid = await line.control.inbound_call(NUMBER, script=silent_script({"silence": 100}, "hangup"), faults=faults)
    report = await line.control.report(uuid, wait="ended", timeout_s=3)
    assert report["streams"][0]["reason"] == "call_hangup"
    assert "stream_did_not_stop" not in [line["what"] for line in report["timeline"]]
    assert peer.streams == []


async def test_start_can_stay_away(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    uuid = await line.control.inbound_call(NUMBER, script=STAY, faults={"no_start": True})
    stream = await peer.wait_stream()
    await stream.wait_for("media", 3)
    assert {message["event"] for message in stream.received} == {"media"}
    await ended(line, uuid)


async def test_start_can_name_another_call(line, peer):
    uuid, stream = await streaming(line, peer, faults={"start_call_id": "somebody-else"})
    assert stream.received[0]["start"]["callId"] == "somebody-else"
    await ended(line, uuid)


async def test_sequence_numbers_can_begin_at_0_and_be_text(line, peer):
    uuid, stream = await streaming(line, peer, faults={"sequence_from": 0, "sequence_as_string": True})
    await stream.wait_for("media", 2)
    assert [message["sequenceNumber"] for message in stream.received[:3]] == ["0", "1", "2"]
    await ended(line, uuid)


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("semicolon", "lead=42;agent=7"),
        ("comma", "lead=42,agent=7"),
        ("json", json.dumps({"lead": "42", "agent": "7"})),
        ("empty", ""),
    ],
)
async def test_extra_headers_come_in_every_form(line, peer, form, text):
    uuid, stream = await streaming(line, peer, faults={"extra_headers_form": form})
    assert stream.received[0]["extra_headers"] == text
    await ended(line, uuid)


async def test_unknown_and_error_events_and_a_stop_can_come(line, peer):
    faults = {"unknown_event": True, "error_event": True, "send_stop": True}
    uuid, stream = await streaming(line, peer, faults=faults)
    await stream.wait_for("someNewThing")
    await stream.wait_for("error")
    await ended(line, uuid)
    assert stream.received[-1]["event"] == "stop"


async def test_media_can_stall_and_come_all_at_once(line, peer):
    uuid, stream = await streaming(line, peer, faults={"media_stall_at_ms": 100, "media_stall_ms": 200})
    async with asyncio.timeout(5):
        while True:
            before = len(await stream.wait_for("media"))
            await asyncio.sleep(0.01)
            if len(await stream.wait_for("media")) - before >= 8:
                break
    media = await stream.wait_for("media")
    assert [message["media"]["chunk"] for message in media] == list(range(1, len(media) + 1))
    await ended(line, uuid)


async def test_media_frames_can_be_missing(line, peer):
    uuid, stream = await streaming(line, peer, faults={"media_gap_at_ms": 100, "media_gap_frames": 5})
    await stream.wait_for("media", 20)
    report = await ended(line, uuid)
    seconds = (report["streams"][0]["connections"][0]["closed_ms"] - report["streams"][0]["start_ms"]) / 1000
    assert abs(report["streams"][0]["frames_sent"] + 5 - seconds * 50) <= 2


async def test_clearing_can_be_confirmed_late(line, peer):
    uuid, stream = await streaming(line, peer, faults={"clear_delay_ms": 300})
    loop = asyncio.get_running_loop()
    before = loop.time()
    await stream.send("clearAudio", streamId=stream.stream_id)
    await stream.wait_for("clearedAudio")
    assert loop.time() - before >= 0.29
    await ended(line, uuid)


@pytest.mark.parametrize("mode", ["abrupt", "close"])
@pytest.mark.parametrize("again", ["same_stream", "new_stream"])
async def test_a_dropped_stream_can_come_back_with_the_same_call(line, peer, mode, again):
    faults = {"drop_after_ms": 150, "drop_mode": mode, "reconnect": again, "reconnect_delay_ms": 1000}
    uuid, first = await streaming(line, peer, faults=faults)
    second = await peer.wait_stream(2)
    await second.wait_for("media", 2)
    assert second.received[0]["start"]["callId"] == uuid
    assert second.received[0]["sequenceNumber"] == 1
    assert (second.stream_id == first.stream_id) is (again == "same_stream")
    assert first.ws.close_code == (1006 if mode == "abrupt" else 1000)
    report = await ended(line, uuid)
    assert [connection["reason"] for connection in report["streams"][0]["connections"]] == ["dropped", "call_hangup"]


async def test_a_dropped_stream_that_stays_away_is_reported_and_the_xml_goes_on(line, peer):
    uuid, _ = await streaming(line, peer, faults={"drop_after_ms": 100})
    report = await line.control.report(uuid, wait="ended")
    assert report["hangup"]["code"] == 4010
    events = [seen.fields["Event"] for seen in await peer.wait_seen("/stream-status", 2)]
    assert events == ["StartStream", "DroppedStream"]


async def test_a_call_can_end_without_a_close_frame(line, peer):
    uuid, stream = await streaming(line, peer, faults={"close_abrupt": True})
    await ended(line, uuid)
    assert stream.ws.close_code == 1006


async def test_the_caller_can_lose_the_tcp_connection(line, peer):
    uuid, stream = await streaming(line, peer)
    await line.control.act(uuid, "drop_tcp")
    report = await line.control.report(uuid, wait="ended")
    assert stream.ws.close_code == 1006
    assert report["hangup"]["code"] == 4010


async def test_the_newer_names_of_stream_events_and_a_json_body_can_be_had(line, peer):
    uuid, _ = await streaming(line, peer, faults={"stream_events": "B", "stream_status_json": True, "degraded": True})
    await asyncio.sleep(0.1)
    await ended(line, uuid)
    seen = await peer.wait_seen("/stream-status", 3)
    assert sorted(found.fields["Event"] for found in seen) == ["degraded", "started", "stopped"]
    assert {found.headers["Content-Type"] for found in seen} == {"application/json"}
    stopped = next(found.fields for found in seen if found.fields["Event"] == "stopped")
    assert stopped["StatusReason"] == "call_hangup"
    assert "Duration" in stopped


@contextlib.asynccontextmanager
async def server_that_does_not_read():
    """A WebSocket server that accepts, and then takes nothing more from its socket; its URL."""
    connections = []

    async def accept(reader, writer):
        connections.append(writer)
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        key = re.search(r"(?i)sec-websocket-key: (\S+)", head)[1]
        salted = f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()
        proof = base64.b64encode(hashlib.sha1(salted, usedforsecurity=False).digest()).decode()
        writer.transport.pause_reading()
        writer.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {proof}\r\n\r\n".encode()
        )

    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listening.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(accept, sock=listening):
        yield f"ws://127.0.0.1:{listening.getsockname()[1]}/stream/deaf"
        for connection in connections:
            connection.transport.abort()


async def test_a_server_that_stops_reading_is_reported_at_three_marks_and_then_dropped(line, peer):
    await line.control.settings(socket_buffer_s=1)
    async with server_that_does_not_read() as url:
        peer.replies["/answer"] = peer.stream_xml("audio/x-l16;rate=16000", after="<Hangup/>").replace(
            f"{peer.ws_url}/stream/abc", url
        )
        uuid = await line.control.inbound_call(NUMBER, script=STAY)
        report = await line.control.report(uuid, wait="ended", timeout_s=30)
    seen = await peer.wait_seen("/stream-status", 5)
    events = sorted(found.fields["Event"] for found in seen)
    assert events == [*["DegradedStream"] * 3, "DroppedStream", "StartStream"]
    assert (report["streams"][0]["reason"], report["streams"][0]["status"]) == ("slow_socket", "stopped")
    assert report["hangup"]["source"] == "Answer XML"  # what stands behind the stream has run


async def test_a_call_with_a_server_that_does_not_read_can_still_be_hung_up(line, peer):
    async with server_that_does_not_read() as url:
        peer.replies["/answer"] = peer.stream_xml().replace(f"{peer.ws_url}/stream/abc", url)
        uuid = await line.control.inbound_call(NUMBER, script=STAY, faults={"send_stop": True})
        await line.control.report(uuid, wait="streaming")
        await asyncio.sleep(0.3)
        await line.control.act(uuid, "hangup")
        report = await line.control.report(uuid, wait="ended", timeout_s=10)
    assert report["streams"][0]["reason"] == "call_hangup"
    assert "stream_did_not_stop" not in [note["what"] for note in report["timeline"]]


async def test_a_full_queue_can_lose_audio_without_a_word(line, peer):
    await line.control.settings(playback_queue_s=0.1)
    uuid, stream = await streaming(line, peer, faults={"overflow": "silent_drop"})
    await stream.play(b"a" * 8000)
    await stream.send("checkpoint", streamId=stream.stream_id, name="a")
    await stream.wait_for("playedStream")
    assert not [message for message in stream.received if message["event"] == "error"]
    report = await ended(line, uuid)
    assert report["streams"][0]["playout"]["samples_overflowed"] == 8000

"""One call on a stream: frames, playback to the sample, checkpoints, clearing, and what the server does wrong."""

import asyncio
import base64
import json

import numpy as np
import plivo
import pytest

from sandbox.audio import l16_encode, mulaw_encode, read_wav, tone
from sandbox.config import DEMO_AUTH_TOKEN
from sandbox.plivo.media_format import FORMATS
from tests.sandbox.plivo.conftest import NUMBER, silent_script

pytestmark = pytest.mark.sandbox

STAY = silent_script({"silence": 60000})


async def streaming(line, peer, *, xml="", script=STAY, **call):
    """A call on its stream: (CallUUID, the server's end)."""
    before = len(peer.streams)
    peer.replies["/answer"] = xml or peer.stream_xml()
    uuid = await line.control.inbound_call(NUMBER, script=script, **call)
    stream = await peer.wait_stream(before + 1)
    await stream.wait_for("start")
    return uuid, stream


async def ended(line, uuid) -> dict:
    await line.control.act(uuid, "hangup")
    return await line.control.report(uuid, wait="ended", timeout_s=15)


@pytest.mark.parametrize("content_type", FORMATS)
async def test_what_was_played_is_accounted_for_to_the_sample_in_every_codec(line, peer, content_type):
    media_format = FORMATS[content_type]
    uuid, stream = await streaming(line, peer, xml=peer.stream_xml(content_type))
    assert stream.received[0]["start"]["mediaFormat"] == {
        "encoding": media_format.encoding,
        "sampleRate": media_format.rate,
    }
    media = (await stream.wait_for("media", 3))[-1]["media"]
    assert len(base64.b64decode(media["payload"])) == media_format.frame_samples * media_format.sample_bytes
    assert (media["track"], media["chunk"]) == ("inbound", 3)
    samples = np.random.default_rng(1).integers(-20000, 20000, media_format.rate // 3).astype(np.int16)
    audio = mulaw_encode(samples) if media_format.sample_bytes == 1 else l16_encode(samples)
    cut = 777 * media_format.sample_bytes
    await stream.play(audio[:cut], media_format.encoding, media_format.rate)
    await stream.play(audio[cut:], media_format.encoding, media_format.rate)
    await stream.send("checkpoint", streamId=stream.stream_id, name="said")
    played = (await stream.wait_for("playedStream"))[0]
    assert played["name"] == "said"
    report = await ended(line, uuid)
    playout = report["streams"][0]["playout"]
    assert report["violations"] == []
    assert len(playout["played"]) == 1
    start, end = playout["played"][0]["start"], playout["played"][0]["end"]
    assert end - start == samples.size == playout["samples_played"]
    assert playout["checkpoints"][0]["played_ms"] == playout["played"][0]["end_ms"]
    heard, rate = read_wav(await line.control.audio(uuid, stream=0))
    assert rate == media_format.rate
    assert media_format.decode(audio).tolist() == heard[start:end].tolist()
    assert not heard[:start].any()


async def test_frames_come_every_20_ms_without_drift(line, peer):
    uuid, stream = await streaming(line, peer)
    media = await stream.wait_for("media", 50)
    assert [message["media"]["chunk"] for message in media] == list(range(1, len(media) + 1))
    report = await ended(line, uuid)
    connection = report["streams"][0]["connections"][0]
    seconds = (connection["closed_ms"] - report["streams"][0]["start_ms"]) / 1000
    assert abs(report["streams"][0]["frames_sent"] - seconds * 50) <= 2


async def test_a_checkpoint_on_an_empty_queue_is_answered_at_once(line, peer):
    uuid, stream = await streaming(line, peer)
    await stream.send("checkpoint", streamId=stream.stream_id, name="now")
    assert (await stream.wait_for("playedStream"))[0]["streamId"] == stream.stream_id
    await ended(line, uuid)


async def test_clearing_stops_the_sound_and_drops_the_checkpoints(line, peer):
    uuid, stream = await streaming(line, peer)
    await stream.play(b"\x10" * 16000)
    await stream.send("checkpoint", streamId=stream.stream_id, name="never")
    await asyncio.sleep(0.2)
    await stream.send("clearAudio", streamId=stream.stream_id)
    await stream.wait_for("clearedAudio")
    await stream.play(b"\x20" * 80)
    await stream.send("checkpoint", streamId=stream.stream_id, name="after")
    assert [message["name"] for message in await stream.wait_for("playedStream")] == ["after"]
    report = await ended(line, uuid)
    playout = report["streams"][0]["playout"]
    cleared = playout["cleared"][0]
    assert cleared["checkpoints"] == ["never"]
    assert playout["played"][0]["end_ms"] == cleared["at_ms"]
    assert cleared["samples"] + playout["samples_played"] == 16080
    assert 0 < cleared["samples"] < 16000


async def test_clearing_nothing_is_answered_too(line, peer):
    uuid, stream = await streaming(line, peer)
    await stream.send("clearAudio", streamId=stream.stream_id)
    await stream.wait_for("clearedAudio")
    await ended(line, uuid)


async def test_a_late_acknowledgement_can_follow_a_clear(line, peer):
    uuid, stream = await streaming(line, peer, faults={"cleared_markers": "late_ack", "played_name": "played"})
    await stream.play(b"\x10" * 8000)
    await stream.send("checkpoint", streamId=stream.stream_id, name="stale")
    await stream.send("clearAudio", streamId=stream.stream_id)
    assert (await stream.wait_for("played"))[0]["name"] == "stale"
    await ended(line, uuid)


async def test_the_first_checkpoints_can_stay_without_an_answer(line, peer):
    uuid, stream = await streaming(line, peer, faults={"checkpoints_unanswered": 2})
    for name in ("one", "two", "three"):
        await stream.send("checkpoint", streamId=stream.stream_id, name=name)
    assert [event["name"] for event in await stream.wait_for("playedStream")] == ["three"]
    await ended(line, uuid)


async def test_more_than_the_queue_holds_is_dropped_and_said(line, peer):
    await line.control.settings(playback_queue_s=1)
    uuid, stream = await streaming(line, peer)
    await stream.play(b"\x10" * 7000)
    await stream.play(b"\x20" * 7000)
    assert (await stream.wait_for("error"))[0]["reason"] == "buffer_overflow"
    report = await ended(line, uuid)
    assert report["streams"][0]["playout"]["samples_overflowed"] == 7000
    assert [found["kind"] for found in report["violations"]] == ["buffer_overflow"]


MULAW = {"contentType": "audio/x-mulaw", "sampleRate": 8000}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("not json", "not_json"),
        ("[]", "no_event"),
        ({"event": "hangup"}, "unknown_event"),
        ({"event": "checkpoint", "streamId": "x"}, "checkpoint_without_name"),
        ({"event": "checkpoint", "name": "a"}, "missing_stream_id"),
        ({"event": "clearAudio"}, "missing_stream_id"),
        ({"event": "sendDTMF", "dtmf": "12x"}, "bad_dtmf"),
        ({"event": "playAudio", "media": {}}, "no_payload"),
        ({"event": "playAudio", "media": {**MULAW, "payload": "???"}}, "bad_base64"),
        ({"event": "playAudio", "media": {**MULAW, "payload": base64.b64encode(b"RIFF....").decode()}}, "wav_header"),
        ({"event": "playAudio", "media": {**MULAW, "sampleRate": 16000, "payload": "AAAA"}}, "format_mismatch"),
        (
            {"event": "playAudio", "media": {"contentType": "audio/x-l16", "sampleRate": 8000, "payload": "AAAA"}},
            "format_mismatch",
        ),
        ({"event": "playAudio", "media": {**MULAW, "payload": "A" * 70000}}, "message_too_large"),
    ],
)
async def test_what_the_server_does_wrong_is_noticed_and_not_played(line, peer, message, kind):
    uuid, stream = await streaming(line, peer)
    await stream.ws.send_str(message if isinstance(message, str) else json.dumps(message))
    await stream.send("checkpoint", streamId=stream.stream_id, name="behind it")
    await stream.wait_for("playedStream")
    report = await ended(line, uuid)
    assert [found["kind"] for found in report["violations"]] == [kind]
    assert report["streams"][0]["playout"]["samples_played"] == 0


async def test_binary_frames_and_odd_lengths_are_noticed(line, peer):
    uuid, stream = await streaming(line, peer, xml=peer.stream_xml("audio/x-l16;rate=8000"))
    await stream.ws.send_bytes(b"\0" * 320)
    await stream.play(b"\0" * 321, "audio/x-l16", 8000)
    await stream.send("checkpoint", streamId=stream.stream_id, name="behind it")
    await stream.wait_for("playedStream")
    report = await ended(line, uuid)
    assert [found["kind"] for found in report["violations"]] == ["binary_frame", "odd_length"]


async def test_a_wrong_format_is_answered_with_play_failed_or_garbled(line, peer):
    uuid, stream = await streaming(line, peer)
    await stream.play(b"\0" * 320, "audio/x-l16", 16000)
    assert (await stream.wait_for("playFailed"))[0]["reason"] == "invalid_content_type"
    await ended(line, uuid)
    uuid, stream = await streaming(line, peer, faults={"mismatch": "garble"})
    await stream.play(b"\0" * 320, "audio/x-l16", 16000)
    await stream.send("checkpoint", streamId=stream.stream_id, name="noise")
    await stream.wait_for("playedStream")
    report = await ended(line, uuid)
    assert report["streams"][0]["playout"]["samples_played"] == 320


async def test_the_sample_rate_may_be_text_and_extra_fields_do_no_harm(line, peer):
    uuid, stream = await streaming(line, peer)
    media = {"contentType": "audio/x-mulaw", "sampleRate": "8000", "payload": base64.b64encode(b"a" * 80).decode()}
    await stream.send("playAudio", media=media, streamId=stream.stream_id)
    await stream.send("checkpoint", streamId=stream.stream_id, name="a")
    await stream.wait_for("playedStream")
    report = await ended(line, uuid)
    assert report["streams"][0]["playout"]["samples_played"] == 80
    assert report["violations"] == []


async def test_a_one_way_stream_takes_no_audio_and_can_carry_both_tracks(line, peer):
    xml = (
        f'<Response><Stream keepCallAlive="true" audioTrack="both" contentType="audio/x-mulaw;rate=8000">'
        f"{peer.ws_url}/stream/listen</Stream></Response>"
    )
    uuid, stream = await streaming(line, peer, xml=xml)
    assert stream.received[0]["start"]["tracks"] == ["inbound", "outbound"]
    media = await stream.wait_for("media", 6)
    assert [m["media"]["track"] for m in media[:4]] == ["inbound", "outbound", "inbound", "outbound"]
    assert [m["media"]["chunk"] for m in media[:4]] == [1, 1, 2, 2]
    await stream.play(b"a" * 160)
    await asyncio.sleep(0.05)
    report = await ended(line, uuid)
    assert [found["kind"] for found in report["violations"]] == ["play_on_one_way"]


async def test_keys_go_both_ways(line, peer):
    uuid, stream = await streaming(line, peer, script=silent_script({"press": "4#"}, {"silence": 60000}))
    pressed = await stream.wait_for("dtmf", 2)
    assert [message["dtmf"]["digit"] for message in pressed] == ["4", "#"]
    await stream.send("sendDTMF", dtmf="123")
    await asyncio.sleep(0.05)
    report = await ended(line, uuid)
    assert [found["digits"] for found in report["digits_from_agent"]] == ["123"]


async def test_the_handshake_is_signed_as_plivos_sdk_checks_it(line, peer):
    uuid, stream = await streaming(line, peer)
    headers = stream.headers
    assert plivo.utils.validate_v3_signature(
        "GET",
        f"{peer.url}/stream/abc",
        headers["X-Plivo-Signature-V3-Nonce"],
        DEMO_AUTH_TOKEN,
        headers["X-Plivo-Signature-V3"],
    )
    assert "User-Agent" not in headers
    await ended(line, uuid)


async def test_a_refused_stream_is_tried_three_times_and_the_xml_goes_on(line, peer):
    peer.refuse_with = 403
    peer.replies["/after"] = "<Response><Hangup/></Response>"
    peer.replies["/answer"] = peer.stream_xml(after=f"<Redirect>{peer.url}/after</Redirect>")
    uuid = await line.control.inbound_call(NUMBER, script=STAY)
    report = await line.control.report(uuid, wait="ended")
    assert [socket["status"] for socket in report["sockets"]] == [403, 403, 403]
    assert (await peer.wait_seen("/stream-status"))[0].fields["Event"] == "DroppedStream"
    assert [seen.fields["Event"] for seen in peer.seen if seen.path == "/after"] == ["Redirect"]
    assert report["hangup"]["code"] == 4000


async def test_when_the_server_closes_the_xml_goes_on_and_ends_the_call(line, peer):
    uuid, stream = await streaming(line, peer)
    await stream.ws.close()
    report = await line.control.report(uuid, wait="ended")
    assert report["streams"][0]["reason"] == "server_closed"
    assert (report["hangup"]["code"], report["hangup"]["source"]) == (4010, "Plivo")


async def test_without_keep_call_alive_the_call_ends_with_its_xml(line, peer):
    xml = f"<Response><Stream>{peer.ws_url}/stream/x</Stream></Response>"
    uuid, _ = await streaming(line, peer, xml=xml)
    report = await line.control.report(uuid, wait="ended", timeout_s=5)
    assert report["hangup"]["code"] == 4010


async def test_a_stream_ends_at_its_timeout(line, peer):
    uuid, _ = await streaming(line, peer, xml=peer.stream_xml(more='streamTimeout="1"'))
    report = await line.control.report(uuid, wait="ended", timeout_s=5)
    assert report["streams"][0]["reason"] == "stream_timeout"
    assert 980 <= report["streams"][0]["connections"][0]["closed_ms"] <= 2000


async def test_the_stereo_file_has_the_caller_left_and_the_agent_right(line, peer):
    script = {
        "scenario": "front_desk",
        "lines": [{"id": "day", "text": "d"}],
        "steps": [{"say": "day"}],
        "voice": "en-us",
    }
    uuid, stream = await streaming(line, peer, script=script)
    await stream.play(mulaw_encode(tone(440, 400, 8000)))
    await asyncio.sleep(0.7)
    await ended(line, uuid)
    samples, rate = read_wav(await line.control.audio(uuid))
    assert rate == 8000
    assert samples.shape[1] == 2
    assert abs(samples[:, 0]).max() > 3000
    spectrum = abs(np.fft.rfft(samples[:, 1].astype(float)))
    assert abs(np.argmax(spectrum) * rate / samples.shape[0] - 440) < 5

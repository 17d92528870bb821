import pytest

from tests.sandbox.plivo.conftest import NUMBER, silent_script

pytestmark = pytest.mark.sandbox


async def test_an_inbound_call_is_answered_streamed_and_ended_by_the_caller(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    script = silent_script({"silence": 300}, "hangup")
    uuid = await line.control.inbound_call(NUMBER, from_="15557654321", script=script)
    report = await line.control.report(uuid, wait="ended", timeout_s=10)

    answer = peer.seen[0].fields
    assert answer["CallStatus"] == "ringing"
    assert answer["Direction"] == "inbound"
    assert answer["From"] == "15557654321"
    assert answer["To"] == NUMBER
    assert "RequestUUID" not in answer
    stream = peer.streams[0]
    assert [message["event"] for message in stream.received[:2]] == ["start", "media"]
    start = stream.received[0]["start"]
    assert start["callId"] == uuid
    assert start["mediaFormat"] == {"encoding": "audio/x-mulaw", "sampleRate": 8000}
    assert stream.received[0]["extra_headers"] == "lead=42;agent=7"
    numbers = [message["sequenceNumber"] for message in stream.received]
    assert numbers == list(range(1, len(numbers) + 1))
    hangup = (await peer.wait_seen("/hangup"))[0].fields
    assert hangup["Event"] == "Hangup"
    assert hangup["CallStatus"] == "completed"
    assert hangup["HangupCauseCode"] == "4000"
    assert hangup["HangupSource"] == "Caller"
    assert hangup["Duration"] == "1"
    assert hangup["BillDuration"] == "60"
    assert report["hangup"]["code"] == 4000
    assert report["violations"] == []
    events = [seen.fields["Event"] for seen in await peer.wait_seen("/stream-status", 2)]
    assert events == ["StartStream", "StopStream"]

"""Calls that Parley makes: rings, answers, machines, and every way not to get through."""

import asyncio

import aiohttp
import plivo
import pytest

from sandbox.config import DEMO_AUTH_ID, DEMO_AUTH_TOKEN
from tests.sandbox.plivo.conftest import NUMBER, silent_script
from tests.sandbox.plivo.test_rest import LOGIN

pytestmark = pytest.mark.sandbox

TO = "15557770001"
STAY = silent_script({"silence": 60000})


async def dial(box, peer, **fields) -> str:
    """POST /Call/ with all URLs; the CallUUID."""
    body = {
        "from": NUMBER,
        "to": TO,
        "answer_url": f"{peer.url}/answer",
        "hangup_url": f"{peer.url}/hangup",
        "ring_url": f"{peer.url}/ring",
        "machine_detection_url": f"{peer.url}/machine",
    } | fields
    async with (
        aiohttp.ClientSession(headers=LOGIN) as session,
        session.post(f"{box.url}/v1/Account/{DEMO_AUTH_ID}/Call/", json=body) as reply,
    ):
        assert reply.status == 201, await reply.text()
        return (await reply.json())["request_uuid"]


async def test_an_answered_call_rings_answers_streams_and_hangs_up(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour(TO, {"script": silent_script({"silence": 200}, "hangup")})
    uuid = await dial(line, peer, sip_headers="Lead=42", send_digits="1w2")
    report = await line.control.report(uuid, wait="ended")
    ring, answer, hangup = (
        next(seen for seen in peer.seen if seen.path == path).fields for path in ("/ring", "/answer", "/hangup")
    )
    assert (ring["Event"], ring["CallStatus"], ring["Direction"]) == ("Ring", "ringing", "outbound")
    assert (answer["Event"], answer["CallStatus"]) == ("StartApp", "in-progress")
    for fields in (ring, answer, hangup):
        assert fields["CallUUID"] == fields["RequestUUID"] == fields["ALegRequestUUID"] == fields["ALegUUID"] == uuid
        assert (fields["From"], fields["To"], fields["X-PH-Lead"]) == (NUMBER, TO, "42")
    assert (hangup["HangupCauseCode"], hangup["HangupSource"], hangup["HangupCause"]) == (
        "4000",
        "Callee",
        "NORMAL_CLEARING",
    )
    assert report["digits_from_agent"] == [{"digits": "1w2", "by": "call"}]
    assert [ring["number"] for ring in (await line.control.ledger())["rings"]] == [TO]


async def test_every_webhook_is_signed_as_plivos_sdk_checks_it(line, peer):
    peer.replies["/answer"] = "<Response><Hangup/></Response>"
    uuid = await dial(
        line, peer, answer_url=f"{peer.url}/answer?id=a%20b&x=", ring_url=f"{peer.url}/ring?z=1", ring_method="GET"
    )
    await line.control.report(uuid, wait="ended")
    await peer.wait_seen("/ring")
    assert {seen.path for seen in peer.seen} == {"/ring", "/answer", "/hangup"}
    for seen in peer.seen:
        fields = {} if seen.method == "GET" else {k: v for k, v in seen.fields.items() if k not in ("id", "x")}
        for header in ("X-Plivo-Signature-V3", "X-Plivo-Signature-Ma-V3"):
            assert plivo.utils.validate_v3_signature(
                seen.method,
                seen.url,
                seen.headers["X-Plivo-Signature-V3-Nonce"],
                DEMO_AUTH_TOKEN,
                seen.headers[header],
                fields,
            ), seen.path
        assert "User-Agent" not in seen.headers


@pytest.mark.parametrize(
    ("kind", "code", "status", "rings"),
    [
        ("busy", 3010, "busy", 1),
        ("rejected", 3020, "busy", 1),
        ("no-answer", 6010, "timeout", 1),
        ("invalid", 2000, "failed", 0),
        ("unallocated", 3050, "failed", 0),
        ("unreachable", 2010, "failed", 1),
        ("congested", 3090, "failed", 1),
        ("out-of-credit", 1010, "failed", 0),
    ],
)
async def test_a_call_that_is_not_answered_asks_for_no_xml(line, peer, kind, code, status, rings):
    await line.control.behaviour("*", {"kind": kind})
    uuid = await dial(line, peer, ring_timeout=10)
    await line.control.report(uuid, wait="ended")
    hangup = (await peer.wait_seen("/hangup"))[0].fields
    assert (hangup["HangupCauseCode"], hangup["CallStatus"], hangup["Duration"]) == (str(code), status, "0")
    assert "AnswerTime" not in hangup
    assert not [seen for seen in peer.seen if seen.path == "/answer"]
    ledger = await line.control.ledger()
    assert len(ledger["rings"]) == rings
    assert ledger["sockets"] == []


async def test_unanswered_calls_can_be_reported_as_completed(line, peer):
    await line.control.behaviour("*", {"kind": "busy"})
    await line.control.faults(unanswered_status="completed")
    await dial(line, peer)
    assert (await peer.wait_seen("/hangup"))[0].fields["CallStatus"] == "completed"


async def test_hangup_on_ring_counts_from_the_ring(line, peer):
    await line.control.behaviour("*", {"kind": "human", "answer_ms": 60000})
    uuid = await dial(line, peer, hangup_on_ring=1)
    assert (await line.control.report(uuid, wait="ended"))["hangup"]["code"] == 6000


async def test_without_a_hangup_url_the_answer_url_is_asked_again(line, peer):
    peer.replies["/answer"] = "<Response><Hangup/></Response>"
    uuid = await dial(line, peer, hangup_url=None)
    await line.control.report(uuid, wait="ended")
    assert [seen.fields["Event"] for seen in peer.seen if seen.path == "/answer"] == ["StartApp", "Hangup"]


async def test_a_machine_is_told_while_the_stream_runs(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour("*", {"kind": "machine"})
    uuid = await dial(line, peer, machine_detection="true", machine_detection_time=5000)
    machine = (await peer.wait_seen("/machine"))[0].fields
    assert (machine["Machine"], machine["IfMachine"], machine["Event"]) == ("true", "continue", "MachineDetection")
    await line.control.report(uuid, wait="streaming")
    await line.control.act(uuid, "hangup")
    await line.control.report(uuid, wait="ended")
    assert (await peer.wait_seen("/hangup"))[0].fields["Machine"] == "true"


async def test_a_machine_can_end_the_call(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour("*", {"kind": "machine"})
    uuid = await dial(line, peer, machine_detection="hangup", machine_detection_time=5000)
    report = await line.control.report(uuid, wait="ended")
    assert report["hangup"]["code"] == 9100


@pytest.mark.parametrize("told", [False, True])
async def test_a_human_is_not_reported_unless_that_is_asked_for(line, peer, told):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour("*", {"script": STAY})
    await line.control.faults(machine_false=told)
    uuid = await dial(line, peer, machine_detection="true", machine_detection_time=2000)
    await line.control.report(uuid, wait="streaming")
    await asyncio.sleep(0.2)
    assert [seen.fields["Machine"] for seen in peer.seen if seen.path == "/machine"] == (["false"] if told else [])
    await line.control.act(uuid, "hangup")
    await line.control.report(uuid, wait="ended")


async def test_the_time_limit_ends_the_call(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour("*", {"script": STAY})
    uuid = await dial(line, peer, time_limit=1)
    report = await line.control.report(uuid, wait="ended")
    assert (report["hangup"]["code"], report["hangup"]["name"]) == (6000, "Scheduled Hangup")


async def test_two_calls_to_one_number_both_ring(line, peer):
    await line.control.behaviour("*", {"kind": "busy"})
    for uuid in [await dial(line, peer), await dial(line, peer)]:
        await line.control.report(uuid, wait="ended")
    assert [ring["number"] for ring in (await line.control.ledger())["rings"]] == [TO, TO]

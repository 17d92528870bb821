"""The fault menu of the webhooks, and Plivo's retries."""

import asyncio

import aiohttp
import plivo
import pytest
from aiohttp import web

from sandbox.config import DEMO_AUTH_ID, DEMO_AUTH_TOKEN
from tests.sandbox.plivo.conftest import NUMBER, silent_script
from tests.sandbox.plivo.test_outbound_calls import dial
from tests.sandbox.plivo.test_rest import LOGIN

pytestmark = pytest.mark.sandbox

HANGUP = "<Response><Hangup/></Response>"


async def inbound(line, *, faults=None, steps=("hangup",)) -> dict:
    uuid = await line.control.inbound_call(NUMBER, script=silent_script(*steps), faults=faults or {})
    return await line.control.report(uuid, wait="ended", timeout_s=20)


def signature_is_valid(seen):
    return plivo.utils.validate_v3_signature(
        seen.method,
        seen.url,
        seen.headers["X-Plivo-Signature-V3-Nonce"],
        DEMO_AUTH_TOKEN,
        seen.headers["X-Plivo-Signature-V3"],
        seen.fields,
    )


async def test_webhooks_can_be_unsigned_or_forged(line, peer):
    peer.replies["/answer"] = HANGUP
    await inbound(line, faults={"webhook_signature": "missing"})
    assert all("X-Plivo-Signature-V3" not in seen.headers for seen in peer.seen)
    peer.seen.clear()
    await inbound(line, faults={"webhook_signature": "wrong"})
    assert not any(signature_is_valid(seen) for seen in peer.seen)
    peer.seen.clear()
    await inbound(line, faults={"webhook_signature": "list"})
    assert all("," in seen.headers["X-Plivo-Signature-V3"] and signature_is_valid(seen) for seen in peer.seen)


async def test_webhooks_can_come_twice_with_a_new_nonce_each(line, peer):
    peer.replies["/answer"] = HANGUP
    await inbound(line, faults={"webhook_duplicates": {"Hangup": 2, "StartApp": 1}})
    assert [seen.path for seen in peer.seen].count("/hangup") == 3
    assert [seen.path for seen in peer.seen].count("/answer") == 2
    nonces = [seen.headers["X-Plivo-Signature-V3-Nonce"] for seen in peer.seen]
    assert len(set(nonces)) == len(nonces)


async def test_webhooks_can_be_lost(line, peer):
    peer.replies["/answer"] = HANGUP
    report = await inbound(line, faults={"webhook_lost": ["Hangup"]})
    assert not [seen for seen in peer.seen if seen.path == "/hangup"]
    assert [entry["event"] for entry in report["webhooks"] if entry.get("lost")] == ["Hangup"]


async def test_webhooks_can_come_out_of_order(line, peer):
    peer.replies["/answer"] = HANGUP
    await line.control.faults(webhook_delay_ms={"Ring": 25000})
    await line.control.report(await dial(line, peer), wait="ended")
    await peer.wait_seen("/ring")
    assert [seen.path for seen in peer.seen] == ["/answer", "/hangup", "/ring"]


async def test_numbers_can_carry_a_plus(line, peer):
    peer.replies["/answer"] = HANGUP
    await inbound(line, faults={"numbers_with_plus": True})
    assert peer.seen[0].fields["From"] == "+15551230001"
    assert peer.seen[0].fields["To"] == f"+{NUMBER}"


async def test_the_caller_can_hang_up_before_the_answer_is_in(line, peer):
    async def slow():
        await asyncio.sleep(0.5)
        return web.Response(text=HANGUP, content_type="application/xml")

    peer.replies["/answer"] = slow
    report = await inbound(line, faults={"hangup_before_answer_reply": True})
    assert report["hangup"]["code"] == 4000
    assert not report["answered"]
    assert (await peer.wait_seen("/hangup"))[0].fields["Duration"] == "0"
    assert [seen.path for seen in peer.seen] == ["/answer", "/hangup"]


async def test_a_hangup_over_rest_can_be_reported_as_normal(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.faults(rest_hangup_code=4000)
    uuid = await dial(line, peer)
    await line.control.report(uuid, wait="streaming")
    async with (
        aiohttp.ClientSession(headers=LOGIN) as session,
        session.delete(f"{line.url}/v1/Account/{DEMO_AUTH_ID}/Call/{uuid}/") as reply,
    ):
        assert reply.status == 204
    report = await line.control.report(uuid, wait="ended")
    assert (report["hangup"]["code"], report["hangup"]["source"]) == (4000, "API Request")


async def test_an_error_page_is_not_retried_and_ends_the_call(line, peer):
    peer.replies["/answer"] = web.Response(status=500, text="oops")
    report = await inbound(line)
    assert report["hangup"]["code"] == 7011
    assert report["hangup"]["source"] == "Error"
    assert [seen.path for seen in peer.seen].count("/answer") == 1


async def test_the_fragment_asks_for_retries_and_is_not_sent(line, peer):
    peer.replies["/answer"] = web.Response(status=503)
    await line.control.number(NUMBER, answer_url=f"{peer.url}/answer?a=1#rc=2&rp=5xx", hangup_url=f"{peer.url}/hangup")
    await inbound(line)
    answers = [seen for seen in peer.seen if seen.path == "/answer"]
    assert len(answers) == 3
    assert {seen.url for seen in answers} == {f"{peer.url}/answer?a=1"}


async def test_a_server_that_is_too_slow_is_asked_twice_and_then_the_fallback(line, peer):
    async def slow():
        await asyncio.sleep(2)
        return web.Response(text=HANGUP, content_type="application/xml")

    peer.replies["/answer"] = slow
    peer.replies["/fallback"] = HANGUP
    await line.control.number(
        NUMBER, answer_url=f"{peer.url}/answer#rt=150", fallback_answer_url=f"{peer.url}/fallback"
    )
    report = await inbound(line)
    answers = [entry for entry in report["webhooks"] if entry["url"].endswith("/answer")]
    assert [entry.get("error", "")[:12] for entry in answers[:2]] == ["read timeout", "read timeout"]
    assert [seen.path for seen in peer.seen].count("/fallback") == 1
    assert report["hangup"]["code"] == 4000


async def test_a_server_that_is_not_there_ends_the_call(line):
    await line.control.number(NUMBER, answer_url="http://127.0.0.1:9/answer")
    report = await inbound(line)
    assert report["hangup"]["code"] == 7011
    assert report["webhooks"][0]["error"].startswith("connection refused")


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (web.Response(text="<Response><Say>hi</Say></Response>", content_type="text/xml"), "invalid_xml"),
        (web.Response(text="<html>login</html>", content_type="text/html"), "invalid_xml"),
        (web.Response(text='{"ok": true}', content_type="application/json"), "invalid_xml"),
    ],
)
async def test_a_reply_that_is_no_plivo_xml_ends_the_call(line, peer, reply, kind):
    peer.replies["/answer"] = reply
    report = await inbound(line)
    assert report["hangup"]["code"] == 8011
    assert [found["kind"] for found in report["violations"]] == [kind]

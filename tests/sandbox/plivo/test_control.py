"""The control API, the whole sandbox as a process, and what survives what."""

import asyncio
import sys

import aiohttp
import plivo
import pytest

from sandbox.config import Account
from sandbox.testing import ControlError, running_sandbox, sandbox_process
from tests.sandbox.plivo.conftest import NUMBER, silent_script

pytestmark = pytest.mark.sandbox


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", "calls", {"to": "15559999999"}, 404, "not a rented number"),
        ("POST", "calls", {"to": NUMBER, "scenario": "opera"}, 400, "no scenario"),
        ("POST", "calls", {"to": NUMBER, "voice": "tenor"}, 400, "no clip"),
        ("POST", "calls", {"to": NUMBER, "script": {"steps": ["dance"]}}, 400, "step 1"),
        ("POST", "calls", {"to": NUMBER, "faults": {"gremlins": 1}}, 400, "no fault"),
        ("POST", "calls", [], 400, "not an object"),
        ("GET", "calls/nobody", None, 404, "no such call"),
        ("PATCH", "faults", {"rest_500": -1}, 400, "cannot be"),
        ("PATCH", "settings", {"time_scale": "slow"}, 400, "cannot be"),
        ("PATCH", "settings", {"gravity": 1}, 400, "no setting"),
        ("PUT", "behaviours/any", {"kind": "ghost"}, 400, "kind"),
        ("PUT", "behaviours/any", {"sequence": []}, 400, "empty"),
        ("PUT", "numbers/abc", {}, 400, "digits"),
        ("PUT", "numbers/15550009999", {"answer_url": "ftp://x"}, 400, "URL"),
        ("PUT", "numbers/15550009999", {"auth_id": "MA000000000000000000"}, 404, "no account"),
    ],
)
async def test_a_wrong_wish_is_refused_with_a_sentence(line, method, path, body, status, said):
    with pytest.raises(ControlError, match=said) as refused:
        await line.control.request(method, path, body)
    assert refused.value.status == status


async def test_a_web_page_cannot_steer_the_sandbox(line):
    async with aiohttp.ClientSession() as session, session.post(f"{line.url}/control/reset", data="{}") as reply:
        assert reply.status == 415


async def test_waiting_for_what_does_not_come_ends_in_time(line, peer):
    peer.replies["/answer"] = '<Response><Wait length="5000"/></Response>'
    uuid = await line.control.inbound_call(NUMBER, script=silent_script())
    with pytest.raises(ControlError, match="not streaming in time"):
        await line.control.report(uuid, wait="streaming", timeout_s=0.2)


async def test_the_ledger_outlives_the_calls_until_it_is_reset(line, peer):
    peer.replies["/answer"] = "<Response><Hangup/></Response>"
    uuid = await line.control.inbound_call(NUMBER, script=silent_script())
    await line.control.report(uuid, wait="ended")
    hooks = (await line.control.ledger())["webhooks"]
    assert [(hook["event"], hook["status"]) for hook in hooks] == [("StartApp", 200), ("Hangup", 200)]
    await line.control.request("POST", "ledger/reset", {})
    assert (await line.control.ledger())["webhooks"] == []
    assert len(await line.control.calls()) == 1


async def test_a_reset_ends_the_calls_and_forgets_faults_and_behaviours(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.faults(rest_500=3)
    await line.control.behaviour("*", {"kind": "busy"})
    await line.control.settings(calls_per_second=50)
    await line.control.inbound_call(NUMBER, script=silent_script({"silence": 60000}))
    stream = await peer.wait_stream()
    await stream.wait_for("media")
    await line.control.reset()
    assert await line.control.calls() == []
    assert (await line.control.request("GET", "faults"))["rest_500"] == 0
    assert await line.control.request("GET", "behaviours") == {}
    assert (await line.control.request("GET", "settings"))["calls_per_second"] == 2.0
    await asyncio.wait_for(stream.gone.wait(), timeout=3)


async def test_many_calls_at_a_time_keep_apart(line, peer):
    peer.replies["/answer"] = peer.stream_xml()
    script = silent_script({"silence": 500}, "hangup")
    uuids = await asyncio.gather(*(line.control.inbound_call(NUMBER, script=script) for _ in range(10)))
    reports = await asyncio.gather(*(line.control.report(uuid, wait="ended") for uuid in uuids))
    assert {report["hangup"]["code"] for report in reports} == {4000}
    assert sorted(stream.received[0]["start"]["callId"] for stream in peer.streams) == sorted(uuids)


async def test_the_sandbox_runs_as_a_process_of_its_own():
    account = "MAABCDEFGHIJ12345678:secret=15550007777"
    async with sandbox_process("--plivo", "--time-scale", "0.1", "--account", account) as box:
        async with aiohttp.ClientSession() as session, session.get(f"{box.url}/") as reply:
            assert await reply.json() == {"sandbox": ["plivo"], "time_scale": 0.1}
        rented = await box.control.number("15550007777", answer_url="http://127.0.0.1:9/")
        assert rented["application"].startswith("/v1/Account/MAABCDEFGHIJ12345678/")
        process = box.process
    assert process.returncode == 0


async def test_a_wrong_argument_is_refused_before_anything_is_served():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--account", "MA1:x", stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert b"18 of A-Z, 0-9" in told


async def test_a_subaccounts_number_is_signed_with_both_tokens(peer):
    main = Account("MAABCDEFGHIJ12345678", ("main-token",))
    sub = Account("SAABCDEFGHIJ12345678", ("sub-token",), parent=main.auth_id)
    peer.replies["/answer"] = "<Response><Hangup/></Response>"
    async with running_sandbox(parts=frozenset({"plivo"}), accounts=(main, sub), time_scale=0.02) as box:
        await box.control.number(NUMBER, auth_id=sub.auth_id, answer_url=f"{peer.url}/answer")
        uuid = await box.control.inbound_call(NUMBER, script=silent_script())
        await box.control.report(uuid, wait="ended")
    seen = peer.seen[0]
    assert seen.fields["ParentAuthID"] == main.auth_id
    for header, token in [("X-Plivo-Signature-V3", "sub-token"), ("X-Plivo-Signature-Ma-V3", "main-token")]:
        nonce = seen.headers["X-Plivo-Signature-V3-Nonce"]
        assert plivo.utils.validate_v3_signature("POST", seen.url, nonce, token, seen.headers[header], seen.fields)

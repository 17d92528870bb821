"""Plivo's own SDK against the sandbox."""

import asyncio
import base64

import aiohttp
import plivo
import pytest
from plivo import exceptions

from sandbox.config import DEMO_AUTH_ID, DEMO_AUTH_TOKEN
from tests.sandbox.plivo.conftest import NUMBER, silent_script
from tests.sandbox.tally import Tally

pytestmark = pytest.mark.sandbox


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


LOGIN = basic(DEMO_AUTH_ID, DEMO_AUTH_TOKEN)
STAY = silent_script({"silence": 20000})


@pytest.fixture
def client(line, monkeypatch, record_property):
    tally = Tally("plivo")
    base = f"{line.url}/v1/Account"
    for name in ("PLIVO_API_BASE_URI", "API_VOICE_BASE_URI", "API_VOICE_BASE_URI_FALLBACK_1"):
        monkeypatch.setattr(plivo.rest.client, name, base)
    monkeypatch.setattr(plivo.rest.client, "API_VOICE_BASE_URI_FALLBACK_2", base)
    with plivo.RestClient(DEMO_AUTH_ID, DEMO_AUTH_TOKEN) as made:
        made.session.hooks["response"].append(tally.requests)
        yield made
    tally.tell(record_property)


async def do(function, *arguments, **options):
    return await asyncio.to_thread(function, *arguments, **options)


async def dialled(client, peer, line, **options) -> str:
    """An answered call on a stream, through the SDK; its CallUUID."""
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour("*", {"script": STAY})
    made = await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST", **options)
    await line.control.report(made.request_uuid, wait="streaming")
    return made.request_uuid


async def test_the_account_can_be_read(client):
    account = await do(client.account.get)
    assert account.auth_id == DEMO_AUTH_ID


async def test_a_wrong_token_is_refused(line):
    async with (
        aiohttp.ClientSession(headers=basic(DEMO_AUTH_ID, "wrong")) as session,
        session.get(f"{line.url}/v1/Account/{DEMO_AUTH_ID}/") as reply,
    ):
        assert reply.status == 401
        assert set(await reply.json()) == {"api_id", "error"}


async def test_another_accounts_path_is_refused(line):
    async with (
        aiohttp.ClientSession(headers=LOGIN) as session,
        session.get(f"{line.url}/v1/Account/MA999999999999999999/") as reply,
    ):
        assert reply.status == 401


async def test_a_detail_record_is_there_some_seconds_after_the_end_and_not_before(client, peer, line):
    await line.control.settings(cdr_after_s=1_000_000)
    uuid = await dialled(client, peer, line, hangup_url=f"{peer.url}/hangup")
    await do(client.calls.hangup, uuid)
    await line.control.report(uuid, wait="ended")
    for look in (client.calls.get, client.live_calls.get):
        with pytest.raises(exceptions.ResourceNotFoundError):
            await do(look, uuid)
    assert (await do(client.calls.list)).objects == []
    await line.control.settings(cdr_after_s=0)
    assert (await do(client.calls.get, uuid)).call_uuid == uuid
    assert len((await do(client.calls.list)).objects) == 1


async def test_a_call_is_made_listed_hung_up_and_found_in_the_records(client, peer, line):
    await line.control.settings(cdr_after_s=0)
    uuid = await dialled(client, peer, line, hangup_url=f"{peer.url}/hangup", ring_url=f"{peer.url}/ring")
    assert (await do(client.live_calls.list_ids)).calls == [uuid]
    live = await do(client.live_calls.get, uuid)
    assert (live.call_status, live.request_uuid, live.direction) == ("in-progress", uuid, "outbound")
    with pytest.raises(exceptions.ResourceNotFoundError):
        await do(client.calls.get, uuid)
    assert await do(client.calls.hangup, uuid) is None
    hangup = (await peer.wait_seen("/hangup"))[0].fields
    assert (hangup["HangupCauseCode"], hangup["HangupSource"]) == ("1000", "API Request")
    assert hangup["RequestUUID"] == hangup["ALegUUID"] == hangup["CallUUID"] == uuid
    record = await do(client.calls.get, uuid)
    assert (record.to_number, record.hangup_cause_code, record.call_state) == ("15557770001", 1000, "ANSWER")
    assert record.end_time.endswith("+00:00")
    listed = await do(client.calls.list, call_direction="outbound", limit=5)
    assert [found.call_uuid for found in listed.objects] == [uuid]
    assert (await do(client.calls.list, call_direction="inbound")).objects == []
    with pytest.raises(exceptions.ResourceNotFoundError):
        await do(client.calls.hangup, uuid)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"from": "15559999999"}, "not a number of this account"),
        ({"from": ""}, "from parameter not present"),
        ({"to": "hello"}, "to parameter is not valid"),
        ({"to": "15557770001<15557770001"}, "not unique"),
        ({"to": NUMBER}, "cannot be the same"),
        ({"answer_url": "nowhere"}, "answer_url parameter is not valid"),
        ({"answer_url": None}, "answer_url parameter not present"),
        ({"answer_method": "PATCH"}, "answer_method"),
        ({"time_limit": -1}, "time_limit"),
        ({"machine_detection": "maybe"}, "machine_detection"),
        ({"machine_detection_time": 100}, "machine_detection_time"),
        ({"caller_name": "x" * 51}, "caller_name"),
        ({"sip_headers": "not a header"}, "sip_headers"),
    ],
)
async def test_a_wrong_call_is_refused_with_a_reason_and_rings_nobody(line, changes, said):
    body = {"from": NUMBER, "to": "15557770001", "answer_url": "http://127.0.0.1:9/answer"} | changes
    async with (
        aiohttp.ClientSession(headers=LOGIN) as session,
        session.post(f"{line.url}/v1/Account/{DEMO_AUTH_ID}/Call/", json=body) as reply,
    ):
        assert reply.status == 400
        assert said in (await reply.json())["error"]
    ledger = await line.control.ledger()
    assert [post["status"] for post in ledger["posts"]] == [400]
    assert ledger["rings"] == []


async def test_calls_over_the_rate_are_queued_and_can_be_cancelled(client, peer, line):
    await line.control.settings(calls_per_second=1)
    make = client.calls.create
    fired = await do(make, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    queued = await do(make, NUMBER, "15557770002", f"{peer.url}/answer", "POST", hangup_url=f"{peer.url}/hangup2")
    assert (fired.message, queued.message) == ("call fired", "call queued")
    assert (await do(client.queued_calls.list_ids)).calls == [queued.request_uuid]
    await do(client.calls.cancel, queued.request_uuid)
    cancelled = (await peer.wait_seen("/hangup2"))[0].fields
    assert (cancelled["HangupCauseCode"], cancelled["CallStatus"]) == ("1000", "cancel")
    assert [ring["number"] for ring in (await line.control.ledger())["rings"]] == ["15557770001"]


async def test_many_destinations_ring_each_on_its_own(client, peer, line):
    await line.control.settings(calls_per_second=100)
    await line.control.behaviour("*", {"kind": "busy"})
    made = await do(client.calls.create, NUMBER, "15557770001<15557770002", f"{peer.url}/answer", "POST")
    assert len(made.request_uuid) == 2
    for uuid in made.request_uuid:
        assert (await line.control.report(uuid, wait="ended"))["hangup"]["code"] == 3010


async def test_too_many_calls_at_a_time_are_forbidden(client, peer, line):
    await line.control.settings(concurrency=1)
    await dialled(client, peer, line)
    with pytest.raises(exceptions.GeoPermissionError):
        await do(client.calls.create, NUMBER, "15557770009", f"{peer.url}/answer", "POST")
    posts = (await line.control.ledger())["posts"]
    assert [post["status"] for post in posts] == [201, 403]


async def test_too_many_requests_are_refused(client, line):
    await line.control.settings(rate_limit=3)
    for _ in range(3):
        await do(client.account.get)
    with pytest.raises(exceptions.PlivoRestError, match="429"):
        await do(client.account.get)


async def test_a_transfer_runs_when_the_stream_yields(client, peer, line):
    uuid = await dialled(client, peer, line, hangup_url=f"{peer.url}/hangup")
    peer.replies["/moved"] = "<Response><Hangup/></Response>"
    await do(client.calls.transfer, uuid, legs="aleg", aleg_url=f"{peer.url}/moved", aleg_method="POST")
    await asyncio.sleep(0.1)
    assert not [seen for seen in peer.seen if seen.path == "/moved"]
    await peer.streams[0].ws.close()
    report = await line.control.report(uuid, wait="ended")
    assert (report["hangup"]["code"], report["hangup"]["source"]) == (4000, "Answer XML")
    assert [seen for seen in peer.seen if seen.path == "/moved"]


async def test_a_live_call_can_be_recorded_spoken_to_and_sent_digits(client, peer, line):
    uuid = await dialled(client, peer, line)
    started = await do(
        client.calls.start_recording, uuid, time_limit=600, file_format="wav", callback_url=f"{peer.url}/recorded"
    )
    assert (await do(client.calls.start_speaking, uuid, "Please hold the line")).message == "speak started"
    assert (await do(client.calls.send_digits, uuid, "12w#")).message == "digits sent"
    await asyncio.sleep(0.6)
    await do(client.calls.stop_speaking, uuid)
    await do(client.calls.stop_recording, uuid, None, None)
    told = (await peer.wait_seen("/recorded"))[0].fields
    assert told["recording_id"] == started.recording_id
    assert told["call_uuid"] == uuid
    assert int(told["recording_duration_ms"]) >= 600
    shown = await do(client.recordings.get, started.recording_id)
    assert shown.recording_url == started.url == told["record_url"]
    report = await line.control.report(uuid)
    assert report["digits_from_agent"] == [{"digits": "12w#", "by": "rest"}]
    assert report["caller"]["agent_speech"]
    await do(client.recordings.delete, started.recording_id)
    assert (await do(client.recordings.list)).objects == []


async def test_a_stream_is_started_listed_and_stopped_over_rest(client, peer, line):
    peer.replies["/answer"] = '<Response><Wait length="1000"/></Response>'
    await line.control.behaviour("*", {"script": STAY})
    made = await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    uuid = made.request_uuid
    await line.control.report(uuid, wait="answered")
    url = f"{peer.ws_url}/stream/rest"
    start = client.calls.start_stream
    options = {"bidirectional": True, "audio_track": "inbound", "content_type": "audio/x-l16;rate=16000"}
    started = await do(start, uuid, url, **options)
    await line.control.report(uuid, wait="streaming")
    stream = await peer.wait_stream()
    media = (await stream.wait_for("media"))[0]
    assert len(media["media"]["payload"]) == 856
    with pytest.raises(exceptions.ValidationError, match="active"):
        await do(start, uuid, url, **options)
    await do(client.calls.delete_specific_stream, uuid, started.stream_id)
    await line.control.act(uuid, "hangup")
    report = await line.control.report(uuid, wait="ended")
    assert report["streams"][0]["reason"] == "api_request"


async def test_applications_and_numbers_are_managed(client, peer, line):
    created = await do(client.applications.create, app_name="front-desk", answer_url=f"{peer.url}/a")
    shown = await do(client.applications.get, created.app_id)
    assert shown.hangup_url == f"{peer.url}/a"
    await do(client.applications.update, created.app_id, answer_url=f"{peer.url}/b")
    await do(client.numbers.update, NUMBER, app_id=created.app_id, alias="desk")
    number = await do(client.numbers.get, NUMBER)
    assert number.application == f"/v1/Account/{DEMO_AUTH_ID}/Application/{created.app_id}/"
    assert number.alias == "desk"
    assert [found.number for found in (await do(client.numbers.list)).objects] == [NUMBER]
    peer.replies["/b"] = "<Response><Hangup reason='busy'/></Response>"
    uuid = await line.control.inbound_call(NUMBER, script=STAY)
    report = await line.control.report(uuid, wait="ended")
    assert (report["hangup"]["code"], report["duration_s"], report["status"]) == (3010, 0, "busy")
    await do(client.applications.delete, created.app_id)
    assert (await do(client.numbers.get, NUMBER)).application is None


async def test_lists_come_in_pages(client, line):
    for index in range(25):
        await line.control.number(str(15551000000 + index))
    page = await do(client.numbers.list, limit=20, offset=20)
    assert len(page.objects) == 6
    assert page.meta.total_count == 26
    with pytest.raises(exceptions.ValidationError):
        await do(client.numbers.list, limit=21)


async def test_a_callback_url_makes_a_request_asynchronous(client, peer, line):
    made = await do(
        client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST", callback_url=f"{peer.url}/done"
    )
    assert made.message == "async api spawned"
    told = (await peer.wait_seen("/done"))[0].fields
    assert told["message"] == "call fired"
    assert told["request_uuid"]


async def test_a_500_makes_the_sdk_dial_again(client, peer, line):
    await line.control.settings(calls_per_second=100)
    await line.control.behaviour("*", {"kind": "busy"})
    await line.control.faults(rest_500=1, rest_500_call_proceeds=True)
    await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    for post in (await line.control.ledger())["posts"]:
        await line.control.report(post["request_uuid"], wait="ended")
    assert [ring["number"] for ring in (await line.control.ledger())["rings"]] == ["15557770001"] * 2


async def test_429_and_403_are_given_as_often_as_asked(client, peer, line):
    await line.control.faults(rest_429=1)
    with pytest.raises(exceptions.PlivoRestError, match="429"):
        await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    await line.control.faults(rest_403=1)
    with pytest.raises(exceptions.GeoPermissionError):
        await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    assert (await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")).request_uuid
    assert len((await line.control.ledger())["rings"]) <= 1


async def test_rest_faults_can_hit_every_resource(client, line):
    await line.control.faults(rest_scope="all", rest_429=1)
    with pytest.raises(exceptions.PlivoRestError, match="429"):
        await do(client.account.get)
    assert (await do(client.account.get)).auth_id == DEMO_AUTH_ID


async def test_a_slow_reply_does_not_stop_the_call(client, peer, line):
    await line.control.behaviour("*", {"kind": "busy"})
    await line.control.faults(rest_slow_ms=700)
    client.timeout = 0.3
    with pytest.raises(Exception, match="timed out"):
        await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    for call in await line.control.calls():
        await line.control.report(call["call_uuid"], wait="ended")
    assert len((await line.control.ledger())["rings"]) >= 1


async def test_the_answer_webhook_can_come_before_the_reply_to_the_post(client, peer, line):
    peer.replies["/answer"] = peer.stream_xml()
    await line.control.behaviour("*", {"script": STAY})
    await line.control.faults(answer_before_post_reply=True)
    made = await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    assert (await peer.wait_seen("/answer"))[0].fields["RequestUUID"] == made.request_uuid
    assert (await line.control.report(made.request_uuid))["state"] == "in-progress"


async def test_the_call_uuid_can_differ_from_the_request_uuid(client, peer, line):
    await line.control.faults(different_call_uuid=True)
    peer.replies["/answer"] = "<Response><Hangup/></Response>"
    made = await do(client.calls.create, NUMBER, "15557770001", f"{peer.url}/answer", "POST")
    fields = (await peer.wait_seen("/answer"))[0].fields
    assert fields["RequestUUID"] == made.request_uuid != fields["CallUUID"]


async def test_unknown_paths_and_methods_answer_in_json(line):
    async with aiohttp.ClientSession(headers=LOGIN) as session:
        for method, path, status in [("GET", "Nothing/", 404), ("PATCH", "Call/", 405), ("GET", "Call/nobody/", 404)]:
            async with session.request(method, f"{line.url}/v1/Account/{DEMO_AUTH_ID}/{path}") as reply:
                assert reply.status == status
                assert "error" in await reply.json()
        async with session.post(f"{line.url}/v1/Account/{DEMO_AUTH_ID}/Call/", data=b"{") as reply:
            assert reply.status == 400

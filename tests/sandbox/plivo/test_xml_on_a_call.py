"""What each element of Plivo XML does to a call, and how documents follow one another."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from sandbox.audio import read_wav, tone, wav_bytes
from sandbox.config import DEMO_AUTH_ID
from tests.sandbox.plivo.conftest import NUMBER, silent_script
from tests.sandbox.plivo.test_rest import LOGIN, basic

pytestmark = pytest.mark.sandbox


async def run(line, peer, body: str, *steps, **call) -> dict:
    peer.replies["/answer"] = f"<Response>{body}</Response>"
    script = call.pop("script", None) or silent_script(*steps, {"silence": 60000})
    uuid = await line.control.inbound_call(NUMBER, script=script, **call)
    return await line.control.report(uuid, wait="ended", timeout_s=30)


def fields(peer, path) -> dict[str, str]:
    return next(seen.fields for seen in peer.seen if seen.path == path)


@pytest.mark.parametrize(("reason", "code"), [("busy", 3010), ("rejected", 3020)])
async def test_a_call_can_be_refused_unanswered(line, peer, reason, code):
    report = await run(line, peer, f'<Hangup reason="{reason}"/>')
    assert (report["hangup"]["code"], report["answered"], report["duration_s"]) == (code, False, 0)


async def test_a_reason_no_longer_counts_once_the_call_is_answered(line, peer):
    report = await run(line, peer, '<Speak>hi</Speak><Hangup reason="busy"/>')
    assert (report["hangup"]["code"], report["answered"]) == (4000, True)


async def test_an_empty_answer_ends_the_call_at_once(line, peer):
    assert (await run(line, peer, ""))["hangup"]["code"] == 4010


async def test_a_scheduled_hangup_lets_the_rest_run(line, peer):
    report = await run(line, peer, '<Hangup schedule="10"/><Wait length="1000"/>')
    assert report["hangup"]["code"] == 6000


async def test_speech_is_heard_by_the_caller(line, peer):
    report = await run(line, peer, "<Speak>We are sorry, please call again</Speak>")
    assert report["caller"]["agent_speech"][0]["ms"] > 500


async def test_a_wav_file_is_played_and_a_missing_one_is_noticed(line, peer):
    peer.replies["/tone.wav"] = web.Response(body=wav_bytes(tone(500, 300, 16000), 16000), content_type="audio/wav")
    report = await run(line, peer, f"<Play>{peer.url}/tone.wav</Play>")
    assert abs(report["caller"]["agent_speech"][0]["ms"] - 300) < 20
    peer.replies["/gone.wav"] = web.Response(status=404)
    report = await run(line, peer, f"<Play>{peer.url}/gone.wav</Play>")
    assert [found["kind"] for found in report["violations"]] == ["play_failed"]


async def test_digits_are_collected_after_a_prompt_that_a_key_stops(line, peer):
    peer.replies["/digits"] = "<Response><Hangup/></Response>"
    body = f'<GetDigits action="{peer.url}/digits" numDigits="2"><Speak>{"press a key now " * 6}</Speak></GetDigits>'
    report = await run(line, peer, body, {"silence": 700}, {"press": {"digits": "42", "gap_ms": 40}})
    assert fields(peer, "/digits")["Digits"] == "42"
    assert report["hangup"]["code"] == 4000
    assert report["caller"]["agent_speech"][0]["end_ms"] < 1200


async def test_the_finishing_key_ends_the_digits(line, peer):
    peer.replies["/digits"] = "<Response/>"
    body = f'<GetDigits action="{peer.url}/digits"/>'
    await run(line, peer, body, {"silence": 100}, {"press": {"digits": "7#", "gap_ms": 40}})
    assert fields(peer, "/digits")["Digits"] == "7"


async def test_no_digits_and_wrong_digits_lead_to_the_next_element(line, peer):
    body = f'<GetDigits action="{peer.url}/digits" timeout="1" validDigits="1" numDigits="1"/><Hangup/>'
    report = await run(line, peer, body, {"silence": 100}, {"press": "9"})
    assert report["hangup"]["source"] == "Answer XML"
    assert not [seen for seen in peer.seen if seen.path == "/digits"]


async def test_input_can_be_words(line, peer):
    peer.replies["/input"] = "<Response/>"
    script = {
        "scenario": "front_desk",
        "lines": [{"id": "confirm", "text": "yes that is right"}],
        "voice": "en-us",
        "steps": [{"say": "confirm"}, {"silence": 60000}],
    }
    await run(line, peer, f'<GetInput action="{peer.url}/input" inputType="dtmf speech"/>', script=script)
    told = fields(peer, "/input")
    assert (told["InputType"], told["Speech"], told["Digits"]) == ("speech", "yes that is right", "")


async def test_input_can_be_keys(line, peer):
    peer.replies["/input"] = "<Response/>"
    body = f'<GetInput action="{peer.url}/input" inputType="dtmf" numDigits="1"/>'
    await run(line, peer, body, {"silence": 100}, {"press": "5"})
    assert fields(peer, "/input")["Digits"] == "5"


async def test_an_action_that_answers_no_xml_ends_the_call_with_8012(line, peer):
    body = f'<GetDigits action="{peer.url}/digits" numDigits="1"/>'
    report = await run(line, peer, body, {"silence": 100}, {"press": "5"})
    assert report["hangup"]["code"] == 8012


async def test_with_redirect_false_the_reply_of_an_action_is_ignored(line, peer):
    body = f'<GetDigits action="{peer.url}/digits" numDigits="1" redirect="false"/><Hangup/>'
    report = await run(line, peer, body, {"silence": 100}, {"press": "5"})
    assert report["hangup"]["code"] == 4000


@pytest.mark.parametrize(("reply", "code"), [(web.Response(status=404), 7014), ("<Wrong/>", 8014)])
async def test_a_redirect_that_fails_has_its_own_codes(line, peer, reply, code):
    peer.replies["/next"] = reply
    assert (await run(line, peer, f"<Redirect>{peer.url}/next</Redirect>"))["hangup"]["code"] == code


async def test_redirects_in_a_circle_are_stopped(line, peer):
    report = await run(line, peer, f"<Redirect>{peer.url}/answer</Redirect>")
    assert report["hangup"]["code"] == 8014
    assert report["violations"][0]["kind"] == "too_many_documents"


async def test_early_media_comes_before_the_answer(line, peer):
    report = await run(line, peer, "<PreAnswer><Speak>one moment</Speak></PreAnswer><Hangup reason='busy'/>")
    assert (report["answered"], report["hangup"]["code"]) == (False, 3010)


async def test_keys_can_be_sent_to_the_far_party(line, peer):
    report = await run(line, peer, "<Wait/><DTMF>12#</DTMF>")
    assert report["digits_from_agent"] == [{"digits": "12#", "by": "xml"}]


async def test_waiting_for_silence_ends_when_the_far_party_is_quiet(line, peer):
    body = '<Speak>x</Speak><Wait length="30" silence="true" minSilence="400"/>'
    report = await run(line, peer, body, {"comfort_noise": {"ms": 700}})
    assert report["timeline"][-1]["media_ms"] >= 1100
    assert report["hangup"]["code"] == 4010


DIAL = '<Dial action="{url}/dialled" callbackUrl="{url}/legs" timeout="5"><Number>15558880001</Number>{more}</Dial>'


@pytest.mark.parametrize(
    ("kind", "status", "actions"),
    [
        ("human", "completed", ["answer", "hangup"]),
        ("busy", "busy", ["hangup"]),
        ("no-answer", "timeout", ["hangup"]),
        ("invalid", "failed", ["hangup"]),
    ],
)
async def test_dialling_on_tells_how_it_went(line, peer, kind, status, actions):
    await line.control.behaviour("15558880001", {"kind": kind})
    peer.replies["/dialled"] = "<Response/>"
    report = await run(line, peer, DIAL.format(url=peer.url, more=""))
    assert fields(peer, "/dialled")["DialStatus"] == status
    legs = await peer.wait_seen("/legs", len(actions))
    assert [seen.fields["DialAction"] for seen in legs] == actions
    rung = [ring["number"] for ring in (await line.control.ledger())["rings"]]
    assert rung == ([] if kind == "invalid" else ["15558880001"])
    assert report["hangup"]["code"] == 4010


async def test_several_numbers_ring_at_once_and_the_first_to_answer_wins(line, peer):
    await line.control.behaviour("15558880001", {"kind": "human", "answer_ms": 3000})
    await line.control.behaviour("15558880002", {"kind": "human", "answer_ms": 1000})
    peer.replies["/dialled"] = "<Response/>"
    await run(line, peer, DIAL.format(url=peer.url, more="<Number>15558880002</Number>"))
    assert (await peer.wait_seen("/legs", 1))[0].fields["DialBLegTo"] == "15558880002"
    assert len((await line.control.ledger())["rings"]) == 2


async def test_a_session_is_recorded_in_stereo_and_its_file_can_be_fetched(line, peer):
    body = (
        f'<Record recordSession="true" maxLength="14400" redirect="false" fileFormat="wav" '
        f'callbackUrl="{peer.url}/recorded" action="{peer.url}/recording"/><Speak>good morning to you</Speak>'
    )
    report = await run(line, peer, body, {"comfort_noise": {"ms": 900, "level_dbfs": -20}})
    begun, done = fields(peer, "/recording"), fields(peer, "/recorded")
    assert begun["RecordingDuration"] == begun["RecordingDurationMs"] == begun["RecordingStartMs"] == "-1"
    assert "CallUUID" not in done
    assert done["RecordUrl"].startswith(line.url)
    async with line.control._session.get(done["RecordUrl"]) as reply:
        assert reply.status == 200
        samples, rate = read_wav(await reply.read())
    assert (rate, samples.shape[1]) == (8000, 2)
    assert abs(samples.shape[0] / 8 - int(done["RecordingDurationMs"])) <= 40
    assert abs(samples[:, 0]).max() > 1000 < abs(samples[:, 1]).max()
    assert [recording["available"] for recording in report["recordings"]] == [True]


async def test_recordings_can_ask_for_a_login(line, peer):
    await line.control.settings(recording_auth=True)
    await run(line, peer, f'<Record recordSession="true" callbackUrl="{peer.url}/recorded"/><Speak>hello</Speak>')
    url = fields(peer, "/recorded")["RecordUrl"]
    for headers, status in [({}, 401), (basic(DEMO_AUTH_ID, "no"), 401), (LOGIN, 200)]:
        async with line.control._session.get(url, headers=headers) as reply:
            assert reply.status == status


async def test_a_message_is_recorded_until_silence(line, peer):
    peer.replies["/message"] = "<Response/>"
    body = f'<Record action="{peer.url}/message" timeout="1" maxLength="30"/>'
    await run(line, peer, body, {"comfort_noise": {"ms": 500}})
    assert 1400 <= int(fields(peer, "/message")["RecordingDurationMs"]) <= 2200


async def test_a_message_is_recorded_to_its_longest_length_and_to_a_key(line, peer):
    peer.replies["/message"] = "<Response/>"
    noise = {"comfort_noise": {"ms": 5000}}
    await run(line, peer, f'<Record action="{peer.url}/message" maxLength="1"/>', noise)
    assert int(fields(peer, "/message")["RecordingDurationMs"]) == 1000
    peer.seen.clear()
    await run(line, peer, f'<Record action="{peer.url}/message"/>', {"silence": 200}, {"press": "#"})
    assert fields(peer, "/message")["Digits"] == "#"


@pytest.mark.parametrize("first", [True, False])
async def test_the_recording_can_be_reported_before_or_after_the_hangup(line, peer, first):
    body = f'<Record recordSession="true" callbackUrl="{peer.url}/recorded"/><Speak>hello</Speak>'
    await run(line, peer, body, faults={"recording_before_hangup": not first})
    order = [seen.path for seen in peer.seen if seen.path in ("/hangup", "/recorded")]
    assert order == (["/hangup", "/recorded"] if first else ["/recorded", "/hangup"])


async def test_a_second_stream_on_a_call_is_refused(line, peer):
    stream = f"<Stream>{peer.ws_url}/stream/a</Stream>"
    report = await run(line, peer, f'{stream}{stream}<Wait length="20"/>')
    assert "second_stream" in [found["kind"] for found in report["violations"]]
    assert len(peer.streams) == 1


async def test_a_transfer_interrupts_a_prompt(line, peer):
    peer.replies["/answer"] = f"<Response><Speak>{'please wait ' * 30}</Speak></Response>"
    peer.replies["/moved"] = "<Response><Hangup/></Response>"
    uuid = await line.control.inbound_call(NUMBER, script=silent_script({"silence": 60000}))
    await line.control.report(uuid, wait="answered")
    await asyncio.sleep(0.3)
    async with (
        aiohttp.ClientSession(headers=LOGIN) as session,
        session.post(
            f"{line.url}/v1/Account/{DEMO_AUTH_ID}/Call/{uuid}/", json={"aleg_url": f"{peer.url}/moved"}
        ) as reply,
    ):
        assert reply.status == 202
    report = await line.control.report(uuid, wait="ended", timeout_s=5)
    assert report["hangup"]["source"] == "Answer XML"

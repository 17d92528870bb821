"""Scripted callers: what they wait for, when they speak, and the times that are measured at their ear."""

import asyncio
import base64

import numpy as np
import pytest

from sandbox.audio import mulaw_decode, mulaw_encode, rms, tone, wav_bytes
from sandbox.clips import load_clip
from sandbox.plivo.caller import ScriptedCaller
from sandbox.plivo.media_format import PHONE_FRAME
from sandbox.plivo.scenario import load_scenario, parse_caller
from tests.sandbox.plivo.test_streams import ended, streaming

LINES = [{"id": "day", "text": "tuesday morning please"}, {"id": "correction", "text": "wait sorry i meant wednesday"}]


def script(*steps, **more):
    return {"scenario": "front_desk", "voice": "en-us", "lines": LINES, "steps": list(steps), **more}


class Ear:
    """Moves a caller frame by frame, without a clock; the agent speaks in the given stretches of ms."""

    def __init__(self, *steps, agent=()):
        self.actions: list[tuple[str, str]] = []
        self.caller = ScriptedCaller(parse_caller(script(*steps)), lambda *action: self.actions.append(action))
        self.agent = agent
        self.said: list[np.ndarray] = []

    def run(self, ms: int) -> None:
        for _ in range(ms // 20):
            now = len(self.said) * 20
            frame = self.caller.say()
            self.said.append(np.zeros(PHONE_FRAME, np.int16) if frame is None else frame)
            speaking = any(start <= now < end for start, end in self.agent)
            self.caller.hear(tone(500, 20, 8000) if speaking else None)


@pytest.mark.pure
def test_a_line_is_said_whole_and_its_times_are_written_down():
    ear = Ear({"silence": 100}, {"say": "day"})
    ear.run(3000)
    clip = load_clip("front_desk", "en-us", "day")
    said = np.concatenate(ear.said)
    line = ear.caller.log[1]
    start = round(line["start_ms"] * 8)
    assert said[start : start + clip.size].tolist() == clip.tolist()
    assert not said[:start].any()
    assert not said[start + clip.size :].any()
    assert 100 <= line["start_ms"] <= 140
    assert line["end_ms"] - line["start_ms"] == clip.size / 8
    assert line["start_ms"] <= line["onset_ms"] < line["speech_end_ms"] <= line["end_ms"]
    assert line["text"] == "tuesday morning please"


@pytest.mark.pure
def test_the_caller_waits_until_the_agent_has_been_quiet_for_long_enough():
    ear = Ear({"wait_agent_finishes": {"silence_ms": 600}}, {"say": "day"}, agent=[(200, 1000), (1300, 2000)])
    ear.run(4000)
    assert 2600 <= ear.caller.log[1]["start_ms"] <= 2660


@pytest.mark.pure
def test_what_the_agent_said_before_is_not_waited_for_twice():
    ear = Ear(
        {"wait_agent_finishes": {"silence_ms": 300}},
        {"wait_agent_finishes": {"silence_ms": 300, "timeout_ms": 1000}},
        agent=[(0, 400)],
    )
    ear.run(3000)
    assert "timed_out" not in ear.caller.log[0]
    assert ear.caller.log[1]["timed_out"]


@pytest.mark.pure
def test_an_interruption_comes_after_so_much_of_the_agents_speech():
    ear = Ear({"interrupt": {"after_ms": 800, "say": "correction"}}, agent=[(500, 5000)])
    ear.run(4000)
    line = ear.caller.log[1]
    assert ear.caller.log[0]["agent_was_speaking"]
    assert 1300 <= line["start_ms"] <= 1360
    assert line["over_agent"]


@pytest.mark.pure
def test_an_agent_that_was_too_brief_is_answered_all_the_same():
    ear = Ear({"interrupt": {"after_ms": 5000, "say": "correction"}}, agent=[(500, 900)])
    ear.run(4000)
    assert not ear.caller.log[0]["agent_was_speaking"]
    assert 1900 <= ear.caller.log[1]["start_ms"] <= 1960


@pytest.mark.pure
def test_response_and_barge_in_times_are_measured_at_the_ear():
    ear = Ear({"say": "day"}, agent=[(2000, 2500)])
    ear.run(4000)
    response = ear.caller.measures()["responses"][0]
    assert abs(response["response_ms"] - (2000 - response["speech_end_ms"])) < 5

    ear = Ear({"interrupt": {"after_ms": 400, "say": "correction"}}, agent=[(0, 900)])
    ear.run(500)
    ear.caller.cleared(880.0)
    ear.run(3000)
    barge_in = ear.caller.measures()["barge_ins"][0]
    assert barge_in["clear_ms"] == round(880 - barge_in["onset_ms"], 3)
    assert abs(barge_in["agent_heard_ms"] - (900 - barge_in["onset_ms"])) < 5


@pytest.mark.pure
def test_noise_beeps_keys_and_ends():
    ear = Ear(
        {"background_noise": {"level_dbfs": -40}},
        {"beep": {"hz": 1000, "ms": 500}},
        {"background_noise": {"active": False}},
        {"press": {"digits": "1w2", "gap_ms": 100}},
        "drop_tcp",
        "hangup",
    )
    ear.run(3000)
    assert ear.actions == [("digit", "1"), ("digit", "2"), ("drop_tcp", ""), ("hangup", "")]
    said = np.concatenate(ear.said)
    assert rms(said[2400:3200]) > 5000
    assert rms(said[-800:]) == 0
    assert ear.caller.finished


@pytest.mark.pure
def test_a_line_can_be_handed_in_as_audio():
    said = load_clip("front_desk", "en-us+f2", "day")
    wav = base64.b64encode(wav_bytes(said, 8000)).decode()
    ear = Ear({"say": {"wav": wav, "text": "tuesday", "gain": 0.5}})
    ear.run(3000)
    entry = ear.caller.log[0]
    assert (entry["text"], entry["over_agent"]) == ("tuesday", False)
    assert rms(np.concatenate(ear.said)[: said.size]) == pytest.approx(rms(said) / 2, rel=0.01)


@pytest.mark.pure
def test_the_agent_comes_back_from_the_loudspeaker_softer_and_later_until_it_is_switched_off():
    ear = Ear(
        {"echo": {"level_db": -20, "delay_ms": 100}}, {"silence": 1000}, {"echo": {"active": False}}, agent=[(0, 2000)]
    )
    ear.run(2000)
    loud = [rms(frame) for frame in ear.said]
    assert loud[:5] == [0] * 5
    assert loud[20] == pytest.approx(rms(tone(500, 20, 8000)) / 10, rel=0.01)
    assert loud[-1] == 0


@pytest.mark.pure
def test_a_script_can_be_replaced_while_it_runs_but_not_by_a_wrong_one():
    ear = Ear({"silence": 60000}, "hangup")
    ear.run(100)
    with pytest.raises(ValueError, match="no clip"):
        ear.caller.do_now(parse_caller(script({"say": "nothing"})).steps)
    ear.caller.do_now(parse_caller(script({"press": "9"}, "drop_tcp")).steps)
    ear.run(1000)
    assert ear.actions == [("digit", "9"), ("drop_tcp", "")]


@pytest.mark.pure
def test_the_demonstration_interrupts_the_agent_once():
    actions = [step.action for step in load_scenario("front_desk").steps]
    assert actions.count("interrupt") == 1
    assert actions.count("say") >= 4
    assert actions[-1] == "hangup"


@pytest.mark.sandbox
async def test_a_caller_really_interrupts_over_a_socket_and_the_delay_is_known(line, peer):
    async def agent(stream):
        await stream.wait_for("start")
        await stream.play(mulaw_encode(tone(400, 5000, 8000)))
        heard = 0
        while True:
            media = await stream.wait_for("media", heard + 1)
            heard = len(media)
            if rms(mulaw_decode(base64.b64decode(media[-1]["media"]["payload"]))) > 500:
                await stream.send("clearAudio", streamId=stream.stream_id)
                return

    peer.talk = agent
    steps = [{"interrupt": {"after_ms": 300, "say": "correction"}}, "wait_clear", {"silence": 60000}]
    uuid, stream = await streaming(line, peer, script=script(*steps))
    await stream.wait_for("clearedAudio")
    await asyncio.sleep(0.1)
    report = await line.control.report(uuid)
    while not [entry for entry in report["caller"]["log"] if entry["action"] == "wait_clear"]:
        await asyncio.sleep(0.1)
        report = await line.control.report(uuid)
    barge_in = report["caller"]["measures"]["barge_ins"][0]
    assert 0 < barge_in["clear_ms"] < 200
    assert abs(barge_in["agent_heard_ms"] - barge_in["clear_ms"]) < 25
    await ended(line, uuid)


@pytest.mark.sandbox
async def test_a_caller_can_wait_until_a_stream_listens(line, peer):
    steps = ["wait_stream", {"say": "day"}, {"silence": 60000}]
    uuid, stream = await streaming(line, peer, script=script(*steps), faults={"start_delay_ms": 300})
    await stream.wait_for("media", 10)
    waited, said = (await line.control.report(uuid))["caller"]["log"][:2]
    assert waited["end_ms"] >= 300
    assert said["start_ms"] >= waited["end_ms"]
    assert "timed_out" not in waited
    await ended(line, uuid)


@pytest.mark.pure
def test_a_caller_to_whom_no_stream_listens_goes_on_after_a_time():
    ear = Ear({"wait_stream": {"timeout_ms": 500}}, {"say": "day"})
    ear.run(1000)
    assert [entry["action"] for entry in ear.caller.log] == ["wait_stream", "say"]
    assert (ear.caller.log[0]["timed_out"], ear.caller.log[0]["end_ms"]) == (True, 520)


@pytest.mark.sandbox
async def test_noise_reaches_the_server_as_it_was_made(line, peer):
    uuid, stream = await streaming(line, peer, script=script({"comfort_noise": {"ms": 3000, "level_dbfs": -30}}))
    media = (await stream.wait_for("media", 10))[5]["media"]["payload"]
    assert 500 < rms(mulaw_decode(base64.b64decode(media))) < 1500
    await ended(line, uuid)

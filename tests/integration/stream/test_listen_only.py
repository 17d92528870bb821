"""An agent that only listens, through every real process: a one-way stream, the caller's turns as they are said."""

import asyncio
import json

import pytest

from tests.integration.house import House, until
from tests.integration.stream.conftest import Build

pytestmark = [pytest.mark.journey, pytest.mark.slow, pytest.mark.timeout(180)]

NOTICE = "This call is written down."
AUDIBLE = 0.05
TOLERANCE_MS = 300


def recording(built: House, call_id: int) -> tuple[list[list[float]], int] | None:
    """Peaks of caller and agent (0 to 1) and the length in ms, once it can be heard."""
    rows = built.rows("SELECT peaks, duration_ms FROM calls_recording WHERE call_id = ? AND status = 'ready'", call_id)
    return (json.loads(rows[0][0]), rows[0][1]) if rows else None


async def test_a_listening_agent_writes_down_the_caller_and_says_nothing(install: Build) -> None:
    async with install() as built:
        await asyncio.to_thread(built.furnish)
        await asyncio.to_thread(built.republish, mode="listen_only", disclosure=NOTICE, recording_notice="")
        await built.control.request("POST", "providers/reset", {})
        call_uuid = await built.ring(
            {"wait_agent_finishes": {"timeout_ms": 15_000}},  # the carrier's voice reads the notice
            *({"say": "book"}, {"silence": 2500}, {"say": "day"}, {"silence": 2500}, "hangup"),
        )
        await until(lambda: built.turns(call_uuid), 30, "the first line was not written when it had been said")
        assert built.call(call_uuid)["status"] == "live"
        report = await built.control.report(call_uuid, wait="ended", timeout_s=60)
        await until(lambda: built.call(call_uuid)["status"] == "ended", 5, "the call's end was not written")
        call = built.call(call_uuid)
        assert (call["end_reason"], call["streams"]) == ("caller_hung_up", 1)
        assert (report["hangup"]["source"], report["violations"]) == ("Caller", [])

        (stream,) = report["streams"]
        assert not stream["bidirectional"]
        assert stream["messages"] == {}, "a listening agent sent something"
        asked_for = {entry["stage"] for entry in (await built.control.request("GET", "providers/ledger"))["entries"]}
        assert "tts" not in asked_for

        turns = built.turns(call_uuid)
        assert {role for role, *_ in turns} == {"caller"}
        # The sandbox's recogniser really listens: now and then it hears a "please" more.
        request, day = (text for _, text, *_ in turns)
        assert request.startswith("Hello I would like to book an appointment")
        assert day.startswith("Tuesday morning")
        said = [line for line in report["caller"]["log"] if line["action"] == "say"]
        for (*_, started_ms, ended_ms), line in zip(turns, said, strict=True):
            assert abs(started_ms - (line["onset_ms"] - stream["start_ms"])) < TOLERANCE_MS
            assert abs(ended_ms - (line["speech_end_ms"] - stream["start_ms"])) < TOLERANCE_MS

        peaks, duration_ms = await until(lambda: recording(built, call["id"]), 15, "no recording")
        assert max(peaks[0]) > AUDIBLE
        assert max(peaks[1], default=0) == 0
        assert abs(duration_ms - (report["streams"][0]["connections"][0]["closed_ms"] - stream["start_ms"])) < 500

        summary = "SELECT summary FROM calls_callsummary WHERE call_id = ? AND status = 'ready'"
        ((text,),) = await until(lambda: built.rows(summary, call["id"]), 30, "no summary")
        assert text
        assert {row[0] for row in built.rows("SELECT stage || ' ' || purpose FROM calls_usage")} == {
            "stt turn",
            "llm summary",
        }
        assert "Traceback" not in built.log("supervisor")

"""Whole calls through real processes: sandbox Plivo, signed webhooks and sockets, both servers, a kill -9, a drain."""

import asyncio
import datetime
import time

import pytest

from tests.integration.house import House, until
from tests.integration.stream.conftest import Build

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

FINISHES = {"wait_agent_finishes": {"timeout_ms": 20_000}}


def heard_by_now(live_at: str) -> float:
    """ms since the call's zero, by the wall clock."""
    zero = datetime.datetime.fromisoformat(live_at).replace(tzinfo=datetime.UTC)
    return (datetime.datetime.now(datetime.UTC) - zero).total_seconds() * 1000


def recording(built: House, call_id: int) -> tuple | None:
    rows = built.rows(
        "SELECT status, duration_ms, channels, peaks, repaired, file FROM calls_recording WHERE call_id = ?", call_id
    )
    return rows[0] if rows and rows[0][0] == "ready" else None


async def test_a_caller_books_an_appointment(build: Build) -> None:
    async with build() as built:
        call_uuid = await built.ring(FINISHES, {"say": "book"}, FINISHES, {"say": "day"}, FINISHES, "hangup")
        report = await built.control.report(call_uuid, wait="ended", timeout_s=90)
        call = built.call(call_uuid)
        await until(lambda: built.call(call_uuid)["status"] == "ended", 5, "the call's end was not written")
        await until(lambda: recording(built, call["id"]), 15, "no recording")
        assert report["violations"] == []
        assert all(not stream["violations"] for stream in report["streams"] if "violations" in stream)
        assert [role for role, *_ in built.turns(call_uuid)] == ["agent", "caller", "agent", "caller", "agent"]
        assert "appointment" in built.turns(call_uuid)[1][1]
        assert "Tuesday" in built.turns(call_uuid)[3][1]
        assert call["streams"] == 1
        assert built.rows("SELECT count(*) FROM calls_edgerefusal") == [(0,)]
        assert {row[0] for row in built.rows("SELECT stage FROM calls_usage")} == {"stt", "llm", "tts"}
        assert "Traceback" not in built.log("stream") + built.log("web")


@pytest.mark.slow
async def test_a_killed_stream_process_costs_a_pause_and_nothing_that_was_said(build: Build) -> None:
    async with build() as built:
        call_uuid = await built.ring(
            FINISHES, {"say": "book"}, {"silence": 20_000}, {"say": "hours"}, FINISHES, "hangup"
        )
        await until(lambda: len(built.turns(call_uuid)) >= 3, 60, "the first exchange did not end")
        call = built.call(call_uuid)
        before = built.turns(call_uuid)
        killed_ms = heard_by_now(call["live_at"])
        built.kill("stream")
        assert built.turns(call_uuid) == before
        await built.serve("stream")
        served_ms = heard_by_now(call["live_at"])

        def talks_again() -> bool:
            return any(turn[3] > killed_ms and turn[0] == "agent" for turn in built.turns(call_uuid))

        await until(talks_again, 25, f"the agent did not come back: {built.log('stream')[-2000:]}")
        report = await built.control.report(call_uuid)
        assert len(report["streams"]) >= 2
        await built.control.report(call_uuid, wait="ended", timeout_s=90)
        await until(lambda: built.call(call_uuid)["status"] == "ended", 5, "the call's end was not written")
        row = await until(lambda: recording(built, call["id"]), 15, "no recording")
        turns = built.turns(call_uuid)
        assert turns[: len(before)] == before
        assert any("hours" in turn[1] for turn in turns if turn[0] == "caller")
        again_ms = min(turn[3] for turn in turns if turn[0] == "agent" and turn[3] > killed_ms)
        assert again_ms - served_ms < 5000
        assert row[1] > turns[-1][4] - 2000


@pytest.mark.slow
async def test_a_stopping_stream_process_lets_its_calls_end(build: Build) -> None:
    async with build() as built:
        call_uuid = await built.ring({"silence": 3000}, "hangup")
        await built.control.report(call_uuid, wait="streaming", timeout_s=30)
        started = time.monotonic()
        stopping = asyncio.create_task(built.stop("stream"))
        await built.control.report(call_uuid, wait="ended", timeout_s=30)
        assert await stopping == 0
        assert time.monotonic() - started < 15
        assert built.call(call_uuid)["streams"] == 1
        assert [turn[0] for turn in built.turns(call_uuid)] == ["agent"]

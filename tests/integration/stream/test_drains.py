"""A stream process is stopped under ten calls: each talks on to its own end, and nobody new is let in meanwhile."""

import asyncio
from functools import partial
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from config.supervisor import free_port
from tests.integration.house import SUPERVISOR, House, house, installation, start, until
from tests.integration.stream.conftest import PLACES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.journey,
    pytest.mark.timeout(300),
]

CALLS = 10
SECOND = "second stream"
FINISHES = {"wait_agent_finishes": {"timeout_ms": 30_000}}
TALK = (FINISHES, {"say": "book"}, FINISHES, {"say": "day"}, FINISHES, "hangup")
SPEAKERS = ["agent", "caller", "agent", "caller", "agent"]
DRAIN_S = 150
RECEPTION = "15551230008"


@pytest.mark.parametrize("place", PLACES[:2], indirect=True)
async def test_ten_calls_outlive_the_sigterm_and_new_streams_go_elsewhere(
    place: dict[str, str], tmp_path: Path, record_property
) -> None:
    async with house(tmp_path, **place, DRAIN_SECONDS=str(DRAIN_S)) as built:
        await built.scripted("what are your opening hours")
        built.republish(fallback_number=f"+{RECEPTION}")
        await built.control.behaviour(RECEPTION, {"kind": "human", "talk_ms": 1000})
        calls = [await built.ring(*TALK) for _ in range(CALLS)]
        await asyncio.gather(*(built.control.report(each, wait="streaming", timeout_s=60) for each in calls))
        port = free_port(0)
        await built.serve("stream", port=port, name=SECOND)

        stopping = asyncio.create_task(built.stop("stream", DRAIN_S + 30))
        await until(partial(stops, built), 5, "it does not say that it drains")
        assert await visit(built) == 403
        late = await built.ring(FINISHES, {"wait_hangup": {}})
        assert await visit(built, port=port) == 101
        turned_away = await built.control.report(late, wait="ended", timeout_s=60)
        reports = await asyncio.gather(*(built.control.report(each, wait="ended", timeout_s=DRAIN_S) for each in calls))
        assert await stopping == 0
        assert "all_calls_ended=True" in built.log("stream")

        rung = [ring["number"] for ring in (await built.control.ledger())["rings"] if ring["call_uuid"] == late]
        assert rung[-1:] == [RECEPTION], "somebody who could not be put through was not given the fallback"
        assert [len(report["streams"]) for report in reports] == [1] * CALLS
        assert [report["violations"] for report in reports] == [[]] * CALLS
        await until(lambda: all(recorded(built, each) for each in calls), 20, "a recording is missing or cut short")
        assert [built.call(each)["status"] for each in calls] == ["ended"] * CALLS
        assert [built.speakers(each) for each in calls] == [SPEAKERS] * CALLS
        assert "Traceback" not in built.log("stream") + built.log("web")
        record_property("calls live at SIGTERM", CALLS)
        record_property("dropped", sum(len(report["streams"]) != 1 for report in reports))
        record_property("streams refused meanwhile", 1 + len(turned_away["streams"]))


@pytest.mark.parametrize("place", PLACES[:1], indirect=True)
async def test_stopping_all_processes_lets_a_call_end_and_plivo_report_it(
    place: dict[str, str], tmp_path: Path
) -> None:
    async with installation(tmp_path, **place, DRAIN_SECONDS=str(DRAIN_S)) as built:
        await asyncio.to_thread(built.furnish)
        await built.scripted("what are your opening hours")
        call_uuid = await built.ring(*TALK)
        await built.control.report(call_uuid, wait="streaming", timeout_s=60)
        stopping = asyncio.create_task(built.stop(SUPERVISOR, DRAIN_S + 30))
        report = await built.control.report(call_uuid, wait="ended", timeout_s=DRAIN_S)
        assert await stopping == 0
        assert (len(report["streams"]), report["violations"]) == (1, [])
        assert built.speakers(call_uuid) == SPEAKERS
        assert built.call(call_uuid)["status"] == "ended"
        assert recorded(built, call_uuid)


def stops(built: House) -> bool:
    return httpx.get(f"http://127.0.0.1:{built.stream_port}/readyz", trust_env=False).json()["draining"]


async def visit(built: House, *, port: int = 0) -> int:
    """The status of a new call's handshake; one that is let in is carried until it has heard something."""
    call_uuid, token = await built.announce()
    try:
        async with built.knock(token, port=port) as socket:
            await socket.send(start(call_uuid, built.codec))
            assert "playAudio" in await asyncio.wait_for(socket.recv(), 15)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    return 101


def recorded(built: House, call_uuid: str) -> bool:
    """Whether there is a recording of all that was said."""
    return built.recorded_ms(call_uuid) >= built.turns(call_uuid)[-1][4] - 1000

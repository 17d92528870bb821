"""A call that is under way when something breaks, and what must be left of it."""

import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.processes import tree
from tests.integration.house import SUPERVISOR, House, until

MARKS = [
    pytest.mark.slow,
    pytest.mark.journey,
    pytest.mark.timeout(400),
]
FINISHES = {"wait_agent_finishes": {"timeout_ms": 30_000}}
EXCHANGES = 4
TALK = (*(FINISHES, {"say": "hours"}) * EXCHANGES, FINISHES, "hangup")
SPEAKERS = ["agent", *["caller", "agent"] * EXCHANGES]
ANSWERED_MS = 4000


async def scripted(built: House) -> None:
    """The callers are understood without decoding what they say."""
    await built.scripted("what are your opening hours")


async def under_way(built: House) -> str:
    """A call whose first exchange is over."""
    call_uuid = await built.ring(*TALK)
    await until(lambda: known(built, call_uuid) and len(built.turns(call_uuid)) >= 3, 90, "nobody talks")
    return call_uuid


def known(built: House, call_uuid: str) -> bool:
    return bool(built.rows("SELECT 1 FROM calls_call WHERE plivo_call_uuid = ?", call_uuid))


async def unharmed(built: House, call_uuid: str, *, ends_within: float = 30, recorded: bool = True) -> dict[str, Any]:
    """The phone's report of a call that must have gone on to its own end, on one stream, with whole records."""
    report = await built.control.report(call_uuid, wait="ended", timeout_s=180)
    assert len(report["streams"]) == 1
    assert report["violations"] == []
    waits = [each["response_ms"] for each in report["caller"]["measures"]["responses"]]
    assert len(waits) == EXCHANGES
    assert all(wait is not None and wait < ANSWERED_MS for wait in waits), waits
    await until(lambda: built.call(call_uuid)["status"] == "ended", ends_within, "the call's end was not written")
    await until(lambda: built.speakers(call_uuid) == SPEAKERS, 30, f"turns are missing: {built.turns(call_uuid)}")
    if recorded:
        last_ms = built.turns(call_uuid)[-1][4]
        await until(lambda: built.recorded_ms(call_uuid) >= last_ms - 1000, 30, "the recording is not whole")
    return report


async def summarised(built: House, *calls: str, within: float) -> None:
    """What follows a call has been done for each of them."""
    query = "SELECT 1 FROM calls_callsummary WHERE status = 'ready' AND call_id = ?"
    for call_uuid in calls:
        call_id = built.call(call_uuid)["id"]
        await until(lambda call_id=call_id: built.rows(query, call_id), within, "there is no summary")


def child(built: House, *words: str) -> int:
    """The pid of the supervisor's own process whose command line holds these words."""
    return _children(built, words)[0]


async def replaced(built: House, pid: int, *words: str) -> None:
    """Kills the process and waits until the supervisor has another one in its place."""
    os.kill(pid, signal.SIGKILL)
    await until(lambda: pid not in tree(built.pid(SUPERVISOR)), 10, "it lives on")
    await until(lambda: _children(built, words), 30, f"{' '.join(words)} was not started again")


def _children(built: House, words: Iterable[str]) -> list[int]:
    return [pid for pid in tree(built.pid(SUPERVISOR)) if set(words) <= set(_command(pid))]


def _command(pid: int) -> list[str]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []
    return [*words, *(Path(word.split()[0]).name for word in words if word)]

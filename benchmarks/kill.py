"""Kills the stream process with SIGKILL in the middle of a call and looks what is left: ``python -m benchmarks.kill``.

Prints one line of JSON: how long the caller waited for the agent, which turns and how much audio were lost, and whether
the call reached its end by itself. Used by ``benchmarks.bars``.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from config import demo

KILL_AFTER_S = 16.0  # in the middle of the conversation, with turns on both sides
SETTLED_MS = 250


async def measure() -> dict[str, Any]:
    """One call, one kill; the figures."""
    async with demo.stack(codec="audio/x-mulaw;rate=8000", server="uvicorn") as running:
        uuid, call_id = await demo.place_call(running)
        await asyncio.sleep(KILL_AFTER_S)
        stream = next(each for each in running.keeper.processes if each.name == "stream")
        killed_at = time.time()
        os.kill(stream.handle.pid, signal.SIGKILL)
        await demo.until(lambda: running.log.ended(call_id), 150, running, "the call did not end by itself")
        await demo.until(lambda: running.log.recording(call_id), 60, running, "there is no recording")
        async with httpx.AsyncClient(base_url=running.box_url, trust_env=False) as box:
            report = (await box.get(f"/control/calls/{uuid}", params={"wait": "ended"})).json()
        facts: dict[str, Any] = await asyncio.to_thread(running.log.after_kill, call_id, killed_at)
    killed_ms = facts.pop("killed_ms")
    again = [each["start_ms"] for each in report["caller"]["agent_speech"] if each["start_ms"] > killed_ms]
    heard_before = sum(
        each["end_ms"] < killed_ms - SETTLED_MS for each in report["caller"]["agent_speech"] if each["end_ms"]
    )
    return {
        "streams": len(report["streams"]),
        "agent_again_s": round((again[0] - killed_ms) / 1000, 2) if again else None,
        "agent_utterances_before": heard_before,
        **facts,
    }


def main() -> int:
    """Prints the figures; 0 when every one holds."""
    with tempfile.TemporaryDirectory(prefix="parley-kill-") as folder:
        demo.isolate(Path(folder))
        figures = asyncio.run(measure())
    holds = (
        figures["agent_again_s"] is not None
        and figures["agent_again_s"] <= 5
        and figures["agent_turns_kept"] >= figures["agent_utterances_before"]
        and figures["audio_lost_s"] <= 1
        and figures["status"] == "ended"
    )
    print(json.dumps(figures | {"holds": holds}))
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

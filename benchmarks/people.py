"""Hundreds of people, machines and screeners called by a campaign, all processes and the sandbox on this machine.

``python -m benchmarks.people --people 500 --at-once 6``. Ends with a line for the bar; the judges are the sandbox's
ledger of who was rung and its report of what they heard.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.house import House, installation
from tests.integration.people import KINDS, SCENARIO, found, launch

GREETED_MS = 500
SLOWEST = 3  # greetings whose first seconds are printed


def numbers(people: int) -> dict[str, str]:
    """So many numbers, each with its kind by the kinds' shares, mixed."""
    wheel = [kind for kind, each in KINDS.items() for _ in range(each.share)]
    # 37 is prime to 100: neighbours differ, and each hundred has all kinds.
    return {f"1415{2_000_000 + n}": wheel[n * 37 % len(wheel)] for n in range(people)}


async def first_seconds(built: House, call_uuid: str) -> str:
    """What happened at the beginning of a call, by our events (ms from the stream's start) and by its caller."""
    events = built.rows(
        "SELECT e.offset_ms, e.kind, e.data FROM calls_callevent e JOIN calls_call c ON c.id = e.call_id "
        "WHERE c.plivo_call_uuid = ? AND e.offset_ms < 2000 ORDER BY e.at, e.id",
        call_uuid,
    )
    report = await built.control.report(call_uuid)
    caller, streams = report["caller"], [stream["start_ms"] for stream in report["streams"]]
    heard = [(each["start_ms"], each["end_ms"]) for each in caller["agent_speech"][:2]]
    return f"{events}; stream from {streams}, heard {heard}, cleared {caller['clears_ms'][:3]}, did {caller['log'][:2]}"


async def main(*, people: int, at_once: int, per_second: float) -> int:
    """Calls them all; the exit status."""
    called = numbers(people)
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="parley-people-") as folder:
        async with installation(Path(folder)) as built:
            await asyncio.to_thread(built.furnish)
            await asyncio.to_thread(built.speak_to, SCENARIO)
            await launch(built, called, at_once=at_once, per_second=per_second)
            while built.rows("SELECT status FROM calls_campaign") != [("finished",)]:
                done = built.rows("SELECT count(*) FROM calls_campaigncontact WHERE state = 'done'")[0][0]
                print(f"{time.monotonic() - begun:6.0f} s: {done} of {people} done", flush=True)
                await asyncio.sleep(10)
            came = await found(built, called)
            for greeting in came.greetings[-SLOWEST:]:
                print(f"{greeting.ms:.0f} ms: {greeting.kind}: {await first_seconds(built, greeting.call_uuid)}")
    for fault in came.faults[:20]:
        print(fault)
    left = sum(KINDS[kind].message for kind in called.values())
    greeted = [each.ms for each in came.greetings] or [0.0]
    print(
        f"people: {people} called in {(time.monotonic() - begun) / 60:.0f} min, {len(came.faults)} otherwise than "
        f"scripted; {came.messages} of {left} messages left whole; greeted after "
        f"{statistics.median(greeted):.0f} ms at the median, {greeted[-1]:.0f} at most"
    )
    return 0 if not came.faults and came.messages == left and greeted[-1] <= GREETED_MS else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--per-second", type=float, default=2.0)
    sys.exit(asyncio.run(main(**vars(parser.parse_args()))))

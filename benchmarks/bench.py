"""``make bench``: Parley's stream process beside Pipecat's, with the same callers and the same providers.

Runs of both servers take turns, each on a fresh process alone on core 0; callers and providers share core 1. Prints
medians and spread and writes all runs as JSON. Absolute milliseconds belong to the machine: read the ratios. At few
calls every frame wakes an idle process with cold caches: compare servers at the same number of calls, or at capacity.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import figures, parts
from benchmarks.contenders import INSTANT, SAMPLES, TYPICAL, Contender, Latencies, Parley, Pipecat, Providers
from benchmarks.figures import Figures
from benchmarks.load.callers import Orders
from benchmarks.processes import LOAD_CORE, cpu_ms, memory_kb, on_core
from config.env import var_dir

REFERENCE_CALLS = 6
WARM_CALLS = 2
Make = Callable[[Path, str], Contender]
SERVERS: dict[str, Make] = {
    "parley": Parley,
    "parley-unspeculative": lambda folder, url: Parley(folder, url, speculation=False),
    "parley-without-turn-model": lambda folder, url: Parley(folder, url, turn_model=False),
    "pipecat": Pipecat,
}


@dataclass(frozen=True)
class Plan:
    """How one run is taken: mode, providers, and times in s."""

    interrupts: bool = False
    latencies: Latencies = INSTANT
    settle_s: float = 8.0
    measure_s: float = 20.0
    calls_a_second: float = 12.0


class Bench:
    """Takes runs over one set of providers, and keeps them."""

    def __init__(self, folder: Path, providers: Providers) -> None:
        self._folder = folder
        self._providers = providers
        self.runs: list[Figures] = []

    async def run(self, server: str, calls: int, plan: Plan, *, tries: int = 2) -> Figures:
        """One run on a fresh process; taken again when the load fell behind."""
        for _ in range(tries):
            found = await self._once(server, calls, plan)
            self.runs.append(found)
            _show(found)
            if found.valid:
                break
        return found

    async def _once(self, server: str, calls: int, plan: Plan) -> Figures:
        await self._providers.slow(plan.latencies)
        contender = SERVERS[server](self._folder, self._providers.url)
        try:
            await contender.ready()
            warm = replace(plan, settle_s=4.0, measure_s=8.0)
            await self._talk(contender, WARM_CALLS, warm)
            await asyncio.sleep(1.0)
            return await self._talk(contender, calls, plan)
        finally:
            await contender.process.stop()

    async def _talk(self, contender: Contender, calls: int, plan: Plan) -> Figures:
        orders = Orders(
            calls=await contender.calls(calls),
            interrupts=plan.interrupts,
            ramp_s=calls / plan.calls_a_second,
            settle_s=plan.settle_s,
            measure_s=plan.measure_s,
            probe=self._providers.url,
            seed=len(self.runs) + 1,
        )
        pid, box = contender.process.pid, self._providers.process.pid
        idle_kb = memory_kb(pid)
        load = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.load.callers",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
            preexec_fn=on_core(LOAD_CORE),
        )  # fmt: skip
        assert load.stdin is not None and load.stdout is not None  # noqa: S101, PT018  (asked for above)
        try:
            load.stdin.write(json.dumps(asdict(orders)).encode() + b"\n")
            at: dict[str, tuple[float, ...]] = {}
            memory = 0
            asked: list[int] = []
            report = None
            async for line in load.stdout:
                told = json.loads(line)
                if told["event"] == "report":
                    report = told
                    continue
                at[told["event"]] = (time.monotonic(), cpu_ms(pid), cpu_ms(box), cpu_ms(load.pid))
                memory = memory_kb(pid)
                asked.append(await self._providers.model_requests())
            if await load.wait() or report is None:
                raise RuntimeError("the callers' process failed")
        finally:
            if load.returncode is None:
                load.kill()
        seconds, server, providers, callers = (
            after - before for before, after in zip(at["begin"], at["end"], strict=True)
        )
        return figures.figures(
            contender.name,
            calls,
            report,
            seconds=seconds,
            cpu_ms=server,
            memory_kb=memory - idle_kb,
            model_requests=asked[1] - asked[0],
            load_ms={"providers": providers, "callers": callers},
        )

    async def capacity(self, server: str, plan: Plan, *, first: int) -> tuple[int, Figures | None]:
        """The calls that one core carries, and the run that showed it."""
        reference = await self.run(server, REFERENCE_CALLS, plan)
        best: dict[int, Figures] = {}

        async def carries(calls: int) -> bool:
            for _ in range(2):  # one bad moment of the machine is not the server's limit
                found = await self.run(server, calls, plan)
                why = figures.shortfalls(found, reference_p95=reference.values["response_p95"])
                print(f"  {server} {calls}: " + ("; ".join(why) if why else "carried"), flush=True)
                if not why:
                    best[calls] = found
                    return True
            return False

        most = await figures.capacity(carries, first=first)
        return most, best.get(most)


def _show(run: Figures) -> None:
    value = run.values
    line = (
        f"{run.server:24} {run.calls:4} calls  cpu {value['cpu']:6.2f} ms/call-s (core {value['core']:.2f})  "
        f"memory {value['memory']:7.0f} KB  response {value['response_p50']:.0f}/{value['response_p95']:.0f}  "
    )
    if run.raw["clears"]:
        line += f"clear {value['clear_p50']:.0f}/{value['clear_p95']:.0f}  silence {value['silence_p50']:.0f}  "
    line += (
        f"late p99 {value['late_p99']:.1f}  gaps {value['gaps']:.0f} (max {value['gap_max']:.0f})  "
        f"turns {value['turns']:.0f}, {value['unanswered']:.0f} unanswered, "
        f"{value['model_requests']:.1f} model requests each  greeting p99 {value['greeting_p99']:.0f}  "
        f"load lag {value['load_lag_p99']:.1f}, probe {value['probe_p50']:.1f}/{value['probe_p99']:.1f}, "
        f"core {value['providers_core']:.2f} + {value['callers_core']:.2f}"
    )
    print(line + ("" if run.valid else "  VOID"), flush=True)


def table(runs: list[Figures]) -> str:
    """Median and spread of each server's runs, one line a server and number of calls."""
    columns = {
        "cpu": "CPU ms/call-s", "memory": "KB/call", "response_p50": "response p50", "response_p95": "p95",
        "clear_p50": "clear p50", "clear_p95": "p95", "silence_p50": "silence p50", "late_p99": "late p99",
        "gap_max": "longest gap",
    }  # fmt: skip
    lines = [f"{'server':24}{'calls':>6}{'runs':>6}" + "".join(f"{title:>22}" for title in columns.values())]
    for server, calls in dict.fromkeys((run.server, run.calls) for run in runs):
        same = [run for run in runs if (run.server, run.calls) == (server, calls)]
        found = figures.summary(same)
        cells = ["{:.1f} [{:.1f}-{:.1f}]".format(*found[name]) if name in found else "-" for name in columns]
        count = sum(run.valid for run in same)
        lines.append(f"{server:24}{calls:>6}{count:>6}" + "".join(f"{cell:>22}" for cell in cells))
    return "\n".join(lines)


async def cost_of_parts(bench: Bench, calls: int, plan: Plan, folder: Path) -> None:
    """One run of Parley with its stacks sampled, and what each part costs."""
    os.environ[SAMPLES] = str(folder)
    try:
        run = await bench.run("parley", calls, plan)
    finally:
        del os.environ[SAMPLES]
    print("\n" + parts.table(folder / "parley", cpu=run.values["cpu"]) + "\n", flush=True)


async def compare(bench: Bench, options: argparse.Namespace) -> None:
    """Interleaved runs of all servers, talking and interrupting, then the capacities."""
    plan = Plan(measure_s=options.seconds, latencies=TYPICAL if options.typical else INSTANT)
    for calls in options.calls:
        for _ in range(options.repeat):
            for server in options.servers:
                await bench.run(server, calls, plan)
    print("\n" + table(bench.runs) + "\n", flush=True)
    if not options.no_interruptions:
        talked = len(bench.runs)
        for _ in range(options.repeat):
            for server in options.servers:
                await bench.run(server, REFERENCE_CALLS, replace(plan, interrupts=True))
        print("\nWith interruptions:\n" + table(bench.runs[talked:]) + "\n", flush=True)
    if options.parts:
        await cost_of_parts(bench, options.parts, plan, options.output.parent / "samples")
    for server in options.servers if options.capacity else ():
        most, run = await bench.capacity(server, plan, first=options.first or (8 if server == "pipecat" else 48))
        at = f", {run.values['cpu']:.2f} ms of CPU per call-second there" if run else ""
        print(f"{server} carries {most} calls on one core{at}", flush=True)


@asynccontextmanager
async def opened() -> AsyncIterator[Bench]:
    """A bench with its providers, on the load's core; nothing of it is left behind."""
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="parley-bench-") as name:
        providers = Providers(Path(name))
        try:
            await providers.ready()
            yield Bench(Path(name), providers)
        finally:
            await providers.process.stop()


async def _main(options: argparse.Namespace) -> None:
    async with opened() as bench:
        try:
            await compare(bench, options)
        finally:
            options.output.write_text(json.dumps([asdict(run) for run in bench.runs]))
            print(f"all runs: {options.output}", flush=True)


def main() -> None:
    """Reads the command line and compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("servers", nargs="*", default=["parley", "pipecat"], help=", ".join(SERVERS))
    parser.add_argument("--calls", type=int, nargs="+", default=[REFERENCE_CALLS])
    parser.add_argument("--repeat", type=int, default=3, help="0: no comparison")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of one measurement")
    parser.add_argument("--typical", action="store_true", help="providers as slow as real ones, instead of instant")
    parser.add_argument("--no-interruptions", action="store_true")
    parser.add_argument("--capacity", action="store_true", help="search how many calls one core carries")
    parser.add_argument("--parts", type=int, default=0, metavar="CALLS", help="what each part of Parley costs there")
    parser.add_argument("--first", type=int, default=0, help="where that search begins")
    parser.add_argument("--output", type=Path, default=var_dir() / "bench.json")
    options = parser.parse_args()
    (options.output.parent / "samples").mkdir(parents=True, exist_ok=True)
    asyncio.run(_main(options))


if __name__ == "__main__":
    main()

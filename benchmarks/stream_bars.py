"""The bars of a live call's speed and capacity, each measured by runs of ``benchmarks.bench``.

All with a turn of about 2.5 s and an answer of 5 s, recorder and journal on, the server alone on its core.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from agents.spec import TurnTaking
from benchmarks.bench import REFERENCE_CALLS, Bench, Plan, opened
from benchmarks.contenders import INSTANT, TYPICAL
from benchmarks.figures import Figures, percentile
from benchmarks.load import clips, offline

MANY = 50
# The tokens of the first words belong to the model, not to us.
NO_PROVIDER_TIME = replace(INSTANT, llm_tokens_per_s=0)
Found = tuple[str, bool]


def _bar(measure: Callable[[Bench], Awaitable[Found]]) -> Callable[[], Found]:
    async def taken() -> Found:
        async with opened() as bench:
            return await measure(bench)

    return lambda: asyncio.run(taken())


async def _many(bench: Bench, plan: Plan, server: str = "parley") -> Figures:
    """One run with 50 calls.

    Raises:
        RuntimeError: the load was too late to measure anything.
    """
    run = await bench.run(server, MANY, plan)
    if not run.valid:
        raise RuntimeError("the load could not keep its clock: is the machine busy?")
    return run


async def _capacity(bench: Bench) -> Found:
    without, _ = await bench.capacity("parley-without-turn-model", Plan(), first=MANY)
    judged, _ = await bench.capacity("parley", Plan(), first=MANY)
    text = f"{without} calls on one core, {judged} with the turn model"
    return text, without >= 150 and judged >= 0.8 * without


async def _cpu(bench: Bench) -> Found:
    ours, theirs = [
        await bench.run(server, REFERENCE_CALLS, Plan()) for server in ("parley-without-turn-model", "pipecat")
    ]
    few = theirs.values["cpu"] / ours.values["cpu"]
    (_, our_most), (_, their_most) = [
        await bench.capacity(server, Plan(), first=first)
        for server, first in (("parley-without-turn-model", MANY), ("pipecat", 6))
    ]
    if our_most is None or their_most is None:
        return f"1/{few:.1f} at {REFERENCE_CALLS} calls; no capacity found", False
    most = their_most.values["cpu"] / our_most.values["cpu"]
    text = f"1/{few:.1f} at {REFERENCE_CALLS} calls, 1/{most:.1f} at capacity"
    return f"{text} ({our_most.calls} calls against {their_most.calls})", few >= 4 and most >= 12


async def _memory(bench: Bench) -> Found:
    kilobytes = (await _many(bench, Plan())).values["memory"]
    return f"{kilobytes:.0f} KB a call", kilobytes <= 1024


async def _response(bench: Bench) -> Found:
    spoken = (await _many(bench, Plan(latencies=TYPICAL))).values
    plain = (await _many(bench, Plan(latencies=TYPICAL), "parley-unspeculative")).values
    text = (
        f"p50 {spoken['response_p50']:.0f} ms, p95 {spoken['response_p95']:.0f} ms; "
        f"without speculation p95 {plain['response_p95']:.0f} ms"
    )
    holds = spoken["response_p50"] < 1000 and spoken["response_p95"] < 1100 and plain["response_p95"] < 1350
    return text, holds


async def _overhead(bench: Bench) -> Found:
    run = await _many(bench, Plan(latencies=NO_PROVIDER_TIME), "parley-unspeculative")
    said, numbers = clips.questions(), TurnTaking(speculate_ms=0)
    own = [response - offline.decision_ms(said[clip], phase, numbers) for clip, phase, response in run.raw["turns"]]
    p50, p95 = percentile(own, 50), percentile(own, 95)
    return f"p50 {p50:.0f} ms, p95 {p95:.0f} ms", p50 <= 10 and p95 <= 25


async def _barge_in(bench: Bench) -> Found:
    run = await bench.run("parley", REFERENCE_CALLS, Plan(interrupts=True, measure_s=60))
    p50, p95 = run.values["clear_p50"], run.values["clear_p95"]
    text = f"p50 {p50:.0f} ms, p95 {p95:.0f} ms of {len(run.raw['clears'])}, {run.values['undisturbed']:.0f} ignored"
    return text, p50 <= 100 and p95 <= 130 and not run.values["undisturbed"]


async def _greeting(bench: Bench) -> Found:
    p99 = (await _many(bench, Plan())).values["greeting_p99"]
    return f"p99 {p99:.0f} ms", p99 < 150


BARS: tuple[tuple[str, str, Callable[[], Found]], ...] = (
    ("capacity", "at least 150 calls on one core, and 80 % of that with the turn model on", _bar(_capacity)),
    ("cpu", "at most 1/4 of Pipecat's per call at 6 calls, 1/12 at capacity", _bar(_cpu)),
    ("memory", "at most 1 MB for one more call", _bar(_memory)),
    ("response", "50 calls: p50 under 1 s, p95 under 1.1 s; without speculation under 1.35 s", _bar(_response)),
    ("overhead", "50 calls, instant providers, no speculation: p50 10 ms, p95 25 ms", _bar(_overhead)),
    ("barge-in", "speech to clearAudio: p50 100 ms, p95 130 ms", _bar(_barge_in)),
    ("greeting", "50 calls: a kept greeting within 150 ms of start, p99", _bar(_greeting)),
)

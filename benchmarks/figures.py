"""From one run's raw numbers to figures, from several runs to medians and spread, from runs to a capacity: all pure."""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_LOAD_LAG_MS = 5.0
ROOM_MS = 50.0
MAX_LATENESS_MS = 20.0
MAX_GAP_MS = 50.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` percent lie; NaN of nothing."""
    return float(np.percentile(values, share)) if values else float("nan")


@dataclass(frozen=True)
class Figures:
    """One run. Times in ms, CPU in ms per call-second, memory in KiB per call.

    Attributes:
        valid: the load kept its own clock; otherwise the run says nothing.
        values: figure by name.
        raw: lists of ms that several runs are pooled from.
    """

    server: str
    calls: int
    valid: bool
    values: dict[str, float]
    raw: dict[str, list[Any]] = field(default_factory=dict, repr=False)


def figures(
    server: str,
    calls: int,
    report: dict[str, Any],
    *,
    seconds: float,
    cpu_ms: float,
    memory_kb: float,
    model_requests: int,
    load_ms: Mapping[str, float],
) -> Figures:
    """One run's figures from what the callers reported and what the kernel counted over ``seconds``.

    Args:
        cpu_ms: of the server; ``load_ms`` of each process of the load.
        memory_kb: by which the server grew.
        model_requests: how often it asked the language model.
    """
    lag = percentile(report["lags"], 99)
    lost = report["failed"] + report["lost"]
    values = {
        "cpu": cpu_ms / (calls * seconds),
        "core": cpu_ms / (seconds * 1000),
        "memory": memory_kb / calls,
        "turns": float(len(report["responses"])),
        "response_p50": percentile(report["responses"], 50),
        "response_p95": percentile(report["responses"], 95),
        "clear_p50": percentile(report["clears"], 50),
        "clear_p95": percentile(report["clears"], 95),
        "silence_p50": percentile(report["silences"], 50),
        "silence_p95": percentile(report["silences"], 95),
        "late_p99": percentile(report["late"], 99),
        "gaps": float(len(report["gaps"])),
        "gap_max": max(report["gaps"], default=0.0),
        "unanswered": float(report["unanswered"]),
        "undisturbed": float(report["undisturbed"]),
        "lost": float(lost),
        "model_requests": model_requests / max(1, len(report["responses"])),
        "greeting_p99": percentile(report["greetings"], 99),
        "load_lag_p99": lag,
        "probe_p50": percentile(report["probes"], 50),
        "probe_p99": percentile(report["probes"], 99),
        **{f"{name}_core": spent / (seconds * 1000) for name, spent in load_ms.items()},
    }
    raw = {name: report[name] for name in ("responses", "turns", "clears", "silences", "gaps", "late")}
    return Figures(server, calls, bool(report["responses"]) and lag <= MAX_LOAD_LAG_MS, values, raw)


def summary(runs: Sequence[Figures]) -> dict[str, tuple[float, float, float]]:
    """(median, least, most) of each figure over the valid runs; empty without any."""
    valid = [run for run in runs if run.valid]
    found = {}
    for name in valid[0].values if valid else ():
        values = [run.values[name] for run in valid if run.values[name] == run.values[name]]
        if values:
            found[name] = (statistics.median(values), min(values), max(values))
    return found


def shortfalls(run: Figures, *, reference_p95: float) -> list[str]:
    """Why a run is not good enough to count for capacity; empty when it is.

    Args:
        reference_p95: the server's own p95 response at 6 calls.
    """
    values = run.values
    checks = {
        f"void: the load was {values['load_lag_p99']:.1f} ms late": run.valid,
        f"p95 response {values['response_p95']:.0f} ms, over {reference_p95:.0f} + {ROOM_MS:.0f}": (
            values["response_p95"] <= reference_p95 + ROOM_MS
        ),
        f"p99 lateness {values['late_p99']:.0f} ms": values["late_p99"] < MAX_LATENESS_MS,
        f"a gap of {values['gap_max']:.0f} ms": values["gap_max"] <= MAX_GAP_MS,
        f"{values['unanswered']:.0f} questions unanswered": not values["unanswered"],
        f"{values['lost']:.0f} calls lost": not values["lost"],
    }
    return [why for why, holds in checks.items() if not holds]


async def capacity(measure: Callable[[int], Awaitable[bool]], *, first: int, precision: float = 0.08) -> int:
    """The largest number of calls for which ``measure`` holds: doubling from ``first``, then halving the distance.

    Args:
        measure: whether so many calls are carried.
        precision: stop when the next number that fails is nearer than this share.

    Returns:
        0 when not even one call is carried.
    """
    good, bad, count = 0, 0, first
    while not bad:
        if await measure(count):
            good, count = count, count * 2
        else:
            bad = count
    while bad - good > max(1, precision * good):
        count = (good + bad) // 2
        if await measure(count):
            good = count
        else:
            bad = count
    return good

"""Figures of runs: percentiles, validity, medians, capacity."""

from typing import Any

import pytest

from benchmarks import figures
from benchmarks.figures import Figures

pytestmark = pytest.mark.pure


def report(**changes: Any) -> dict[str, Any]:
    nothing = {name: [] for name in ("turns", "clears", "silences", "gaps", "late", "greetings", "probes")}
    base = {"responses": [300.0, 400.0], "lags": [1.0], "failed": 0, "lost": 0, "unanswered": 0, "undisturbed": 0}
    return nothing | base | changes


def run(calls: int = 10, **changes: Any) -> Figures:
    return figures.figures(
        "parley",
        calls,
        report(**changes),
        seconds=20,
        cpu_ms=1000,
        memory_kb=5000,
        model_requests=4,
        load_ms={"it": 10},
    )


def test_cpu_is_counted_per_call_and_second_and_memory_per_call():
    assert (run().values["cpu"], run().values["core"], run().values["memory"]) == (5.0, 0.05, 500.0)


def test_a_load_that_was_late_voids_the_run():
    assert run().valid
    assert not run(lags=[6.0] * 100).valid
    assert not run(responses=[]).valid


def test_void_runs_are_left_out_of_the_summary():
    runs = [run(responses=[100.0]), run(responses=[300.0]), run(responses=[900.0], lags=[50.0])]
    assert figures.summary(runs)["response_p50"] == (200.0, 100.0, 300.0)
    assert figures.summary([run(lags=[50.0])]) == {}


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"lags": [6.0]}, "void"),
        ({"responses": [460.0]}, "response"),
        ({"late": [25.0]}, "lateness"),
        ({"late": [1.0], "gaps": [51.0]}, "gap"),
        ({"late": [1.0], "unanswered": 1}, "unanswered"),
        ({"late": [1.0], "failed": 1}, "lost"),
    ],
)
def test_each_condition_of_capacity_is_held_against_a_run(changes, word):
    good = {"late": [1.0], "responses": [440.0]}
    assert figures.shortfalls(run(**good), reference_p95=400) == []
    assert any(word in why for why in figures.shortfalls(run(**(good | changes)), reference_p95=400))


@pytest.mark.parametrize("limit", [0, 1, 7, 48, 150, 235])
async def test_the_search_finds_the_capacity_within_its_precision(limit):
    tried = []

    async def carries(calls: int) -> bool:
        tried.append(calls)
        return calls <= limit

    found = await figures.capacity(carries, first=48)
    assert found <= limit <= found + max(1, 0.08 * found)
    assert len(tried) <= 10

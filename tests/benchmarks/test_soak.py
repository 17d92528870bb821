"""A leak is told from noise."""

import random

import pytest

from benchmarks.holdings import Holdings
from benchmarks.soak import judgement

pytestmark = pytest.mark.pure


def samples(**leak: float) -> list[tuple[float, Holdings]]:
    """An hour, warm after a quarter, with noise like that of calls that come and go; ``leak``: so much in the hour."""
    dice = random.Random(3)
    found = []
    for number in range(120):
        at, warm = number * 30.0, min(1.0, number / 30)
        held = {"memory_kb": 200_000 + 60_000 * warm, "files": 90, "sockets": 40, "threads": 20, "tasks": 80}
        noise = {"memory_kb": 800, "files": 6, "sockets": 6, "threads": 0, "tasks": 12}
        values = {
            name: round(level + dice.uniform(-noise[name], noise[name]) + leak.get(name, 0) * number / 120)
            for name, level in held.items()
        }
        found.append((at, Holdings(**values)))
    return found


def test_calls_that_come_and_go_are_flat():
    figure, holds = judgement(samples())
    assert holds, figure


@pytest.mark.parametrize("leak", [{"memory_kb": 6000}, {"files": 10}, {"sockets": 10}, {"threads": 2}, {"tasks": 15}])
def test_what_grows_in_the_hour_is_found(leak):
    figure, holds = judgement(samples(**leak))
    assert not holds, figure

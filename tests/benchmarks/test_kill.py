"""When the process is killed, over many rounds."""

import pytest

from benchmarks.kill import MOMENTS, moments

pytestmark = pytest.mark.pure


def test_the_first_round_stands_and_later_ones_vary_alike_every_time():
    found = moments(50)
    assert found[: len(MOMENTS)] == list(MOMENTS)
    assert found == moments(50)
    assert len({moment.for_ms for moment in found[len(MOMENTS) :: len(MOMENTS)]}) > 5
    for moment, first in zip(found, MOMENTS * 13, strict=False):
        assert moment.name == first.name
        assert first.spread_ms[0] <= moment.for_ms - first.for_ms <= first.spread_ms[1]

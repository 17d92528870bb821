"""The database stalls for ten seconds under calls: one talks on, one is hung up meanwhile."""

import asyncio

import pytest

from tests.chaos.scene import FINISHES, MARKS, scripted, under_way, unharmed
from tests.integration import databases
from tests.integration.house import until
from tests.integration.stream.conftest import PLACES, Build

pytestmark = MARKS

STALL_S = 10


@pytest.mark.parametrize("place", PLACES[:2], indirect=True)
async def test_a_stall_is_not_heard_and_nothing_of_it_is_missing_afterwards(build: Build) -> None:
    async with build() as built:
        await scripted(built)
        leaving = await built.ring(FINISHES, {"say": "hours"}, FINISHES, {"silence": 60_000})
        going = await under_way(built)
        await until(lambda: len(built.turns(leaving)) >= 3, 60, "nobody talks")
        before = built.turns(leaving)
        with databases.stalled(built.environment["DATABASE_URL"], built.var_dir):
            await asyncio.sleep(2)
            await built.control.act(leaving, "hangup")
            await asyncio.sleep(STALL_S - 2)
        await unharmed(built, going)
        await until(lambda: built.call(leaving)["status"] == "ended", 60, "the end of the other call was lost")
        assert built.turns(leaving)[: len(before)] == before
        assert "Traceback" not in built.log("stream")

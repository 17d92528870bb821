"""The stream host's disk, which holds the database too, is full from the middle of a call to its end."""

import resource

import pytest

from tests.chaos.scene import MARKS, SPEAKERS, scripted, under_way, unharmed
from tests.integration.house import until
from tests.integration.stream.conftest import PLACES, Build

pytestmark = MARKS


@pytest.mark.parametrize("place", PLACES[:1], indirect=True)
async def test_a_full_disk_costs_the_rest_of_the_recording_and_nothing_else(build: Build) -> None:
    async with build() as built:
        await scripted(built)
        call_uuid = await under_way(built)
        written = built.turns(call_uuid)
        pid = built.pid("stream")
        room = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, room[1]))
        await built.control.report(call_uuid, wait="ended", timeout_s=180)
        assert len(built.turns(call_uuid)) < len(SPEAKERS), "the disk was not full"
        resource.prlimit(pid, resource.RLIMIT_FSIZE, room)
        await unharmed(built, call_uuid, recorded=False)
        assert built.turns(call_uuid)[: len(written)] == written
        query = "SELECT duration_ms, error FROM calls_recording WHERE call_id = ? AND status = 'ready'"
        call_id = built.call(call_uuid)["id"]
        ((length_ms, error),) = await until(lambda: built.rows(query, call_id), 60, "what was recorded before is lost")
        assert length_ms >= written[-1][4] - 1500
        assert "disk" in error
        assert built.pid("stream") == pid

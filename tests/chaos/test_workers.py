"""Worker and beat are killed under a call whose end is never reported: the sweep finds it, and is counted."""

import asyncio

import httpx
import pytest

from tests.chaos.scene import MARKS, child, replaced, scripted, summarised, under_way, unharmed
from tests.integration.house import House, until
from tests.integration.stream.conftest import PLACES, Build

pytestmark = MARKS

WORKER, BEAT = ("celery", "worker", "dial,post_call,maintenance"), ("celery", "beat")


@pytest.mark.parametrize("place", PLACES[:1], indirect=True)
async def test_a_call_goes_on_and_the_sweep_that_comes_back_repairs_and_counts_it(
    install: Build, record_property
) -> None:
    async with install() as built:
        await asyncio.to_thread(built.furnish)
        await scripted(built)
        await built.control.faults(webhook_lost=["Hangup"])
        call_uuid = await under_way(built)
        for words in (WORKER, BEAT):
            await replaced(built, child(built, *words), *words)
        await unharmed(built, call_uuid, ends_within=150)
        await until(lambda: repaired(built) > 0, 20, "the repair is not at /metrics")
        await summarised(built, call_uuid, within=90)
        assert built.call(call_uuid)["end_reason"] == "swept"
        record_property("ends repaired by the sweep", repaired(built))


def repaired(built: House) -> int:
    page = httpx.get(f"http://127.0.0.1:{built.web_port}/metrics", trust_env=False).text
    name = 'parley_sweep_repairs_total{kind="ended_unreported"} '
    return next((int(float(line.removeprefix(name))) for line in page.splitlines() if line.startswith(name)), 0)

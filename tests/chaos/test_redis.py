"""Redis hangs, then dies and comes back, under a call and while another one rings."""

import asyncio
import os
import signal

import httpx
import pytest

from tests.chaos.scene import MARKS, SPEAKERS, TALK, child, scripted, summarised, under_way, unharmed
from tests.integration.stream.conftest import PLACES, Build

pytestmark = MARKS


@pytest.mark.parametrize("place", PLACES[:1], indirect=True)
async def test_redis_takes_no_call_with_it_and_what_follows_the_calls_is_done_once_it_is_back(install: Build) -> None:
    async with install() as built:
        await asyncio.to_thread(built.furnish)
        await scripted(built)
        first = await under_way(built)
        redis = child(built, "redis-server")
        os.kill(redis, signal.SIGSTOP)
        second = await built.ring(*TALK)
        await built.control.report(second, wait="streaming", timeout_s=60)
        os.kill(redis, signal.SIGKILL)
        third = await built.ring(*TALK)
        for call_uuid in (first, second, third):
            await unharmed(built, call_uuid)
            assert built.speakers(call_uuid) == SPEAKERS
        await summarised(built, first, second, third, within=90)
        ready = await asyncio.to_thread(httpx.get, f"http://127.0.0.1:{built.stream_port}/readyz", trust_env=False)
        assert ready.json()["redis"] == "ok"
        assert child(built, "redis-server") != redis

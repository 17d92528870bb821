"""Shared by the adapter tests: a scripted provider, pools, and the proof that nothing of ours stays behind."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agents.providers.base import Clocks
from agents.providers.pools import Pools
from tests.agents.providers.vendor import Vendor, running_vendor

CLOCKS = Clocks(connect=1.0, first=1.0, stall=0.5, total=5.0)


@pytest.fixture
def clocks() -> Clocks:
    return CLOCKS


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    async with running_vendor() as running:
        yield running


@pytest.fixture
async def pools(vendor: Vendor) -> AsyncIterator[Pools]:
    """Pools that end before the servers do, and leave no task behind."""
    async with Pools() as opened:
        yield opened
    await asyncio.sleep(0)
    ours = ("elevenlabs", "openai", "http-speech", "warm-llm", "warm-tts")
    left = [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith(ours)]
    assert left == []

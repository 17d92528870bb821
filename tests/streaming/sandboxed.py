"""Calls over the real adapters, at the sandbox's providers; the fixtures are imported by name."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from agents.providers.base import Clocks
from calls.context import CallContext
from sandbox.testing import Sandbox
from streaming.audio.vad import VadHub
from streaming.live import Process
from streaming.resources import RegistryProviders, Resources
from tests.agents.providers.sandboxed import box
from tests.streaming.conftest import Carried
from tests.streaming.fakes import FakeStore, FakeVault, LoudnessDetector, now
from tests.streaming.phone import Phone

__all__ = ["box", "ring"]  # fixtures

CLOCKS = Clocks().scaled(0.5)
Ring = Callable[[CallContext], Carried]


@pytest.fixture
async def ring(box: Sandbox, store: FakeStore, tmp_path: Path) -> AsyncIterator[Ring]:
    """Puts calls through to a process with the real adapters."""
    shared = Resources(
        providers=RegistryProviders(CLOCKS),
        store=store,
        var_dir=tmp_path,
        clocks=CLOCKS,
        clock=now,
        vad=VadHub(LoudnessDetector()),
        vault=FakeVault(),
        turn_model=lambda: None,
    )
    process = Process(shared, max_calls=0)
    await process.open()
    calls: list[Carried] = []

    def put_through(given: CallContext) -> Carried:
        phone = Phone(call_id=given.plivo_call_uuid)
        phone.start()
        phone.incoming.get_nowait()
        calls.append(Carried(process, given, phone))
        return calls[-1]

    yield put_through
    for call in calls:
        if not call.task.done():
            call.phone.hang_up()
            await asyncio.wait([call.task], timeout=8)
        await call.phone.stop()
    await process.close()

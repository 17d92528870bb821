"""A stream process with scripted providers, and calls carried on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from calls.context import CallContext
from streaming.consumers import PhoneLine
from streaming.line import Socket
from streaming.live import Process
from streaming.protocol import Start
from tests.streaming import fakes
from tests.streaming.fakes import FakeProviders, FakeStore, FakeVault
from tests.streaming.phone import Phone


@pytest.fixture
def world() -> FakeProviders:
    return FakeProviders()


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
def vault() -> FakeVault:
    return FakeVault()


@pytest.fixture
async def process(
    world: FakeProviders, store: FakeStore, vault: FakeVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Process]:
    monkeypatch.setattr("streaming.resources.CLOSE_S", 3.0)  # what a provider never answers is under way until then
    before = asyncio.all_tasks()
    process = Process(fakes.resources(world, store, tmp_path, vault), max_calls=0)
    await process.open()
    yield process
    store.gate.set()
    await process.close()
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before - {asyncio.current_task()} if not task.done()}
    assert not left, f"tasks left behind: {[task.get_name() for task in left]}"


class Carried:
    """A call on its way: the phone and the task that carries it."""

    def __init__(self, process: Process, context: CallContext, phone: Phone) -> None:
        self.process = process
        self.context = context
        self.phone = phone
        self.task = asyncio.create_task(self._carry(), name="test-carry")

    async def _carry(self) -> None:
        start = Start(self.phone.call_id, self.phone.stream_id, "", 0, {})
        socket = Socket(self.phone.receive, self.phone.send)
        line = PhoneLine(socket, fmt=self.phone.fmt, start=start, context=self.context)
        with self.process.socket():
            async with self.process.claim(self.context.call_id) as ours:
                assert ours
                await self.process.carry(self.context, line)

    async def ended(self, seconds: float = 8.0) -> None:
        """Waits for the end of the session."""
        async with asyncio.timeout(seconds):
            await self.task


@pytest.fixture
async def ring(process: Process) -> AsyncIterator[Any]:
    """``call = ring(context(...))``: puts a call through; the phone's ``start`` is behind it."""
    calls: list[Carried] = []

    def put_through(context: CallContext, phone: Phone | None = None) -> Carried:
        phone = phone or Phone(call_id=context.plivo_call_uuid)
        phone.start()
        phone.incoming.get_nowait()  # the consumer has read it
        calls.append(Carried(process, context, phone))
        return calls[-1]

    yield put_through
    for call in calls:
        await call.phone.stop()
        if not call.task.done():
            call.phone.hang_up()
            await asyncio.wait([call.task], timeout=8)

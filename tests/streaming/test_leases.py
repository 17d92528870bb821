"""The leases of a process: who is shown to live, and who gives way."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from django.db import OperationalError

from calls.context import CallContext
from streaming import leases as leases_module
from streaming import records
from streaming.audio.recording_files import is_closed
from streaming.leases import Leases
from streaming.live import Process
from tests.streaming.fakes import FakeStore, context, now, spec, until

pytestmark = pytest.mark.db


class Session:
    """One that is carried; silent when told to be."""

    def __init__(self, call_id: int) -> None:
        self.context: CallContext = context(call_id)
        self.silent = self.unsure = False
        self.gave_way = self.told = 0

    def displaceable(self) -> bool:
        return self.silent

    def displaced(self) -> None:
        self.gave_way += 1

    def wonders(self) -> bool:
        return self.unsure

    def machine_reported(self) -> None:
        self.told += 1
        self.unsure = False


@pytest.fixture
async def leases(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Leases]:
    monkeypatch.setattr(leases_module, "RENEW_EVERY_S", 0.02)
    leases = Leases(register=store, clock=now)
    await leases.open()
    yield leases
    await leases.close()


async def test_all_sessions_are_renewed_in_one_statement_with_the_silent_ones_named(
    leases: Leases, store: FakeStore
) -> None:
    talking, silent, gone = Session(1), Session(2), Session(3)
    silent.silent = True
    with leases.kept(talking), leases.kept(silent):
        with leases.kept(gone):
            await until(lambda: store.renewed)
        store.renewed.clear()
        await until(lambda: store.renewed)
    assert store.renewed[0] == ({1: "session-1", 2: "session-2"}, {2})


async def test_who_wonders_is_told_that_the_carrier_has_found_a_machine(leases: Leases, store: FakeStore) -> None:
    wondering, sure = Session(1), Session(2)
    wondering.unsure = True
    store.found_machines = {1, 2}
    with leases.kept(wondering), leases.kept(sure):
        await until(lambda: wondering.told)
        store.calls.clear()
        await until(lambda: store.calls)
    assert (wondering.told, sure.told) == (1, 0)
    assert "machines" not in store.calls, "nobody wonders any more"


async def test_a_process_without_calls_asks_nothing(leases: Leases, store: FakeStore) -> None:
    await asyncio.sleep(0.1)
    assert store.calls == []


async def test_a_session_whose_call_was_taken_gives_way_and_the_others_do_not(leases: Leases, store: FakeStore) -> None:
    taken, kept = Session(1), Session(2)
    store.taken = {1}
    with leases.kept(taken), leases.kept(kept):
        await until(lambda: taken.gave_way)
    assert not kept.gave_way


@pytest.mark.parametrize("error", [OperationalError("locked"), RuntimeError("a fault")])
async def test_a_database_that_fails_ends_no_session_and_is_asked_again(
    leases: Leases, store: FakeStore, error: Exception
) -> None:
    store.errors = [error] * 3
    session = Session(1)
    with leases.kept(session):
        await until(lambda: store.renewed)
    assert store.calls[:4] == ["renew"] * 4
    assert not session.gave_way


async def test_a_displaced_session_ends_its_stream_and_not_its_call(ring, store: FakeStore) -> None:
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms > 0)
    store.taken = {1}
    await call.ended()
    assert store.ended == [(1, None, False)]
    assert call.phone.closed == 1000


async def test_a_displaced_session_leaves_the_recording_to_its_successor(
    ring, process: Process, store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RECORD_EVERY_MS", 60_000)  # so that all of the agent's is left to the end
    call = ring(context(agent=spec(record=True)))
    await call.phone.until(lambda: call.phone.heard_ms > 200)
    store.taken = {1}
    await call.ended()
    await process.resources.recordings._written()
    folder = tmp_path / "live" / "1"
    assert (folder / "caller.raw").stat().st_size
    assert not (folder / "agent.raw").stat().st_size
    assert not is_closed(folder)

"""What all calls of a process share, to its end."""

import asyncio
from pathlib import Path

import pytest

from tests.streaming.fakes import FakeProviders, FakeStore, resources

pytestmark = pytest.mark.db


async def test_closing_waits_for_what_the_work_behind_the_calls_has_begun(
    world: FakeProviders, store: FakeStore, tmp_path: Path
) -> None:
    shared = resources(world, store, tmp_path)
    await shared.open()
    done: list[str] = []

    async def close_session() -> None:
        await asyncio.sleep(0.3)
        done.append("session")

    async def end_call() -> None:
        await asyncio.sleep(0.05)
        shared.background(close_session(), "session")

    shared.background(end_call(), "call")
    journal_closed = shared.journal.close

    async def close_journal() -> None:
        done.append("journal")
        await journal_closed()

    shared.journal.close = close_journal  # type: ignore[method-assign]
    await shared.close()
    assert done == ["session", "journal"]

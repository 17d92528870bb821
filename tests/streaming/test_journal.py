"""The journal: turns at once, the rest in batches, nothing lost when the database stalls, fails or the process dies."""

import asyncio
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgspec
import pytest
from django.db import IntegrityError, OperationalError

from streaming import journal as journal_module
from streaming.journal import Entry, Journal
from streaming.spill import SpillFile, abandoned_spills
from tests.streaming.fakes import FakeStore, now, until

pytestmark = pytest.mark.db


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture
async def journal(store: FakeStore, tmp_path: Path):
    journal = Journal(store=store, folder=tmp_path / "journal", clock=now)
    journal.open()
    yield journal
    store.gate.set()
    await journal.close()


async def test_a_turn_is_written_at_once_and_events_in_one_batch(journal: Journal, store: FakeStore) -> None:
    for number in range(5):
        journal.event(1, {"kind": f"e{number}"})
    journal.turn(1, {"index": 0})
    await until(lambda: store.turns)
    await until(lambda: len(store.events) == 5)
    assert store.calls.count("events") == 1


async def test_events_alone_are_written_within_the_quarter_second(journal: Journal, store: FakeStore) -> None:
    journal.event(1, {"kind": "a"})
    await asyncio.sleep(0.02)
    journal.event(1, {"kind": "b"})
    await until(lambda: len(store.events) == 2)
    assert store.calls == ["events"]


async def test_the_end_of_a_stream_is_written_after_its_turns(journal: Journal, store: FakeStore) -> None:
    journal.turn(7, {"index": 0})
    assert await journal.ended(7, reason="agent_ended", normal=True, within=2)
    assert store.turns == [{"index": 0}]
    assert store.ended == [(7, "agent_ended", True)]


async def test_a_stalled_database_holds_nobody_up_and_loses_nothing(journal: Journal, store: FakeStore) -> None:
    store.gate.clear()
    for number in range(50):
        journal.turn(1, {"index": number})
    assert not await journal.ended(1, reason=None, normal=False, within=0.05)
    store.gate.set()
    await until(lambda: store.ended)
    assert [row["index"] for row in store.turns] == list(range(50))


async def test_a_passing_error_is_tried_again(journal: Journal, store: FakeStore) -> None:
    store.errors = [OperationalError("locked"), OperationalError("locked")]
    journal.turn(1, {"index": 0})
    await until(lambda: store.turns)
    assert journal.spilled == 0


async def test_what_the_database_does_not_take_is_kept_and_written_later(
    journal: Journal, store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", (0.001,))
    store.errors = [OperationalError("down"), OperationalError("down")]
    journal.turn(1, {"index": 0})
    await until(lambda: store.turns)
    assert journal.spilled == 1
    await until(lambda: not list((tmp_path / "journal").glob("*.jsonl")))


async def test_rows_that_the_database_refuses_for_good_are_set_aside(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", ())
    folder = tmp_path / "journal"
    spill = SpillFile(folder)
    spill.write([Entry("turn", 1, {"index": 0}), Entry("turn", 2, {"index": 1})])
    spill.close()

    def write_turns(call_id: int, rows: list) -> None:
        if call_id == 1:
            raise IntegrityError("no such call")
        store.turns.extend(rows)

    store.write_turns = write_turns
    journal = Journal(store=store, folder=folder, clock=now)
    journal.open()
    await until(lambda: list(folder.glob("*.refused")))
    await journal.close()
    assert store.turns == [{"index": 1}]
    assert msgspec.json.decode(next(folder.glob("*.refused")).read_bytes())["call_id"] == 1
    assert not list(folder.glob("*.jsonl"))


async def test_an_overfull_queue_goes_to_the_file_while_the_database_hangs(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_QUEUED", 10)
    journal = Journal(store=store, folder=tmp_path / "journal", clock=now)
    store.gate.clear()
    journal.open()
    journal.turn(1, {"index": 0})
    await asyncio.sleep(0.05)  # the writing thread hangs in the store by now
    for number in range(1, 31):
        journal.turn(1, {"index": number})
    await until(lambda: journal.spilled == 20)
    store.gate.set()
    await until(lambda: len(store.turns) == 31)
    await journal.close()
    assert sorted(row["index"] for row in store.turns) == list(range(31))


async def test_all_live_calls_beat_in_one_write(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "HEARTBEAT_S", 0.02)
    journal = Journal(store=store, folder=tmp_path / "journal", clock=now)
    journal.open()
    journal.live([3, 1, 2])
    await until(lambda: len(store.beats) >= 2)
    await journal.close()
    assert store.beats[0] == [1, 2, 3]


def test_a_killed_process_leaves_its_entries_to_the_next(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        import msgspec
        from streaming.spill import SpillFile
        class Row(msgspec.Struct):
            text: str
        spill = SpillFile(Path(sys.argv[1]))
        spill.write([Row("kept")])
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert abandoned_spills(tmp_path) == []
    process.kill()
    process.wait()
    time.sleep(0.01)
    (path,) = abandoned_spills(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"text": "cut sho')

    class Row(msgspec.Struct):
        text: str

    assert [row.text for row in SpillFile.read(path, Row)] == ["kept"]

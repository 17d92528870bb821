"""The journal: turns at once, the rest in batches, nothing lost when the database stalls, fails or the process dies."""

import asyncio
import errno
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from django.db import (
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
)
from structlog.testing import capture_logs

from streaming import backlog as backlog_module
from streaming import journal as journal_module
from streaming.backlog import Backlog, Entry
from streaming.journal import Journal
from streaming.spill import SpillFile
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


async def test_the_turns_of_many_calls_are_written_together_within_the_tenth_of_a_second(
    journal: Journal, store: FakeStore
) -> None:
    for call_id in range(20):
        journal.turn(call_id, {"index": call_id})
    await until(lambda: store.turns)
    assert (store.calls, indexes(store)) == (["turns"], list(range(20)))


@pytest.mark.usefixtures("hasty")
async def test_a_call_whose_turns_cannot_be_written_costs_the_others_of_the_batch_nothing(
    journal: Journal, store: FakeStore
) -> None:
    outage = Outage(store, hits=lambda kind, call_id: call_id == 3)
    for call_id in range(5):
        journal.turn(call_id, {"index": call_id})
    await until(lambda: journal.spilled == 1)
    assert indexes(store) == [0, 1, 2, 4]
    outage.over = True
    await until(lambda: indexes(store) == [0, 1, 2, 4, 3])


async def test_turns_do_not_wait_as_long_as_events_and_take_them_along(journal: Journal, store: FakeStore) -> None:
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
    assert await journal.ended(7, session="s", reason="agent_ended", normal=True, within=2)
    assert store.turns == [{"index": 0}]
    assert store.ended == [(7, "agent_ended", True)]


@pytest.mark.django_db(transaction=True)
async def test_its_thread_keeps_the_connection_to_the_database_from_one_batch_to_the_next(
    journal: Journal, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[object] = []
    write = store.write_turns

    def write_with_the_database(turns: Mapping[int, Sequence[dict[str, Any]]]) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        used.append(connection.connection)
        write(turns)

    monkeypatch.setattr(store, "write_turns", write_with_the_database)
    for index in range(3):
        journal.turn(1, {"index": index})
        await until(lambda index=index: len(store.turns) == index + 1)
    assert len(used) == 3
    assert used[0] is used[1] is used[2]


async def test_a_stalled_database_holds_nobody_up_and_loses_nothing(journal: Journal, store: FakeStore) -> None:
    store.gate.clear()
    for number in range(50):
        journal.turn(1, {"index": number})
    assert not await journal.ended(1, session="s", reason=None, normal=False, within=0.05)
    store.gate.set()
    await until(lambda: store.ended)
    assert [row["index"] for row in store.turns] == list(range(50))


async def test_a_passing_error_is_tried_again(journal: Journal, store: FakeStore) -> None:
    store.errors = [OperationalError("locked"), OperationalError("locked")]
    journal.turn(1, {"index": 0})
    await until(lambda: store.turns)
    assert journal.spilled == 0


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of trying again pass in milliseconds."""
    monkeypatch.setattr(journal_module, "RETRY_S", (0.001, 0.001, 0.001))
    monkeypatch.setattr(journal_module, "ROUND_FIRST_S", 0.005)
    monkeypatch.setattr(journal_module, "ROUND_LAST_S", 0.02)


class Outage:
    """Every write fails until it is ``over``; only those for which ``hits`` is true, where it is given."""

    def __init__(
        self,
        store: FakeStore,
        error: type[Error] = OperationalError,
        hits=lambda kind, call_id: True,
        *,
        takes_s: float = 0.0,
    ) -> None:
        self.tries = 0
        self.takes_s = takes_s
        self.over = False
        for kind in ("turns", "events", "usage"):
            write = getattr(store, f"write_{kind}")
            setattr(
                store,
                f"write_{kind}",
                self._failing(write, error, lambda rows, kind=kind: any(hits(kind, each) for each in rows)),
            )
        end = self._failing(store.stream_ended, error, lambda *_, call_id, **row: hits("ended", call_id))
        store.stream_ended = end  # type: ignore[method-assign]

    def _failing(self, write, error: type[Error], hits):
        def fail(*args, **kwargs) -> None:
            if not self.over and hits(*args, **kwargs):
                self.tries += 1
                time.sleep(self.takes_s)
                raise error("could not connect to server")
            write(*args, **kwargs)

        return fail


def names(folder: Path) -> list[str]:
    return sorted(path.suffix for path in folder.glob("*"))


def indexes(store: FakeStore) -> list[int]:
    return [row["index"] for row in store.turns]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("error", [OperationalError, InterfaceError, ProgrammingError])
async def test_after_an_outage_of_any_length_everything_is_written_once_and_in_order(
    journal: Journal, store: FakeStore, tmp_path: Path, error: type[Error]
) -> None:
    outage = Outage(store, error)
    for number in range(5):
        journal.turn(1, {"index": number})
        journal.event(1, {"kind": f"e{number}"})
        journal.usage(1, {"key": "llm", "tokens": number})
        await asyncio.sleep(0.02)
    await until(lambda: outage.tries > 30)
    assert store.turns == []
    assert names(tmp_path / "journal") == [".jsonl"]
    outage.over = True
    journal.turn(1, {"index": 5})
    await until(lambda: len(store.turns) == 6 and len(store.events) == 5)
    assert indexes(store) == [0, 1, 2, 3, 4, 5]
    assert [row["kind"] for row in store.events] == ["e0", "e1", "e2", "e3", "e4"]
    assert store.usage["llm"]["tokens"] == 4
    await until(lambda: names(tmp_path / "journal") == [])
    journal.turn(1, {"index": 6})
    await until(lambda: len(store.turns) == 7)


@pytest.mark.usefixtures("hasty")
async def test_the_tries_of_an_outage_become_rare_and_start_afresh_after_it(
    journal: Journal, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "ROUND_LAST_S", 60.0)
    outage = Outage(store)
    journal.turn(1, {"index": 0})
    await asyncio.sleep(0.7)
    assert 6 <= outage.tries <= 13, "four at once, then after 5, 10, 20, 40, ... ms"
    outage.over = True
    await until(lambda: store.turns)
    again = Outage(store)
    journal.turn(1, {"index": 1})
    await until(lambda: again.tries >= 4)
    again.over = True
    await until(lambda: len(store.turns) == 2, seconds=0.5)


@pytest.mark.usefixtures("hasty")
async def test_a_restart_during_an_outage_loses_nothing(store: FakeStore, tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    outage = Outage(store)
    first = Journal(store=store, folder=folder, clock=now)
    first.open()
    first.turn(1, {"index": 0})
    assert not await first.ended(1, session="s", reason="agent_ended", normal=True, within=0.05)
    await first.close()
    assert (store.turns, names(folder)) == ([], [".jsonl"])
    second = Journal(store=store, folder=folder, clock=now)
    second.open()
    second.turn(1, {"index": 1})
    await until(lambda: outage.tries > 20)
    outage.over = True
    await until(lambda: store.ended and len(store.turns) == 2)
    assert indexes(store) == [0, 1]
    await second.close()
    assert names(folder) == []


@pytest.mark.usefixtures("hasty")
async def test_what_a_living_process_still_has_to_write_is_left_to_it(store: FakeStore, tmp_path: Path) -> None:
    outage = Outage(store)
    first, second = (Journal(store=store, folder=tmp_path / "journal", clock=now) for _ in range(2))
    first.open()
    first.event(1, {"kind": "once"})
    await until(lambda: first.spilled == 1)
    tries = outage.tries
    await until(lambda: outage.tries > tries + 3)
    second.open()
    outage.over = True
    await until(lambda: store.events)
    await first.close()
    await second.close()
    assert store.events == [{"kind": "once"}]


@pytest.mark.usefixtures("hasty")
async def test_an_end_that_is_only_kept_is_not_said_to_be_written(journal: Journal, store: FakeStore) -> None:
    outage = Outage(store)
    assert not await journal.ended(7, session="s", reason="agent_ended", normal=True, within=0.2)
    assert journal.spilled == 1
    outage.over = True
    await until(lambda: store.ended)
    assert store.ended == [(7, "agent_ended", True)]


@pytest.mark.usefixtures("hasty")
async def test_an_end_that_is_written_while_its_session_waits_is_in_time(journal: Journal, store: FakeStore) -> None:
    outage = Outage(store)
    waiting = asyncio.create_task(journal.ended(7, session="s", reason=None, normal=False, within=5))
    await until(lambda: journal.spilled == 1)
    outage.over = True
    assert await waiting


@pytest.mark.usefixtures("hasty")
async def test_an_end_that_the_database_refuses_is_not_said_to_be_written(journal: Journal, store: FakeStore) -> None:
    Outage(store, IntegrityError)
    assert not await journal.ended(7, session="s", reason=None, normal=False, within=0.1)


@pytest.mark.usefixtures("hasty")
async def test_what_keeps_failing_holds_up_only_its_like_and_the_end_of_its_call(
    journal: Journal, store: FakeStore
) -> None:
    outage = Outage(store, ProgrammingError, hits=lambda kind, call_id: (kind, call_id) == ("turns", 1))
    journal.turn(1, {"index": 0})
    await until(lambda: journal.spilled == 1)
    journal.turn(2, {"index": 7})
    journal.event(1, {"kind": "flows"})
    assert await journal.ended(2, session="s", reason=None, normal=True, within=2)
    assert not await journal.ended(1, session="s", reason=None, normal=True, within=0.1)
    await until(lambda: store.events)
    outage.over = True
    await until(lambda: len(store.ended) == 2)
    assert indexes(store) == [7, 0]


@pytest.mark.usefixtures("hasty")
async def test_what_has_been_written_is_no_longer_kept_while_the_rest_waits(
    journal: Journal, store: FakeStore, tmp_path: Path
) -> None:
    failing = {1, 2}
    outage = Outage(store, hits=lambda kind, call_id: call_id in failing)
    journal.event(1, {"kind": "once"})
    journal.event(2, {"kind": "later"})
    await until(lambda: journal.spilled == 2)
    failing.remove(1)
    await until(lambda: store.events)
    (path,) = (tmp_path / "journal").glob("*.jsonl")
    await until(lambda: b"once" not in path.read_bytes())
    assert b"later" in path.read_bytes()
    outage.over = True
    await until(lambda: len(store.events) == 2)


async def test_a_batch_of_many_calls_waits_out_an_outage_once(
    journal: Journal, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "RETRY_S", (0.1, 0.1))
    outage = Outage(store)
    began = time.monotonic()
    for call_id in range(50):
        journal.turn(call_id, {"index": call_id})
    await until(lambda: journal.spilled == 50)
    assert time.monotonic() - began < 1.0, "not 0.2 s for each of them"
    outage.over = True
    await until(lambda: len(store.turns) == 50)


async def test_a_try_that_uses_up_all_patience_is_told_of(
    journal: Journal, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "BATCH_FAILING_S", 0.001)
    outage = Outage(store, takes_s=0.01)
    with capture_logs() as logs:
        for call_id in range(3):
            journal.turn(call_id, {"index": call_id})
        await until(lambda: journal.spilled == 3)
    assert [(entry["rows"], entry["error"]) for entry in logs if entry["event"] == "journal_write_failed"] == [
        (3, "OperationalError")
    ]
    outage.over = True
    await until(lambda: len(store.turns) == 3)


@pytest.mark.usefixtures("hasty")
async def test_a_long_outage_fills_several_files_that_are_written_in_order(
    journal: Journal, store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backlog_module, "FILE_ENTRIES", 2)
    outage = Outage(store)
    for number in range(7):
        journal.turn(1, {"index": number})
        await until(lambda: journal.spilled > number)  # noqa: B023  (waited for within the turn of the loop)
    assert names(tmp_path / "journal") == [".jsonl"] * 4
    outage.over = True
    await until(lambda: len(store.turns) == 7)
    assert indexes(store) == list(range(7))


@pytest.mark.usefixtures("hasty")
async def test_half_a_character_from_a_provider_is_kept_without_it(journal: Journal, store: FakeStore) -> None:
    outage = Outage(store)
    journal.turn(1, {"index": 0, "text": "caf\u00e9 \ud83d"})
    await until(lambda: journal.spilled == 1)
    outage.over = True
    await until(lambda: store.turns)
    assert store.turns == [{"index": 0, "text": "caf\u00e9 "}]


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("error", [IntegrityError, DataError, TypeError])
async def test_a_row_that_the_database_refuses_for_good_is_set_aside_and_its_like_are_written(
    journal: Journal, store: FakeStore, tmp_path: Path, error: type[Exception]
) -> None:
    folder = tmp_path / "journal"

    def write_turns(turns: dict[int, list]) -> None:
        rows = [row for each in turns.values() for row in each]
        if any(row["index"] == 1 for row in rows):
            raise error("no such turn")
        store.turns.extend(rows)

    store.write_turns = write_turns  # type: ignore[method-assign]
    outage = Outage(store)
    for number in range(4):
        journal.turn(1, {"index": number})
    journal.turn(2, {"index": 4})
    await until(lambda: journal.spilled == 5)
    outage.over = True
    await until(lambda: len(store.turns) == 4)
    assert sorted(indexes(store)) == [0, 2, 3, 4]
    await until(lambda: names(folder) == [".refused"])
    (line,) = next(folder.glob("*.refused")).read_bytes().splitlines()
    assert msgspec.json.decode(line) == {"kind": "turn", "call_id": 1, "row": {"index": 1}}


async def test_an_overfull_queue_goes_to_the_file_while_the_database_hangs(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_QUEUED", 10)
    journal = Journal(store=store, folder=tmp_path / "journal", clock=now)
    store.gate.clear()
    journal.open()
    journal.turn(1, {"index": 0})
    await until(lambda: store.begun)  # the writing thread hangs in the store
    for number in range(1, 31):
        journal.turn(1, {"index": number})
    await until(lambda: journal.spilled == 20)
    store.gate.set()
    await until(lambda: len(store.turns) == 31)
    await journal.close()
    assert indexes(store) == list(range(31))
    assert names(tmp_path / "journal") == []


async def test_what_is_newer_than_an_overflow_is_written_after_it(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_QUEUED", 10)
    begun: list[int] = []
    goes_on = threading.Semaphore(0)

    def write_turns(turns: dict[int, list]) -> None:
        begun.append(len(turns[1]))
        goes_on.acquire(timeout=5)
        store.turns.extend(turns[1])

    store.write_turns = write_turns  # type: ignore[method-assign]
    journal = Journal(store=store, folder=tmp_path / "journal", clock=now)
    journal.open()
    journal.turn(1, {"index": 0})
    await until(lambda: begun == [1])
    for number in range(1, 31):
        journal.turn(1, {"index": number})
    await until(lambda: journal.spilled == 20)
    goes_on.release()
    await until(lambda: begun == [1, 10])
    journal.turn(1, {"index": 31})
    goes_on.release(10)
    await until(lambda: len(store.turns) == 32)
    await journal.close()
    assert indexes(store) == list(range(32))


@pytest.mark.usefixtures("hasty")
async def test_what_overflows_stays_behind_what_is_older_when_the_database_fails(
    store: FakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_QUEUED", 10)
    journal = Journal(store=store, folder=tmp_path / "journal", clock=now)
    outage = Outage(store)
    monkeypatch.setattr(journal_module, "RETRY_S", (0.3,))
    journal.open()
    journal.turn(1, {"index": 0})
    await until(lambda: outage.tries)  # the writing thread pauses by now
    for number in range(1, 31):
        journal.turn(1, {"index": number})
    await until(lambda: journal.spilled == 31)
    outage.over = True
    journal.turn(1, {"index": 31})
    await until(lambda: len(store.turns) == 32)
    await journal.close()
    assert indexes(store) == list(range(32))


def test_a_killed_process_leaves_its_entries_to_the_next(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import sys, time
        from pathlib import Path
        from streaming.backlog import Backlog, Entry
        backlog = Backlog(Path(sys.argv[1]))
        backlog.append([Entry("turn", 1, {"text": "kept"})])
        print("ready", flush=True)
        time.sleep(60)
        """
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    backlog = Backlog(tmp_path)
    backlog.recover()
    assert not backlog
    process.kill()
    process.wait()
    time.sleep(0.01)
    (path,) = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(b'{"kind": "turn", "cut sho')
    backlog.recover()
    (part,) = backlog.parts
    assert [entry.row for entry in part.file.read(Entry)] == [{"text": "kept"}]
    assert SpillFile.take(path) is None, "it is ours now"
    backlog.append([Entry("turn", 1, {"text": "newer"})])
    assert len(backlog.parts) == 2, "nothing is written behind half a line"
    backlog.close()


def test_a_disk_that_fills_up_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = SpillFile.create(tmp_path)
    file.append([Entry("turn", 1, {"index": 0})])
    with monkeypatch.context() as patched:
        write = os.write
        patched.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:9]) and full())
        with pytest.raises(OSError, match="No space"):
            file.append([Entry("turn", 1, {"index": 1})])
    file.append([Entry("turn", 1, {"index": 2})])
    assert [entry.row["index"] for entry in file.read(Entry)] == [0, 2]
    file.close()


@pytest.mark.usefixtures("hasty")
async def test_when_database_and_disk_are_full_at_once_everything_is_written_once_there_is_room(
    journal: Journal, store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage = Outage(store)
    journal.turn(1, {"index": 0})
    await until(lambda: journal.spilled == 1)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: full())
        for number in (1, 2):
            journal.turn(1, {"index": number})
            await until(lambda number=number: journal.spilled == number + 1)
    journal.turn(1, {"index": 3})
    await until(lambda: journal.spilled == 4)
    outage.over = True
    await until(lambda: len(store.turns) == 4)
    assert indexes(store) == [0, 1, 2, 3]


def test_what_was_only_in_memory_is_left_to_the_next_process_when_there_is_room_by_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backlog = Backlog(tmp_path)
    monkeypatch.setattr(backlog_module, "MAX_HELD", 2)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda descriptor, data: full())
        backlog.append([Entry("turn", 1, {"index": 0})])
        backlog.append([Entry("turn", 1, {"index": 1})])
        with pytest.raises(OSError, match="No space"):
            backlog.append([Entry("turn", 1, {"index": 2})])
    backlog.close()
    backlog.recover()
    kept = [entry.row["index"] for part in backlog.parts for entry in part.file.read(Entry)]
    assert kept == [0, 1]
    backlog.close()


def full() -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

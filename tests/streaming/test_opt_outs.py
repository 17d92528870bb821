"""An opt-out is written once and for all, however long the database is away and whatever becomes of the process."""

import asyncio
import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError

from calls import live_calls, suppression
from calls.models import Call, CallEvent, DoNotCall
from config.env import BASE_DIR
from streaming import opt_outs as opt_outs_module
from streaming.opt_outs import OptOuts
from streaming.threads import Worker
from tests import factories
from tests.streaming.fakes import now, until

pytestmark = pytest.mark.db

NUMBER = "+14155552671"
KEY = {"source": DoNotCall.Source.KEY, "evidence": "pressed 9"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "opt-outs"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds pass in milliseconds."""
    monkeypatch.setattr(opt_outs_module, "PAUSE_S", 0.01)


class Database:
    """Stands before ``live_calls.opt_out``, or in its place: fails while it is ``away``, and always for ``refused``."""

    def __init__(self, behind: Any = None) -> None:
        self.away = True
        self.refused: set[int] = set()
        self.tries: list[int] = []
        self.found: list[int] = []
        self.threads: set[threading.Thread] = set()
        self.error: Exception = OperationalError("could not connect to server")
        self._behind = behind

    def opt_out(self, *, call_id: int, **asked: Any) -> None:
        self.threads.add(threading.current_thread())
        self.tries.append(call_id)
        if self.away or call_id in self.refused:
            raise self.error
        if self._behind is not None:
            self._behind(call_id=call_id, **asked)
        self.found.append(call_id)


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Database:
    found = Database()
    monkeypatch.setattr(live_calls, "opt_out", found.opt_out)
    return found


@asynccontextmanager
async def process(folder: Path) -> AsyncIterator[OptOuts]:
    """The opt-outs of a process, from its start to its orderly end."""
    database = Worker("database", limit=200)
    opt_outs = OptOuts(folder=folder, database=database, clock=now)
    opt_outs.open()
    try:
        yield opt_outs
    finally:
        await opt_outs.close()
        await database.close()


def kept(folder: Path) -> list[Path]:
    """What is to be written yet, oldest first."""
    return sorted(folder.glob("*.jsonl"))


def left(folder: Path) -> list[Path]:
    return list(folder.glob("*"))


async def test_one_that_the_database_takes_at_once_leaves_nothing_on_the_disk(folder: Path, database: Database) -> None:
    database.away = False
    async with process(folder) as opt_outs:
        assert await opt_outs.write(call_id=1, **KEY)
    assert (database.found, left(folder)) == ([1], [])


async def test_one_that_it_does_not_take_is_on_the_disk_before_it_is_said_to_be_written(
    folder: Path, database: Database
) -> None:
    async with process(folder) as opt_outs:
        assert await opt_outs.write(call_id=1, **KEY)
        (path,) = kept(folder)
        assert b"pressed 9" in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        await until(lambda: len(database.tries) > 3 * opt_outs_module.TRIES)
        assert kept(folder) == [path]
        database.away = False
        await until(lambda: not kept(folder))
        tries = len(database.tries)
        assert await opt_outs.write(call_id=2, **KEY)
    assert database.found == [1, 2]
    assert len(database.tries) == tries + 1
    assert threading.main_thread() not in database.threads


async def test_files_are_made_and_taken_over_off_the_event_loop(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: set[threading.Thread] = set()

    class Watched(opt_outs_module.SpillFile):
        def __init__(self, *args: Any) -> None:
            used.add(threading.current_thread())
            super().__init__(*args)

    monkeypatch.setattr(opt_outs_module, "SpillFile", Watched)
    for _ in range(2):
        async with process(folder) as opt_outs:
            await opt_outs.write(call_id=1, **KEY)
    assert used
    assert threading.main_thread() not in used


async def test_a_stalled_database_is_not_waited_for(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opt_outs_module, "WITHIN_S", 0.1)
    gate = threading.Event()
    monkeypatch.setattr(live_calls, "opt_out", lambda **asked: (gate.wait(20), database.opt_out(**asked)))
    database.away = False
    async with process(folder) as opt_outs:
        assert await opt_outs.write(call_id=1, **KEY)
        assert len(kept(folder)) == 1
        gate.set()
        await until(lambda: database.found and not kept(folder))


async def test_an_orderly_end_leaves_it_to_the_next_process(folder: Path, database: Database) -> None:
    async with process(folder) as opt_outs:
        await opt_outs.write(call_id=1, **KEY)
    (path,) = kept(folder)
    async with process(folder):
        await until(lambda: len(database.tries) > 5)
        async with process(folder):  # another of this host, meanwhile
            await asyncio.sleep(0.1)
        database.away = False
        await until(lambda: not kept(folder))
    assert (database.found, path.exists()) == ([1], False)


async def test_one_that_keeps_failing_holds_up_no_other(folder: Path, database: Database) -> None:
    database.error = TypeError("a fault of ours")
    database.refused = {1}
    async with process(folder) as opt_outs:
        assert await opt_outs.write(call_id=1, **KEY)
        assert await opt_outs.write(call_id=2, **KEY)
        database.away = False
        await until(lambda: database.found == [2] and len(kept(folder)) == 1)
    assert len(kept(folder)) == 1


@pytest.mark.parametrize("error", [ValueError("not a number in E.164"), Call.DoesNotExist()])
async def test_what_can_never_be_written_is_neither_kept_nor_said_to_be_written(
    folder: Path, database: Database, error: Exception
) -> None:
    async with process(folder) as opt_outs:
        assert await opt_outs.write(call_id=1, **KEY)
        database.error = error
        await until(lambda: not kept(folder))
        assert not await opt_outs.write(call_id=2, **KEY)
    assert (database.found, kept(folder)) == ([], [])


async def test_without_database_and_disk_it_is_not_said_to_be_written_but_tried_on_and_kept_once_there_is_room(
    folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    async with process(folder) as opt_outs:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", full)
            assert not await opt_outs.write(call_id=1, **KEY)
            assert not await opt_outs.write(call_id=2, **KEY)
            assert kept(folder) == []
            database.away, database.refused = False, {2}
            await until(lambda: database.found == [1])
    (path,) = kept(folder)
    assert b'"call_id":2' in path.read_bytes(), "there was room when the process ended"


async def test_a_broken_file_is_left_for_a_person_and_costs_the_others_nothing(
    folder: Path, database: Database
) -> None:
    for call_id in (1, 2, 3):
        async with process(folder) as opt_outs:
            await opt_outs.write(call_id=call_id, **KEY)
    first, _, third = kept(folder)
    first.write_bytes(first.read_bytes()[:20])
    with third.open("ab") as file:
        file.write(b'{"call_id": 3, "cut sho')
    database.away = False
    async with process(folder):
        await until(lambda: not kept(folder))
    assert sorted(database.found) == [2, 3]
    assert left(folder) == [first.with_suffix(".refused")]


# --- with the database -----------------------------------------------------------------------------------------------


KILLED = """
    import asyncio, sys, time
    import django
    django.setup()
    from pathlib import Path
    from django.db import OperationalError
    from django.utils import timezone
    from calls import live_calls
    from streaming.opt_outs import OptOuts
    from streaming.threads import Worker

    def away(**_):
        raise OperationalError("could not connect to server")

    live_calls.opt_out = away

    async def main():
        database = Worker("database", limit=200)
        opt_outs = OptOuts(folder=Path(sys.argv[1]), database=database, clock=timezone.now)
        opt_outs.open()
        print(await opt_outs.write(call_id=int(sys.argv[2]), source="key", evidence="pressed 9"), flush=True)
        await asyncio.sleep(60)

    asyncio.run(main())
"""


@pytest.mark.django_db(transaction=True)
def test_what_a_killed_process_has_said_to_be_written_is_on_the_list_once_the_next_has_started(folder: Path) -> None:
    call = factories.CallFactory(direction="outbound", to_number=NUMBER)
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(folder), str(call.pk)]
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "VAR_DIR": str(folder.parent)}
    killed = subprocess.Popen(command, cwd=BASE_DIR, env=environment, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "True\n"
    killed.kill()
    killed.wait()
    killed.stdout.close()
    killed_at = now()
    assert not DoNotCall.objects.exists()

    async def starts() -> None:
        async with process(folder):
            await until(lambda: not kept(folder))

    (path,) = kept(folder)
    before = path.read_bytes()
    asyncio.run(starts())
    row = suppression.find(NUMBER)
    assert row is not None
    assert (row.call, row.source, row.evidence) == (call, "key", "pressed 9")
    assert row.since < killed_at, "when it was asked for"
    path.write_bytes(before)  # as if it had been killed once more before it could delete the file
    asyncio.run(starts())
    assert DoNotCall.objects.get() == row
    assert CallEvent.objects.filter(call=call, kind="opted_out").count() == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_presses_the_key_again_while_the_database_is_away_is_on_the_list_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = factories.CallFactory(direction="outbound", to_number=NUMBER)
    database = Database(live_calls.opt_out)
    monkeypatch.setattr(live_calls, "opt_out", database.opt_out)

    async def presses_thrice() -> None:
        async with process(folder) as opt_outs:
            assert await opt_outs.write(call_id=call.pk, **KEY)
            assert await opt_outs.write(call_id=call.pk, **KEY)
            database.away = False
            assert await opt_outs.write(call_id=call.pk, **KEY)
            await until(lambda: not kept(folder))

    asyncio.run(presses_thrice())
    assert len(database.found) == 3
    assert DoNotCall.objects.get().call == call
    assert CallEvent.objects.filter(call=call, kind="opted_out").count() == 1

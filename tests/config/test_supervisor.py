"""The keeper of the processes: whatever a process prints, it goes on, and when it dies it is started again."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from config.supervisor import Process, Supervisor, SupervisorError, role_processes

LONG = 1_000_000  # bytes; far beyond the 64 KiB that asyncio takes as one line

pytestmark = pytest.mark.pure


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("VAR_DIR", str(tmp_path))
    (tmp_path / "logs").mkdir()
    return tmp_path


def talker(folder: Path, *then: str) -> Process:
    """A process that prints a line of 1 MB and another one, notes that it came so far, and does what follows."""
    program = folder / "talker.py"
    note = f"open({str(folder / 'notes')!r}, 'a').write('.')"
    program.write_text("\n".join(["import time", f"print('x' * {LONG})", "print('more', flush=True)", note, *then]))
    return Process("talker", [sys.executable, str(program)], dict(os.environ), stop_seconds=5.0)


async def runs(folder: Path, wanted: int) -> None:
    async with asyncio.timeout(20):
        while not (folder / "notes").exists() or len((folder / "notes").read_text()) < wanted:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_process_that_prints_an_endless_line_neither_freezes_nor_stays_dead(folder, capfdbinary):
    supervisor = Supervisor([talker(folder, "raise SystemExit(3)")])
    await supervisor.start()
    await runs(folder, 2)
    await supervisor.stop()
    log = (folder / "logs" / "talker.log").read_bytes()
    assert log.startswith(b"x" * LONG + b"\nmore\n" + b"x" * LONG + b"\nmore\n")
    told = capfdbinary.readouterr().out
    assert b"\n talker | more\n" in told
    assert b"talker ended with status 3; starting it again in 0.1 s" in told


async def test_a_process_goes_on_while_its_log_cannot_be_written(folder, capfdbinary):
    (folder / "logs" / "talker.log").mkdir()
    supervisor = Supervisor([talker(folder, "time.sleep(60)")], quiet=True)
    await supervisor.start()
    await runs(folder, 1)
    await supervisor.stop()
    told = capfdbinary.readouterr().out
    assert told.count(b"its log lines are lost until") == 1


async def test_what_cannot_be_started_again_at_once_is_started_later(folder, capfdbinary):
    process = talker(folder, f"import os; os.rename({str(folder / 'python')!r}, {str(folder / 'away')!r})")
    (folder / "python").symlink_to(process.command[0])
    process.command[0] = str(folder / "python")
    supervisor = Supervisor([process], quiet=True)
    await supervisor.start()
    async with asyncio.timeout(20):
        while b"could not be started" not in capfdbinary.readouterr().out:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    (folder / "away").rename(folder / "python")
    await runs(folder, 2)
    await supervisor.stop()


async def test_a_terminal_that_is_gone_stops_nothing(folder, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        supervisor = Supervisor([talker(folder)])
        await supervisor.start()
        await runs(folder, 2)
        await supervisor.stop()
        monkeypatch.undo()
        with pytest.raises(BrokenPipeError):
            gone.close()


async def test_calls_may_end_before_web_stops_and_redis_stops_last(folder):
    """Each process notes its name when it ends, a while after it was told to."""
    names = ("redis", "worker", "web", "stream-1")
    program = folder / "ends.py"
    program.write_text(
        "import pathlib, signal, sys, time\n"
        "notes, name = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
        "def end(*_):\n"
        "    time.sleep(0.3)\n"
        "    notes.open('a').write(name + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "(notes.parent / name).touch()\n"
        "time.sleep(60)\n"
    )
    supervisor = Supervisor(
        [
            Process(name, [sys.executable, str(program), str(folder / "notes"), name], dict(os.environ))
            for name in names
        ],
        quiet=True,
    )
    await supervisor.start()
    async with asyncio.timeout(20):
        while not all((folder / name).exists() for name in names):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await supervisor.stop()
    assert (folder / "notes").read_text() == "stream-1 web worker redis "


def test_several_stream_processes_share_one_port_and_each_has_one_of_its_own(monkeypatch):
    monkeypatch.setenv("STREAM_PROCESSES", "3")
    roles = role_processes(web_port=1, stream_port=40_000, combined=False, environment={})
    streams = [process for process in roles if process.name.startswith("stream")]
    assert [process.name for process in streams] == ["stream-1", "stream-2", "stream-3"]
    ports = [dict(zip(process.command, process.command[1:], strict=False)) for process in streams]
    assert {each["--port"] for each in ports} == {"40000"}
    assert len({each["--own-port"] for each in ports}) == 3


@pytest.mark.parametrize(
    ("count", "combined", "server"), [("0", False, "uvicorn"), ("2", True, "uvicorn"), ("2", False, "daphne")]
)
def test_a_number_of_stream_processes_that_cannot_be_is_said_so(monkeypatch, count, combined, server):
    monkeypatch.setenv("STREAM_PROCESSES", count)
    with pytest.raises(SupervisorError, match="STREAM_PROCESSES"):
        role_processes(web_port=1, stream_port=2, combined=combined, environment={}, server_name=server)

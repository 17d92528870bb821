"""Processes of a measurement: started on a core of their own, watched through ``/proc``."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

SERVER_CORE, LOAD_CORE = 0, 1
REALTIME = "BENCH_REALTIME"
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A TCP port on loopback that nobody listens at."""
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def on_core(core: int) -> Callable[[], None]:
    """What a child process does first: it stays on its core.

    With BENCH_REALTIME set it also goes before all else there, whatever its niceness: only on a machine of one's own.
    """

    def settle() -> None:
        os.sched_setaffinity(0, {core})
        if os.environ.get(REALTIME):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))

    return settle


class Pinned:
    """A process that may use one core only, with everything it starts.

    Raises:
        RuntimeError: by ``ready`` when it ends before it is.
    """

    def __init__(self, name: str, command: Sequence[str], *, core: int, environment: Mapping[str, str], log: Path):
        self.name = name
        self._log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                env=dict(environment),
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                preexec_fn=on_core(core),  # noqa: PLW1509  (before any thread of it runs)
            )

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._process.pid

    async def ready(self, check: Callable[[], bool], seconds: float = 90) -> None:
        """Waits until ``check`` holds."""
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(check):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not serve:\n{self._log.read_text()[-3000:]}")
            await asyncio.sleep(0.1)

    async def stop(self, seconds: float = 15) -> None:
        """SIGTERM, twice where once is not enough, at last SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process.poll() is not None:
                return
            self._process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, seconds)


def listens(port: int) -> Callable[[], bool]:
    """Whether something accepts connections at a port of loopback."""

    def check() -> bool:
        with contextlib.closing(socket.socket()) as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return check


def tree(pid: int) -> list[int]:
    """The process and all its descendants that live now."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{each}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
    return found


def cpu_ms(pid: int) -> float:
    """CPU time of the process tree so far, user and system, children that have ended included."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total * 1000 / _TICKS_PER_S


def memory_kb(pid: int) -> int:
    """Proportional memory of the process tree, in KiB."""
    total = 0
    for each in tree(pid):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{each}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total

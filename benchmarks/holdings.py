"""What a process holds of the machine: memory, descriptors, sockets, threads, and tasks of its event loop."""

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import httpx


@dataclass(frozen=True)
class Holdings:
    """At one moment; ``files`` are all descriptors, sockets among them."""

    memory_kb: int
    files: int
    sockets: int
    threads: int
    tasks: int

    def over(self, before: "Holdings", spare: Mapping[str, int]) -> dict[str, int]:
        """What there is more of than before, but for memory, where that is more than ``spare`` allows."""
        more = {each.name: getattr(self, each.name) - getattr(before, each.name) for each in fields(self)}
        return {name: by for name, by in more.items() if by > spare.get(name, 0) and name != "memory_kb"}


def holdings(pid: int, port: int) -> Holdings:
    """Of the stream process with this pid that serves at this port of loopback.

    Raises:
        OSError: it has ended.
        httpx.HTTPError: it does not answer.
    """
    tasks = int(figure(port, "parley_tasks"))
    targets = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(str(each.readlink()))
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Holdings(
        memory_kb=int(status["VmRSS"].split()[0]),
        files=len(targets),
        sockets=sum(target.startswith("socket:") for target in targets),
        threads=int(status["Threads"]),
        tasks=tasks,
    )


def settled(pid: int, port: int, *, before: Holdings, spare: Mapping[str, int], within: float) -> Holdings:
    """The same, once it is not ``over`` what it held before, or after ``within`` s."""
    deadline = time.monotonic() + within
    while (now := holdings(pid, port)).over(before, spare) and time.monotonic() < deadline:
        time.sleep(0.5)
    return now


def figure(port: int, name: str) -> float:
    """A figure without labels of the ``/metrics`` of the process that serves at this port of loopback.

    Raises:
        httpx.HTTPError: it does not answer.
    """
    page = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=30).raise_for_status().text
    return next(float(line.split()[1]) for line in page.splitlines() if line.startswith(f"{name} "))

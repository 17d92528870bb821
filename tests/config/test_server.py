"""What a serving process does while it makes ready what live calls need."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pytest

from config.env import BASE_DIR
from config.supervisor import free_port

pytestmark = pytest.mark.db

PROGRAM = """
import asyncio, gc, socket, sys
from config import server

port, serve = int(sys.argv[1]), getattr(server, f"serve_{sys.argv[2]}")

def answers():
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0

async def watch():
    while not answers():
        await asyncio.sleep(0.01)
    print("listens", flush=True)

async def opening():
    await asyncio.sleep(0.3)
    if len(sys.argv) > 3:
        raise RuntimeError("no models")
    print("listens already" if answers() else "opened", flush=True)
    opening.watch = asyncio.create_task(watch())

async def closing():
    print("closed", flush=True)
    print("collector", gc.isenabled(), gc.get_freeze_count() > 10_000, flush=True)

server._close_live_calls = closing

server._open_live_calls = opening
serve(None, host="127.0.0.1", port=port, streams=True)
"""


@pytest.mark.parametrize(
    ("server", "saying"), [("uvicorn", ["listens already", "listens"]), ("daphne", ["opened", "listens"])]
)
def test_uvicorn_listens_meanwhile_and_daphne_which_drops_who_waits_only_afterwards(server, saying):
    command = [sys.executable, "-c", PROGRAM, str(free_port(0)), server]
    with subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline().strip() for _ in range(2)]
        finally:
            process.kill()
    assert said == saying


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_a_process_that_cannot_open_ends_with_its_error(server):
    command = [sys.executable, "-c", PROGRAM, str(free_port(0)), server, "fails"]
    done = subprocess.run(command, cwd=BASE_DIR, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "RuntimeError: no models" in done.stderr


SHARED = """
import asyncio, os, sys
from config import server

async def who(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

async def nothing():
    pass

async def long():
    await asyncio.sleep(60)

server._open_live_calls = server._close_live_calls = nothing
server._drain_live_calls = long
server.serve_uvicorn(who, host="127.0.0.1", port=int(sys.argv[1]), streams=True, own_port=int(sys.argv[2]))
"""


def asked(port: int) -> int:
    return int(httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text)


def test_processes_share_a_port_and_one_that_drains_leaves_it_to_the_others():
    shared, *own = [free_port(0) for _ in range(3)]
    with contextlib.ExitStack() as stack:
        processes = []
        for port in own:
            command = [sys.executable, "-c", SHARED, str(shared), str(port)]
            processes.append(stack.enter_context(subprocess.Popen(command, cwd=BASE_DIR)))
            stack.callback(processes[-1].kill)
        until(lambda: [asked(port) for port in own] == [process.pid for process in processes])
        until(lambda: {asked(shared) for _ in range(20)} == {process.pid for process in processes})
        processes[0].terminate()
        until(lambda: {asked(shared) for _ in range(20)} == {processes[1].pid})
        assert asked(own[0]) == processes[0].pid, "what it still carries goes on"


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(httpx.HTTPError):
            if holds():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_the_collector_never_looks_through_what_was_loaded(server):
    command = [sys.executable, "-c", "import gc; gc.disable()" + PROGRAM, str(free_port(0)), server]
    with subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
        said = [process.stdout.readline() for _ in range(2)]
        process.terminate()
        said += process.stdout.readlines()
    assert "collector True True\n" in said

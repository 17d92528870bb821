"""What a serving process does while it makes ready what live calls need."""

import subprocess
import sys

import pytest

from config.env import BASE_DIR
from config.supervisor import free_port

pytestmark = pytest.mark.db

PROGRAM = """
import asyncio, socket, sys
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

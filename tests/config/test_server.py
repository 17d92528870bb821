"""A serving process listens only once it can take calls."""

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
    print("listens already" if answers() else "opened", flush=True)
    opening.watch = asyncio.create_task(watch())

server._open_live_calls = opening
serve(None, host="127.0.0.1", port=port, streams=True)
"""


@pytest.mark.parametrize("server", ["uvicorn", "daphne"])
def test_nobody_is_let_in_before_the_live_calls_resources_are_there(server):
    command = [sys.executable, "-c", PROGRAM, str(free_port(0)), server]
    with subprocess.Popen(command, cwd=BASE_DIR, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline().strip() for _ in range(2)]
        finally:
            process.kill()
    assert said == ["opened", "listens"]

"""Parley as real processes beside a sandbox: web and stream servers over a database of their own.

For journeys from the ring to the call log. No Redis, worker or beat: what those do after the call is tested elsewhere.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx

from config.supervisor import free_port
from sandbox.testing import Control, sandbox_process

AUTH_ID = "MATESTHOUSE000000000"
CALLED = "+14155550100"
FURNISH = """
import django, json, sys
django.setup()
from config import demo_log
demo_log.furnish(**json.loads(sys.argv[1]))
"""


class House:
    """The running installation.

    Attributes:
        control: of the sandbox.
    """

    def __init__(self, var_dir: Path, box_url: str, control: Control) -> None:
        self.control = control
        self.var_dir = var_dir
        self.web_port, self.stream_port = free_port(0), free_port(0)
        unset = dict.fromkeys(("DATABASE_URL", "PRODUCTION", "STREAM_SIGNATURE", "ALLOW_UNSIGNED"), "")
        self.environment = os.environ | unset | {
            "VAR_DIR": str(var_dir),
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PUBLIC_URL": f"http://127.0.0.1:{self.web_port}",
            "STREAM_URL": f"ws://127.0.0.1:{self.stream_port}",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "PLIVO_API_URL": box_url,
            "DRAIN_SECONDS": "5",
            "LOG_LEVEL": "INFO",
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def manage(self, *arguments: str) -> None:
        """One management command."""
        subprocess.run([sys.executable, "manage.py", *arguments], env=self.environment, check=True, capture_output=True)

    def furnish(self, *, box_url: str, auth_token: str, codec: str) -> None:
        """The sandbox's agent behind the number that callers ring."""
        wishes = {"box_url": box_url, "auth_id": AUTH_ID, "auth_token": auth_token, "called": CALLED, "codec": codec}
        subprocess.run(
            [sys.executable, "-c", FURNISH, json.dumps(wishes)], env=self.environment, check=True, capture_output=True
        )

    async def serve(self, role: str, *, server: str = "uvicorn") -> None:
        """Starts a server and waits until it answers."""
        port = self.stream_port if role == "stream" else self.web_port
        command = [sys.executable, "-m", "config.server", "--role", role, "--port", str(port), "--server", server]
        self._processes[role] = process = self._start(role, command)
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(40):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success:
                        return
                assert process.poll() is None, f"the {role} process ended: {self.log(role)}"
                await asyncio.sleep(0.05)

    def _start(self, role: str, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.var_dir / f"{role}.log").open("ab") as output:
            return subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)

    def kill(self, role: str) -> None:
        """kill -9."""
        process = self._processes.pop(role)
        process.send_signal(signal.SIGKILL)
        process.wait()

    async def stop(self, role: str) -> int:
        """SIGTERM; the exit status."""
        process = self._processes.pop(role)
        process.terminate()
        return await asyncio.to_thread(process.wait, 30)

    async def close(self) -> None:
        """Stops every process."""
        for role in list(self._processes):
            await self.stop(role)

    def log(self, role: str) -> str:
        """What a process has written."""
        return (self.var_dir / f"{role}.log").read_text()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Reads the database from outside."""
        with contextlib.closing(sqlite3.connect(self.var_dir / "parley.sqlite3", timeout=10)) as database:
            return database.execute(query, values).fetchall()

    async def ring(self, *steps: Any, **call: Any) -> str:
        """A caller who does these steps rings the agent; the CallUUID."""
        script = {"scenario": "front_desk", "steps": list(steps)}
        return await self.control.inbound_call(CALLED.lstrip("+"), script=script, **call)

    def turns(self, call_uuid: str) -> list[tuple[Any, ...]]:
        """(role, text, heard, started_ms, ended_ms) of each turn."""
        return self.rows(
            "SELECT t.role, t.text, t.heard, t.started_ms, t.ended_ms FROM calls_turn t JOIN calls_call c "
            'ON c.id = t.call_id WHERE c.plivo_call_uuid = ? ORDER BY t."index"',
            call_uuid,
        )

    def call(self, call_uuid: str) -> dict[str, Any]:
        """The call's row."""
        columns = ("id", "status", "end_reason", "live_at", "streams")
        (row,) = self.rows(f"SELECT {', '.join(columns)} FROM calls_call WHERE plivo_call_uuid = ?", call_uuid)  # noqa: S608
        return dict(zip(columns, row, strict=True))


async def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Waits for what the condition gives; AssertionError with ``what`` when it never comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(what)


@contextlib.asynccontextmanager
async def house(folder: Path, *, server: str, codec: str) -> AsyncIterator[House]:
    """Everything started and furnished; stopped when the block is left."""
    auth_token = secrets.token_hex(20)
    async with sandbox_process("--account", f"{AUTH_ID}:{auth_token}={CALLED.lstrip('+')}") as box:
        built = House(folder, box.url, box.control)
        await asyncio.to_thread(built.manage, "migrate", "--noinput")
        await asyncio.to_thread(built.manage, "collectstatic", "--noinput")
        try:
            await built.serve("web", server=server)
            await asyncio.to_thread(built.furnish, box_url=box.url, auth_token=auth_token, codec=codec)
            await built.serve("stream", server=server)
            yield built
        finally:
            await built.close()

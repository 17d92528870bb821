"""A running sandbox for tests, the demonstration and measurements: in this process, or as a process of its own.

`async with running_sandbox(...) as box:` serves on a free port in the current event loop; `sandbox_process(...)` starts
`python -m sandbox`. Both give a Sandbox with the URL and a client for /control/.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.app import ADDRESS, create_app
from sandbox.config import SandboxConfig


class ControlError(RuntimeError):
    """The control API refused; carries its status and sentence."""

    def __init__(self, status: int, text: str) -> None:
        """Keep the HTTP status and the reason."""
        super().__init__(f"{status}: {text}")
        self.status = status


class Control:
    """Client of /control/: every method is one request; raises ControlError when it is refused."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        """`url` is the sandbox's, without /control/."""
        self._base = f"{url}/control"
        self._session = session

    async def request(self, method: str, path: str, body: Any = None, **query: str) -> Any:
        """One request; the decoded JSON reply."""
        async with self._session.request(method, f"{self._base}/{path}", json=body, params=query) as reply:
            if reply.status >= 400:
                raise ControlError(reply.status, await reply.text())
            return await reply.json()

    async def inbound_call(self, to: str, **call: Any) -> str:
        """Phone `to` (a rented number). `from`, `scenario` or `script`, `voice`, `faults`: see the README. CallUUID."""
        if "from_" in call:
            call["from"] = call.pop("from_")
        return str((await self.request("POST", "calls", {"to": to, **call}))["call_uuid"])

    async def calls(self) -> list[dict[str, Any]]:
        """All calls, oldest first: call_uuid, direction, from, to, state."""
        return list((await self.request("GET", "calls"))["calls"])

    async def report(self, call_uuid: str, *, wait: str = "", timeout_s: float = 60) -> dict[str, Any]:
        """All that is known of a call; `wait` = answered, streaming or ended (callbacks sent) waits for that first."""
        query = {"wait": wait, "timeout_s": str(timeout_s)} if wait else {}
        return dict(await self.request("GET", f"calls/{call_uuid}", **query))

    async def audio(self, call_uuid: str, *, stream: int | None = None) -> bytes:
        """WAV, left what the caller said, right what it heard; with `stream`, exactly what that stream played."""
        path = f"calls/{call_uuid}/audio.wav" if stream is None else f"calls/{call_uuid}/streams/{stream}.wav"
        async with self._session.get(f"{self._base}/{path}") as reply:
            if reply.status >= 400:
                raise ControlError(reply.status, await reply.text())
            return await reply.read()

    async def act(self, call_uuid: str, step: str, **options: Any) -> None:
        """Let the caller do one step now, instead of the rest of its script: `say`, `press`, `hangup`, `drop_tcp`."""
        await self.request("POST", f"calls/{call_uuid}/steps", {"steps": [{step: options}]})

    async def behaviour(self, number: str, *behaviours: dict[str, Any]) -> None:
        """How an outbound number answers; several are used one after the other, the last one stays. `*` is any."""
        await self.request("PUT", f"behaviours/{'any' if number == '*' else number}", {"sequence": list(behaviours)})

    async def faults(self, **faults: Any) -> None:
        """Switch faults on for all calls from now on; `None` switches one off."""
        await self.request("PATCH", "faults", faults)

    async def settings(self, **settings: Any) -> None:
        """Change limits and times (see README)."""
        await self.request("PATCH", "settings", settings)

    async def number(self, number: str, **application: Any) -> dict[str, Any]:
        """Rent a number with an application: answer_url, hangup_url, auth_id ..."""
        return dict(await self.request("PUT", f"numbers/{number}", application))

    async def ledger(self) -> dict[str, Any]:
        """Every number rung, call posted, webhook sent and socket opened."""
        return dict(await self.request("GET", "ledger"))

    async def reset(self) -> None:
        """Hang up everything and forget everything, the ledger too."""
        await self.request("POST", "reset", {})


class Sandbox:
    """Where a running sandbox is, and how to steer it."""

    def __init__(self, url: str, session: aiohttp.ClientSession, process: asyncio.subprocess.Process | None) -> None:
        """`process` is None when it serves in this event loop."""
        self.url = url
        self.control = Control(url, session)
        self.process = process


@contextlib.asynccontextmanager
async def running_sandbox(config: SandboxConfig | None = None, **settings: Any) -> AsyncIterator[Sandbox]:
    """Serve in this event loop. Without a config: a free port on loopback and `settings` of SandboxConfig."""
    config = config or SandboxConfig(**{"port": 0, **settings})
    app = create_app(config)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, config.host, config.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        app[ADDRESS].url = f"http://{host}:{port}"
        async with aiohttp.ClientSession() as session:
            yield Sandbox(app[ADDRESS].url, session, None)
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def sandbox_process(*arguments: str) -> AsyncIterator[Sandbox]:
    """Start `python -m sandbox --port 0 ...` and wait until it is ready; ended when the block is left.

    Raises RuntimeError when it exits before it is ready.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sandbox", "--port", "0", *arguments, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None  # noqa: S101 (asked for above)
        line = await asyncio.wait_for(process.stdout.readline(), timeout=30)
        if not line:
            message = f"the sandbox ended with status {await process.wait()}"
            raise RuntimeError(message)
        async with aiohttp.ClientSession() as session:
            yield Sandbox(json.loads(line)["ready"], session, process)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), timeout=10)
            except TimeoutError:
                process.kill()
                await process.wait()

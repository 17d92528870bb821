"""Parley as real processes beside a sandbox, over a database of their own.

``house`` is web and stream servers alone, for journeys from the ring to the call log; ``installation`` is all that
``make run`` starts, Redis, worker and beat included.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from config.supervisor import free_port
from sandbox.plivo.signatures import handshake_url, signature_headers
from sandbox.testing import Control, sandbox_process
from tests import ready_made
from tests.integration import databases

AUTH_ID = "MATESTHOUSE000000000"
CALLED = "+14155550100"
MULAW = "audio/x-mulaw;rate=8000"
SUPERVISOR = "supervisor"
FURNISH = """
import django, json, sys
django.setup()
from config import demo_log
demo_log.furnish(**json.loads(sys.argv[1]))
"""
SPEAK_TO = """
import django, sys
django.setup()
from agents.accounts import set_key
from agents.models import ProviderAccount
for account in ProviderAccount.objects.all():
    set_key(account, sys.argv[1])
    account.save()
"""
REPUBLISH = """
import django, json, sys
django.setup()
from agents import services
from calls.models import PhoneNumber
agent = PhoneNumber.objects.select_related("agent").get(number=sys.argv[1]).agent
for name, value in json.loads(sys.argv[2]).items():
    setattr(agent, name, value)
agent.save()
services.publish(agent=agent, user=None)
"""
SCRIPTED_EARS = """
import django
django.setup()
from agents.accounts import set_key
from agents.models import ProviderAccount
for account in ProviderAccount.objects.filter(provider="elevenlabs"):
    set_key(account, "test-house")
    account.save()
"""


class House:
    """The running installation.

    Attributes:
        control: of the sandbox.
        auth_token: of the sandbox's Plivo account ``AUTH_ID``.
        codec: content type of the calls' streams.
        server: what serves, uvicorn or Daphne.
    """

    def __init__(
        self,
        var_dir: Path,
        box_url: str,
        control: Control,
        auth_token: str,
        *,
        server: str,
        database_url: str,
        codec: str = MULAW,
    ) -> None:
        self.control = control
        self.server = server
        self.codec = codec
        self.box_url = box_url
        self.auth_token = auth_token
        self.var_dir = var_dir
        self.web_port, self.stream_port = free_port(0), free_port(0)
        unset = dict.fromkeys(("PRODUCTION", "STREAM_SIGNATURE", "ALLOW_UNSIGNED"), "")
        self.environment = os.environ | unset | {
            "VAR_DIR": str(var_dir),
            "DATABASE_URL": database_url,
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "PUBLIC_URL": f"http://127.0.0.1:{self.web_port}",
            "STREAM_URL": f"ws://127.0.0.1:{self.stream_port}",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "PLIVO_API_URL": box_url,
            "OPENAI_BASE_URL": f"{box_url}/v1",
            "ELEVENLABS_BASE_URL": box_url,
            "DRAIN_SECONDS": "5",
            "LOG_LEVEL": "INFO",
        }  # fmt: skip
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def manage(self, *arguments: str, **environment: str) -> str:
        """One management command; what it printed."""
        return self.python("manage.py", *arguments, **environment)

    def furnish(self) -> None:
        """The sandbox's agent behind the number that callers ring."""
        wishes = {"box_url": self.box_url, "auth_id": AUTH_ID, "auth_token": self.auth_token, "called": CALLED}
        self.python("-c", FURNISH, json.dumps(wishes | {"codec": self.codec}))

    def republish(self, **fields: Any) -> None:
        """Publishes the agent behind the number with these fields changed."""
        self.python("-c", REPUBLISH, CALLED, json.dumps(fields))

    async def scripted(self, *heard: str) -> None:
        """What the recogniser hears from now on, the last for ever; no audio is decoded, which saves much CPU."""
        await asyncio.to_thread(self.python, "-c", SCRIPTED_EARS)
        await self.control.request("POST", "providers/transcripts", {"texts": heard[:-1], "default": heard[-1]})

    def speak_to(self, scenario: str) -> None:
        """The sandbox's ears and brain are those of another scenario."""
        self.python("-c", SPEAK_TO, f"demo-{scenario}")

    def redis_url(self) -> str:
        """Where this installation's Redis is."""
        return self.manage("shell", "--no-imports", "-c", "from config.env import *; print(redis_url())").split()[0]

    def python(self, *arguments: str, **environment: str) -> str:
        """A program of the installation's to its end; what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment | environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    async def serve(
        self, role: str, *, server: str = "", port: int = 0, name: str = "", module: str = "config.server"
    ) -> None:
        """Starts a server and waits until it answers.

        Args:
            module: what runs, in the place of ``config.server``.
            server: another one than the installation's; "runserver" is Django's own command, which serves all roles.
            port: where it serves; 0: where the installation's addresses point.
            name: of a second process in the same role.
        """
        port = port or (self.stream_port if role == "stream" else self.web_port)
        command = [sys.executable, "-m", module, "--role", role, "--port", str(port)]
        command += ["--server", server or self.server]
        if server == "runserver":
            # Its first socket waits until the models are loaded: on a busy machine longer than Daphne's 5 s.
            command = [sys.executable, "manage.py", "runserver", "--noreload", "--websocket_handshake_timeout=60"]
            command.append(str(port))
        self._start(name or role, command)
        await self._answers(name or role, port)

    async def run(self) -> None:
        """All that ``make run`` starts, prepared and answering."""
        command = [sys.executable, "-m", "config.supervisor", "--server", self.server]
        command += ["--web-port", str(self.web_port), "--stream-port", str(self.stream_port)]
        self._start(SUPERVISOR, command)
        await self._answers(SUPERVISOR, self.web_port)
        await self._answers(SUPERVISOR, self.stream_port)

    async def _answers(self, name: str, port: int) -> None:
        async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(60):
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{port}/healthz")).is_success:
                        return
                assert self._processes[name].poll() is None, f"the {name} process ended: {self.log(name)}"
                await asyncio.sleep(0.05)

    def _start(self, name: str, command: list[str]) -> None:
        with (self.var_dir / f"{name}.log").open("ab") as output:
            self._processes[name] = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)

    def pid(self, role: str) -> int:
        """Of a process that ``serve`` has started."""
        return self._processes[role].pid

    def kill(self, role: str) -> None:
        """kill -9."""
        process = self._processes.pop(role)
        process.send_signal(signal.SIGKILL)
        process.wait()

    async def stop(self, role: str, within: float = 30) -> int:
        """SIGTERM; the exit status."""
        process = self._processes.pop(role)
        process.terminate()
        return await asyncio.to_thread(process.wait, within)

    async def close(self) -> None:
        """Stops every process."""
        for role in list(self._processes):
            await self.stop(role)

    def log(self, role: str) -> str:
        """What a process has written."""
        return (self.var_dir / f"{role}.log").read_text()

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Reads the database from outside; see ``databases.read``."""
        return databases.read(self.environment["DATABASE_URL"], self.var_dir, query, values)

    async def ring(self, *steps: Any, **call: Any) -> str:
        """A caller who does these steps rings the agent; the CallUUID."""
        script = {"scenario": "front_desk", "steps": list(steps)}
        return await self.control.inbound_call(CALLED.lstrip("+"), script=script, **call)

    async def announce(self) -> tuple[str, str]:
        """A call that Plivo announces with a signed webhook, and that nobody carries; its CallUUID and its token."""
        call_uuid = str(uuid.uuid4())
        return call_uuid, await self._token("/plivo/answer/", call_uuid)

    async def after_stream(self, call_uuid: str) -> str:
        """Plivo asks what comes after a stream that was cut off; the token of the next one."""
        ((public_id,),) = self.rows("SELECT public_id FROM calls_call WHERE plivo_call_uuid = ?", call_uuid)
        return await self._token(f"/plivo/calls/{uuid.UUID(public_id)}/after-stream/", call_uuid)

    async def _token(self, path: str, call_uuid: str) -> str:
        """The stream's token in the document that a webhook of Plivo's is answered with."""
        url = f"{self.environment['PUBLIC_URL']}{path}"
        form = {"CallUUID": call_uuid, "From": "15551230001", "To": CALLED.lstrip("+"), "Direction": "inbound"}
        async with httpx.AsyncClient(trust_env=False) as plivo:
            reply = (await plivo.post(url, data=form, headers=self._signed("POST", url, form))).raise_for_status()
        if "/stream/" not in reply.text:
            raise RefusedError(reply.text)
        return reply.text.split("/stream/")[1].split("/")[0]

    @contextlib.asynccontextmanager
    async def knock(
        self,
        token: str,
        *,
        signed: bool = True,
        port: int = 0,
        headers: Mapping[str, str] | None = None,
        **options: Any,
    ) -> AsyncIterator[ClientConnection]:
        """A socket at the stream server (or at another ``port``), signed as Plivo signs it; ``options`` of connect."""
        url = f"{self.environment['STREAM_URL']}/stream/{token}{'/' if token else ''}"
        signature = self._signed("GET", handshake_url(url, "http"), {}) if signed else {}
        async with connect(
            url.replace(str(self.stream_port), str(port or self.stream_port)),
            additional_headers={**(headers or {}), **signature},
            compression=None,
            proxy=None,
            **options,
        ) as socket:
            yield socket

    def _signed(self, method: str, url: str, form: Mapping[str, str]) -> dict[str, str]:
        return signature_headers(method, url, form, tokens=[self.auth_token], main_tokens=[self.auth_token])

    def turns(self, call_uuid: str) -> list[tuple[Any, ...]]:
        """(role, text, heard, started_ms, ended_ms) of each turn."""
        return self.rows(
            "SELECT t.role, t.text, t.heard, t.started_ms, t.ended_ms FROM calls_turn t JOIN calls_call c "
            'ON c.id = t.call_id WHERE c.plivo_call_uuid = ? ORDER BY t.started_ms, t."index"',
            call_uuid,
        )

    def speakers(self, call_uuid: str) -> list[str]:
        """Who has said something, in order."""
        return [role for role, text, heard, *_ in self.turns(call_uuid) if text or heard]

    def recorded_ms(self, call_uuid: str) -> int:
        """Length of the call's recording; 0 while it is not ready."""
        query = "SELECT duration_ms FROM calls_recording WHERE call_id = ? AND status = 'ready'"
        return next((length for (length,) in self.rows(query, self.call(call_uuid)["id"])), 0)

    def call(self, call_uuid: str) -> dict[str, Any]:
        """The call's row."""
        columns = ("id", "status", "end_reason", "live_at", "streams")
        (row,) = self.rows(f"SELECT {', '.join(columns)} FROM calls_call WHERE plivo_call_uuid = ?", call_uuid)  # noqa: S608
        return dict(zip(columns, row, strict=True))


def start(call_uuid: str, codec: str = MULAW) -> str:
    """Plivo's first message."""
    encoding, rate = codec.split(";rate=")
    media = {"encoding": encoding, "sampleRate": int(rate)}
    body = {"callId": call_uuid, "streamId": str(uuid.uuid4()), "accountId": AUTH_ID, "tracks": ["inbound"]}
    return json.dumps({"sequenceNumber": 0, "event": "start", "start": body | {"mediaFormat": media}})


class RefusedError(AssertionError):
    """The answer to a webhook has no stream in it, as when all stream processes are late."""


async def until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Waits for what the condition gives; AssertionError with ``what`` when it never comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        await asyncio.sleep(0.02)
    raise AssertionError(what)


@contextlib.asynccontextmanager
async def house(
    folder: Path, *, server: str = "uvicorn", codec: str = MULAW, database_url: str = "", **environment: str
) -> AsyncIterator[House]:
    """Web and stream servers, furnished; stopped when the block is left.

    Args:
        database_url: as ``databases.create`` gives it; empty: SQLite in the folder.
        environment: variables of this installation.
    """
    async with _beside_a_sandbox(
        folder, [secrets.token_hex(20)], server=server, codec=codec, database_url=database_url
    ) as built:
        built.environment |= environment
        await asyncio.to_thread(ready_made.static if database_url else ready_made.installation, folder)
        await built.serve("web")
        await asyncio.to_thread(built.furnish)
        await built.serve("stream")
        yield built


@contextlib.asynccontextmanager
async def installation(
    folder: Path,
    *,
    auth_tokens: Sequence[str] = (),
    server: str = "uvicorn",
    codec: str = MULAW,
    database_url: str = "",
    **environment: str,
) -> AsyncIterator[House]:
    """All processes of ``make run``, a private Redis among them, not furnished; stopped when the block is left.

    Args:
        auth_tokens: those that the sandbox knows its Plivo account by; without any, one is made.
        database_url: as ``databases.create`` gives it; empty: SQLite in the folder.
        environment: variables of this installation.
    """
    async with _beside_a_sandbox(
        folder, auth_tokens or [secrets.token_hex(20)], server=server, codec=codec, database_url=database_url
    ) as built:
        built.environment |= {"REDIS_URL": ""} | environment
        if not database_url:
            await asyncio.to_thread(ready_made.installation, folder)
        await built.run()
        yield built


@contextlib.asynccontextmanager
async def _beside_a_sandbox(folder: Path, auth_tokens: Sequence[str], **kind: str) -> AsyncIterator[House]:
    account = f"{AUTH_ID}:{'+'.join(auth_tokens)}={CALLED.lstrip('+')}"
    async with sandbox_process("--account", account) as box:
        built = House(folder, box.url, box.control, auth_tokens[0], **kind)
        try:
            yield built
        finally:
            await built.close()

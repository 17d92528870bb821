"""The servers that ``benchmarks.bench`` compares, and the providers that both of them talk to."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import httpx

from benchmarks.load.clips import REPLY, TRANSCRIPT
from benchmarks.processes import LOAD_CORE, SERVER_CORE, Pinned, free_port, listens
from config.env import BASE_DIR

RING = "import django; django.setup(); from benchmarks import parley_calls; parley_calls.main()"
SAMPLES = "BENCH_SAMPLES"
PEER_PYTHON = BASE_DIR / ".venv-pipecat/bin/python"
_PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))}


def _sampled(name: str) -> list[str]:
    """Words that have a process sampled, when the environment names a folder for what is found."""
    folder = os.environ.get(SAMPLES)
    return ["benchmarks.sampled", str(Path(folder) / name)] if folder else []


@dataclass(frozen=True)
class Latencies:
    """How slow the scripted providers are; names and units as in the sandbox's control API."""

    stt_partial_ms: float = 0
    stt_final_ms: float = 0
    llm_first_token_ms: float = 0
    llm_tokens_per_s: float = 80
    tts_first_byte_ms: float = 0


INSTANT = Latencies()
TYPICAL = Latencies(stt_partial_ms=150, stt_final_ms=200, llm_first_token_ms=500, tts_first_byte_ms=200)


class Providers:
    """The sandbox's providers on the load's core: recognition and replies from a script, a tone for a voice."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", *_sampled("providers"), "benchmarks.providers", str(self.port)]
        self.process = Pinned("providers", command, core=LOAD_CORE, environment=_PLAIN, log=folder / "providers.log")

    async def ready(self) -> None:
        """Waits until they serve, and gives them their script."""
        await self.process.ready(listens(self.port))
        await self._control("POST", "transcripts", {"default": TRANSCRIPT})
        await self._control("POST", "replies", {"default": REPLY})

    async def slow(self, latencies: Latencies) -> None:
        """From now on they are so slow."""
        await self._control("PATCH", "latencies", {"profile": "none", **asdict(latencies)})

    async def model_requests(self) -> int:
        """How often the language model was asked so far."""
        return int((await self._control("PATCH", "latencies", {}))["requests"]["openai"])

    async def _control(self, method: str, path: str, body: dict[str, Any]) -> Any:
        async with httpx.AsyncClient(base_url=f"{self.url}/control/providers/", trust_env=False) as control:
            return (await control.request(method, path, json=body)).raise_for_status().json()


class Contender(Protocol):
    """A server under test, pinned to its core."""

    name: str
    process: Pinned

    async def ready(self) -> None:
        """Waits until it serves."""

    async def calls(self, count: int) -> list[list[str]]:
        """[address of the stream, callId] of so many calls that may begin within a minute."""


class Parley:
    """The real stream process over a database of its own; recorder and journal are on."""

    def __init__(self, folder: Path, box_url: str, *, speculation: bool = True, turn_model: bool = True) -> None:
        self.name = "parley" + ("" if speculation else ", no speculation") + ("" if turn_model else ", no turn model")
        self._box_url = box_url
        self._speculation = speculation
        self._port = free_port()
        self._folder = folder / f"parley-{self._port}"
        self._folder.mkdir()
        self._environment = _PLAIN | {
            "DJANGO_SETTINGS_MODULE": "config.settings",
            "VAR_DIR": str(self._folder),
            "DATABASE_URL": "",
            "PRODUCTION": "",
            "STREAM_SIGNATURE": "token",
            "STREAM_URL": f"ws://127.0.0.1:{self._port}",
            "PUBLIC_URL": "http://127.0.0.1:1",
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "MAX_LIVE_CALLS": "100000",
            "TURN_MODEL": str(turn_model),
            "DRAIN_SECONDS": "1",
            "LOG_LEVEL": "WARNING",
        }
        self._python("manage.py", "migrate", "--noinput")
        server = [*_sampled("parley"), "config.server", "--role", "stream", "--port", str(self._port)]
        self.process = Pinned(
            self.name,
            [sys.executable, "-m", *server],
            core=SERVER_CORE,
            environment=self._environment,
            log=folder / "parley.log",
        )

    async def ready(self) -> None:
        """See ``Contender``."""
        await self.process.ready(listens(self._port))

    async def calls(self, count: int) -> list[list[str]]:
        """See ``Contender``."""
        orders = {
            "name": self.name,
            "box_url": self._box_url,
            "turn_overrides": {} if self._speculation else {"speculate_ms": 0},
            "count": count,
        }
        made = await asyncio.to_thread(self._python, "-c", RING, json.dumps(orders))
        return [[f"ws://127.0.0.1:{self._port}/stream/{token}/", call] for token, call in json.loads(made)]

    def _python(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self._environment,
            cwd=BASE_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stdout + done.stderr)
        return done.stdout.splitlines()[-1] if done.stdout else ""


class Pipecat:
    """Pipecat's bot in its own environment."""

    name = "pipecat"

    def __init__(self, folder: Path, box_url: str) -> None:
        if not PEER_PYTHON.exists():
            raise RuntimeError("Pipecat is not installed: run `make bench`, which does that")
        self._port = free_port()
        bot = [str(PEER_PYTHON), "-P", str(BASE_DIR / "benchmarks/pipecat_bot.py"), str(self._port), box_url]
        self.process = Pinned(self.name, bot, core=SERVER_CORE, environment=_PLAIN, log=folder / "pipecat.log")

    async def ready(self) -> None:
        """See ``Contender``."""
        await self.process.ready(listens(self._port))

    async def calls(self, count: int) -> list[list[str]]:
        """See ``Contender``."""
        return [[f"ws://127.0.0.1:{self._port}/ws/{number}", f"call-{number}"] for number in range(count)]

"""``make demo``: a simulated caller phones an agent on this machine; no key and no installed service is needed.

Starts the sandbox (a phone network and AI providers in a box) and every role of Parley as separate processes with a
database of their own, places one call, prints the conversation as it happens, checks what is in the call log
afterwards, and stays up. With ``--once`` it stops after the check: exit status 0 only if all of it is there.
"""

import argparse
import asyncio
import contextlib
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx

VAR_DIR = Path(__file__).resolve().parent.parent / "var" / "demo"
AUTH_ID = "MADEMO00000000000000"
CALLER, CALLED = "+14155550123", "+14155550100"
SCENARIO = "front_desk"
START_SECONDS = 60.0
CALL_SECONDS = 180.0
AFTER_SECONDS = 60.0


class DemoError(Exception):
    """The demo cannot go on; the message says why."""


def main() -> int:
    """Reads the command line; 0 when all went well."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop after the call")
    parser.add_argument("--codec", default="audio/x-mulaw;rate=8000", help="content type of the stream")
    parser.add_argument("--server", choices=["uvicorn", "daphne"], default="uvicorn")
    options = parser.parse_args()
    isolate(Path(os.environ.get("DEMO_VAR_DIR", VAR_DIR)))
    from config.supervisor import SupervisorError

    try:
        return asyncio.run(_demo(once=options.once, codec=options.codec, server=options.server))
    except (DemoError, SupervisorError) as error:
        print(f"\nThe demo failed: {error}\nLogs: {os.environ['VAR_DIR']}/logs/", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


def isolate(var_dir: Path) -> None:
    """Before anything reads the environment: nothing here touches the database, keys or accounts of `make run`."""
    os.environ["VAR_DIR"] = str(var_dir)
    for name in ("DATABASE_URL", "REDIS_URL", "PUBLIC_URL", "STREAM_URL", "PRODUCTION", "PLIVO_API_URL"):
        os.environ[name] = os.environ.get(f"DEMO_{name}", "")
    os.environ["LOG_LEVEL"] = os.environ.get("DEMO_LOG_LEVEL", "WARNING")


@dataclass(frozen=True)
class Stack:
    """Everything running: Parley's processes, the sandbox, and hands in the call log.

    Attributes:
        keeper: the supervisor of all processes.
        log: the module ``config.demo_log``.
        check: the module ``config.demo_check``.
    """

    keeper: Any
    log: Any
    check: Any
    public_url: str
    box_url: str
    password: str


@contextlib.asynccontextmanager
async def stack(
    *, codec: str, server: str, ports: tuple[int, int, int] = (8000, 8001, 9000), sandbox: Sequence[str] = ()
) -> AsyncIterator[Stack]:
    """Starts every role and the sandbox, furnished for the demo's call; stops them at the end.

    ``isolate`` comes first.

    Args:
        ports: of web, stream and sandbox, where they are free; 0: any.
        sandbox: further options of the sandbox.

    Raises:
        DemoError: something did not come up in time.
        config.supervisor.SupervisorError: something is missing.
    """
    from config import supervisor
    from config.env import env, var_dir

    web_port, stream_port, box_port = (supervisor.free_port(port) for port in ports)
    box_url = f"http://127.0.0.1:{box_port}"
    os.environ.update(PUBLIC_URL=f"http://127.0.0.1:{web_port}", PLIVO_API_URL=box_url, DRAIN_SECONDS="5")
    environment = supervisor.child_environment(web_port=web_port, stream_port=stream_port, combined=False)
    (var_dir() / "logs").mkdir(exist_ok=True)
    auth_token = secrets.token_hex(20)
    sandbox_command = [sys.executable, "-m", "sandbox", "--port", str(box_port)]
    sandbox_command += ["--account", f"{AUTH_ID}:{auth_token}={CALLED.lstrip('+')}", *sandbox]
    processes = [supervisor.Process("sandbox", sandbox_command, environment)]
    if not env("REDIS_URL"):
        processes.insert(0, supervisor.Process("redis", supervisor.redis_command(var_dir()), environment))
    roles = supervisor.role_processes(
        web_port=web_port, stream_port=stream_port, combined=False, environment=environment, server_name=server
    )
    keeper = supervisor.Supervisor([*processes, *roles], quiet=True)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, keeper.stopping.set)
    await asyncio.to_thread(supervisor.prepare, environment)
    await keeper.start()
    try:
        await _ready(f"http://127.0.0.1:{web_port}/readyz", keeper)
        await _ready(f"http://127.0.0.1:{stream_port}/readyz", keeper)
        await _ready(f"{box_url}/v1/Account/{AUTH_ID}/", keeper, auth=(AUTH_ID, auth_token))
        log, check = _call_log()
        password = await asyncio.to_thread(
            log.furnish, box_url=box_url, auth_id=AUTH_ID, auth_token=auth_token, called=CALLED, codec=codec
        )
        yield Stack(
            keeper=keeper,
            log=log,
            check=check,
            public_url=environment["PUBLIC_URL"],
            box_url=box_url,
            password=password,
        )
    finally:
        await keeper.stop()


async def _demo(*, once: bool, codec: str, server: str) -> int:
    print("Starting Parley and its sandbox ...", flush=True)
    async with stack(codec=codec, server=server) as running:
        verdict, call_id = await _one_call(running)
        _print_verdict(verdict, f"{running.public_url}/admin/calls/call/{call_id}/change/")
        if once:
            return 1 if verdict.missing else 0
        print(f"\nAdmin: {running.public_url}/admin/   user: demo   password: {running.password}", flush=True)
        print("It stays up; Ctrl-C stops it.", flush=True)
        await running.keeper.stopping.wait()
        return 0


async def _ready(url: str, keeper: Any, auth: tuple[str, str] | None = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        while time.monotonic() < deadline and not keeper.stopping.is_set():
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url, auth=auth)).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.2)
    raise DemoError(f"{url} did not come up within {START_SECONDS:.0f} s")


def _call_log() -> tuple[ModuleType, ModuleType]:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from config import demo_check, demo_log

    return demo_log, demo_check


async def place_call(running: Stack, **caller: Any) -> tuple[str, int]:
    """Lets a simulated caller phone the agent; returns Plivo's id of the call and ours.

    Args:
        caller: the sandbox's ``scenario`` or ``script``.

    Raises:
        DemoError: the sandbox refused, or the call never reached Parley.
    """
    async with httpx.AsyncClient(base_url=running.box_url, timeout=30, trust_env=False) as box:
        answer = await box.post("/control/calls", json={"from": CALLER, "to": CALLED, **caller})
        if answer.is_error:
            raise DemoError(f"the sandbox did not place the call: {answer.text[:300]}")
        plivo_call_uuid = answer.json()["call_uuid"]
    call_id = await until(
        lambda: running.log.find_call(plivo_call_uuid), START_SECONDS, running, "the call never reached Parley"
    )
    return plivo_call_uuid, call_id


async def _one_call(running: Stack) -> tuple[Any, int]:
    print(f"\n{CALLER} rings {CALLED} ...\n", flush=True)
    plivo_call_uuid, call_id = await place_call(running, scenario=SCENARIO)
    log = running.log
    shown: set[int] = set()
    await until(lambda: log.print_turns(call_id, shown), CALL_SECONDS, running, "the call did not end")
    async with httpx.AsyncClient(base_url=running.box_url, timeout=60, trust_env=False) as box:
        report = (
            (await box.get(f"/control/calls/{plivo_call_uuid}", params={"wait": "ended"})).raise_for_status().json()
        )

    def check() -> Any:
        return running.check.check(call_id, report)

    with contextlib.suppress(DemoError):
        await until(lambda: not check().missing, AFTER_SECONDS, running, "")
    await asyncio.to_thread(log.print_turns, call_id, shown)
    return await asyncio.to_thread(check), call_id


async def until(probe: Callable[[], Any], seconds: float, running: Stack, failure: str) -> Any:
    """Waits until a blocking probe gives something true; raises DemoError with ``failure`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if running.keeper.stopping.is_set():
            raise DemoError("stopped")
        if found := await asyncio.to_thread(probe):
            return found
        await asyncio.sleep(0.25)
    raise DemoError(failure)


def _print_verdict(verdict: Any, address: str) -> None:
    print(
        f"\n{verdict.caller_turns} caller turns, {verdict.agent_turns} agent turns, "
        f"{verdict.interruptions} interruption(s) honoured."
    )
    if verdict.missing:
        print("Missing in the call log: " + ", ".join(verdict.missing) + ".")
    else:
        print("Transcript, stereo recording, timings, summary and extracted fields are in the call log.")
    print(f"The call's page: {address}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

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
from collections.abc import Callable
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
    # Before anything reads the environment: the demo never touches the database, keys or accounts of `make run`.
    os.environ["VAR_DIR"] = str(Path(os.environ.get("DEMO_VAR_DIR", VAR_DIR)))
    for name in ("DATABASE_URL", "REDIS_URL", "PUBLIC_URL", "STREAM_URL", "PRODUCTION", "PLIVO_API_URL"):
        os.environ[name] = os.environ.get(f"DEMO_{name}", "")
    os.environ.setdefault("DEMO_LOG_LEVEL", "WARNING")
    os.environ["LOG_LEVEL"] = os.environ["DEMO_LOG_LEVEL"]
    from config.supervisor import SupervisorError

    try:
        return asyncio.run(_demo(once=options.once, codec=options.codec, server=options.server))
    except (DemoError, SupervisorError) as error:
        print(f"\nThe demo failed: {error}\nLogs: {os.environ['VAR_DIR']}/logs/", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 130


async def _demo(*, once: bool, codec: str, server: str) -> int:
    from config import supervisor
    from config.env import env, var_dir

    print("Starting Parley and its sandbox ...", flush=True)
    web_port, stream_port, box_port = (supervisor.free_port(port) for port in (8000, 8001, 9000))
    box_url = f"http://127.0.0.1:{box_port}"
    os.environ.update(PUBLIC_URL=f"http://127.0.0.1:{web_port}", PLIVO_API_URL=box_url, DRAIN_SECONDS="5")
    environment = supervisor.child_environment(web_port=web_port, stream_port=stream_port, combined=False)
    (var_dir() / "logs").mkdir(exist_ok=True)
    auth_token = secrets.token_hex(20)
    sandbox_command = [sys.executable, "-m", "sandbox", "--port", str(box_port)]
    sandbox_command += ["--account", f"{AUTH_ID}:{auth_token}={CALLED.lstrip('+')}"]
    processes = [supervisor.Process("sandbox", sandbox_command, environment)]
    if not env("REDIS_URL"):
        processes.insert(0, supervisor.Process("redis", supervisor.redis_command(var_dir()), environment))
    roles = supervisor.role_processes(
        web_port=web_port, stream_port=stream_port, combined=False, environment=environment
    )
    for role in roles[:2]:
        role.command += ["--server", server]
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
        log = _call_log()
        password = await asyncio.to_thread(
            log.furnish, box_url=box_url, auth_id=AUTH_ID, auth_token=auth_token, called=CALLED, codec=codec
        )
        verdict, call_id = await _one_call(log, box_url, keeper)
        _print_verdict(verdict, f"{environment['PUBLIC_URL']}/admin/calls/call/{call_id}/change/")
        if once:
            return 1 if verdict.missing else 0
        print(f"\nAdmin: {environment['PUBLIC_URL']}/admin/   user: demo   password: {password}", flush=True)
        print("It stays up; Ctrl-C stops it.", flush=True)
        await keeper.stopping.wait()
        return 0
    finally:
        await keeper.stop()


async def _ready(url: str, keeper: Any, auth: tuple[str, str] | None = None) -> None:
    deadline = time.monotonic() + START_SECONDS
    async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
        while time.monotonic() < deadline and not keeper.stopping.is_set():
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(url, auth=auth)).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.2)
    raise DemoError(f"{url} did not come up within {START_SECONDS:.0f} s")


def _call_log() -> ModuleType:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    from config import demo_log

    return demo_log


async def _one_call(log: Any, box_url: str, keeper: Any) -> tuple[Any, int]:
    async with httpx.AsyncClient(base_url=box_url, timeout=30, trust_env=False) as box:
        answer = await box.post("/control/calls", json={"from": CALLER, "to": CALLED, "scenario": SCENARIO})
        if answer.is_error:
            raise DemoError(f"the sandbox did not place the call: {answer.text[:300]}")
        plivo_call_uuid = answer.json()["call_uuid"]
    print(f"\n{CALLER} rings {CALLED} ...\n", flush=True)
    call_id = await _until(
        lambda: log.find_call(plivo_call_uuid), START_SECONDS, keeper, "the call never reached Parley"
    )
    shown: set[int] = set()
    await _until(lambda: log.print_turns(call_id, shown), CALL_SECONDS, keeper, "the call did not end")
    with contextlib.suppress(DemoError):
        await _until(lambda: not log.check(call_id).missing, AFTER_SECONDS, keeper, "")
    await asyncio.to_thread(log.print_turns, call_id, shown)
    return await asyncio.to_thread(log.check, call_id), call_id


async def _until(probe: Callable[[], Any], seconds: float, keeper: Any, failure: str) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if keeper.stopping.is_set():
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

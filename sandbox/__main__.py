"""`python -m sandbox`: the phone network and the AI providers in a box, on one port.

Prints one line of JSON when it is ready (its URL and parts), then serves until it is told to stop.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import signal
import sys

from sandbox.config import DEMO_ACCOUNT, PARTS, ConfigError, SandboxConfig, parse_account
from sandbox.testing import running_sandbox


def _arguments(argv: list[str] | None = None) -> SandboxConfig:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=9000, help="0 takes any free one")
    for part in PARTS:
        parser.add_argument(f"--{part}", action="store_true", help=f"serve {part} (without any of these: all parts)")
    parser.add_argument("--account", action="append", default=[], metavar="AUTH_ID:TOKEN[@PARENT][=NUMBER,...]")
    parser.add_argument("--time-scale", type=float, default=1.0, help="factor on every wait outside audio")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-audio", action="store_true", help="keep no audio of the calls (load tests)")
    parser.add_argument("--recording-auth", action="store_true", help="recordings ask for Basic authentication")
    given = parser.parse_args(argv)
    parts = frozenset(part for part in PARTS if getattr(given, part)) or frozenset(PARTS)
    try:
        return SandboxConfig(
            host=given.host,
            port=given.port,
            parts=parts,
            accounts=tuple(parse_account(text) for text in given.account) or (DEMO_ACCOUNT,),
            time_scale=given.time_scale,
            seed=given.seed,
            keep_audio=not given.no_audio,
            recording_auth=given.recording_auth,
        )
    except ConfigError as error:
        parser.error(str(error))


async def _serve(config: SandboxConfig) -> None:
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows has no signal handlers here; Ctrl-C still raises
            asyncio.get_running_loop().add_signal_handler(name, stop.set)
    async with running_sandbox(config) as box:
        print(json.dumps({"ready": box.url, "parts": sorted(config.parts)}), flush=True)
        await stop.wait()


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    config = _arguments()
    try:
        asyncio.run(_serve(config))
    except OSError as error:
        sys.exit(f"sandbox: cannot serve on {config.host}:{config.port}: {error.strerror or error}")


if __name__ == "__main__":
    main()

"""The sandbox's AI providers for measurements: ``python -m benchmarks.providers PORT``.

Nothing but ``python -m sandbox --openai --elevenlabs`` on a faster event loop: one core has to serve the providers of
150 calls and the callers besides.
"""

import asyncio
import signal
import sys

import uvloop

from sandbox.testing import running_sandbox


async def _serve(port: int) -> None:
    async with running_sandbox(port=port, parts=frozenset({"openai", "elevenlabs"})):
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))

"""``config.server`` with keys that take six seconds to press: no tool that an agent has today is slow by itself.

Run in its place: ``python -m tests.integration.stream.slow_keys --role stream --port N``.
"""

import asyncio
import sys

import django

from config import server

TAKES_S = 6.0


def _make_slow() -> None:
    from streaming.conversation.events import RunTool  # noqa: PLC0415 - after django.setup
    from streaming.faculties import Act, Faculties  # noqa: PLC0415

    at_once = Faculties.act

    def slowly(self: Faculties, action: Act, now_ms: int) -> None:
        if isinstance(action, RunTool):
            asyncio.get_running_loop().call_later(TAKES_S, at_once, self, action, now_ms)
        else:
            at_once(self, action, now_ms)

    Faculties.act = slowly  # type: ignore[method-assign]


if __name__ == "__main__":
    django.setup()
    _make_slow()
    sys.exit(server.main())

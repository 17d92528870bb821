"""Who asks for it is put on the do-not-call list: written first, said after. Called by ``faculties``.

The writing outlives the call: whoever presses the key and hangs up has asked all the same.
"""

import asyncio
from collections.abc import Callable

import structlog
from django.db import Error

from calls import live_calls
from calls.models import DoNotCall
from streaming.resources import Resources
from streaming.threads import Overloaded

log = structlog.get_logger(__name__)

WITHIN_S = 2.0  # of one try
TRIES = 5
PAUSE_S = 1.0
DONE = "This person is on the do-not-call list now. Tell them so, and say goodbye."
NOT_DONE = "It could not be written down just now. Say so, and that you will not call them; then try once more."


async def write(resources: Resources, *, call_id: int, source: DoNotCall.Source, evidence: str) -> bool:
    """Whether it is written; tries for some seconds, and says in the log that it could not."""
    for _ in range(TRIES):
        try:
            await resources.edge.run(
                WITHIN_S,
                live_calls.opt_out,
                call_id=call_id,
                source=source,
                evidence=evidence,
                now=resources.clock(),
            )
        except ValueError:
            log.warning("opt_out_without_number", call_id=call_id)
            return False
        except (Error, OSError, TimeoutError, Overloaded) as error:
            log.error("opt_out_not_written", call_id=call_id, error=type(error).__name__)
            await asyncio.sleep(PAUSE_S)
        else:
            return True
    return False


def begin(
    resources: Resources, *, call_id: int, source: DoNotCall.Source, evidence: str, told: Callable[[bool], None]
) -> None:
    """Has it written whatever becomes of the call, and says at last whether it was."""
    written: list[bool] = []

    async def work() -> None:
        written.append(await write(resources, call_id=call_id, source=source, evidence=evidence))

    resources.background(work(), "opt-out").add_done_callback(lambda _: told(written == [True]))

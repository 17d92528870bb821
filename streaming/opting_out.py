"""Who asks for it is put on the do-not-call list: written first, said after. Called by ``faculties``.

The writing (``opt_outs``) outlives the call: whoever presses the key and hangs up has asked all the same.
"""

from collections.abc import Callable

from calls.models import DoNotCall
from streaming.resources import Resources

DONE = "It is written down: this person will not be called again. Tell them so, and say goodbye."
NOT_DONE = "It could not be written down just now, and is being tried again. Say so; then try once more."


def begin(
    resources: Resources, *, call_id: int, source: DoNotCall.Source, evidence: str, told: Callable[[bool], None]
) -> None:
    """Has it written whatever becomes of the call, and says at last whether it was."""
    written: list[bool] = []

    async def work() -> None:
        written.append(await resources.opt_outs.write(call_id=call_id, source=source, evidence=evidence))

    resources.background(work(), "opt-out").add_done_callback(lambda _: told(written == [True]))

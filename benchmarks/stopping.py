"""How soon nobody is rung any more: after opt-outs, a pause, and the kill switch without Redis.

``python -m benchmarks.stopping``: two diallers at work; the judge is the sandbox's ledger of requests.
"""

import asyncio
import contextlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.campaign_chaos import ANSWERS, Processes, Redis
from tests.chaos.campaign import LAUNCH
from tests.integration.house import CALLED, House, house

PEOPLE, PER_SECOND, OPT_OUTS = 1200, 10, 100
WITHIN_S = 2.0
LOOKED_AT_S = 6.0  # after each of the three
ACT = """
import django, json, sys, time
django.setup()
from django.utils import timezone
from calls import suppression
from calls.campaigns import control
from calls.models import Campaign, CampaignContact, DoNotCall
what, count, now = sys.argv[1], int(sys.argv[2]), timezone.now()
campaign, done = Campaign.objects.get(), {}
if what == "opt out":
    waiting = CampaignContact.objects.filter(state__in=["waiting", "calling"]).order_by("next_due", "id")
    for number in waiting.values_list("number", flat=True)[:count]:
        suppression.add(suppression.Entry(number, timezone.now()), source=DoNotCall.Source.OPERATOR)
        done[number] = time.time()
elif what == "pause":
    control.pause(campaign, now=now, user_id=None)
elif what == "resume":
    control.resume(campaign, now=now)
else:
    control.throw_switch(user_id=None, why="", now=now)
print(json.dumps({"at": time.time(), "done": done}))
"""


async def main() -> int:
    """Measures the three; the exit status."""
    with tempfile.TemporaryDirectory(prefix="parley-stop-") as name, contextlib.closing(Redis(Path(name))) as server:
        server.start()
        async with house(Path(name), REDIS_URL=server.url, APPROVAL_ABOVE="1000000") as built:
            await built.control.behaviour("*", *ANSWERS)
            await built.control.settings(cdr_after_s=0, calls_per_second=1000, rate_limit=100_000)
            await asyncio.to_thread(built.python, "-c", LAUNCH, str(PEOPLE), CALLED, str(PER_SECOND))
            processes = Processes(built, diallers=2, beats=1)
            processes.start()
            try:
                late = await _opt_outs(built)
                paused_s = await _last_after(built, "pause")
                await _act(built, "resume")
                switched_s = await _last_after(built, "switch", server)
            finally:
                processes.stop()
    print(
        f"stopping: {late} of {OPT_OUTS} who opted out were asked for later than {WITHIN_S:.0f} s after; last request "
        f"{paused_s:.1f} s after a pause, {switched_s:.1f} s after the switch with Redis gone"
    )
    return 0 if not late and max(paused_s, switched_s) <= WITHIN_S else 1


async def _posts(built: House) -> list[dict[str, Any]]:
    return list((await built.control.ledger())["posts"])


async def _dialling(built: House) -> None:
    """Until requests come one after the other."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if sum(post["at"] > time.time() - 2 for post in await _posts(built)) >= PER_SECOND:
            return
        await asyncio.sleep(0.5)
    raise AssertionError("nobody is called")


async def _act(built: House, what: str) -> dict[str, Any]:
    said = await asyncio.to_thread(built.python, "-c", ACT, what, str(OPT_OUTS))
    return dict(json.loads(said.strip().splitlines()[-1]))


async def _opt_outs(built: House) -> int:
    """How many of those who are next in line were asked for too late."""
    await _dialling(built)
    done = (await _act(built, "opt out"))["done"]
    await asyncio.sleep(LOOKED_AT_S)
    late = {
        f"+{post['body']['to']}"
        for post in await _posts(built)
        if post["at"] > done.get(f"+{post['body']['to']}", post["at"]) + WITHIN_S
    }
    return len(late)


async def _last_after(built: House, what: str, server: Redis | None = None) -> float:
    """Seconds until the last request; 0.0 without one."""
    await _dialling(built)
    if server is not None:
        server.close()
    at = (await _act(built, what))["at"]
    await asyncio.sleep(LOOKED_AT_S)
    return max((post["at"] - at for post in await _posts(built) if post["at"] > at), default=0.0)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

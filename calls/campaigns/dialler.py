"""The worker's loop: settles what is over, claims who is due, and places their calls on a few threads.

Any number of workers may run it at once, and none for a while: everything that counts is decided by guarded writes.
Beat only says "look now" (``calls.tasks.campaigns.dial``).
"""

import datetime
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import structlog
from django.db import close_old_connections, connections

from calls.campaigns import claims, dialling, gate, guards, outcomes
from calls.models import Call

log = structlog.get_logger(__name__)

THREADS = 16
PAUSE_S = 0.2
WATCH_S = 1.0  # between questions to the guards, who look every few seconds
IDLE_S = 1.0  # nobody is due and nobody is being called: the database is to be left alone
STALE_BATCH = 50

Clock = Callable[[], datetime.datetime]


def work(*, clock: Clock, seconds: float, place: Callable[[int], object] | None = None) -> int:
    """Works for so long, and then until what it has begun is done; returns how many calls it has taken on."""
    put = place or (lambda call_id: dialling.place(call_id, clock=clock))
    taken = 0
    until = time.monotonic() + seconds
    watch_at = 0.0
    pending: set[Future[None]] = set()
    with ThreadPoolExecutor(THREADS, thread_name_prefix="dial") as pool:
        while time.monotonic() < until:
            outcomes.settle(now=clock())
            outcomes.finish(now=clock())
            if time.monotonic() >= watch_at:
                guards.watch(now=clock())
                watch_at = time.monotonic() + WATCH_S
            found = [] if gate.stopped() else _take(clock, room=THREADS - len(pending))
            taken += len(found)
            pending |= {pool.submit(_placed, put, call_id) for call_id in found}
            if pending:
                _, pending = wait(pending, timeout=PAUSE_S, return_when=FIRST_COMPLETED)
            if not found:
                time.sleep(PAUSE_S if pending else min(IDLE_S, max(0.0, until - time.monotonic())))
    return taken


def _take(clock: Clock, *, room: int) -> list[int]:
    """Calls to be placed now: those that lie claimed since longer than their lease, then people who are due."""
    stale = Call.objects.filter(
        direction=Call.Direction.OUTBOUND, status=Call.Status.CLAIMED, deadline_at__lte=clock()
    ).order_by("deadline_at")
    found = list(stale.values_list("pk", flat=True)[: min(room, STALE_BATCH)])
    campaigns = claims.running(clock())
    while campaigns and len(found) < room:
        for campaign in list(campaigns):  # in turns: a large one does not keep the others waiting
            claim = claims.claim(campaign.pk, now=clock())
            if claim.call_id is not None:
                found.append(claim.call_id)
            if not claim.more:
                campaigns.remove(campaign)
            if len(found) >= room:
                break
    return found


def _placed(put: Callable[[int], object], call_id: int) -> None:
    close_old_connections()
    try:
        put(call_id)
    except Exception:
        # SENDING stays, and becomes UNKNOWN at its deadline: it may have rung.
        log.exception("placing_failed", call_id=call_id)
    finally:
        connections.close_all()

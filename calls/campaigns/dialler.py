"""The worker's loop: settles what is over, takes back what may not ring, claims who is due, and places their calls.

Any number of workers may run it at once, and none for a while: everything that counts is decided by guarded writes.
Beat only says "look now" (``calls.tasks.campaigns.dial``): a worker that works already goes on for so much longer.
"""

import datetime
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from functools import partial

import structlog
from django.db import close_old_connections, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from agents.models import AgentVersion
from calls import clocks
from calls.campaigns import claims, dialling, gate, guards, outcomes, readiness, recall
from calls.models import Call, Campaign

log = structlog.get_logger(__name__)

# Each with a connection to the database, of which a server has a hundred unless told otherwise. A request takes about
# a tenth of a second, so that they place more calls than any account may start.
THREADS, RECALLERS = 8, 2
KEPT_S = 60  # a connection, between two calls
PAUSE_S = 0.2
GATHER_S = 0.05  # after a call was placed, for others: a look around costs as much for eight as for one
IDLE_S = 1.0  # nobody is due and nobody is being called: the database is to be left alone
STALE_BATCH = 50
AT_ONCE = 8  # people of one claim: its transaction takes some ms for each
RECALL_EVERY_S = 0.5
READY_EVERY_S = 1.0
WATCH_EVERY_S = 1.0  # the guards themselves look every few seconds
TAKE_S = 0.5  # of one round: people who are only moved on must not keep the rest waiting
_NONE: tuple[list[int], bool] = ([], False)

Clock = Callable[[], datetime.datetime]


class Shift:
    """How long a process works: so many seconds after the latest tick. One of its threads works, the others tick."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._lock = threading.Lock()
        self._until = time.monotonic() + seconds
        self._works = self._closed = False

    def tick(self, seconds: float) -> bool:
        """From now on it lasts so long at least; True: nobody works, so whoever asks is to, and to ``end`` it."""
        with self._lock:
            if self._closed:
                return False
            self._until = max(self._until, time.monotonic() + seconds)
            works, self._works = self._works, True
            return not works

    def left_s(self) -> float:
        """Seconds; none or fewer when it is over."""
        with self._lock:
            return self._until - time.monotonic()

    def close(self) -> None:
        """The process is to stop: nothing new is begun, whatever ticks."""
        with self._lock:
            self._until, self._closed = time.monotonic(), True

    def end(self) -> None:
        """Nobody works any more. A tick that came since the last look is lost: the next one is on its way."""
        with self._lock:
            self._works = False


def work(*, clock: Clock, shift: Shift, place: Callable[[int], object] | None = None) -> int:
    """Works as long as the shift, and then until what it has begun is done; returns how many calls it has taken on."""
    put = place or (lambda call_id: dialling.place(call_id, clock=clock))
    taken = 0
    placing: set[Future[None]] = set()
    recalling: dict[int, Future[None]] = {}
    recall_due, ready_due, watch_due = _Every(RECALL_EVERY_S), _Every(READY_EVERY_S), _Every(WATCH_EVERY_S)
    ready: list[Campaign] = []
    wrong = ""
    with (
        closing(_Connections()) as kept,
        ThreadPoolExecutor(THREADS, "dial", kept.keep) as pool,
        ThreadPoolExecutor(RECALLERS, "recall", kept.keep) as recallers,  # requests that hang must not hold these up
    ):
        while (working := shift.left_s() > 0) or placing:
            outcomes.settle(now=clock())
            outcomes.finish(now=clock())
            if recall_due():
                recalling = {call_id: future for call_id, future in recalling.items() if not future.done()}
                for call_id in recall.due(now=clock()).keys() - recalling.keys():
                    take_back = partial(recall.take_back, call_id, now=clock())
                    recalling[call_id] = recallers.submit(_alone, take_back)
            if watch_due():
                guards.watch(now=clock())
            if ready_due():
                before, wrong = wrong, clocks.trouble()
                if wrong and not before:
                    log.error("clock_wrong", why=wrong)
                ready = [campaign for campaign in claims.running(clock()) if not readiness.obstacle(campaign)]
            found, more = _NONE
            if working and not wrong and not gate.stopped():
                found, more = _take(clock, ready, room=THREADS - len(placing))
            taken += len(found)
            placing |= {pool.submit(_alone, partial(put, call_id)) for call_id in found}
            if placing:
                done, placing = wait(placing, timeout=PAUSE_S, return_when=FIRST_COMPLETED)
                if done and placing:
                    _, placing = wait(placing, timeout=GATHER_S)
            elif not more:
                time.sleep(min(IDLE_S, max(0.0, shift.left_s())))
    return taken


def _take(clock: Clock, ready: list[Campaign], *, room: int) -> tuple[list[int], bool]:
    """Calls to be placed now, and whether there are more: those that nobody holds, then of people who are due."""
    lines = readiness.lines(now=clock())
    found = _lying(clock, lines)[:room]
    if lines is not None:
        room = min(room, lines)
    campaigns, until = list(ready), time.monotonic() + TAKE_S
    while campaigns and len(found) < room and time.monotonic() < until:
        for campaign in list(campaigns):  # in turns: a large one does not keep the others waiting
            try:
                claim = claims.claim(campaign.pk, now=clock(), most=min(AT_ONCE, room - len(found)))
            except Exception:  # of one campaign: the others, and what was taken already, do not wait for it
                log.exception("campaign_not_claimed", campaign=str(campaign.pk))
                claim = claims.Claim()
            found += claim.call_ids
            if not claim.more:
                campaigns.remove(campaign)
            if len(found) >= room:
                break
    return found, bool(campaigns) and len(found) < room


def _lying(clock: Clock, lines: int | None) -> list[int]:
    """Calls that were claimed or ordered and that no worker holds, as far as somebody could talk to who picks up.

    Args:
        lines: how many could be talked to; None: all.
    """
    lying = Call.objects.filter(
        direction=Call.Direction.OUTBOUND, status=Call.Status.CLAIMED, deadline_at__lte=clock()
    ).order_by("deadline_at")
    calls = list(lying.values_list("pk", "agent_version"))
    versions = AgentVersion.objects.in_bulk({version for _, version in calls if version is not None})
    talks = {pk for pk, version in versions.items() if not readiness.voiceless(version)}
    without = [pk for pk, version in calls if version is None]  # Plivo itself reads something out
    talking = [pk for pk, version in calls if version in talks]
    return [*without, *talking[:lines]][:STALE_BATCH]


class _Every:
    """True when it is asked for the first time, and then once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = 0.0

    def __call__(self) -> bool:
        now = time.monotonic()
        if now < self._at:
            return False
        self._at = now + self._seconds
        return True


def _alone(work: Callable[[], object]) -> None:
    """Does something in a thread of the pool; what fails is logged, and found by the sweep."""
    close_old_connections()
    try:
        work()
    except Exception:
        # SENDING stays, and becomes UNKNOWN at its deadline: it may have rung.
        log.exception("dialling_failed")
    finally:
        close_old_connections()


class _Connections:
    """To the database, of the pool's threads: kept from one call to the next, and closed after the last one.

    A new one for each call would cost PostgreSQL as much as all that the call writes.
    """

    def __init__(self) -> None:
        self._held: list[BaseDatabaseWrapper] = []

    def keep(self) -> None:
        """Called in each thread as it begins."""
        for connection in connections.all():
            connection.settings_dict = connection.settings_dict | {"CONN_MAX_AGE": KEPT_S, "CONN_HEALTH_CHECKS": True}
            connection.inc_thread_sharing()
            self._held.append(connection)

    def close(self) -> None:
        """When the threads are gone."""
        for connection in self._held:
            connection.close()

"""May one more call be answered? Decided by the load that the stream processes publish in Redis.

``streaming`` publishes from a thread every second; the answer webhooks ask. A call above the limit gets the fallback
document, never a bad conversation. Redis is no condition of answering: without it, or before any process has
published, calls are admitted, and the stream itself refuses what it cannot carry.
"""

import datetime
from functools import lru_cache
from typing import Literal

import msgspec
import redis
import structlog
from django.conf import settings

log = structlog.get_logger(__name__)

PROCESSES = "parley:stream:processes"  # set of process ids
LOAD = "parley:stream:load:"  # + process id: StreamLoad as JSON, with a lifetime
ADMITTED = "parley:stream:admitted"  # sorted set: calls answered lately, by time
TIMEOUT_S = 0.25  # of the answer's half second
SETTLE = datetime.timedelta(seconds=2)  # from the answer to the stream's start and its next published load


class StreamLoad(msgspec.Struct, frozen=True, kw_only=True):
    """How busy a stream process is.

    Attributes:
        live_calls: streams that run now.
        max_calls: most that it takes; 0 when only its lag decides.
        lag_ms: how late its event loop runs, over the last second.
        max_lag_ms: lag from which it takes no further call.
        draining: it is about to stop.
    """

    live_calls: int
    max_calls: int = 0
    lag_ms: float = 0.0
    max_lag_ms: float = 200.0  # half of the lead with which the voice is sent: later would be heard
    draining: bool = False

    @property
    def late(self) -> bool:
        """Its event loop is so late that callers would hear it."""
        return self.lag_ms >= self.max_lag_ms

    @property
    def room(self) -> int | None:
        """Calls that it still takes; None: no stated limit."""
        if self.draining or self.late:
            return 0
        return max(0, self.max_calls - self.live_calls) if self.max_calls else None


class Admission(msgspec.Struct, frozen=True):
    """Whether a call may be answered, and what stands against it or why nothing was asked."""

    ok: bool
    reason: Literal["", "no_redis", "no_load", "full", "draining"] = ""


def publish_load(*, process_id: str, load: StreamLoad, ttl_s: int) -> None:
    """Says how busy a process is, for ``ttl_s`` seconds; raises redis.RedisError."""
    with _redis().pipeline(transaction=False) as pipe:
        pipe.set(LOAD + process_id, msgspec.json.encode(load), ex=ttl_s)
        pipe.sadd(PROCESSES, process_id)
        pipe.execute()


def withdraw(process_id: str) -> None:
    """The process has ended; raises redis.RedisError."""
    with _redis().pipeline(transaction=False) as pipe:
        pipe.delete(LOAD + process_id)
        pipe.srem(PROCESSES, process_id)
        pipe.execute()


def admit(*, call: str, now: datetime.datetime) -> Admission:
    """Decides on one more call; never raises.

    Args:
        call: its public id. Until the published load shows it, it counts against the room: a burst of rings within
            one second is not admitted as if each were alone.
    """
    try:
        return _admit(call, now.timestamp())
    except redis.RedisError as error:
        log.warning("admission_without_redis", error=type(error).__name__)
        return Admission(ok=True, reason="no_redis")


def published_loads() -> dict[str, StreamLoad]:
    """The load of each process that is alive; raises redis.RedisError."""
    client = _redis()
    ids = sorted(_text(member) for member in client.smembers(PROCESSES))
    if not ids:
        return {}
    loads: dict[str, StreamLoad] = {}
    dead = []
    for process_id, raw in zip(ids, client.mget([LOAD + each for each in ids]), strict=True):
        if raw is None:
            dead.append(process_id)
        else:
            loads[process_id] = msgspec.json.decode(raw, type=StreamLoad)
    if dead:
        client.srem(PROCESSES, *dead)
    return loads


def room() -> int | None:
    """Calls that all processes together still take; None: no stated limit; 0 as well when there is no process.

    Raises redis.RedisError.
    """
    rooms = [load.room for load in published_loads().values()]
    return None if None in rooms else sum(each for each in rooms if each is not None)


def _admit(call: str, now: float) -> Admission:
    loads = published_loads()
    if not loads:
        return Admission(ok=True, reason="no_load")
    rooms = [load.room for load in loads.values()]
    if None in rooms:
        return Admission(ok=True)
    room = sum(room for room in rooms if room is not None)
    if not room:
        return Admission(ok=False, reason="draining" if all(load.draining for load in loads.values()) else "full")
    with _redis().pipeline(transaction=True) as pipe:
        pipe.zremrangebyscore(ADMITTED, "-inf", now - SETTLE.total_seconds())
        pipe.zadd(ADMITTED, {call: now})
        pipe.zcard(ADMITTED)
        pipe.expire(ADMITTED, 60)
        waiting = pipe.execute()[2]
    if waiting <= room:
        return Admission(ok=True)
    _redis().zrem(ADMITTED, call)
    return Admission(ok=False, reason="full")


@lru_cache(maxsize=2)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)


def _redis() -> redis.Redis:
    return _client(settings.REDIS_URL)


def _text(member: bytes | str) -> str:
    return member.decode() if isinstance(member, bytes) else member

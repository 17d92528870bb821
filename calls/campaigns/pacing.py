"""So many calls a second and no burst, over all workers of all machines: a GCRA in Redis, one for each Plivo account
and for each campaign that has a pace of its own.

Plivo queues what comes faster than an account's calls per second, and then rings people when nobody looks any more. A
turn is taken last, right before a call is placed. Without Redis nobody gets one.
"""

from functools import lru_cache

import redis
from django.conf import settings

KEY = "parley:pace:"
TIMEOUT_S = 1.0
# Turns lie further apart by this, so that a request that sets out some ms late makes no second too full.
SLACK = 1.04

# The moment from which the next turn is free stands in Redis, in Redis' own time: workers' clocks differ. ARGV: gap
# between turns and the longest wait worth it, in microseconds. Returns the wait, or -1 - wait if it is too long, and
# then no turn was taken.
_TAKE = """
local now = redis.call('TIME')
local at = tonumber(now[1]) * 1000000 + tonumber(now[2])
local free = tonumber(redis.call('GET', KEYS[1]) or '0')
if free < at then free = at end
local wait = free - at
if wait > tonumber(ARGV[2]) then return -1 - wait end
local gap = tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', free + gap), 'PX', string.format('%.0f', (wait + gap) / 1000 + 60000))
return wait
"""


class NoTurn(Exception):  # noqa: N818  (a state, not a fault)
    """There is no turn soon enough; ``wait_s``: when there will be one, None where nobody knows."""

    def __init__(self, wait_s: float | None) -> None:
        self.wait_s = wait_s
        super().__init__(wait_s)


def take(whose: str, *, per_second: float, patience_s: float) -> float:
    """A turn to place one call.

    Args:
        whose: calls per second these are: a Plivo account's auth id, a campaign's id.
        per_second: above 0.
        patience_s: how long a wait is worth it.

    Returns:
        how long to wait before the call is placed, in s.

    Raises:
        NoTurn: not within ``patience_s``, or Redis cannot be asked.
    """
    gap = round(1_000_000 / per_second * SLACK)
    try:
        wait = int(_client(settings.REDIS_URL).eval(_TAKE, 1, KEY + whose, gap, round(patience_s * 1_000_000)))
    except redis.RedisError:
        raise NoTurn(None) from None
    if wait < 0:
        raise NoTurn((-1 - wait) / 1_000_000)
    return wait / 1_000_000


@lru_cache(maxsize=2)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)

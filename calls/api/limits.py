"""How often a key may ask: so many requests a minute, counted in Redis over all web processes."""

import datetime
from functools import lru_cache

import redis
from django.conf import settings

KEY = "parley:api:"
TIMEOUT_S = 0.5


class Exceeded(Exception):  # noqa: N818  (a state, not a fault)
    """No more in this minute; ``wait_s``: until the next."""

    def __init__(self, wait_s: int) -> None:
        self.wait_s = wait_s
        super().__init__(wait_s)


def count(key_id: str, kind: str, *, per_minute: int, now: datetime.datetime) -> None:
    """Counts one request.

    Raises:
        Exceeded: it is one too many.
        redis.RedisError: nobody can count.
    """
    name = f"{KEY}{kind}:{key_id}:{int(now.timestamp()) // 60}"
    with _client(settings.REDIS_URL).pipeline(transaction=True) as pipe:
        pipe.incr(name)
        pipe.expire(name, 120)
        made = int(pipe.execute()[0])
    if made > per_minute:
        raise Exceeded(60 - now.second)


@lru_cache(maxsize=2)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)

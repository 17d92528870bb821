"""Who asks, whether they may, how often and how much: looked at before anything of the request is read.

Only a bearer key counts. A session's cookie opens nothing here, which is why no CSRF token is asked for.
"""

import redis
import structlog
from django.http import HttpRequest
from django.utils import timezone
from ninja.security import HttpBearer

from calls.api import keys, limits
from calls.api.errors import TOO_LARGE, ApiError
from calls.models import ApiKey

log = structlog.get_logger(__name__)

MAX_BODY = 1024 * 1024  # bytes
CALLS_A_MINUTE, OTHERS_A_MINUTE = 60, 600


class Key(HttpBearer):
    """A key that may do one thing.

    Args:
        scope: the column of ``ApiKey`` that must be set.
        rings: requests start calls: fewer of them, and none while nobody can count.
    """

    def __init__(self, scope: str, *, rings: bool = False) -> None:
        super().__init__()
        self._scope = scope
        self._rings = rings

    def __call__(self, request: HttpRequest) -> ApiKey | None:
        """Not the library's, which logs headers."""
        kind, _, key = request.headers.get("Authorization", "").partition(" ")
        return self.authenticate(request, key.strip()) if kind.lower() == "bearer" else None

    def authenticate(self, request: HttpRequest, token: str) -> ApiKey | None:
        """The key's row. Raises ApiError where it is known and still may not."""
        key = keys.find(token, now=timezone.now())
        if key is None:
            return None
        if not getattr(key, self._scope):
            raise ApiError(403, "forbidden", f"This key has not got the permission {self._scope}.")
        self._count(key)
        length = request.headers.get("Content-Length", "0")
        if not length.isdigit() or int(length) > MAX_BODY or len(request.body) > MAX_BODY:
            raise ApiError(413, "too_large", TOO_LARGE)
        return key

    def _count(self, key: ApiKey) -> None:
        kind, most = ("calls", CALLS_A_MINUTE) if self._rings else ("others", OTHERS_A_MINUTE)
        try:
            limits.count(str(key.pk), kind, per_minute=most, now=timezone.now())
        except limits.Exceeded as exceeded:
            text = f"More than {most} requests in this minute."
            raise ApiError(429, "too_many_requests", text, retry_after_s=exceeded.wait_s) from None
        except redis.RedisError as error:
            log.warning("api_limit_without_redis", error=type(error).__name__)
            if self._rings:
                text = "No call can be started without Redis. Ask again."
                raise ApiError(503, "unavailable", text, retry_after_s=30) from None

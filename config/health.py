"""Health and metrics: /healthz (the process lives), /readyz (it can take work), /metrics (Prometheus).

Answered by a middleware in front of all others and not by URLs: a probe asks a process by its address and over plain
HTTP, which the checks of Host and scheme rightly refuse to everything else.
"""

import ipaddress
import secrets
import time
from collections.abc import Callable, Iterable

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.http.response import HttpResponseBase
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from calls.sweeper import last_sweep, repaired_totals
from streaming import live

BEAT_LATE_AFTER = 60.0  # s; the sweep runs every 10 s


def healthz(_request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers at all."""
    return HttpResponse("ok\n", content_type="text/plain")


def readyz(_request: HttpRequest) -> JsonResponse:
    """200 when this process can take work, 503 when it is still opening, drains or has no database.

    A missing Redis or beat is reported but leaves it ready: live calls and webhooks go on without them.
    """
    checks = {"database": _database(), "redis": _redis(), "sweep": _sweep()}
    states = {"opening": live.opening(), "draining": live.draining()}
    ready = checks["database"] == "ok" and not any(states.values())
    return JsonResponse({"ready": ready, **checks, **states}, status=200 if ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """Prometheus' text format, to loopback or the bearer of METRICS_TOKEN."""
    if not (_from_loopback(request) or _has_token(request)):
        return HttpResponse("Send METRICS_TOKEN as a bearer token.\n", status=403, content_type="text/plain")
    return HttpResponse(generate_latest(), content_type=CONTENT_TYPE_LATEST)


class _Repairs(Collector):
    """The sweep's repairs; every process shows the same, since they are counted in Redis."""

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Without this Redis would be asked on import."""
        return [self._family()]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """Asked for by each scrape."""
        family = self._family()
        for kind, count in repaired_totals().items():
            family.add_metric([kind], count)
        return [family]

    def _family(self) -> CounterMetricFamily:
        return CounterMetricFamily("parley_sweep_repairs", "What the sweep has found and put right", labels=["kind"])


REGISTRY.register(_Repairs())


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "unreachable"
    return "ok"


def _redis() -> str:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1) as client:
            client.ping()
    except redis.RedisError:
        return "unreachable"
    return "ok"


def _sweep() -> str:
    age = last_sweep()
    return "never ran" if age is None else "ok" if time.time() - age < BEAT_LATE_AFTER else "late"


def _from_loopback(request: HttpRequest) -> bool:
    # Behind a proxy every request comes from loopback: the forwarding header gives it away.
    if "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _has_token(request: HttpRequest) -> bool:
    expected = settings.METRICS_TOKEN
    given = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return bool(expected) and secrets.compare_digest(given.encode(), expected.encode())


VIEWS: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/healthz": healthz,
    "/readyz": readyz,
    "/metrics": metrics,
}


class HealthMiddleware:
    """Answers the addresses of ``VIEWS`` and passes everything else on."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        view = VIEWS.get(request.path_info, self._get_response)
        return view(request)

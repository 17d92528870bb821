"""What the stream processes know of the providers, in Redis: so that none learns alone, and that operators see it.

``streaming.health`` calls ``exchange`` once a second from a thread; the admin asks for the ``states`` of an account.
Redis is no condition of anything: without it each process goes by what its own calls meet.
"""

import datetime
from functools import lru_cache
from typing import NamedTuple

import msgspec
import redis
import structlog
from django.conf import settings

from agents.models import ProviderAccount
from agents.providers.board import Service, Standing
from agents.providers.breaker import Breaker, State, latest
from agents.providers.errors import FACTS, Stage
from agents.spec import AgentSpec

log = structlog.get_logger(__name__)

PROCESSES = "parley:health:processes"  # set of process ids
KNOWN = "parley:health:known:"  # + process id: list of Standing as JSON, with a lifetime
TTL_S = 10
TIMEOUT_S = 0.25
WORDS: dict[State, str] = {"closed": "In use", "half_open": "On trial", "open": "Out of use"}


class ServiceState(NamedTuple):
    """One model of an account on the calls of the last hour, as an operator is told of it.

    Attributes:
        since: when it last changed; None while it never has.
        error: the last failure in the provider's words; empty when there was none. ``remedy``: what to do about it.
    """

    stage: Stage
    model: str
    state: State
    since: datetime.datetime | None
    error: str
    error_at: datetime.datetime | None
    remedy: str

    @property
    def words(self) -> str:
        """The state in a word or two."""
        return WORDS[self.state]


def exchange(*, process_id: str, standings: list[Standing]) -> list[list[Standing]]:
    """Says what a process knows, and returns what each of the others does; raises redis.RedisError."""
    client = _redis()
    with client.pipeline(transaction=False) as pipe:
        pipe.set(KNOWN + process_id, msgspec.json.encode(standings), ex=TTL_S)
        pipe.sadd(PROCESSES, process_id)
        pipe.execute()
    return [known for each, known in _known(client).items() if each != process_id]


def withdraw(process_id: str) -> None:
    """The process has ended; raises redis.RedisError."""
    with _redis().pipeline(transaction=False) as pipe:
        pipe.delete(KNOWN + process_id)
        pipe.srem(PROCESSES, process_id)
        pipe.execute()


def states(account: ProviderAccount) -> list[ServiceState]:
    """What the running processes know of an account, those out of use first; raises redis.RedisError."""
    breakers: dict[Service, Breaker] = {}
    for known in _known(_redis()).values():
        for standing in known:
            if standing.service.account_id == str(account.pk):
                breakers[standing.service] = latest(breakers.get(standing.service, standing.breaker), standing.breaker)
    # After a change of the key a model is there twice for a while: what was last heard of counts.
    newest: dict[tuple[Stage, str], Breaker] = {}
    for service, breaker in sorted(breakers.items(), key=lambda item: _last_heard(item[1])):
        newest[service.stage, service.model] = breaker
    found = [_state(stage, model, breaker) for (stage, model), breaker in newest.items()]
    return sorted(found, key=lambda each: (each.state == "closed", each.stage, each.model))


def out_of_use(spec: AgentSpec) -> list[Stage]:
    """The stages of which none of the agent's choices serves now; raises redis.RedisError."""
    breakers: dict[tuple[str, str, str], Breaker] = {}
    for known in _known(_redis()).values():
        for standing in known:
            service = standing.service
            key = (service.stage, service.account_id, service.model)
            breakers[key] = max(breakers.get(key, standing.breaker), standing.breaker, key=_last_heard)
    stages: tuple[Stage, ...] = ("stt",) if spec.mode == "listen_only" else ("stt", "llm", "tts")
    rests = {key for key, breaker in breakers.items() if breaker.state == "open"}
    return [
        stage for stage in stages if all((stage, each.account_id, each.model) in rests for each in spec.choices(stage))
    ]


def _last_heard(breaker: Breaker) -> float:
    return max(breaker.since, breaker.trouble.at if breaker.trouble else 0.0)


def _state(stage: Stage, model: str, breaker: Breaker) -> ServiceState:
    trouble = breaker.trouble
    return ServiceState(
        stage=stage,
        model=model,
        state=breaker.state,
        since=_moment(breaker.since) if breaker.since else None,
        error=(trouble.detail or trouble.kind.value) if trouble else "",
        error_at=_moment(trouble.at) if trouble else None,
        remedy=FACTS[trouble.kind].remedy if trouble else "",
    )


def _moment(at: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(at, datetime.UTC)


def _known(client: redis.Redis) -> dict[str, list[Standing]]:
    members = client.smembers(PROCESSES)
    ids = sorted(member.decode() if isinstance(member, bytes) else member for member in members)
    if not ids:
        return {}
    values = dict(zip(ids, client.mget([KNOWN + each for each in ids]), strict=True))
    if dead := [each for each, raw in values.items() if raw is None]:
        client.srem(PROCESSES, *dead)
    return {each: _decoded(raw) for each, raw in values.items() if raw is not None}


def _decoded(raw: bytes | str) -> list[Standing]:
    """What a process wrote; nothing where it is of another version, as during a deployment."""
    try:
        return msgspec.json.decode(raw, type=list[Standing])
    except msgspec.DecodeError:
        log.warning("provider_health_not_understood")
        return []


@lru_cache(maxsize=2)
def _client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S)


def _redis() -> redis.Redis:
    return _client(settings.REDIS_URL)

"""The providers as this process sees them: shared with the others, shown at /metrics, tried again after a rest.

Owned by ``live.Process``. Calls read and write ``resources.board`` and wait for nothing here; a thread asks Redis.
"""

import asyncio
import contextlib

import redis
import structlog

from agents import health
from agents.providers.base import MULAW_8K, ProviderConfig
from agents.providers.board import Service
from agents.providers.breaker import NOT_THE_PROVIDERS, Rules, State
from agents.providers.clocks import until_first
from agents.providers.errors import ProviderError, Stage
from streaming import metrics
from streaming.resources import Resources
from streaming.threads import Overloaded, Worker

log = structlog.get_logger(__name__)

EVERY_S = 1.0
EXCHANGE_S = 2.0
TRIAL_S = Rules().trial_s / 2
_SHOWN: dict[State, float] = {"closed": 0.0, "half_open": 0.5, "open": 1.0}


class Health:
    """Keeps the board of one process in step with the others.

    Args:
        process_id: under which the others know it.
    """

    def __init__(self, resources: Resources, *, process_id: str) -> None:
        self._resources = resources
        self._board = resources.board
        self._id = process_id
        self._worker = Worker("provider-health", limit=2)
        self._states: dict[Service, State] = {}
        self._reachable = True

    async def run(self) -> None:
        """Once a second, for ever."""
        while True:
            await asyncio.sleep(EVERY_S)
            self._show()
            for stage, config in self._board.begin_trials():
                self._resources.background(self._try(stage, config), f"provider-trial-{stage}")
            await self._exchange()

    async def close(self) -> None:
        """The process ends: the others forget what it knows."""
        with contextlib.suppress(redis.RedisError, TimeoutError, Overloaded):
            await self._worker.run(1.0, health.withdraw, self._id)
        await self._worker.close()

    async def _exchange(self) -> None:
        standings = self._board.standings()
        if not standings:
            return
        try:
            others = await self._worker.run(EXCHANGE_S, health.exchange, process_id=self._id, standings=standings)
        except (redis.RedisError, TimeoutError, Overloaded) as error:
            if self._reachable:
                log.warning("provider_health_not_shared", error=type(error).__name__)
            self._reachable = False
            others = []  # what they knew is old by now
        else:
            self._reachable = True
        self._board.learn(others)

    def _show(self) -> None:
        """Puts the states into the metrics, and what has changed into the log."""
        metrics.OUT_OF_SERVICE.clear()
        before, self._states = self._states, {}
        for standing in self._board.standings():
            service, breaker = standing.service, standing.breaker
            about = {
                "stage": service.stage,
                "provider": service.provider,
                "account": service.account_id,
                "model": service.model,
            }
            metrics.OUT_OF_SERVICE.labels(**about).set(_SHOWN[breaker.state])
            self._states[service] = breaker.state
            was = before.get(service, "closed")
            if breaker.state == "open" and was == "closed":
                log.error("provider_out_of_service", kind=breaker.trouble and breaker.trouble.kind.value, **about)
            elif breaker.state == "closed" and was != "closed":
                log.warning("provider_back_in_service", **about)

    async def _try(self, stage: Stage, config: ProviderConfig) -> None:
        """The smallest real use of a service that has rested: no caller waits for how it goes."""
        try:
            await self._use(stage, config)
        except ProviderError as error:
            if error.kind not in NOT_THE_PROVIDERS:  # else it was read, and answered
                self._board.failed(error, config)
                return
        self._board.worked(stage, config)

    async def _use(self, stage: Stage, config: ProviderConfig) -> None:
        providers = self._resources.providers
        async with until_first(TRIAL_S, config=config, stage=stage):
            if stage == "llm":
                await providers.language_model(config).check()
            elif stage == "stt":
                await providers.speech_to_text(config, codec=MULAW_8K).check()
            else:
                await providers.text_to_speech(config, codec=MULAW_8K).check()

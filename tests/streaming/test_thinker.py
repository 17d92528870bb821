"""What the model is asked on a call, over the adapter and a server that takes its time."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any

import pytest

from agents.providers.base import Clocks, Message, ProviderConfig
from agents.providers.board import Board
from agents.providers.chain import Chain
from agents.providers.openai_llm import OpenAiLanguageModel
from agents.providers.pools import Pools
from streaming.conversation.events import Event, Note, StartReply
from streaming.thinker import Thinker
from streaming.usage import UsageBook
from tests.streaming.fakes import until

pytestmark = pytest.mark.sandbox
QUESTION = "Have you a table for two? " * 20


class Thinking:
    """A thinker whose model is asked at ``url``, and what it told."""

    def __init__(self, url: str, pools: Pools, clocks: Clocks) -> None:
        config = ProviderConfig(provider="openai_compatible", base_url=url, api_key="k", model="m")
        self.rows: dict[str, dict[str, Any]] = {}
        self.events: list[Event] = []
        self.notes: list[Note] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.thinker = Thinker(
            make=lambda each: OpenAiLanguageModel(each, pools=pools, clocks=clocks),
            chain=Chain("llm", (config,), board=Board(clock=time.time), switch_s=clocks.switch, moved=lambda _: None),
            tools=(),
            cache_key="",
            guard_s=30,
            feed=self.events.append,
            note=self.notes.append,
            usage=UsageBook(write=lambda row: self.rows.update({row["key"]: row}), now_ms=lambda: 0),
            spawn=self._spawn,
        )

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        self.tasks.append(asyncio.create_task(work, name=name))
        return self.tasks[-1]

    def account(self) -> list[tuple[str, int, bool, str]]:
        return [(row["purpose"], row["input_tokens"], row["estimated"], row["error"]) for row in self.rows.values()]


@pytest.fixture
async def mute_server() -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that reads requests and answers none: its address, and what it has read."""
    requests: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.read(200))
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", requests


async def test_a_wrong_guess_is_accounted_for_though_nothing_came_of_it(mute_server) -> None:
    url, requests = mute_server
    async with Pools() as pools:
        thinking = Thinking(url, pools, Clocks())
        thinking.thinker.start(StartReply(1, (Message(role="user", content=QUESTION),), speculative=True))
        await until(lambda: any(request.startswith(b"POST") for request in requests))
        thinking.thinker.cancel(1)
        await asyncio.wait(thinking.tasks)
    assert thinking.account() == [("speculative", len(QUESTION) // 4, True, "")]
    assert not thinking.events


async def test_each_attempt_that_ran_into_a_clock_is_accounted_for(mute_server) -> None:
    url, _ = mute_server
    async with Pools() as pools:
        thinking = Thinking(url, pools, Clocks(first=0.2))
        thinking.thinker.start(StartReply(1, (Message(role="user", content=QUESTION),)))
        await asyncio.wait(thinking.tasks, timeout=5)
    assert thinking.account() == [("turn", len(QUESTION) // 4, True, "timeout")] * 2
    assert [note.data["again"] for note in thinking.notes] == [True, False]

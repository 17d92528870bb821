"""A running sandbox with the OpenAI-compatible server, and the vendor's own client of it."""

from collections.abc import AsyncIterator, Callable

import pytest
from openai import AsyncOpenAI, DefaultAsyncHttpxClient

from sandbox.testing import Sandbox, running_sandbox
from tests.sandbox.tally import Tally


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"openai"}), time_scale=0.1) as running:
        yield running


@pytest.fixture
async def client_of(box: Sandbox, record_property) -> AsyncIterator[Callable[[str], AsyncOpenAI]]:
    clients: list[AsyncOpenAI] = []
    tally = Tally("openai")

    def make(key: str) -> AsyncOpenAI:
        http = DefaultAsyncHttpxClient(event_hooks={"response": [tally.httpx]})
        clients.append(AsyncOpenAI(api_key=key, base_url=f"{box.url}/v1", max_retries=0, timeout=10, http_client=http))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()
    tally.tell(record_property)


@pytest.fixture
def client(client_of: Callable[[str], AsyncOpenAI]) -> AsyncOpenAI:
    return client_of("test-key")


@pytest.fixture
def demo(client_of: Callable[[str], AsyncOpenAI]) -> AsyncOpenAI:
    return client_of("demo-front_desk")

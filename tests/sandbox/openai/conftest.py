"""A running sandbox with the OpenAI-compatible server, and the vendor's own client of it."""

from collections.abc import AsyncIterator, Callable

import pytest
from openai import AsyncOpenAI

from sandbox.testing import Sandbox, running_sandbox


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"openai"}), time_scale=0.1) as running:
        yield running


@pytest.fixture
async def client_of(box: Sandbox) -> AsyncIterator[Callable[[str], AsyncOpenAI]]:
    clients: list[AsyncOpenAI] = []

    def make(key: str) -> AsyncOpenAI:
        clients.append(AsyncOpenAI(api_key=key, base_url=f"{box.url}/v1", max_retries=0, timeout=10))
        return clients[-1]

    yield make
    for client in clients:
        await client.close()


@pytest.fixture
def client(client_of: Callable[[str], AsyncOpenAI]) -> AsyncOpenAI:
    return client_of("test-key")


@pytest.fixture
def demo(client_of: Callable[[str], AsyncOpenAI]) -> AsyncOpenAI:
    return client_of("demo-front_desk")

"""A running sandbox with the ElevenLabs-compatible server, the vendor's own client of it, and raw speech sockets."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
from elevenlabs.client import AsyncElevenLabs
from websockets.asyncio.client import ClientConnection, connect

from sandbox.testing import Sandbox, running_sandbox
from tests.sandbox.tally import Tally

MULAW = "output_format=ulaw_8000&model_id=eleven_flash_v2_5"


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"elevenlabs"}), time_scale=0.1) as running:
        yield running


@pytest.fixture
async def client_of(box: Sandbox, record_property) -> AsyncIterator[Callable[[str], AsyncElevenLabs]]:
    pools: list[httpx.AsyncClient] = []
    tally = Tally("elevenlabs")

    def make(key: str) -> AsyncElevenLabs:
        pools.append(httpx.AsyncClient(timeout=10, event_hooks={"response": [tally.httpx]}))
        return AsyncElevenLabs(api_key=key, base_url=box.url, httpx_client=pools[-1])

    yield make
    for pool in pools:
        await pool.aclose()
    tally.tell(record_property)


@pytest.fixture
def client(client_of: Callable[[str], AsyncElevenLabs]) -> AsyncElevenLabs:
    return client_of("test-key")


class Speech:
    """One raw speech socket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, **message: Any) -> None:
        """One JSON message."""
        await self.socket.send(json.dumps(message))

    async def next(self) -> dict[str, Any]:
        """The next message."""
        content: dict[str, Any] = json.loads(await self.socket.recv())
        return content

    async def until_final(self, context: str | None = None) -> list[dict[str, Any]]:
        """All messages up to isFinal (of one context)."""
        got = []
        while True:
            got.append(await self.next())
            if got[-1].get("isFinal") and context in (None, got[-1].get("contextId")):
                return got


Dial = Callable[..., AbstractAsyncContextManager[Speech]]


@pytest.fixture
def dial(box: Sandbox) -> Dial:
    @asynccontextmanager
    async def opened(
        path: str = "multi-stream-input", query: str = MULAW, voice: str = "sandboxClaraEnUs0001", key: str = "test-key"
    ) -> AsyncIterator[Speech]:
        url = f"{box.url.replace('http', 'ws')}/v1/text-to-speech/{voice}/{path}?{query}"
        async with connect(url, additional_headers={"xi-api-key": key} if key else {}) as socket:
            yield Speech(socket)

    return opened

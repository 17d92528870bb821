"""The faithful servers, their ledger and the accounts that the adapter tests use; the fixtures are imported by name."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from agents.providers import registry
from agents.providers.base import Clocks, LlmEvent, LlmRequest, Message, ProviderConfig, SpeechChunk, Utterance
from agents.providers.pools import Pools
from sandbox.testing import Sandbox, running_sandbox

KEY = "test-canary-51d2c8"
HELLO = LlmRequest(messages=(Message(role="user", content="Hello?"),))
FAST = Clocks(connect=1, first=1, stall=0.3, total=5)


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"openai", "elevenlabs"})) as running:
        yield running


@pytest.fixture
async def pools(box: Sandbox) -> AsyncIterator[Pools]:
    """After each test the servers must see no request or socket of ours any more."""
    async with Pools() as opened:
        yield opened

    async def nothing_open() -> bool:
        return not any((await box.control.request("GET", "providers"))["open"].values())

    async with asyncio.timeout(3):
        while not await nothing_open():  # noqa: ASYNC110 - another server's state
            await asyncio.sleep(0.02)


def account(box: Sandbox, provider: str, model: str, **more: Any) -> ProviderConfig:
    base = box.url if provider == "elevenlabs" else f"{box.url}/v1"
    fields: dict[str, Any] = {"base_url": base, "api_key": KEY, "language": "en-US"} | more
    return ProviderConfig(provider=provider, model=model, **fields)


def luna(box: Sandbox, pools: Pools, **more: Any) -> Any:
    return registry.language_model(account(box, "openai", "gpt-6-luna", **more), pools=pools, clocks=FAST)


async def voice_of(box: Sandbox, pools: Pools) -> str:
    voices = await registry.voices(account(box, "elevenlabs", ""), pools=pools, clocks=FAST)
    return voices[0].voice_id


async def fault(box: Sandbox, kind: str, stage: str, **more: Any) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": stage, **more})


async def script(box: Sandbox, *replies: dict[str, Any]) -> None:
    await box.control.request("POST", "providers/replies", {"replies": list(replies)})


async def ledger(box: Sandbox, **wanted: str) -> list[dict[str, Any]]:
    return list((await box.control.request("GET", "providers/ledger", **wanted))["entries"])


async def reply(llm: Any, request: LlmRequest = HELLO) -> list[LlmEvent]:
    async with llm.stream(request) as events:
        return [event async for event in events]


async def everything(utterance: Utterance) -> list[SpeechChunk]:
    return [chunk async for chunk in utterance.chunks()]

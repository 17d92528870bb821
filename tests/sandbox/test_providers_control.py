"""The control API of both providers on one port: settings checked, faults counted, every connection in the ledger."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from sandbox.testing import ControlError, Sandbox, running_sandbox

pytestmark = pytest.mark.sandbox


@pytest.fixture
async def box() -> AsyncIterator[Sandbox]:
    async with running_sandbox(parts=frozenset({"openai", "elevenlabs"}), time_scale=0.1) as running:
        yield running


async def status(box: Sandbox, path: str, headers: dict[str, str]) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{box.url}{path}", headers=headers) as reply:
        return reply.status, await reply.json()


async def test_both_vendors_list_their_models_at_one_address(box: Sandbox) -> None:
    _, openai = await status(box, "/v1/models", {"Authorization": "Bearer test-key"})
    _, elevenlabs = await status(box, "/v1/models", {"xi-api-key": "test-key"})
    assert openai["data"][0]["id"] == "demo-script"
    assert elevenlabs[0]["model_id"] == "eleven_flash_v2_5"


async def test_a_fresh_sandbox_has_seen_no_connection(box: Sandbox) -> None:
    seen = await box.control.request("GET", "providers/ledger")
    assert seen["connections"] == seen["requests"] == seen["open"] == {"openai": 0, "elevenlabs": 0}
    assert seen["entries"] == []


async def test_refused_requests_are_in_the_ledger_too_but_never_their_key(box: Sandbox) -> None:
    assert (await status(box, "/v1/models", {"Authorization": "Bearer canary-4711"}))[0] == 401
    seen = await box.control.request("GET", "providers/ledger", provider="openai")
    assert [entry["status"] for entry in seen["entries"]] == [401]
    assert "4711" not in str(seen)


async def test_a_fault_hits_as_many_requests_as_it_says_after_those_that_it_skips(box: Sandbox) -> None:
    fault = {"kind": "server_error", "stage": "other", "count": 2, "skip": 1}
    await box.control.request("POST", "providers/faults", fault)
    key = {"Authorization": "Bearer test-key"}
    assert [(await status(box, "/v1/models", key))[0] for _ in range(4)] == [200, 500, 500, 200]


async def test_a_fault_of_one_provider_leaves_the_other_alone(box: Sandbox) -> None:
    await box.control.request(
        "POST", "providers/faults", {"kind": "server_error", "stage": "other", "provider": "elevenlabs", "count": -1}
    )
    assert (await status(box, "/v1/models", {"Authorization": "Bearer test-key"}))[0] == 200
    assert (await status(box, "/v1/models", {"xi-api-key": "test-key"}))[0] == 500
    await box.control.request("DELETE", "providers/faults")
    assert (await status(box, "/v1/models", {"xi-api-key": "test-key"}))[0] == 200


async def test_the_typical_profile_can_be_changed_in_parts_and_taken_back(box: Sandbox) -> None:
    body = {"profile": "typical", "stt_final_ms": 5}
    latencies = (await box.control.request("PATCH", "providers/latencies", body))["latencies"]
    assert latencies["stt_final_ms"] == 5
    assert latencies["llm_first_token_ms"] > 0
    latencies = (await box.control.request("PATCH", "providers/latencies", {"profile": "none"}))["latencies"]
    assert latencies["llm_first_token_ms"] == 0


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "faults", {"kind": "no_such", "stage": "llm"}),
        ("POST", "faults", {"kind": "split_utf8", "stage": "tts"}),
        ("POST", "faults", {"kind": "drop", "stage": "brain"}),
        ("POST", "faults", {"kind": "drop", "stage": "llm", "provider": "acme"}),
        ("POST", "faults", {"stage": "llm"}),
        ("PATCH", "latencies", {"llm_first_token": 1}),
        ("PATCH", "latencies", {"llm_first_token_ms": -1}),
        ("PATCH", "latencies", {"profile": "slow"}),
        ("POST", "transcripts", {"texts": "one"}),
        ("POST", "replies", {"replies": [{"words": "hi"}]}),
        ("POST", "keys", ["a"]),
    ],
)
async def test_what_there_is_not_to_set_is_refused(box: Sandbox, method: str, path: str, body: Any) -> None:
    with pytest.raises(ControlError) as refused:
        await box.control.request(method, f"providers/{path}", body)
    assert refused.value.status == 400

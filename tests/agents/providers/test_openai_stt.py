"""Realtime transcription sessions: settings, commits, items that complete in any order, errors."""

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import L16_16K, L16_24K, MULAW_8K, Clocks, Final, Partial, ProviderConfig, SttEvent
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.openai_stt import ItemOrder, OpenAiSpeechToText
from agents.providers.pools import Pools
from tests.agents.providers.vendor import KEY, Talk, Vendor, until

PATH = "/v1/realtime"
SECOND = bytes(8000)
ITEM = "conversation.item.input_audio_transcription"


def transcriber(vendor: Vendor, pools: Pools, clocks: Clocks, **more: Any) -> OpenAiSpeechToText:
    codec = more.pop("codec", MULAW_8K)
    fields: dict[str, Any] = {"provider": "openai", "api_key": KEY, "model": "gpt-live-transcribe"} | more
    return OpenAiSpeechToText(
        ProviderConfig(base_url=f"{vendor.url}/v1", **fields), pools=pools, clocks=clocks, codec=codec
    )


def started(rest: Callable[[Talk], Awaitable[None]]) -> Callable[[Talk], Awaitable[None]]:
    async def talk(talk: Talk) -> None:
        await talk.say(type="session.created", session={})
        await talk.hear_until(lambda message: message["type"] == "session.update")
        await talk.say(type="session.updated", session={})
        await rest(talk)

    return talk


async def listen_only(talk: Talk) -> None:
    while await talk.hear() is not None:
        pass


async def commits(talk: Talk, count: int) -> None:
    for _ in range(count):
        await talk.hear_until(lambda message: message["type"] == "input_audio_buffer.commit")


async def committed(talk: Talk, item: str, previous: str | None) -> None:
    await talk.say(type="input_audio_buffer.committed", item_id=item, previous_item_id=previous)


async def connected(stt: OpenAiSpeechToText, seconds: int) -> OpenAiSpeechToText:
    """Connects, and commits as many seconds one by one."""
    await stt.connect()
    for number in range(1, seconds + 1):
        await stt.send(SECOND)
        assert await stt.commit() == number
    return stt


async def finals(stt: OpenAiSpeechToText, count: int) -> list[SttEvent]:
    found: list[SttEvent] = []
    async with asyncio.timeout(3):
        async for event in stt.events():
            found += [event] if isinstance(event, Final) else []
            if len(found) == count:
                break
    return found


@pytest.mark.pure
@given(st.integers(1, 12), st.randoms(use_true_random=False))
def test_finals_come_in_spoken_order_whatever_the_order_of_completion(count: int, chance: random.Random) -> None:
    order, given_out = ItemOrder(), []
    for number in range(count):
        order.asked(number + 1)
        order.committed(f"i{number}", f"i{number - 1}" if number else "")
    items = list(range(count))
    chance.shuffle(items)
    for number in items:
        order.completed(f"i{number}", f" text {number} ")
        given_out += order.ready()
    assert given_out == [(f"text {number}", number + 1) for number in range(count)]
    assert order.partial() == ""
    assert not order.held_up


@pytest.mark.pure
def test_an_item_is_placed_behind_the_one_that_it_names() -> None:
    order = ItemOrder()
    for commit in (1, 2, 3):
        order.asked(commit)
    order.delta("b", "world")
    order.committed("a", "")
    order.committed("b", "a")
    order.delta("a", "hello")
    assert order.partial() == "hello world"
    order.completed("a", None)
    assert order.ready() == [("hello", 1)]
    order.committed("a", "")
    order.delta("a", "again")
    order.completed("c", "late")
    assert order.ready() == [], "not committed yet"
    order.committed("c", "b")
    order.completed("b", "world!")
    assert order.ready() == [("world!", 2), ("late", 3)]


@pytest.mark.sandbox
async def test_the_session_is_set_up_for_our_own_commits(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.socket(PATH, started(listen_only))
    options = {"keywords": "Parley, Plivo", "noise_reduction": "near_field"}
    stt = transcriber(vendor, pools, clocks, language="de-AT", options=options)
    await stt.connect()
    await stt.close()
    assert stt.input_format == MULAW_8K
    assert vendor.queries[0] == {"intent": ["transcription"]}
    assert vendor.heard[0]["session"] == {
        "type": "transcription",
        "audio": {
            "input": {
                "format": {"type": "audio/pcmu"},
                "transcription": {
                    "model": "gpt-live-transcribe",
                    "languages": ["de"],
                    "keywords": ["Parley", "Plivo"],
                },
                "turn_detection": None,
                "noise_reduction": {"type": "near_field"},
            }
        },
    }


@pytest.mark.sandbox
async def test_a_linear_line_is_sent_at_24_khz_and_older_models_take_one_language(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.socket(PATH, started(listen_only))
    stt = transcriber(vendor, pools, clocks, codec=L16_16K, model="gpt-4o-transcribe", options={"prompt": "Names"})
    await stt.connect()
    await stt.close()
    assert stt.input_format == L16_24K
    settings = vendor.heard[0]["session"]["audio"]["input"]
    assert settings["format"] == {"type": "audio/pcm", "rate": 24000}
    assert settings["transcription"] == {"model": "gpt-4o-transcribe", "language": "en", "prompt": "Names"}


@pytest.mark.sandbox
async def test_commits_are_answered_in_spoken_order_with_partials_on_the_way(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await commits(talk, 2)
        await committed(talk, "A", None)
        await committed(talk, "B", "A")
        await talk.say(type=f"{ITEM}.delta", item_id="A", content_index=0, delta="hel")
        await asyncio.sleep(0.05)
        await talk.say(type=f"{ITEM}.completed", item_id="B", transcript="world")
        await talk.say(type="rate_limits.updated")
        await talk.say(type=f"{ITEM}.completed", item_id="A", transcript="hello")
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = await connected(transcriber(vendor, pools, clocks), 2)
    events = stt.events()
    async with asyncio.timeout(3):
        assert [await anext(events) for _ in range(3)] == [Partial("hel"), Final("hello", 1), Final("world", 2)]
    await stt.close()
    assert vendor.heard[1] == {
        "type": "input_audio_buffer.append",
        "audio": base64.b64encode(SECOND).decode(),
    }
    usage = stt.usage()
    assert (usage.audio_ms, usage.stage, usage.error) == (2000, "stt", "")


@pytest.mark.sandbox
async def test_a_commit_refused_as_empty_is_answered_with_nothing(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await commits(talk, 2)
        error = {"type": "invalid_request_error", "code": "input_audio_buffer_commit_empty", "message": "too small"}
        await talk.say(type="error", error=error | {"event_id": "commit_1"})
        await committed(talk, "A", None)
        await talk.say(type=f"{ITEM}.completed", item_id="A", transcript="hello")
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = await connected(transcriber(vendor, pools, clocks), 2)
    assert await finals(stt, 2) == [Final("", 1), Final("hello", 2)]
    await stt.close()


@pytest.mark.sandbox
async def test_a_failed_item_gives_what_was_understood_and_shows_in_the_usage(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await commits(talk, 1)
        await committed(talk, "A", None)
        await talk.say(type=f"{ITEM}.delta", item_id="A", delta="half a")
        error = {"type": "server_error", "code": "server_error", "message": "boom"}
        await talk.say(type=f"{ITEM}.failed", item_id="A", error=error)
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = await connected(transcriber(vendor, pools, clocks), 1)
    assert await finals(stt, 1) == [Final("half a", 1)]
    assert stt.usage().error == "server_error"
    await stt.close()


@pytest.mark.sandbox
async def test_an_item_that_is_never_completed_does_not_hold_back_the_rest(vendor: Vendor, pools: Pools) -> None:
    async def talk(talk: Talk) -> None:
        await commits(talk, 2)
        await committed(talk, "A", None)
        await committed(talk, "B", "A")
        await talk.say(type=f"{ITEM}.delta", item_id="A", delta="lost")
        await talk.say(type=f"{ITEM}.completed", item_id="B", transcript="found")
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = await connected(transcriber(vendor, pools, Clocks(connect=1, first=1, stall=0.1, total=5)), 2)
    assert await finals(stt, 2) == [Final("lost", 1), Final("found", 2)]
    await stt.close()


@pytest.mark.sandbox
@pytest.mark.parametrize("at_start", [True, False])
async def test_an_error_event_that_ends_the_session_is_raised(
    at_start: bool, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        error = {"type": "invalid_request_error", "code": "insufficient_quota", "message": f"pay for {KEY}"}
        await talk.say(type="error", error=error)
        await talk.hear()

    vendor.socket(PATH, talk if at_start else started(talk))
    stt = transcriber(vendor, pools, clocks)

    async def use() -> None:
        await stt.connect()
        await finals(stt, 1)

    with pytest.raises(ProviderError) as error:
        await use()
    assert error.value.kind is ErrorKind.OUT_OF_CREDIT
    assert error.value.detail == "pay for [key]"
    await stt.close()


@pytest.mark.sandbox
async def test_a_break_is_raised_with_the_audio_still_at_hand(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await commits(talk, 1)
        talk.reset()

    vendor.socket(PATH, started(talk))
    stt = await connected(transcriber(vendor, pools, clocks), 1)
    with pytest.raises(ProviderError) as error:
        await finals(stt, 1)
    assert error.value.kind is ErrorKind.DROPPED
    assert stt.unconfirmed() == SECOND
    await stt.close()
    with pytest.raises(ProviderError):
        await stt.send(SECOND)


@pytest.mark.sandbox
async def test_a_refused_handshake_is_named_and_leaves_nothing_open(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        error = {"message": f"Incorrect API key: {KEY}", "type": "invalid_request_error", "code": "invalid_api_key"}
        return web.json_response({"error": error}, status=401)

    vendor.on("GET", PATH, refuse)
    with pytest.raises(ProviderError) as error:
        await transcriber(vendor, pools, clocks).connect()
    assert error.value.kind is ErrorKind.UNAUTHORISED
    assert error.value.detail == "HTTP 401 Incorrect API key: [key]"


@pytest.mark.sandbox
async def test_a_session_that_never_starts_runs_into_the_clock(vendor: Vendor, pools: Pools) -> None:
    vendor.socket(PATH, listen_only)
    stt = transcriber(vendor, pools, Clocks(connect=1, first=0.1, stall=1, total=5))
    with pytest.raises(ProviderError) as error:
        await stt.connect()
    assert error.value.kind is ErrorKind.TIMEOUT
    await until(lambda: vendor.open_sockets == 0)


@pytest.mark.sandbox
async def test_the_check_opens_a_session_and_warns_of_a_model_that_ends(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.socket(PATH, started(listen_only))
    assert await transcriber(vendor, pools, clocks).check() == "Connected; gpt-live-transcribe takes live audio."
    assert "2027-02-26" in await transcriber(vendor, pools, clocks, model="whisper-1").check()
    await until(lambda: vendor.open_sockets == 0)

"""Scribe sessions: our own commits, what answers them, errors, closing."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from agents.providers.base import L16_8K, MULAW_8K, Clocks, Final, Partial, ProviderConfig, SttEvent
from agents.providers.elevenlabs_stt import ElevenLabsSpeechToText
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.pools import Pools
from tests.agents.providers.vendor import KEY, Talk, Vendor, until

PATH = "/v1/speech-to-text/realtime"
SECOND = bytes(8000)

pytestmark = pytest.mark.sandbox


def scribe(vendor: Vendor, pools: Pools, clocks: Clocks, **more: Any) -> ElevenLabsSpeechToText:
    codec = more.pop("codec", MULAW_8K)
    fields: dict[str, Any] = {"provider": "elevenlabs", "api_key": KEY, "model": "scribe_v2_realtime"} | more
    return ElevenLabsSpeechToText(
        ProviderConfig(base_url=vendor.url, **fields), pools=pools, clocks=clocks, codec=codec
    )


def started(rest: Callable[[Talk], Awaitable[None]]) -> Callable[[Talk], Awaitable[None]]:
    async def talk(talk: Talk) -> None:
        await talk.say(message_type="session_started", session_id="s", config={})
        await rest(talk)

    return talk


async def until_commit(talk: Talk) -> dict[str, Any] | None:
    return await talk.hear_until(lambda message: bool(message["commit"]))


async def gather_events(stt: ElevenLabsSpeechToText, count: int) -> list[SttEvent]:
    events = stt.events()
    async with asyncio.timeout(3):
        return [await anext(events) for _ in range(count)]


async def test_a_commit_is_answered_under_its_number(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        for text in ("hello", "good bye"):
            await until_commit(talk)
            await talk.say(message_type="partial_transcript", text=text[:3])
            await talk.say(message_type="committed_transcript", text=text)
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()
    await stt.send(SECOND)
    assert await stt.commit() == 1
    assert await gather_events(stt, 2) == [Partial("hel"), Final("hello", 1)]
    await stt.send(SECOND)
    assert await stt.commit() == 2
    assert await gather_events(stt, 2) == [Partial("goo"), Final("good bye", 2)]
    await stt.close()
    chunk, commit = vendor.heard[:2]
    assert chunk == {
        "message_type": "input_audio_chunk",
        "audio_base_64": base64.b64encode(SECOND).decode(),
        "commit": False,
        "sample_rate": 8000,
    }
    assert commit == chunk | {"audio_base_64": "", "commit": True}
    usage = stt.usage()
    assert (usage.stage, usage.audio_ms, usage.error) == ("stt", 2000, "")


async def test_the_lines_own_format_and_the_options_are_asked_for(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear()

    vendor.socket(PATH, started(talk))
    options = {"keyterms": "Parley, Plivo", "no_verbatim": True}
    stt = scribe(vendor, pools, clocks, codec=L16_8K, language="de-AT", options=options)
    await stt.connect()
    await stt.close()
    assert stt.input_format == L16_8K
    assert vendor.queries[0] == {
        "model_id": ["scribe_v2_realtime"],
        "audio_format": ["pcm_8000"],
        "commit_strategy": ["manual"],
        "language_code": ["de"],
        "keyterms": ["Parley", "Plivo"],
        "no_verbatim": ["true"],
    }


async def test_a_short_word_is_made_long_enough_to_be_committed(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await until_commit(talk)
        await talk.say(message_type="committed_transcript", text="yes")
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()
    await stt.send(bytes(1600))
    assert await stt.commit() == 1
    assert await gather_events(stt, 1) == [Final("yes", 1)]
    assert base64.b64decode(vendor.heard[1]["audio_base_64"]) == b"\xff" * 800
    assert stt.usage().audio_ms == 200, "the silence of ours is not the caller's"
    await stt.close()


async def test_a_commit_reported_twice_counts_once(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await until_commit(talk)
        await talk.say(message_type="committed_transcript", text="hello")
        await talk.say(message_type="committed_transcript_with_timestamps", text="hello", words=[])
        await talk.say(message_type="committed_transcript", text="hello")
        await talk.say(message_type="warning", warning="w")
        await talk.say(message_type="of_tomorrow")
        await talk.say(message_type="committed_transcript", text="the provider's own commit")
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()
    await stt.send(SECOND)
    await stt.commit()
    assert await gather_events(stt, 2) == [Final("hello", 1), Final("the provider's own commit", 0)]
    await stt.close()


@pytest.mark.parametrize(
    ("error_type", "kind"),
    [
        ("auth_error", ErrorKind.UNAUTHORISED),
        ("quota_exceeded", ErrorKind.OUT_OF_CREDIT),
        ("unaccepted_terms", ErrorKind.FORBIDDEN),
        ("rate_limited", ErrorKind.RATE_LIMITED),
        ("queue_overflow", ErrorKind.RATE_LIMITED),
        ("resource_exhausted", ErrorKind.SERVER_ERROR),
        ("session_time_limit_exceeded", ErrorKind.DROPPED),
        ("input_error", ErrorKind.BAD_REQUEST),
        ("invalid_request", ErrorKind.BAD_REQUEST),
        ("chunk_size_exceeded", ErrorKind.BAD_REQUEST),
        ("transcriber_error", ErrorKind.SERVER_ERROR),
        ("error", ErrorKind.SERVER_ERROR),
    ],
)
@pytest.mark.parametrize("at_start", [True, False])
async def test_every_error_of_the_session_is_named(
    error_type: str, kind: ErrorKind, at_start: bool, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await talk.say(message_type=error_type, error=f"because of {KEY}")
        await talk.hear()

    vendor.socket(PATH, talk if at_start else started(talk))
    stt = scribe(vendor, pools, clocks)

    async def use() -> None:
        await stt.connect()
        await gather_events(stt, 1)

    with pytest.raises(ProviderError) as error:
        await use()
    assert error.value.kind is kind
    assert KEY not in error.value.detail
    assert stt.usage().error == kind.value
    await stt.close()


@pytest.mark.parametrize("error_type", ["commit_throttled", "insufficient_audio_activity"])
async def test_words_of_a_commit_that_the_provider_refuses_come_with_the_next(
    error_type: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await talk.say(message_type="partial_transcript", text="yes")
        await until_commit(talk)
        await talk.say(message_type=error_type, error="too soon")
        await until_commit(talk)
        await talk.say(message_type="committed_transcript", text="yes please")
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()
    for number, text in ((1, ""), (2, "yes please")):
        await stt.send(SECOND)
        assert await stt.commit() == number
        async with asyncio.timeout(3):
            async for event in stt.events():
                if isinstance(event, Final):
                    assert event == Final(text, number)
                    break
    await stt.close()


async def test_a_break_is_raised_with_the_audio_still_at_hand(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await until_commit(talk)
        await talk.say(message_type="committed_transcript", text="one")
        await talk.hear()
        talk.reset()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()
    await stt.send(b"a" * 8000)
    await stt.commit()
    assert await gather_events(stt, 1) == [Final("one", 1)]
    await stt.send(b"b" * 8000)
    with pytest.raises(ProviderError) as error:
        await gather_events(stt, 1)
    assert error.value.kind is ErrorKind.DROPPED
    assert stt.unconfirmed() == b"b" * 8000, "the first second was answered, the next was not"
    with pytest.raises(ProviderError):
        await stt.send(SECOND)
    await stt.close()
    with pytest.raises(ProviderError):
        await stt.commit()


async def test_audio_sent_at_once_is_heard_counted_and_kept_like_any_other(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await until_commit(talk)
        await talk.say(message_type="committed_transcript", text="one")
        await talk.hear()
        talk.reset()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    assert not stt.send_at_once(SECOND), "it is not open yet"
    await stt.connect()
    assert stt.send_at_once(b"a" * 800)
    await stt.send(b"b" * 800)
    assert stt.send_at_once(b"c" * 800)
    await stt.commit()
    assert await gather_events(stt, 1) == [Final("one", 1)]
    pieces = [message for message in vendor.heard if message["audio_base_64"]]
    assert b"".join(base64.b64decode(message["audio_base_64"]) for message in pieces) == (
        b"a" * 800 + b"b" * 800 + b"c" * 800
    )
    assert {(message["message_type"], message["sample_rate"], message["commit"]) for message in pieces} == {
        ("input_audio_chunk", 8000, False)
    }
    assert stt.send_at_once(b"d" * 800)
    with pytest.raises(ProviderError):
        await gather_events(stt, 1)
    assert stt.unconfirmed() == b"d" * 800
    assert not stt.send_at_once(SECOND), "it is lost"
    assert stt.usage().audio_ms == 400
    await stt.close()


async def test_only_the_last_12_s_wait_for_a_new_session(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        while await talk.hear() is not None:
            pass

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()
    for number in range(15):
        await stt.send(bytes([number]) * 8000)
    assert stt.unconfirmed() == b"".join(bytes([number]) * 8000 for number in range(3, 15))
    await stt.close()
    assert stt.unconfirmed() == b"", "an ended session holds no audio"


async def test_a_session_that_never_starts_runs_into_the_clock(vendor: Vendor, pools: Pools) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear()

    vendor.socket(PATH, talk)
    stt = scribe(vendor, pools, Clocks(connect=1, first=0.1, stall=1, total=5))
    with pytest.raises(ProviderError) as error:
        await stt.connect()
    assert error.value.kind is ErrorKind.TIMEOUT
    await until(lambda: vendor.open_sockets == 0)


async def test_a_handshake_refused_for_too_many_sessions_is_named(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def refuse(request: web.Request) -> web.StreamResponse:
        body = {"detail": {"status": "too_many_concurrent_requests", "message": "Limit of 5"}}
        return web.json_response(body, status=429)

    vendor.on("GET", PATH, refuse)
    with pytest.raises(ProviderError) as error:
        await scribe(vendor, pools, clocks).connect()
    assert error.value.kind is ErrorKind.RATE_LIMITED
    assert error.value.detail == "HTTP 429 Limit of 5"


async def test_a_server_that_is_not_scribe_is_named(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await talk.say(hello="world")

    vendor.socket(PATH, talk)
    with pytest.raises(ProviderError) as error:
        await scribe(vendor, pools, clocks).connect()
    assert error.value.kind is ErrorKind.GARBAGE


async def test_connecting_can_be_cancelled(vendor: Vendor, pools: Pools) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear()

    vendor.socket(PATH, talk)
    stt = scribe(vendor, pools, Clocks())
    task = asyncio.create_task(stt.connect())
    await until(lambda: vendor.open_sockets == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: vendor.open_sockets == 0)


async def test_the_check_opens_a_session_and_closes_it(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear()

    vendor.socket(PATH, started(talk))
    assert await scribe(vendor, pools, clocks).check() == "Connected; scribe_v2_realtime takes live audio."
    await until(lambda: vendor.open_sockets == 0)


async def test_closing_ends_a_waiting_reader(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear()

    vendor.socket(PATH, started(talk))
    stt = scribe(vendor, pools, clocks)
    await stt.connect()

    async def read() -> list[SttEvent]:
        return [event async for event in stt.events()]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0.02)
    await stt.close()
    assert await asyncio.wait_for(reading, 1) == []

"""Speech over HTTP, by both vendors' SDKs: pieces, odd bytes, cancellation, errors."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from agents.providers.base import L16_16K, L16_24K, MULAW_8K, Clocks, ProviderConfig, SpeechChunk, Utterance
from agents.providers.elevenlabs_http_tts import ElevenLabsHttpTextToSpeech
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.http_speech import HttpSpeechSession
from agents.providers.openai_tts import OpenAiTextToSpeech
from agents.providers.pools import Pools
from tests.agents.providers.vendor import KEY, Vendor, streaming, until

pytestmark = pytest.mark.sandbox

OPENAI, ELEVENLABS = "/v1/audio/speech", "/v1/text-to-speech/v1/stream"
Make = Callable[[Vendor, Pools, Clocks], HttpSpeechSession]


def openai_voice(vendor: Vendor, pools: Pools, clocks: Clocks) -> HttpSpeechSession:
    config = ProviderConfig(
        provider="openai", base_url=f"{vendor.url}/v1", api_key=KEY, model="gpt-4o-mini-tts", voice_id="marin"
    )
    return OpenAiTextToSpeech(config, pools=pools, clocks=clocks, codec=MULAW_8K)


def elevenlabs_voice(vendor: Vendor, pools: Pools, clocks: Clocks, codec: Any = L16_16K) -> HttpSpeechSession:
    config = ProviderConfig(
        provider="elevenlabs",
        base_url=vendor.url,
        api_key=KEY,
        model="eleven_flash_v2_5",
        voice_id="v1",
        voice_settings={"stability": 0.4},
    )
    return ElevenLabsHttpTextToSpeech(config, pools=pools, clocks=clocks, codec=codec)


both = pytest.mark.parametrize(("make", "path"), [(openai_voice, OPENAI), (elevenlabs_voice, ELEVENLABS)])


async def everything(utterance: Utterance) -> list[SpeechChunk]:
    return [chunk async for chunk in utterance.chunks()]


async def failure(tts: HttpSpeechSession) -> ProviderError:
    utterance = tts.utterance()
    await utterance.say("Hello.")
    await utterance.finish()
    with pytest.raises(ProviderError) as error:
        await everything(utterance)
    assert utterance.usage().error == error.value.kind.value
    await tts.close()
    return error.value


def keeping(bodies: list[dict[str, Any]], *parts: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(request: web.Request) -> web.StreamResponse:
        bodies.append(json.loads(await request.read()))
        return await streaming(*parts, content_type="audio/pcm", pause_s=0.01)(request)

    return handler


@both
async def test_texts_are_fetched_in_order_and_samples_are_never_cut(
    make: Make, path: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    bodies: list[dict[str, Any]] = []
    vendor.on("POST", path, keeping(bodies, b"abc", b"d", b"efg", b"h"))
    tts = make(vendor, pools, clocks)
    await tts.connect()
    utterance = tts.utterance()
    for text in ("One.", "…", "Two."):
        await utterance.say(text)
    await utterance.finish()
    chunks = await everything(utterance)
    assert b"".join(chunk.audio for chunk in chunks) == b"abcdefgh" * 2
    assert all(len(chunk.audio) % 2 == 0 for chunk in chunks)
    assert [body.get("input") or body["text"] for body in bodies] == ["One.", "Two."]
    usage = utterance.usage()
    assert (usage.characters, usage.stage, usage.error) == (8, "tts", "")
    assert usage.first_ms is not None
    assert len(vendor.connections) == 2, "those that the session opened"
    await tts.close()


async def test_each_provider_is_asked_in_its_own_words(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    bodies: list[dict[str, Any]] = []
    vendor.on("POST", OPENAI, keeping(bodies, b"ab"))
    vendor.on("POST", ELEVENLABS, keeping(bodies, b"ab"))
    for make in (openai_voice, elevenlabs_voice):
        tts = make(vendor, pools, clocks)
        utterance = tts.utterance()
        for text in ("One.", "Two."):
            await utterance.say(text)
        await utterance.finish()
        await everything(utterance)
    assert openai_voice(vendor, pools, clocks).output_format == L16_24K
    assert bodies[1] == {"model": "gpt-4o-mini-tts", "voice": "marin", "input": "Two.", "response_format": "pcm"}
    assert bodies[3] == {
        "text": "Two.",
        "model_id": "eleven_flash_v2_5",
        "language_code": "en",
        "voice_settings": {"stability": 0.4},
        "previous_text": "One.",
    }
    assert vendor.queries[-1]["output_format"] == ["pcm_16000"]


async def test_the_first_20_ms_are_given_before_the_rest_is_made(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    rest = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/basic"})
        await response.prepare(request)
        await response.write(bytes(160))
        await rest.wait()
        await response.write(bytes(160))
        await response.write_eof()
        return response

    vendor.on("POST", ELEVENLABS, handler)
    tts = elevenlabs_voice(vendor, pools, clocks, MULAW_8K)
    utterance = tts.utterance()
    await utterance.say("Hello.")
    await utterance.finish()
    chunks = utterance.chunks()
    assert len((await anext(chunks)).audio) == 160
    rest.set()
    assert len((await anext(chunks)).audio) == 160
    assert [chunk async for chunk in chunks] == []


def endless(vendor: Vendor, path: str) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        while True:
            await response.write(bytes(320))
            await asyncio.sleep(0.01)

    vendor.on("POST", path, handler)


@both
@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_a_cancelled_utterance_stops_the_provider_at_once(
    how: str, make: Make, path: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    endless(vendor, path)
    tts = make(vendor, pools, clocks)
    utterance = tts.utterance()
    await utterance.say("A long story.")
    reading = asyncio.create_task(everything(utterance))
    await until(lambda: utterance.usage().audio_ms > 0)
    await (utterance.cancel() if how == "cancel" else tts.close())
    await asyncio.wait_for(vendor.cancelled.wait(), 1)
    await asyncio.wait_for(reading, 1)
    await utterance.say("More.")
    assert vendor.requests == [f"POST {path}"]


@both
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, {"error": {"message": f"bad {KEY}", "code": "invalid_api_key"}}, ErrorKind.UNAUTHORISED),
        (429, {"detail": {"status": "too_many_concurrent_requests"}}, ErrorKind.RATE_LIMITED),
        (429, {"detail": {"status": "system_busy"}}, ErrorKind.SERVER_ERROR),
        (401, {"detail": {"status": "quota_exceeded"}}, ErrorKind.OUT_OF_CREDIT),
        (404, {"detail": {"status": "voice_not_found"}}, ErrorKind.NOT_FOUND),
        (500, {}, ErrorKind.SERVER_ERROR),
    ],
)
async def test_a_refusal_is_named_and_asked_once(
    status: int, body: Any, kind: ErrorKind, make: Make, path: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status)

    vendor.on("POST", path, handler)
    error = await failure(make(vendor, pools, clocks))
    assert error.kind is kind
    assert KEY not in error.detail
    assert len(vendor.requests) == 1


@both
async def test_a_connection_that_breaks_in_the_middle_is_named(
    make: Make, path: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        await response.write(bytes(320))
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    vendor.on("POST", path, handler)
    assert (await failure(make(vendor, pools, clocks))).kind is ErrorKind.DROPPED


@both
@pytest.mark.parametrize(("audio", "kind"), [(b"", ErrorKind.TIMEOUT), (bytes(1920), ErrorKind.STALLED)])
async def test_a_silent_provider_runs_into_a_clock(
    audio: bytes, kind: ErrorKind, make: Make, path: str, vendor: Vendor, pools: Pools
) -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "audio/pcm"})
        await response.prepare(request)
        await response.write(audio)
        await asyncio.sleep(60)
        return response

    vendor.on("POST", path, handler)
    error = await failure(make(vendor, pools, Clocks(connect=1, first=0.1, stall=0.1, total=5)))
    assert error.kind is kind
    await asyncio.wait_for(vendor.cancelled.wait(), 1)


@both
async def test_an_answer_without_audio_is_named(
    make: Make, path: str, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.on("POST", path, streaming(content_type="audio/pcm"))
    assert (await failure(make(vendor, pools, clocks))).kind is ErrorKind.GARBAGE


async def test_a_web_page_is_not_played_to_the_caller(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.on("POST", OPENAI, streaming(b"<html>", content_type="text/html"))
    assert (await failure(openai_voice(vendor, pools, clocks))).kind is ErrorKind.GARBAGE

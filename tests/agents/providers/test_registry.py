"""The registry, the warnings, and what an account's key never shows up in."""

import logging
import subprocess
import sys
import traceback
from typing import Any

import pytest
from aiohttp import web

from agents.providers import registry
from agents.providers.base import MULAW_8K, Clocks, LlmRequest, Message, ProviderConfig
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.notices import notice
from agents.providers.pools import Pools
from tests.agents.providers.vendor import KEY, Vendor


def config(provider: str, url: str = "http://127.0.0.1:9", **more: Any) -> ProviderConfig:
    return ProviderConfig(provider=provider, base_url=url, api_key=KEY, model="m", voice_id="v1", **more)


@pytest.mark.pure
def test_each_provider_says_what_it_can_be_used_for() -> None:
    assert registry.stages("openai") == {"llm", "stt", "tts"}
    assert registry.stages("openai_compatible") == {"llm", "tts"}
    assert registry.stages("elevenlabs") == {"stt", "tts"}
    assert registry.stages("nobody") == set()


@pytest.mark.pure
async def test_every_stage_of_every_provider_has_an_adapter(clocks: Clocks) -> None:
    async with Pools() as pools:
        made = set()
        for provider in registry.providers():
            for stage in registry.stages(provider):
                if stage == "llm":
                    made.add(type(registry.language_model(config(provider), pools=pools, clocks=clocks)))
                else:
                    make = registry.speech_to_text if stage == "stt" else registry.text_to_speech
                    made.add(type(make(config(provider), pools=pools, clocks=clocks, codec=MULAW_8K)))
        phrases = config("elevenlabs", options={"transport": "http"})
        made.add(type(registry.text_to_speech(phrases, pools=pools, clocks=clocks, codec=MULAW_8K)))
    assert {adapter.__name__ for adapter in made} == {
        "OpenAiLanguageModel",
        "OpenAiSpeechToText",
        "OpenAiTextToSpeech",
        "ElevenLabsSpeechToText",
        "ElevenLabsTextToSpeech",
        "ElevenLabsHttpTextToSpeech",
    }


@pytest.mark.pure
@pytest.mark.parametrize(("provider", "stage"), [("nobody", "llm"), ("elevenlabs", "llm")])
async def test_an_unknown_provider_or_stage_is_a_clear_error(provider: str, stage: str, clocks: Clocks) -> None:
    async with Pools() as pools:
        with pytest.raises(ProviderError) as error:
            registry.language_model(config(provider), pools=pools, clocks=clocks)
    assert error.value.kind is ErrorKind.BAD_REQUEST
    assert provider in error.value.detail


@pytest.mark.pure
def test_the_registry_is_imported_without_any_vendors_code() -> None:
    code = "import sys, agents.providers.registry; print({'openai', 'elevenlabs', 'django'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.pure
def test_operators_are_warned_of_what_ends() -> None:
    assert "2027-01-06" in notice("openai", "tts", "gpt-4o-mini-tts")
    assert "2027-02-26" in notice("openai", "stt", "whisper-1")
    assert "2026-12-11" in notice("openai", "llm", "gpt-5-mini")
    assert notice("openai", "llm", "gpt-6-luna") == ""
    assert notice("openai", "stt", "gpt-live-transcribe") == ""
    assert notice("openai_compatible", "tts", "tts-1") == "", "another server's speech does not end with OpenAI's"
    assert notice("elevenlabs", "tts", "eleven_v3") != ""


@pytest.mark.sandbox
@pytest.mark.parametrize("stage", ["llm", "openai stt", "openai tts", "elevenlabs stt", "elevenlabs tts", "voices"])
async def test_the_key_is_in_no_error_no_log_and_no_traceback(
    stage: str, vendor: Vendor, pools: Pools, clocks: Clocks, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that repeats the key in its refusal is the worst case."""
    caplog.set_level(logging.DEBUG)

    async def refuse(request: web.Request) -> web.StreamResponse:
        words = f"the key {KEY} is wrong"
        body = {"error": {"message": words, "code": "invalid_api_key"}, "detail": {"status": "x", "message": words}}
        return web.json_response(body, status=401, headers={"x-echo": KEY})

    for path in ("/v1/chat/completions", "/v1/audio/speech", "/v1/text-to-speech/v1/stream"):
        vendor.on("POST", path, refuse)
    sockets = ("/v1/realtime", "/v1/speech-to-text/realtime", "/v1/text-to-speech/v1/multi-stream-input")
    for path in (*sockets, "/v2/voices"):
        vendor.on("GET", path, refuse)
    openai = config("openai", f"{vendor.url}/v1")
    elevenlabs = config("elevenlabs", vendor.url)

    async def use() -> None:
        request = LlmRequest(messages=(Message(role="user", content="Hi"),))
        if stage == "llm":
            async with registry.language_model(openai, pools=pools, clocks=clocks).stream(request) as events:
                await anext(events)
        elif stage == "voices":
            await registry.voices(elevenlabs, pools=pools, clocks=clocks)
        else:
            account = openai if stage.startswith("openai") else elevenlabs
            if stage.endswith("stt"):
                await registry.speech_to_text(account, pools=pools, clocks=clocks, codec=MULAW_8K).connect()
            else:
                tts = registry.text_to_speech(account, pools=pools, clocks=clocks, codec=MULAW_8K)
                await tts.connect()
                utterance = tts.utterance()
                await utterance.say("Hi")
                await anext(utterance.chunks())

    with pytest.raises(ProviderError) as error:
        await use()
    shown = "".join(traceback.format_exception(error.value)) + repr(error.value) + error.value.detail
    assert error.value.kind is ErrorKind.UNAUTHORISED
    assert "[key]" in error.value.detail
    assert KEY not in shown
    assert KEY not in repr(openai) + str(openai) + repr(elevenlabs) + repr(vars(pools))
    assert KEY not in caplog.text


@pytest.mark.sandbox
async def test_voices_are_read_page_by_page(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        second = request.query.get("next_page_token") == "t2"
        voice = {"voice_id": "v1", "name": "zoe", "labels": {"language": "en", "accent": "british"}}
        if second:
            settings = {"stability": 0.5, "similarity_boost": None, "speed": 1.0}
            voice = {"voice_id": "v2", "name": "Ann", "description": "Calm", "settings": settings}
        more = {"has_more": not second, "next_page_token": None if second else "t2", "total_count": 2}
        return web.json_response({"voices": [voice], **more})

    vendor.on("GET", "/v2/voices", page)
    found = await registry.voices(config("elevenlabs", vendor.url), pools=pools, clocks=clocks)
    assert [(voice.voice_id, voice.name, voice.language, voice.description) for voice in found] == [
        ("v2", "Ann", "", "Calm"),
        ("v1", "zoe", "en", "british"),
    ]
    assert found[0].settings == {"stability": 0.5, "speed": 1.0}


@pytest.mark.sandbox
async def test_a_list_of_another_form_is_named(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def page(request: web.Request) -> web.StreamResponse:
        return web.json_response({"hello": "world"})

    vendor.on("GET", "/v2/voices", page)
    with pytest.raises(ProviderError) as error:
        await registry.voices(config("elevenlabs", vendor.url), pools=pools, clocks=clocks)
    assert error.value.kind is ErrorKind.GARBAGE


@pytest.mark.pure
def test_after_the_preload_no_call_waits_for_a_part_of_an_sdk_to_be_imported() -> None:
    program = (
        "import sys; from agents.providers import registry; registry.preload(); import openai, elevenlabs.client\n"
        "ours, theirs = openai.AsyncOpenAI(api_key='x'), elevenlabs.client.AsyncElevenLabs(api_key='x')\n"
        "before = set(sys.modules); ours.audio.speech, ours.realtime, theirs.text_to_speech, theirs.speech_to_text\n"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The test of a connection: it uses what it tests, and says what is wrong in words that an operator can act on."""

from typing import Any

import pytest

from agents.providers import registry
from agents.providers.base import MULAW_8K, LanguageModel, ProviderConfig, SpeechToText, TextDelta, TextToSpeech
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.pools import Pools
from sandbox.testing import Sandbox
from tests.agents.providers.sandboxed import FAST, account, box, fault, luna, pools, reply, voice_of
from tests.agents.providers.vendor import Vendor, chunk, sse, streaming

__all__ = ["box", "pools"]  # fixtures
pytestmark = pytest.mark.sandbox

STAGES = {
    "openai llm": "gpt-6-luna",
    "openai_compatible llm": "gpt-4o-mini",
    "openai stt": "gpt-live-transcribe",
    "openai tts": "gpt-4o-mini-tts",
    "elevenlabs stt": "scribe_v2_realtime",
    "elevenlabs tts": "eleven_flash_v2_5",
    "elevenlabs tts http": "eleven_flash_v2_5",
}
every = pytest.mark.parametrize("what", STAGES)


async def config_of(what: str, box: Sandbox, **more: Any) -> ProviderConfig:
    provider, stage, *transport = what.split()
    fields: dict[str, Any] = {"model": STAGES[what]}
    if stage == "tts":
        fields["voice_id"] = "marin"
        if provider == "elevenlabs":
            async with Pools() as others:
                fields["voice_id"] = await voice_of(box, others)
    options = {"transport": "http"} if transport else {}
    fields |= {"options": options | more.pop("options", {})}
    return account(box, provider, **(fields | more))


def adapter(what: str, config: ProviderConfig, pools: Pools) -> LanguageModel | SpeechToText | TextToSpeech:
    if what.split()[1] == "llm":
        return registry.language_model(config, pools=pools, clocks=FAST)
    make = registry.speech_to_text if what.split()[1] == "stt" else registry.text_to_speech
    return make(config, pools=pools, clocks=FAST, codec=MULAW_8K)


async def failure(what: str, pools: Pools, config: ProviderConfig) -> ProviderError:
    with pytest.raises(ProviderError) as error:
        await adapter(what, config, pools).check()
    return error.value


@every
async def test_what_works_is_said_to_work(what: str, box: Sandbox, pools: Pools) -> None:
    sentence = await adapter(what, await config_of(what, box), pools).check()
    assert sentence.startswith("Connected; ")
    if what == "openai tts":
        assert "2027-01-06" in sentence, "the end of audio.speech"


@every
@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"api_key": "wrong"}, ErrorKind.UNAUTHORISED),
        ({"api_key": "test-\nx"}, ErrorKind.UNAUTHORISED),
        ({"api_key": "test-ü"}, ErrorKind.UNAUTHORISED),
        ({"base_url": "http://127.0.0.1:9/v1"}, ErrorKind.REFUSED),
        ({"base_url": "http://127.0.0.1:99999/v1"}, ErrorKind.REFUSED),
        ({"base_url": "127.0.0.1/v1"}, ErrorKind.REFUSED),
        ({"base_url": "/nowhere"}, ErrorKind.GARBAGE),
        ({"model": "no-such-model"}, ErrorKind.NOT_FOUND),
    ],
    ids=str,
)
async def test_what_is_wrong_with_an_account_is_named(
    wrong: dict[str, str], kind: ErrorKind, what: str, box: Sandbox, pools: Pools
) -> None:
    if wrong.get("base_url", "").startswith("/"):
        wrong = {"base_url": box.url + wrong["base_url"]}
    error = await failure(what, pools, await config_of(what, box, **wrong))
    assert error.kind is kind
    assert error.detail
    assert "test-" not in error.detail, "no part of a key"


@every
async def test_an_account_without_credit_fails_its_test_though_its_lists_are_open(
    what: str, box: Sandbox, pools: Pools
) -> None:
    config = await config_of(what, box)
    await fault(box, "insufficient_quota", what.split()[1], count=-1)
    assert (await failure(what, pools, config)).kind is ErrorKind.OUT_OF_CREDIT


@pytest.mark.parametrize(
    ("what", "more", "words"),
    [
        ("openai llm", {"model": "gpt-4o-mini-tts"}, "not supported on this endpoint"),
        ("openai llm", {"options": {"nonsense": 1}}, "nonsense"),
        ("openai tts", {"model": "gpt-6-luna"}, "not supported on this endpoint"),
        ("openai tts", {"voice_id": "nobody"}, "nobody"),
        ("openai tts", {"voice_id": "", "model": "gpt-6-luna"}, "not supported on this endpoint"),
        ("openai stt", {"options": {"nonsense": 1}}, "nonsense"),
        ("elevenlabs stt", {"options": {"nonsense": 1}}, "nonsense"),
        ("elevenlabs tts", {"options": {"nonsense": 1}}, "nonsense"),
        ("elevenlabs tts", {"voice_id": "nobody"}, "nobody"),
        ("elevenlabs tts http", {"voice_id": "nobody"}, "nobody"),
        ("elevenlabs tts http", {"options": {"nonsense": 1}}, "nonsense"),
        ("elevenlabs tts", {"voice_settings": {"stability": 7.0}}, "between 0.0 and 1.0"),
        (
            "elevenlabs tts http",
            {"voice_settings": {"stability": 7.0}},
            "stability: Input should be between 0.0 and 1.0",
        ),
    ],
)
async def test_what_an_agent_asks_for_in_vain_is_named(
    what: str, more: dict[str, Any], words: str, box: Sandbox, pools: Pools
) -> None:
    error = await failure(what, pools, await config_of(what, box, **more))
    assert error.kind in (ErrorKind.BAD_REQUEST, ErrorKind.NOT_FOUND)
    assert words in error.detail


async def test_a_compatible_server_without_a_list_of_models_works(vendor: Vendor) -> None:
    vendor.on("POST", "/api/chat/completions", streaming(sse(chunk({"content": "OK"}), chunk(finish="stop"), "[DONE]")))
    config = ProviderConfig(provider="openai_compatible", base_url=f"{vendor.url}/api", api_key="", model="llama")
    async with Pools() as own:
        sentence = await registry.language_model(config, pools=own, clocks=FAST).check()
    assert sentence == "Connected; model llama is available."
    assert vendor.requests == ["POST /api/chat/completions", "GET /api/models"]


async def test_reasoning_that_a_compatible_server_sends_in_parts_is_not_spoken(vendor: Vendor) -> None:
    thinking: Any = [{"type": "thinking", "thinking": "Hm."}]
    answer = sse(chunk({"content": thinking}), chunk({"content": "Yes."}), chunk(finish="stop"), "[DONE]")
    vendor.on("POST", "/v1/chat/completions", streaming(answer))
    config = ProviderConfig(provider="openai_compatible", base_url=f"{vendor.url}/v1", api_key="", model="m")
    async with Pools() as own:
        events = await reply(registry.language_model(config, pools=own, clocks=FAST))
    assert [event.text for event in events if isinstance(event, TextDelta)] == ["Yes."]


async def test_the_checks_connect_and_say_what_they_found(box: Sandbox, pools: Pools) -> None:
    voice = await voice_of(box, pools)
    assert await luna(box, pools).check() == "Connected; model gpt-6-luna is available."
    nano = account(box, "openai", "gpt-5.4-nano")
    sentence = await registry.language_model(nano, pools=pools, clocks=FAST).check()
    assert "until 2027-04-01" in sentence
    config = account(box, "elevenlabs", "eleven_flash_v2_5", voice_id=voice)
    spoken = await registry.text_to_speech(config, pools=pools, clocks=FAST, codec=MULAW_8K).check()
    assert spoken.startswith("Connected; ")
    assert "model eleven_flash_v2_5 is available; voice " in spoken
    models = await registry.models(account(box, "elevenlabs", ""), pools=pools, clocks=FAST)
    assert "eleven_flash_v2_5" in {model.model_id for model in models}

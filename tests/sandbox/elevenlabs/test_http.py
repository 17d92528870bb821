"""Speech over HTTP and the account's catalogue, through the elevenlabs SDK."""

from typing import Any

import httpx
import pytest
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError

from sandbox.testing import Sandbox

pytestmark = pytest.mark.sandbox

VOICE = "sandboxClaraEnUs0001"


async def speech(client: AsyncElevenLabs, voice: str = VOICE, **change: Any) -> bytes:
    request = {"text": "Good morning.", "model_id": "eleven_flash_v2_5", "output_format": "ulaw_8000", **change}
    return b"".join([piece async for piece in client.text_to_speech.stream(voice, **request)])


async def test_speech_in_every_format_lasts_equally_long(client: AsyncElevenLabs) -> None:
    expected = len(await speech(client)) / 8000
    for form, bytes_per_s in (("alaw_8000", 8000), ("pcm_8000", 16000), ("pcm_16000", 32000), ("pcm_24000", 48000)):
        assert len(await speech(client, output_format=form)) / bytes_per_s == pytest.approx(expected, abs=0.01)


async def test_the_same_text_gives_the_same_bytes_and_another_voice_others(client: AsyncElevenLabs) -> None:
    first = await speech(client)
    assert first == await speech(client) != await speech(client, voice="sandboxOscarEnGb0004")


async def test_timestamps_spell_the_text(client: AsyncElevenLabs) -> None:
    stream = client.text_to_speech.stream_with_timestamps(
        VOICE, text="Good morning.", model_id="eleven_flash_v2_5", output_format="ulaw_8000"
    )
    parts = [part async for part in stream]
    spelt = [part.alignment.characters for part in parts if part.alignment]
    assert "".join(character for characters in spelt for character in characters) == "Good morning."


@pytest.mark.parametrize(
    ("voice", "change", "status", "name"),
    [
        ("nobody", {}, 404, "voice_not_found"),
        (VOICE, {"model_id": "eleven_v9"}, 400, "model_not_found"),
        (VOICE, {"text": "a" * 40_001}, 400, "max_character_limit_exceeded"),
        (VOICE, {"text": " "}, 400, "input_text_empty"),
        (VOICE, {"output_format": "mp3_44100_128"}, 400, "invalid_output_format"),
        (VOICE, {"voice_settings": {"speed": 3}}, 422, None),
    ],
)
async def test_wrong_requests_are_refused(
    client: AsyncElevenLabs, voice: str, change: dict[str, Any], status: int, name: str | None
) -> None:
    with pytest.raises(ApiError) as refused:
        await speech(client, voice, **change)
    assert refused.value.status_code == status
    assert name is None or refused.value.body["detail"]["status"] == name


async def test_a_wrong_key_is_refused(client_of: Any) -> None:
    with pytest.raises(ApiError) as refused:
        await client_of("nonsense").voices.search()
    assert refused.value.status_code == 401
    assert refused.value.body["detail"]["status"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("kind", "status", "name"),
    [
        ("too_many_concurrent_requests", 429, "too_many_concurrent_requests"),
        ("system_busy", 429, "system_busy"),
        ("rate_limit", 429, "rate_limit_exceeded"),
        ("insufficient_quota", 401, "quota_exceeded"),
        ("server_error", 500, "internal_server_error"),
    ],
)
async def test_refusals_of_the_fault_menu(
    box: Sandbox, client: AsyncElevenLabs, kind: str, status: int, name: str
) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": "tts"})
    with pytest.raises(ApiError) as refused:
        await speech(client)
    assert (refused.value.status_code, refused.value.body["detail"]["status"]) == (status, name)
    assert await speech(client)


@pytest.mark.parametrize("kind", ["drop", "half_close"])
async def test_a_broken_stream_is_an_error_and_not_a_short_clip(
    box: Sandbox, client: AsyncElevenLabs, kind: str
) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": "tts", "after": 2})
    with pytest.raises(httpx.TransportError):
        await speech(client)


async def test_voices_can_be_searched_and_paged(client: AsyncElevenLabs) -> None:
    german = await client.voices.search(search="german", language="de")
    assert german.voices == []
    first = await client.voices.search(page_size=3)
    assert first.has_more
    assert len(first.voices) == 3
    rest = await client.voices.search(page_size=100, next_page_token=first.next_page_token)
    assert len(first.voices) + len(rest.voices) == first.total_count
    assert {voice.labels["language"] for voice in rest.voices if voice.labels} == {"en", "de"}
    assert (await client.voices.get(VOICE)).name == "Clara (espeak-ng)"


async def test_models_and_the_account_are_shown(client: AsyncElevenLabs) -> None:
    models = {model.model_id: model for model in await client.models.list()}
    assert models["eleven_flash_v2_5"].can_do_text_to_speech
    assert (await client.user.get()).user_id
    assert (await client.user.subscription.get()).character_limit > 0

"""Speech and file transcription through the openai SDK."""

import openai
import pytest
from openai import AsyncOpenAI

from sandbox import audio
from sandbox.testing import Sandbox
from tests.sandbox.clips import spoken

pytestmark = pytest.mark.sandbox


async def speech(client: AsyncOpenAI, **change: object) -> bytes:
    request = {
        "model": "gpt-4o-mini-tts",
        "voice": "marin",
        "input": "Good morning.",
        "response_format": "pcm",
        **change,
    }
    async with client.audio.speech.with_streaming_response.create(**request) as response:  # type: ignore[arg-type]
        return b"".join([piece async for piece in response.iter_bytes(960)])


async def test_speech_is_pcm_of_24_khz_and_always_the_same(client: AsyncOpenAI) -> None:
    first = await speech(client)
    samples = audio.l16_decode(first)
    assert 0.5 < samples.size / 24000 < 2.5
    assert audio.rms(samples) > 500
    assert await speech(client) == first != await speech(client, voice="cedar")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"voice": "nobody"}, "invalid_value"),
        ({"input": "a" * 4097}, "string_above_max_length"),
        ({"response_format": "midi"}, "invalid_value"),
        ({"speed": 9}, "invalid_value"),
        ({"model": "gpt-6-luna"}, "unsupported_model"),
    ],
)
async def test_wrong_speech_requests_are_refused(client: AsyncOpenAI, change: dict[str, object], code: str) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        await speech(client, **change)
    assert refused.value.code == code


async def test_a_dropped_answer_is_an_error_and_not_a_short_clip(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("POST", "providers/faults", {"kind": "drop", "stage": "tts", "after": 2})
    with pytest.raises(Exception, match=r"peer|closed|ReadError|incomplete|reset"):
        await speech(client)


async def test_a_file_is_written_down(demo: AsyncOpenAI) -> None:
    wav = audio.wav_bytes(spoken("front_desk", "en-us+f2", "price"), 8000)
    heard = await demo.audio.transcriptions.create(model="gpt-transcribe", file=("a.wav", wav, "audio/wav"))
    assert heard.text == "What does a checkup cost?"


async def test_what_is_no_wav_is_refused(client: AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        await client.audio.transcriptions.create(model="gpt-transcribe", file=("a.wav", b"RIFFnonsense", "audio/wav"))

"""Both speech sockets, raw: what they give, and every rule that closes them."""

import asyncio
import base64
import json
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from sandbox import audio
from sandbox.testing import Sandbox
from tests.sandbox.elevenlabs.conftest import MULAW, Dial, Speech

pytestmark = pytest.mark.sandbox


async def refused(speech: Speech) -> tuple[str, int]:
    """The error that the server names, and the close code after it."""
    named = ""
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            named = (await speech.next()).get("error", named)
    assert closed.value.rcvd is not None
    return named, closed.value.rcvd.code


async def fault(box: Sandbox, kind: str, **options: Any) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": "tts", **options})


async def test_flushed_text_comes_back_as_mulaw_speech(dial: Dial) -> None:
    async with dial() as speech:
        await speech.send(text=" ", context_id="a")
        await speech.send(text="Good morning, Anna. ", context_id="a", flush=True)
        await speech.send(context_id="a", close_context=True)
        messages = await speech.until_final("a")
    data = b"".join(base64.b64decode(message["audio"] or "") for message in messages)
    assert 800 < len(data) / 8 < 3000
    assert audio.rms(audio.mulaw_decode(data)) > 500
    assert {message["contextId"] for message in messages} == {"a"}


async def test_alignment_spells_the_text_with_times_from_the_beginning_of_each_chunk(dial: Dial) -> None:
    text = "Good morning, Anna. "
    async with dial(query=f"{MULAW}&sync_alignment=true") as speech:
        await speech.send(text=text, context_id="a", flush=True)
        await speech.send(context_id="a", close_context=True)
        chunks = (await speech.until_final())[:-1]
    spelt = ""
    for chunk in chunks:
        length = len(base64.b64decode(chunk["audio"])) / 8
        alignment = chunk["alignment"] or {"chars": [], "charStartTimesMs": [], "charDurationsMs": []}
        assert len(alignment["chars"]) == len(alignment["charStartTimesMs"]) == len(alignment["charDurationsMs"])
        assert alignment["charStartTimesMs"] == sorted(alignment["charStartTimesMs"])
        assert all(0 <= start <= length for start in alignment["charStartTimesMs"])
        spelt += "".join(alignment["chars"])
    assert spelt == text
    assert len(chunks) > 3


async def test_without_sync_alignment_the_first_chunk_carries_all_characters(dial: Dial) -> None:
    async with dial() as speech:
        await speech.send(text="Good morning. ", context_id="a", flush=True)
        await speech.send(context_id="a", close_context=True)
        chunks = (await speech.until_final())[:-1]
    assert "".join(chunks[0]["alignment"]["chars"]) == "Good morning. "
    assert all(chunk["alignment"] is None for chunk in chunks[1:])


async def test_text_waits_for_a_flush_or_for_enough_of_it(dial: Dial) -> None:
    async with dial() as speech:
        await speech.send(text="Too short. ", context_id="a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(speech.next(), 0.2)
        await speech.send(
            text="But this is much longer than the first hundred and twenty characters, " * 2, context_id="a"
        )
        assert (await asyncio.wait_for(speech.next(), 5))["audio"]
        await speech.send(context_id="a", close_context=True)
        await speech.until_final()


async def test_auto_mode_speaks_each_text_at_once(dial: Dial) -> None:
    async with dial(query=f"{MULAW}&auto_mode=true") as speech:
        await speech.send(text="Short. ", context_id="a")
        assert (await asyncio.wait_for(speech.next(), 5))["audio"]


async def test_what_was_not_flushed_when_its_context_closes_is_never_spoken(dial: Dial) -> None:
    async with dial() as speech:
        await speech.send(text="Unsaid. ", context_id="a")
        await speech.send(context_id="a", close_context=True)
        assert [message.get("audio") for message in await speech.until_final("a")] == [None]


@pytest.mark.parametrize("text", ["... ", "😀 ", " "])
async def test_text_without_a_letter_or_digit_gives_no_audio(dial: Dial, text: str) -> None:
    async with dial() as speech:
        await speech.send(text=text, context_id="a", flush=True)
        await speech.send(context_id="a", close_context=True)
        assert len(await speech.until_final("a")) == 1


async def test_a_sixth_context_closes_the_socket(dial: Dial) -> None:
    async with dial() as speech:
        for number in range(6):
            await speech.send(text=" ", context_id=str(number))
        assert await refused(speech) == ("max_active_conversations", 1008)


async def test_closed_contexts_make_room(dial: Dial) -> None:
    async with dial() as speech:
        for number in range(12):
            await speech.send(text=" ", context_id=str(number))
            await speech.send(context_id=str(number), close_context=True)
            await speech.until_final(str(number))


async def test_a_context_counts_until_its_last_audio_is_out(box: Sandbox, dial: Dial) -> None:
    await box.control.request("PATCH", "providers/latencies", {"tts_first_byte_ms": 20_000})
    async with dial() as speech:
        for number in range(6):
            await speech.send(text="Interrupted. ", context_id=str(number), flush=True)
            await speech.send(context_id=str(number), close_context=True)
        assert await refused(speech) == ("max_active_conversations", 1008)


@pytest.mark.parametrize("stray", [{"flush": True}, {"text": ""}])
async def test_a_flush_or_keep_alive_on_an_unknown_context_creates_it(dial: Dial, stray: dict[str, Any]) -> None:
    async with dial() as speech:
        for number in range(5):
            await speech.send(context_id=f"stray-{number}", **stray)
        await speech.send(text=" ", context_id="wanted")
        assert await refused(speech) == ("max_active_conversations", 1008)


async def test_settings_belong_in_the_first_message_of_a_context(dial: Dial) -> None:
    settings = {"stability": 0.5}
    async with dial() as speech:
        await speech.send(text=" ", context_id="a", voice_settings=settings)
        await speech.send(text="Same again. ", context_id="a", voice_settings=settings)
        await speech.send(text=" ", context_id="b", voice_settings={"stability": 0.9})
        await speech.send(text="", context_id="c")  # a keep-alive that ran ahead of the first text
        await speech.send(text=" ", context_id="c", voice_settings=settings)
        assert await refused(speech) == ("invalid_voice_settings", 1008)


async def test_a_socket_without_a_word_for_20_s_is_closed(dial: Dial) -> None:
    async with dial() as speech:  # 2 s at this scale
        await speech.send(text=" ", context_id="a")
        assert await asyncio.wait_for(refused(speech), 4) == ("input_timeout_exceeded", 1008)


async def test_an_idle_context_is_closed_while_another_keeps_the_socket(dial: Dial) -> None:
    async with dial(query=f"{MULAW}&inactivity_timeout=5") as speech:  # 0.5 s at this scale
        await speech.send(text=" ", context_id="idle")
        for _ in range(5):
            await speech.send(text="", context_id="busy")
            await asyncio.sleep(0.15)
        assert (await asyncio.wait_for(speech.next(), 1))["contextId"] == "idle"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"voice": "nobody"}, "voice_not_found"),
        ({"query": "output_format=ulaw_8000&model_id=eleven_v9"}, "model_not_found"),
        ({"query": "output_format=ulaw_8000&model_id=eleven_v3"}, "unsupported_model"),
        ({"query": "output_format=mp3_44100_128"}, "invalid_output_format"),
        ({"query": f"{MULAW}&inactivity_timeout=500"}, "invalid_request"),
        ({"key": "nonsense"}, "invalid_api_key"),
    ],
)
@pytest.mark.parametrize("path", ["multi-stream-input", "stream-input"])
async def test_a_wrong_address_or_key_closes_with_1008(
    dial: Dial, path: str, options: dict[str, str], error: str
) -> None:
    async with dial(path=path, **options) as speech:
        assert await refused(speech) == (error, 1008)


async def test_the_key_may_come_in_the_first_message(dial: Dial) -> None:
    async with dial(key="") as speech:
        await speech.send(text="Hi. ", context_id="a", flush=True, **{"xi-api-key": "test-key"})
        assert (await speech.next())["audio"]
    async with dial(key="") as speech:
        await speech.send(text=" ", context_id="a")
        assert await refused(speech) == ("needs_authorization", 1008)


async def test_close_socket_speaks_what_is_held_and_closes_in_order(dial: Dial) -> None:
    async with dial() as speech:
        await speech.send(text="Still to say. ", context_id="a")
        await speech.send(close_socket=True)
        messages = await speech.until_final("a")
        assert messages[0]["audio"]
        with pytest.raises(ConnectionClosed) as closed:
            await speech.next()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1000


async def test_the_single_socket_ends_with_an_empty_text(dial: Dial) -> None:
    async with dial(path="stream-input") as speech:
        await speech.send(text=" ", voice_settings={"speed": 1.1})
        await speech.send(text="Good morning. ")
        await speech.send(text="")
        messages = await speech.until_final()
        assert len(messages) > 2
        assert all("contextId" not in message for message in messages)
        with pytest.raises(ConnectionClosed):
            await speech.next()


async def test_late_audio_comes_after_the_final_of_its_context(box: Sandbox, dial: Dial) -> None:
    await fault(box, "late_audio")
    async with dial() as speech:
        await speech.send(text="Good morning. ", context_id="a", flush=True)
        await speech.send(context_id="a", close_context=True)
        await speech.until_final("a")
        late = await asyncio.wait_for(speech.next(), 5)
    assert late["audio"]
    assert late["contextId"] == "a"


async def test_a_final_that_never_comes(box: Sandbox, dial: Dial) -> None:
    await fault(box, "never_final")
    async with dial() as speech:
        await speech.send(text="Good morning. ", context_id="a", flush=True)
        await speech.send(context_id="a", close_context=True)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(speech.until_final("a"), 0.5)


@pytest.mark.parametrize(("kind", "code"), [("drop", 1006), ("close", 1008), ("mid_stream_error", 1008)])
async def test_a_socket_that_is_cut_in_mid_speech(box: Sandbox, dial: Dial, kind: str, code: int) -> None:
    await fault(box, kind, after=2)
    async with dial() as speech:
        await speech.send(text="Good morning, this is a long enough sentence. ", context_id="a", flush=True)
        got = 0
        with pytest.raises(ConnectionClosed) as closed:
            while True:
                got += bool((await speech.next()).get("audio"))
    assert got == 2
    assert (closed.value.rcvd.code if closed.value.rcvd else 1006) == code


async def test_garbage_and_unknown_messages_in_mid_speech(box: Sandbox, dial: Dial) -> None:
    await fault(box, "unknown_messages")
    async with dial() as speech:
        await speech.send(text="Good morning. ", context_id="a", flush=True)
        assert (await speech.next())["type"] == "of_tomorrow"
        assert (await speech.next())["audio"]
    await fault(box, "garbage")
    async with dial() as speech:
        await speech.send(text="Good morning. ", context_id="a", flush=True)
        with pytest.raises(json.JSONDecodeError):
            await speech.next()


async def test_a_handshake_is_refused_with_429(box: Sandbox, dial: Dial) -> None:
    await fault(box, "too_many_concurrent_requests")
    with pytest.raises(InvalidStatus) as answer:
        async with dial():
            pass
    assert answer.value.response.status_code == 429
    assert json.loads(answer.value.response.body)["detail"]["status"] == "too_many_concurrent_requests"


async def test_the_ledger_tells_what_was_said_and_what_is_open(box: Sandbox, dial: Dial) -> None:
    async with dial() as speech:
        await speech.send(text="Good morning. ", context_id="a", flush=True)
        await speech.next()
        seen = await box.control.request("GET", "providers/ledger")
        assert seen["open"]["elevenlabs"] == seen["connections"]["elevenlabs"] == 1
        assert seen["entries"][0]["texts"] == ["Good morning. "]
        assert seen["entries"][0]["contexts"] == ["a"]

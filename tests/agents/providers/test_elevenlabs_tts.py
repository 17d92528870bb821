"""Multi-context speech: contexts, late audio, timings, limits, broken sockets, closing."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agents.providers.base import L16_16K, MULAW_8K, Clocks, ProviderConfig, SpeechChunk, Utterance, WordTiming
from agents.providers.elevenlabs_tts import ElevenLabsTextToSpeech
from agents.providers.errors import ErrorKind, ProviderError
from agents.providers.pools import Pools
from agents.providers.speech_text import WordTimer, speakable
from tests.agents.providers.vendor import KEY, Talk, Vendor, until

PATH = "/v1/text-to-speech/v1/multi-stream-input"
TONE = b"\x7f" * 800  # 100 ms of mu-law

Behaviour = Callable[[Talk, dict[str, Any]], Awaitable[None]]


def session(vendor: Vendor, pools: Pools, clocks: Clocks, **more: Any) -> ElevenLabsTextToSpeech:
    fields: dict[str, Any] = {
        "provider": "elevenlabs",
        "base_url": vendor.url,
        "api_key": KEY,
        "model": "eleven_flash_v2_5",
        "voice_id": "v1",
        "voice_settings": {"stability": 0.5},
    }
    codec = more.pop("codec", MULAW_8K)
    return ElevenLabsTextToSpeech(ProviderConfig(**(fields | more)), pools=pools, clocks=clocks, codec=codec)


async def audio(talk: Talk, context: str, sound: bytes = TONE, **more: Any) -> None:
    await talk.say(audio=base64.b64encode(sound).decode(), contextId=context, isFinal=None, **more)


async def obedient(talk: Talk) -> None:
    """Speaks 100 ms for every text, and ends a context when it is closed."""
    while (message := await talk.hear()) is not None:
        context = message.get("context_id", "")
        if message.get("close_socket"):
            return
        if message.get("close_context"):
            await talk.say(isFinal=True, contextId=context)
        elif message.get("text", "").strip():
            await audio(talk, context)


async def everything(utterance: Utterance) -> list[SpeechChunk]:
    return [chunk async for chunk in utterance.chunks()]


async def speak(tts: ElevenLabsTextToSpeech, *texts: str) -> list[SpeechChunk]:
    utterance = tts.utterance()
    for text in texts:
        await utterance.say(text)
    await utterance.finish()
    return await everything(utterance)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("text", "spoken"), [("Hi", True), ("7", True), ("été", True), ("", False), (" ?! ", False), ("🙂 …", False)]
)
def test_only_text_with_a_letter_or_digit_is_spoken(text: str, spoken: bool) -> None:
    assert speakable(text) is spoken


@pytest.mark.pure
def test_words_are_put_together_over_pieces_whose_times_start_at_zero() -> None:
    timer = WordTimer()
    first = {"chars": list("Hi th"), "charStartTimesMs": [0, 10, 20, 30, 40], "charDurationsMs": [10] * 5}
    second = {"chars": list("ere."), "charsStartTimesMs": [0, 10, 20, 30], "charsDurationsMs": [10] * 4}
    assert timer.take(first, 0) == (WordTiming("Hi", 0, 20),)
    assert timer.take(second, 50) == ()
    assert timer.finish() == (WordTiming("there.", 30, 90),)
    assert timer.finish() == ()


@pytest.mark.pure
@pytest.mark.parametrize("alignment", [None, [], {}, {"chars": None}, {"chars": [1], "charStartTimesMs": ["x"]}])
def test_an_alignment_that_is_none_gives_no_words(alignment: object) -> None:
    assert WordTimer().take(alignment, 0) == ()


@pytest.mark.sandbox
async def test_an_utterance_is_one_context_with_its_settings_said_once(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.socket(PATH, obedient)
    tts = session(vendor, pools, clocks)
    await tts.connect()
    chunks = await speak(tts, "Hello there.", "🙂", "How are you?")
    await tts.close()
    assert [chunk.audio for chunk in chunks] == [TONE, TONE]
    assert vendor.heard == [
        {"text": " ", "context_id": "u1", "voice_settings": {"stability": 0.5}},
        {"text": "Hello there. ", "context_id": "u1", "flush": True},
        {"text": "How are you? ", "context_id": "u1", "flush": True},
        {"context_id": "u1", "close_context": True},
        {"close_socket": True},
    ]
    query = vendor.queries[0]
    assert query["output_format"] == ["ulaw_8000"]
    assert query["model_id"] == ["eleven_flash_v2_5"]
    assert query["language_code"] == ["en"]
    assert len(vendor.connections) == 1


@pytest.mark.sandbox
async def test_the_lines_own_format_is_asked_for(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.socket(PATH, obedient)
    tts = session(vendor, pools, clocks, codec=L16_16K, model="eleven_multilingual_v2")
    await tts.connect()
    await tts.close()
    assert tts.output_format == L16_16K
    assert vendor.queries[0]["output_format"] == ["pcm_16000"]
    assert "language_code" not in vendor.queries[0], "this model refuses it"


@pytest.mark.sandbox
async def test_usage_counts_characters_and_audio(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.socket(PATH, obedient)
    tts = session(vendor, pools, clocks, account_id="a1")
    utterance = tts.utterance()
    await utterance.say("Hello.")
    await utterance.finish()
    await everything(utterance)
    usage = utterance.usage()
    assert (usage.characters, usage.audio_ms, usage.error, usage.account_id) == (6, 100, "", "a1")
    assert usage.first_ms is not None
    await tts.close()


@pytest.mark.sandbox
async def test_word_times_count_from_the_beginning_of_the_utterance(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear_until(lambda message: bool(message.get("close_context")))
        times = {"charStartTimesMs": [0, 30, 60], "charDurationsMs": [30, 30, 40]}
        await audio(talk, "u1", alignment={"chars": list("$5 "), **times}, normalizedAlignment={"chars": list("fi ")})
        await audio(talk, "u1", alignment=None, normalizedAlignment={"chars": list("now"), **times})
        await talk.say(contextId="u1", isFinal=True)
        await talk.hear()

    vendor.socket(PATH, talk)
    tts = session(vendor, pools, clocks)
    chunks = await speak(tts, "$5 now")
    words = [word for chunk in chunks for word in chunk.words]
    assert words == [WordTiming("$5", 0, 60), WordTiming("now", 100, 200)]
    await tts.close()


@pytest.mark.sandbox
async def test_a_held_and_a_spoken_utterance_share_the_socket(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.socket(PATH, obedient)
    tts = session(vendor, pools, clocks)
    held, spoken = tts.utterance(), tts.utterance()
    await held.say("Held.")
    await spoken.say("Spoken.")
    await spoken.finish()
    assert len(await everything(spoken)) == 1
    await held.finish()
    assert len(await everything(held)) == 1
    assert len(vendor.connections) == 1
    await tts.close()


class Capped:
    """Closes the socket when a sixth context is opened; ends a context ``late_s`` after its close."""

    def __init__(self, late_s: float) -> None:
        self.late_s = late_s
        self.most = 0

    async def __call__(self, talk: Talk) -> None:
        contexts: set[str] = set()
        enders: list[asyncio.Task[None]] = []

        async def end(context: str) -> None:
            await asyncio.sleep(self.late_s)
            contexts.discard(context)
            await talk.say(isFinal=True, contextId=context)

        try:
            while (message := await talk.hear()) is not None and not message.get("close_socket"):
                context = message["context_id"]
                if message.get("close_context"):
                    enders.append(asyncio.create_task(end(context)))
                    continue
                contexts.add(context)
                self.most = max(self.most, len(contexts))
                if len(contexts) > 5:
                    await talk.socket.close(code=1008, message=b"Maximum simultaneous contexts exceeded")
                    return
                if message["text"].strip():
                    await audio(talk, context)
        finally:
            for ender in enders:
                ender.cancel()


@pytest.mark.sandbox
async def test_contexts_that_the_provider_never_ends_cost_a_socket_and_not_the_call(
    vendor: Vendor, pools: Pools
) -> None:
    server = Capped(late_s=60)
    vendor.socket(PATH, server)
    tts = session(vendor, pools, Clocks(connect=0.1, first=2, stall=1, total=5))
    for number in range(5):
        utterance = tts.utterance()
        await utterance.say(f"Number {number}.")
        await utterance.cancel()
    last = tts.utterance()
    await last.say("Last.")
    assert (await anext(last.chunks())).audio == TONE
    await last.cancel()
    assert len(vendor.connections) == 2
    await tts.close()
    await until(lambda: vendor.open_sockets == 0)


@pytest.mark.sandbox
async def test_a_call_that_ends_while_a_crowded_socket_is_being_left_leaves_none_open(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    vendor.socket(PATH, Capped(late_s=0.1))
    tts = session(vendor, pools, clocks)
    for number in range(5):
        utterance = tts.utterance()
        await utterance.say(f"Number {number}.")
        await utterance.cancel()
    await until(lambda: len(vendor.connections) == 2)
    await asyncio.sleep(0.3)
    await tts.utterance().cancel()  # the moment at which the first socket, empty by now, is let go
    await tts.close()
    await until(lambda: vendor.open_sockets == 0)


# --- broken sockets ---


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("error_word", "kind"),
    [("quota_exceeded", ErrorKind.OUT_OF_CREDIT), ("voice_settings_changed", ErrorKind.BAD_REQUEST)],
)
async def test_a_permanent_error_is_not_tried_again(
    error_word: str, kind: ErrorKind, vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def fail(talk: Talk) -> None:
        await talk.hear()
        await talk.say(message=f"no {KEY}", error=error_word, code=1008)
        await talk.socket.close(code=1008)

    vendor.socket(PATH, fail)
    tts = session(vendor, pools, clocks)
    with pytest.raises(ProviderError) as error:
        await speak(tts, "One.")
    assert error.value.kind is kind
    assert KEY not in error.value.detail
    assert len(vendor.connections) == 1
    await tts.close()


@pytest.mark.sandbox
@pytest.mark.parametrize("after_audio", [False, True])
async def test_a_voice_that_falls_silent_runs_into_a_clock(after_audio: bool, vendor: Vendor, pools: Pools) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear_until(lambda message: bool(message.get("close_context")))
        if after_audio:
            await audio(talk, "u1")
        while await talk.hear() is not None:
            pass

    vendor.socket(PATH, talk)
    tts = session(vendor, pools, Clocks(connect=1, first=0.1, stall=0.1, total=5))
    with pytest.raises(ProviderError) as error:
        await speak(tts, "One.")
    assert error.value.kind is (ErrorKind.STALLED if after_audio else ErrorKind.TIMEOUT)
    await tts.close()


@pytest.mark.sandbox
async def test_a_pause_of_the_model_is_not_a_stall_of_the_voice(vendor: Vendor, pools: Pools) -> None:
    vendor.socket(PATH, obedient)
    tts = session(vendor, pools, Clocks(connect=1, first=0.1, stall=0.1, total=5))
    utterance = tts.utterance()
    reading = asyncio.create_task(everything(utterance))
    await utterance.say("One.")
    await asyncio.sleep(0.3)
    await utterance.say("Two.")
    await utterance.finish()
    assert len(await reading) == 2
    await tts.close()


@pytest.mark.sandbox
async def test_garbage_on_the_socket_is_named(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    async def talk(talk: Talk) -> None:
        await talk.hear()
        await talk.socket.send_str("{not json")
        await talk.hear()

    vendor.socket(PATH, talk)
    tts = session(vendor, pools, clocks)
    with pytest.raises(ProviderError) as error:
        await speak(tts, "One.")
    assert error.value.kind is ErrorKind.GARBAGE
    await tts.close()


@pytest.mark.sandbox
async def test_closing_ends_a_waiting_reader_and_the_socket(vendor: Vendor, pools: Pools, clocks: Clocks) -> None:
    vendor.socket(PATH, obedient)
    tts = session(vendor, pools, clocks)
    utterance = tts.utterance()
    await utterance.say("One.")
    reading = asyncio.create_task(everything(utterance))
    await until(lambda: utterance.usage().audio_ms == 100)
    await tts.close()
    assert len(await asyncio.wait_for(reading, 1)) == 1
    await until(lambda: vendor.open_sockets == 0)
    assert vendor.heard[-1] == {"close_socket": True}
    await tts.close()


@pytest.mark.sandbox
async def test_a_server_that_ignores_the_goodbye_is_left_within_two_seconds(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    async def talk(talk: Talk) -> None:
        await asyncio.sleep(30)

    vendor.socket(PATH, talk)
    tts = session(vendor, pools, clocks)
    await tts.connect()
    async with asyncio.timeout(2.5):
        await tts.close()


@pytest.mark.sandbox
async def test_an_unknown_voice_or_a_wrong_key_fails_at_the_handshake(
    vendor: Vendor, pools: Pools, clocks: Clocks
) -> None:
    from aiohttp import web  # noqa: PLC0415

    async def refuse(request: web.Request) -> web.StreamResponse:
        return web.json_response({"detail": {"status": "invalid_api_key", "message": "Invalid API key"}}, status=401)

    vendor.on("GET", PATH, refuse)
    with pytest.raises(ProviderError) as error:
        await session(vendor, pools, clocks).connect()
    assert error.value.kind is ErrorKind.UNAUTHORISED
    assert error.value.detail == "HTTP 401 Invalid API key"
    with pytest.raises(ProviderError) as error:
        await session(vendor, pools, clocks, voice_id="").connect()
    assert error.value.kind is ErrorKind.BAD_REQUEST

"""The realtime transcription socket through the openai SDK."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from websockets.exceptions import ConnectionClosed

from sandbox.testing import Sandbox
from tests.sandbox.clips import encoded, pieces, spoken

pytestmark = pytest.mark.sandbox

FINAL = "conversation.item.input_audio_transcription.completed"


def session(**source: Any) -> Any:
    audio = {"format": {"type": "audio/pcmu"}, "transcription": {"model": "gpt-live-transcribe", "languages": ["en"]}}
    return {"type": "transcription", "audio": {"input": {**audio, "turn_detection": None, **source}}}


@asynccontextmanager
async def connected(client: AsyncOpenAI, **source: Any) -> AsyncIterator[AsyncRealtimeConnection]:
    async with client.realtime.connect(extra_query={"intent": "transcription"}) as connection:
        assert (await connection.recv()).type == "session.created"
        await connection.session.update(session=session(**source))
        yield connection


async def next_of(connection: AsyncRealtimeConnection, kind: str) -> Any:
    async with asyncio.timeout(5):
        while True:
            event = await connection.recv()
            if event.type == kind:
                return event


async def say(connection: AsyncRealtimeConnection, data: bytes, bytes_per_ms: int = 8) -> None:
    for piece in pieces(data, bytes_per_ms):
        await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())


@pytest.mark.parametrize(
    ("form", "encoding", "rate"), [({"type": "audio/pcmu"}, "mulaw", 8000), ({"type": "audio/pcm"}, "l16", 24000)]
)
async def test_real_speech_is_understood(demo: AsyncOpenAI, form: Any, encoding: str, rate: int) -> None:
    data = encoded(spoken("front_desk", "en-us+f2", "correction"), encoding, rate)
    async with connected(demo, format=form) as connection:
        await say(connection, data, rate * (1 if encoding == "mulaw" else 2) // 1000)
        await connection.input_audio_buffer.commit()
        assert (await next_of(connection, FINAL)).transcript == "Wait sorry I meant wednesday."


async def test_items_are_chained_and_finals_carry_their_item(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["one", "two"]})
    async with connected(client) as connection:
        for _ in range(2):
            await say(connection, bytes(1600))
            await connection.input_audio_buffer.commit()
        events: list[Any] = []
        while len([event for event in events if event.type == FINAL]) < 2:
            events.append(await connection.recv())
    seen = [event for event in events if event.type == "input_audio_buffer.committed"]
    first, second = [event for event in events if event.type == FINAL]
    assert [first.transcript, second.transcript] == ["one", "two"]
    assert [first.item_id, second.item_id] == [event.item_id for event in seen]
    assert seen[1].previous_item_id == seen[0].item_id
    assert second.usage.type == "duration"


async def test_deltas_add_up_to_the_final_text(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["one two three four five"]})
    async with connected(client) as connection:
        await say(connection, encoded(spoken("front_desk", "en-us+f2", "book"), "mulaw", 8000))
        await connection.input_audio_buffer.commit()
        text, deltas = "", 0
        async for event in connection:
            if event.type == "conversation.item.input_audio_transcription.delta":
                text, deltas = text + (event.delta or ""), deltas + 1
            if event.type == FINAL:
                break
    assert text == event.transcript == "one two three four five"
    assert deltas > 1


async def test_the_server_finds_the_end_of_a_turn_where_the_model_can(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["found it"]})
    vad = {"type": "server_vad", "silence_duration_ms": 300}
    async with connected(client, transcription={"model": "gpt-transcribe"}, turn_detection=vad) as connection:
        await say(connection, encoded(spoken("front_desk", "en-us+f2", "book"), "mulaw", 8000) + b"\xff" * 4000)
        started = await next_of(connection, "input_audio_buffer.speech_started")
        stopped = await next_of(connection, "input_audio_buffer.speech_stopped")
        assert stopped.audio_end_ms > started.audio_start_ms
        assert (await next_of(connection, FINAL)).transcript == "found it"


@pytest.mark.parametrize(
    ("source", "param"),
    [
        ({"turn_detection": {"type": "server_vad"}}, "session.audio.input.turn_detection"),
        ({"format": {"type": "g711_ulaw"}}, "session.audio.input.format.type"),
        ({"format": {"type": "audio/pcm", "rate": 8000}}, "session.audio.input.format.rate"),
        ({"transcription": {"model": "gpt-9-transcribe"}}, "session.audio.input.transcription.model"),
        ({"transcription": {"model": "whisper-1", "keywords": ["a"]}}, "session.audio.input.transcription.keywords"),
        ({"novelty": 1}, "session.audio.input.novelty"),
    ],
)
async def test_a_wrong_session_is_refused_and_the_socket_lives_on(client: AsyncOpenAI, source: Any, param: str) -> None:
    async with connected(client, **source) as connection:
        assert (await next_of(connection, "error")).error.param == param
        await connection.session.update(session=session())
        await next_of(connection, "session.updated")


async def test_a_commit_of_less_than_100_ms_is_an_error(client: AsyncOpenAI) -> None:
    async with connected(client) as connection:
        await say(connection, bytes(799))
        await connection.input_audio_buffer.commit()
        refused = await next_of(connection, "error")
    assert refused.error.code == "input_audio_buffer_commit_empty"
    assert "99.88ms" in refused.error.message


async def test_a_model_in_the_address_is_refused(client: AsyncOpenAI) -> None:
    query = {"intent": "transcription", "model": "gpt-live-transcribe"}
    async with client.realtime.connect(extra_query=query) as connection:
        assert (await connection.recv()).type == "error"
        with pytest.raises(ConnectionClosed):
            await connection.recv()


async def fault(box: Sandbox, kind: str, **options: Any) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": "stt", **options})


async def committed(connection: AsyncRealtimeConnection) -> None:
    await say(connection, bytes(1600))
    await connection.input_audio_buffer.commit()


async def test_a_final_that_never_comes(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["lost", "heard"]})
    await fault(box, "never_final")
    async with connected(client) as connection:
        await committed(connection)
        await committed(connection)
        assert (await next_of(connection, FINAL)).transcript == "heard"


async def test_a_doubled_final_and_an_unknown_event(box: Sandbox, client: AsyncOpenAI) -> None:
    await box.control.request("POST", "providers/transcripts", {"default": "again"})
    await fault(box, "duplicate_final")
    await fault(box, "unknown_messages")
    async with connected(client) as connection:
        await committed(connection)
        await committed(connection)
        assert [(await next_of(connection, FINAL)).transcript for _ in range(3)] == ["again"] * 3


@pytest.mark.parametrize(("options", "code"), [({"kind": "close", "code": 1008}, 1008), ({"kind": "drop"}, 1006)])
async def test_a_socket_that_is_cut(box: Sandbox, client: AsyncOpenAI, options: Any, code: int) -> None:
    await fault(box, **options)
    async with connected(client) as connection:
        await committed(connection)
        with pytest.raises(ConnectionClosed) as closed:
            await next_of(connection, FINAL)
    assert (closed.value.rcvd.code if closed.value.rcvd else 1006) == code


async def test_a_failed_transcription_is_told(box: Sandbox, client: AsyncOpenAI) -> None:
    await fault(box, "mid_stream_error")
    async with connected(client) as connection:
        await committed(connection)
        failed = await next_of(connection, "conversation.item.input_audio_transcription.failed")
    assert failed.error.code == "transcription_failed"

"""The Scribe socket through the elevenlabs SDK: real decoding, scripted texts, rules and faults."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.realtime.connection import RealtimeConnection, RealtimeEvents
from elevenlabs.realtime.scribe import AudioFormat, CommitStrategy

from sandbox.testing import Sandbox
from tests.sandbox.clips import encoded, pieces, spoken

pytestmark = pytest.mark.sandbox


class Scribe:
    """One session and the messages that came."""

    def __init__(self, connection: RealtimeConnection) -> None:
        self.connection = connection
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for event in RealtimeEvents:
            if event is not RealtimeEvents.ERROR:
                connection.on(event, self.messages.put_nowait)

    async def say(self, data: bytes, bytes_per_ms: int = 8) -> None:
        """Send audio in pieces of 100 ms."""
        for piece in pieces(data, bytes_per_ms):
            await self.connection.send({"audio_base_64": base64.b64encode(piece).decode()})

    async def next_of(self, kind: str) -> dict[str, Any]:
        """The next message of one type."""
        async with asyncio.timeout(5):
            while True:
                message = await self.messages.get()
                if message.get("message_type") == kind:
                    return message

    async def closed(self) -> int:
        """The code with which the server closes."""
        async with asyncio.timeout(5):
            while True:
                message = await self.messages.get()
                if "reason" in message:
                    return int(message["code"])


@asynccontextmanager
async def connected(
    client: AsyncElevenLabs, form: AudioFormat = AudioFormat.ULAW_8000, **more: Any
) -> AsyncIterator[Scribe]:
    options: Any = {
        "model_id": "scribe_v2_realtime",
        "audio_format": form,
        "sample_rate": int(form.value.split("_")[1]),
        "commit_strategy": CommitStrategy.MANUAL,
        **more,
    }
    scribe = Scribe(await client.speech_to_text.realtime.connect(options))
    try:
        yield scribe
    finally:
        await scribe.connection.close()


@pytest.mark.parametrize(
    ("form", "encoding", "rate"),
    [
        (AudioFormat.ULAW_8000, "mulaw", 8000),
        (AudioFormat.PCM_8000, "l16", 8000),
        (AudioFormat.PCM_16000, "l16", 16000),
    ],
)
async def test_real_speech_is_understood_in_each_of_the_phone_s_formats(
    client_of: Callable[[str], AsyncElevenLabs], form: AudioFormat, encoding: str, rate: int
) -> None:
    data = encoded(spoken("front_desk", "en-us+f2", "book"), encoding, rate)
    async with connected(client_of("demo-front_desk"), form) as scribe:
        await scribe.say(data, rate * (1 if encoding == "mulaw" else 2) // 1000)
        assert (await scribe.next_of("partial_transcript"))["text"]
        await scribe.connection.commit()
        final = await scribe.next_of("committed_transcript")
    assert final["text"] == "Hello I would like to book an appointment."


async def test_silence_is_committed_as_nothing(client_of: Callable[[str], AsyncElevenLabs]) -> None:
    async with connected(client_of("demo-front_desk")) as scribe:
        await scribe.say(b"\xff" * 8000)
        await scribe.connection.commit()
        assert (await scribe.next_of("committed_transcript"))["text"] == ""


async def test_scripted_texts_answer_the_commits_in_order(box: Sandbox, client: AsyncElevenLabs) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["one", "two"], "default": "more"})
    async with connected(client, include_timestamps=True) as scribe:
        got = []
        for _ in range(3):
            await scribe.say(b"\xff" * 4000)
            await scribe.connection.commit()
            got.append((await scribe.next_of("committed_transcript"))["text"])
            timed = await scribe.next_of("committed_transcript_with_timestamps")
            assert [word["text"] for word in timed["words"] if word["type"] == "word"] == got[-1].split()
    assert got == ["one", "two", "more"]


async def test_with_vad_the_server_commits_after_silence(box: Sandbox, client: AsyncElevenLabs) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["by itself"]})
    async with connected(client, commit_strategy=CommitStrategy.VAD, vad_silence_threshold_secs=0.5) as scribe:
        await scribe.say(encoded(spoken("front_desk", "en-us+f2", "book"), "mulaw", 8000) + b"\xff" * 8000)
        assert (await scribe.next_of("committed_transcript"))["text"] == "by itself"


async def test_a_commit_without_enough_audio_is_throttled_and_the_session_lives_on(
    box: Sandbox, client: AsyncElevenLabs
) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["still here"]})
    async with connected(client) as scribe:
        await scribe.say(b"\xff" * 2000)
        await scribe.connection.commit()
        assert "only 0.25s" in (await scribe.next_of("commit_throttled"))["error"]
        await scribe.say(b"\xff" * 2000)
        await scribe.connection.commit()
        assert (await scribe.next_of("committed_transcript"))["text"] == "still here"


@pytest.mark.parametrize(
    "message",
    [
        {"message_type": "something_else"},
        {"message_type": "input_audio_chunk", "audio_base_64": "***"},
        {"message_type": "input_audio_chunk", "audio_base_64": "", "sample_rate": 16000},
        {"message_type": "input_audio_chunk", "audio_base_64": "", "novelty": 1},
        {"message_type": "input_audio_chunk", "audio_base_64": "", "previous_text": "x" * 51},
    ],
)
async def test_wrong_messages_are_input_errors(client: AsyncElevenLabs, message: dict[str, Any]) -> None:
    async with connected(client) as scribe:
        await scribe.connection.websocket.send(json.dumps(message))
        await scribe.next_of("input_error")


@pytest.mark.parametrize("options", [{"model_id": "scribe_v9"}, {"vad_threshold": 2.0}, {"keyterms": ["x" * 21]}])
async def test_wrong_options_close_the_socket(client: AsyncElevenLabs, options: dict[str, Any]) -> None:
    async with connected(client, **options) as scribe:
        await scribe.next_of("invalid_request")
        assert await scribe.closed() == 1008


async def test_a_wrong_key_is_an_auth_error(client_of: Callable[[str], AsyncElevenLabs]) -> None:
    async with connected(client_of("nonsense")) as scribe:
        await scribe.next_of("auth_error")
        assert await scribe.closed() == 1008


async def fault(box: Sandbox, kind: str, **options: Any) -> None:
    await box.control.request("POST", "providers/faults", {"kind": kind, "stage": "stt", **options})


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("unauthorized", "auth_error"),
        ("insufficient_quota", "quota_exceeded"),
        ("rate_limit", "rate_limited"),
        ("system_busy", "resource_exhausted"),
    ],
)
async def test_refusals_come_in_the_socket(box: Sandbox, client: AsyncElevenLabs, kind: str, message: str) -> None:
    await fault(box, kind)
    async with connected(client) as scribe:
        await scribe.next_of(message)
        assert await scribe.closed() == 1008


async def commit(scribe: Scribe) -> None:
    await scribe.say(b"\xff" * 4000)
    await scribe.connection.commit()


@pytest.mark.parametrize(("options", "code"), [({"kind": "close", "code": 1011}, 1011), ({"kind": "drop"}, 1006)])
async def test_a_socket_that_is_cut_at_a_commit(
    box: Sandbox, client: AsyncElevenLabs, options: dict[str, Any], code: int
) -> None:
    await fault(box, **options)
    async with connected(client) as scribe:
        await commit(scribe)
        assert await scribe.closed() == code


async def test_lost_doubled_and_failed_finals(box: Sandbox, client: AsyncElevenLabs) -> None:
    await box.control.request("POST", "providers/transcripts", {"texts": ["lost", "twice", "failed", "good"]})
    for kind in ("never_final", "duplicate_final", "mid_stream_error"):
        await fault(box, kind)
    async with connected(client) as scribe:
        await commit(scribe)
        await commit(scribe)
        assert [(await scribe.next_of("committed_transcript"))["text"] for _ in range(2)] == ["twice", "twice"]
        await commit(scribe)
        await scribe.next_of("transcriber_error")
        await commit(scribe)
        assert (await scribe.next_of("committed_transcript"))["text"] == "good"


async def test_the_final_waits_as_long_as_it_is_told(box: Sandbox, client: AsyncElevenLabs) -> None:
    await box.control.request("PATCH", "providers/latencies", {"stt_final_ms": 3000})
    async with connected(client) as scribe:
        begun = asyncio.get_running_loop().time()
        await commit(scribe)
        await scribe.next_of("committed_transcript")
    assert asyncio.get_running_loop().time() - begun >= 0.3  # scale 0.1

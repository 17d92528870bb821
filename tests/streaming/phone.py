"""A caller behind a stream, in the same process: speaks ASGI to a consumer or a line and plays what it is sent.

Keeps a playback queue as Plivo does: audio drains in real time, a checkpoint is answered when playback reaches it, and
clearAudio empties the queue, checkpoints included.
"""

import asyncio
import base64
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from agents.providers.base import MULAW_8K, AudioFormat
from streaming.protocol import CONTENT_TYPES
from tests.streaming.fakes import silence, tone


class Phone:
    """The far end of one WebSocket.

    Attributes:
        sent: every message of ours, decoded, with the loop's time of its arrival.
        heard: bytes that were really played.
        closed: the close code, once we closed the socket.
        answers_checkpoints: False for a carrier that never answers them.
    """

    def __init__(self, fmt: AudioFormat = MULAW_8K, *, call_id: str = "call-1", stream_id: str = "stream-1") -> None:
        self.fmt = fmt
        self.call_id = call_id
        self.stream_id = stream_id
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.sent: list[tuple[float, dict[str, Any]]] = []
        self.heard = bytearray()
        self.accepted = False
        self.closed: int | None = None
        self.answers_checkpoints = True
        self._queue: deque[bytes | str] = deque()
        self._tasks: list[asyncio.Task[Any]] = []
        self._to_say: deque[bytes] = deque()
        self._chunk = 0
        self.muted = False
        self.speaking = asyncio.Event()

    # --- ASGI --------------------------------------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            self.accepted = True
        elif message["type"] == "websocket.close":
            self.closed = message.get("code", 1000)
        else:
            self._take(json.loads(message["text"]))

    def _take(self, message: dict[str, Any]) -> None:
        self.sent.append((asyncio.get_running_loop().time(), message))
        match message["event"]:
            case "playAudio":
                media = message["media"]
                assert (media["contentType"], media["sampleRate"]) == (CONTENT_TYPES[self.fmt.encoding], self.fmt.rate)
                audio = base64.b64decode(media["payload"])
                step = 20 * self.fmt.bytes_per_ms
                self._queue.extend(audio[at : at + step] for at in range(0, len(audio), step))
            case "checkpoint":
                assert message["streamId"] == self.stream_id
                self._queue.append(message["name"])
            case "clearAudio":
                assert message["streamId"] == self.stream_id
                self._queue.clear()
                self.put({"event": "clearedAudio", "streamId": self.stream_id})

    def put(self, message: dict[str, Any] | str) -> None:
        """Sends a message of Plivo's, or any text."""
        text = message if isinstance(message, str) else json.dumps(message)
        self.incoming.put_nowait({"type": "websocket.receive", "text": text})

    # --- the caller --------------------------------------------------------------------------------------------------

    def start(self, **changes: Any) -> None:
        """Sends ``start``; begins to send the microphone and to play."""
        body = {
            "callId": self.call_id,
            "streamId": self.stream_id,
            "tracks": ["inbound"],
            "mediaFormat": {"encoding": CONTENT_TYPES[self.fmt.encoding], "sampleRate": self.fmt.rate},
        }
        self.put({"event": "start", "sequenceNumber": 1, "start": body | changes, "extra_headers": "{}"})
        self._tasks = [asyncio.create_task(self._run())]

    def say(self, ms: int) -> None:
        """Speaks (a tone) for so long."""
        audio = tone(ms, self.fmt)
        step = 20 * self.fmt.bytes_per_ms
        self._to_say.extend(audio[at : at + step] for at in range(0, len(audio), step))

    def press(self, digit: str) -> None:
        """Presses a key."""
        self.put({"event": "dtmf", "streamId": self.stream_id, "dtmf": {"track": "inbound", "digit": digit}})

    def hang_up(self, code: int = 1000) -> None:
        """Ends the socket from this side."""
        self.incoming.put_nowait({"type": "websocket.disconnect", "code": code})

    async def stop(self) -> None:
        """Ends the microphone and the loudspeaker."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self) -> None:
        quiet = silence(20, self.fmt)
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if not self.muted:
                self._chunk += 1
                audio = self._to_say.popleft() if self._to_say else quiet
                payload = base64.b64encode(audio).decode()
                media = {"track": "inbound", "timestamp": str(self._chunk * 20), "chunk": self._chunk}
                self.put({"event": "media", "streamId": self.stream_id, "media": media | {"payload": payload}})
            self._play()
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _play(self) -> None:
        played = False
        while self._queue and not (played and isinstance(self._queue[0], bytes)):
            item = self._queue.popleft()
            if isinstance(item, bytes):
                self.heard += item
                played = True
            elif self.answers_checkpoints:
                self.put({"event": "playedStream", "streamId": self.stream_id, "name": item})

    @property
    def heard_ms(self) -> int:
        """How much was played."""
        return len(self.heard) // self.fmt.bytes_per_ms

    @property
    def playing(self) -> bool:
        """Whether something waits to be played."""
        return bool(self._queue)

    def count(self, event: str) -> int:
        """How many messages of a kind came."""
        return sum(message["event"] == event for _, message in self.sent)

    async def until(self, condition: Callable[[], object], seconds: float = 8.0) -> None:
        """Waits for a condition."""
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  (polls what a fake carrier sees)
                await asyncio.sleep(0.01)

"""One call and two stream processes over one database: only one of them carries it, and either can go on with it."""

import asyncio
import base64
import contextlib
import json
import time
from collections.abc import AsyncIterator

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from config.supervisor import free_port
from tests.integration.house import House, start, until
from tests.integration.stream.conftest import Build

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

SECOND = "second stream"
BACK_WITHIN_S = 5.0
POLICY, NORMAL = 1008, 1000


class Line:
    """Plivo's end of one socket.

    Attributes:
        muted: sends nothing more, as a line that broke unnoticed.
        heard: something was played.
    """

    def __init__(self, socket: ClientConnection, codec: str) -> None:
        self.socket = socket
        self.muted = False
        self.heard = asyncio.Event()
        encoding, rate = codec.split(";rate=")
        self._frame = b"\xff" * 160 if "mulaw" in encoding else bytes(int(rate) // 25)

    async def sound(self) -> None:
        """Sends the caller's silence."""
        payload = base64.b64encode(self._frame).decode()
        with contextlib.suppress(ConnectionClosed):
            for chunk in range(1, 10_000):
                media = {"track": "inbound", "timestamp": str(chunk * 20), "chunk": chunk, "payload": payload}
                if not self.muted:
                    await self.socket.send(json.dumps({"event": "media", "media": media}))
                await asyncio.sleep(0.02)

    async def listen(self) -> None:
        """Hears until the socket closes."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                if "playAudio" in str(await self.socket.recv()):
                    self.heard.set()

    async def closed(self) -> int | None:
        """The code with which the other side closes the socket."""
        async with asyncio.timeout(10):
            await self.socket.wait_closed()
        return self.socket.close_code


@contextlib.asynccontextmanager
async def caller(built: House, call_uuid: str, token: str, *, port: int = 0) -> AsyncIterator[Line]:
    """A stream of the call at one of the processes."""
    async with built.knock(token, port=port) as socket:
        line = Line(socket, built.codec)
        await socket.send(start(call_uuid, built.codec))
        tasks = [asyncio.create_task(line.sound()), asyncio.create_task(line.listen())]
        try:
            yield line
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def carried_by(built: House, call_uuid: str) -> str:
    ((session,),) = built.rows("SELECT carried_by FROM calls_call WHERE plivo_call_uuid = ?", call_uuid)
    return session


def kinds(built: House) -> list[str]:
    return [kind for (kind,) in built.rows("SELECT kind FROM calls_callevent ORDER BY at, id")]


async def test_a_call_stays_with_its_process_until_its_line_falls_silent_or_the_process_is_killed(build: Build) -> None:
    async with build() as built:
        port = free_port(0)
        await built.serve("stream", port=port, name=SECOND)
        call_uuid, token = await built.announce()
        async with caller(built, call_uuid, token) as first:
            await until(lambda: built.turns(call_uuid), 30, "the greeting did not end")
            session = carried_by(built, call_uuid)
            async with caller(built, call_uuid, token, port=port) as intruder:
                assert await intruder.closed() == POLICY
                assert not intruder.heard.is_set()
            assert (first.socket.close_code, carried_by(built, call_uuid)) == (None, session)
            reasons = "SELECT reason, count FROM calls_edgerefusal"
            await until(lambda: built.rows(reasons) == [("second_stream", 1)], 5, "the refusal is not in the admin")

            first.muted = True
            async with caller(built, call_uuid, token, port=port) as second:
                await asyncio.wait_for(second.heard.wait(), 15)
                session = carried_by(built, call_uuid)
                assert await first.closed() == NORMAL
                await until(lambda: "session_ended" in kinds(built), 5, "the first session left no end")
                assert (built.call(call_uuid)["status"], built.call(call_uuid)["end_reason"]) == ("live", "")
                assert built.rows("SELECT stream_ended_at, carried_by FROM calls_call") == [(None, session)]
                assert second.socket.close_code is None

                killed = time.monotonic()
                built.kill(SECOND)
                await second.closed()
            async with caller(built, call_uuid, await built.after_stream(call_uuid)) as third:
                await asyncio.wait_for(third.heard.wait(), 15)
                back_s = time.monotonic() - killed
        await until(lambda: not carried_by(built, call_uuid), 5, "the last session did not let go")
        assert back_s < BACK_WITHIN_S
        assert [kinds(built).count(kind) for kind in ("stream_started", "stream_resumed")] == [1, 2]
        assert built.rows("SELECT uses FROM calls_streamtoken ORDER BY id") == [(2,), (1,)]
        indexes = [index for (index,) in built.rows('SELECT "index" FROM calls_turn ORDER BY started_ms, "index"')]
        assert indexes == list(range(len(indexes)))
        assert "Traceback" not in built.log("stream") + built.log(SECOND)

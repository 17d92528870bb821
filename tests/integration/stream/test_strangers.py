"""Strangers at a real socket of a real server: each is refused, and none of them costs a connection to a provider.

``tests/streaming/test_door.py`` holds the rules; this holds what uvicorn and Daphne make of them on the wire.
"""

import asyncio
import contextlib
import secrets
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from config.supervisor import free_port
from tests.integration.house import House, house, start, until
from tests.integration.stream.conftest import Build

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

REFUSED_AT_THE_DOOR = 403
POLICY = 1008
TOO_BIG = {"uvicorn": 1009, "daphne": 1006}  # Daphne cuts the connection
NO_START_S = 3.0
SETTLED_S = 4.0


@dataclass(frozen=True)
class Stranger:
    """Somebody at the door, and what must become of them.

    Attributes:
        says: the first message; None for somebody who says nothing.
        ends: the HTTP status of the refused handshake, or the close code.
        reason: under which the admin shows the refusal; empty when the server itself refuses.
    """

    name: str
    token: str
    ends: int
    reason: str
    says: str | bytes | None = None
    signed: bool = True
    headers: dict[str, str] = field(default_factory=dict)


async def visit(built: House, stranger: Stranger) -> int:
    """How the visit ends: HTTP status or close code."""
    try:
        async with built.knock(stranger.token, signed=stranger.signed, headers=stranger.headers) as socket:
            if stranger.says is not None:
                await socket.send(stranger.says)
            async with asyncio.timeout(NO_START_S + 10):
                await gone(socket)
    except InvalidStatus as refusal:
        return refusal.response.status_code
    return socket.close_code


async def gone(socket: ClientConnection) -> None:
    """Reads until the other side closes; whatever it sends a stranger is a failure."""
    with contextlib.suppress(ConnectionClosed):
        message = await socket.recv()
        raise AssertionError(f"a stranger was sent {message!r:.80}")


async def connections(built: House) -> int:
    """Requests and sockets that the providers have seen."""
    return len((await built.control.request("GET", "providers/ledger"))["entries"])


async def settled(built: House) -> int:
    """The same, once the providers have seen nothing new for a while: a call that is over may still be closing."""
    seen = -1
    while seen != (seen := await connections(built)):  # noqa: ASYNC110  (the sandbox has to be asked)
        await asyncio.sleep(SETTLED_S)
    return seen


async def test_every_stranger_is_refused_and_opens_nothing_at_a_provider(build: Build, record_property) -> None:
    async with build() as built:
        ours, token = await built.announce()
        theirs, other_token = await built.announce()
        before = await connections(built)
        assert before == 0
        strangers = [
            Stranger("no token", "", REFUSED_AT_THE_DOOR, ""),
            Stranger("a malformed token", "let-me-in", REFUSED_AT_THE_DOOR, "token_malformed"),
            Stranger("an unknown token", secrets.token_hex(16), REFUSED_AT_THE_DOOR, "token_unknown"),
            Stranger("a web page", token, REFUSED_AT_THE_DOOR, "origin", headers={"Origin": "https://evil.example"}),
            Stranger("no signature", token, REFUSED_AT_THE_DOOR, "signature_missing_headers", signed=False),
            Stranger("another call's token", other_token, POLICY, "token_wrong_call", start(ours, built.codec)),
            Stranger("a wrong call", token, POLICY, "token_wrong_call", start(str(uuid.uuid4()), built.codec)),
            Stranger("no call", token, POLICY, "token_wrong_call", start("", built.codec)),
            Stranger("no start", token, POLICY, "no_start"),
            Stranger("binary first", token, POLICY, "no_start", b"\x00" * 160),
            Stranger("65 KB first", token, TOO_BIG[built.server], "no_start", "x" * 66_000),
        ]  # fmt: skip
        ends = {stranger.name: await visit(built, stranger) for stranger in strangers}
        assert ends == {stranger.name: stranger.ends for stranger in strangers}
        assert await connections(built) == 0
        assert built.rows("SELECT sum(uses) FROM calls_streamtoken") == [(0,)]
        assert built.rows("SELECT count(*) FROM calls_call WHERE live_at IS NOT NULL") == [(0,)]

        def recorded() -> bool:
            reasons = {reason for (reason,) in built.rows("SELECT reason FROM calls_edgerefusal WHERE edge = 'stream'")}
            return reasons == {stranger.reason for stranger in strangers} - {""}

        await until(recorded, 5, "the refusals are not all in the admin")

        # The same door opens for Plivo; a token that was used then opens nothing for another call.
        async with built.knock(token) as plivo:
            await plivo.send(start(ours, built.codec))
            assert "playAudio" in await asyncio.wait_for(plivo.recv(), 10)
            plivo.transport.abort()
        await until(lambda: built.rows("SELECT uses FROM calls_streamtoken ORDER BY id") == [(1,), (0,)], 5, "no use")
        carried = "SELECT 1 FROM calls_call WHERE carried_by <> ''"
        await until(lambda: not built.rows(carried), 10, "the session of the lost line did not let go")
        opened = await settled(built)
        assert opened > 0
        late = [
            Stranger("a used token", token, POLICY, "token_wrong_call", start(call_uuid, built.codec))
            for call_uuid in (theirs, str(uuid.uuid4()), "")
        ]
        assert [await visit(built, stranger) for stranger in late] == [stranger.ends for stranger in late]
        assert await connections(built) == opened
        assert built.rows("SELECT uses FROM calls_streamtoken ORDER BY id") == [(1,), (0,)]
        assert "Traceback" not in built.log("stream") + built.log("web")
        record_property("strangers refused", len(strangers) + len(late))
        record_property("provider connections opened for them", await connections(built) - opened)


@pytest.mark.slow
async def test_runserver_too_closes_the_socket_with_its_reason(tmp_path: Path) -> None:
    async with house(tmp_path) as built:
        port = free_port(0)
        await built.serve("all", server="runserver", port=port)
        _, token = await built.announce()
        async with built.knock(token, port=port) as socket:
            await socket.send(start(str(uuid.uuid4()), built.codec))
            await gone(socket)
        assert socket.close_code == POLICY
        assert "Traceback" not in built.log("all")

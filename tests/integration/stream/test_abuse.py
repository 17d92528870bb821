"""A stream process under abuse: nothing of it is left behind, and the calls beside it do not hear of it."""

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from benchmarks.figures import percentile
from benchmarks.holdings import Holdings, figure, settled
from benchmarks.load.callers import Orders
from benchmarks.processes import memory_kb
from tests.integration import databases
from tests.integration.house import House, RefusedError, house, start, until
from tests.integration.stream import hostile

pytestmark = [pytest.mark.journey, pytest.mark.timeout(400)]

OTHERS = 4  # calls that behave
STREAMS = 5  # that messages are sent on
PAUSE_S = 0.01  # between two messages: half of what a stream may send
AT_ONCE = 10
REPLY_S = 1.0
LET_IN_S = 40
SETTLED_S = 60
UNREAD_S = 60  # within which a peer that does not read is let go
# Connections to providers are kept for two minutes, and pools begin a thread when they first need it.
SPARE = {"sockets": 12, "files": 12, "threads": 6}
LATER_MS = 20  # by which the others' audio may come later (p99), beside the lateness of those that listen
MOST_OWN_MS = 20  # who is later than that judges nobody
CALM_S = 0.1  # a stream process that is later than twice that takes no calls
GROWTH_KB, PEAK_KB = 48 << 10, 128 << 10
REDIRECT = """
import django, sys
django.setup()
from agents.models import ProviderAccount
for account in ProviderAccount.objects.all():
    ProviderAccount.objects.filter(pk=account.pk).update(base_url=account.base_url.replace(sys.argv[1], sys.argv[2]))
"""


@dataclass(frozen=True)
class Scale:
    """How much abuse.

    Attributes:
        seconds: so long the other calls are measured, without it and under it.
        stalled_s: so long callers put up with providers that say nothing.
        timed: whether the others' lateness is judged, which needs a machine that does nothing else.
    """

    messages: int
    handshakes: int
    seconds: float
    stalled_s: float
    timed: bool


@pytest.mark.parametrize(
    "scale",
    [
        pytest.param(Scale(150, 40, seconds=12, stalled_s=3, timed=False), id="a-little"),
        pytest.param(Scale(1000, 200, seconds=60, stalled_s=15, timed=True), id="much", marks=pytest.mark.slow),
    ],
)
async def test_abuse_leaves_nothing_behind_and_the_other_calls_alone(
    scale: Scale, tmp_path: Path, record_property
) -> None:
    async with house(tmp_path, ALLOW_UNSIGNED="1") as built:
        await built.scripted("what are your opening hours")
        pid, port = built.pid("stream"), built.stream_port
        async with others(built, scale) as quiet:
            pass
        before = await at_rest(built)
        peak = asyncio.create_task(highest(pid))
        async with others(built, scale) as loud:
            await abuse(built, scale)
        peak.cancel()
        after = await asyncio.to_thread(settled, pid, port, before=before, spare=SPARE, within=SETTLED_S)

        assert built.pid("stream") == pid
        assert (loud["failed"], loud["lost"]) == (0, 0)
        assert after.over(before, SPARE) == {}, "something was left behind"
        assert after.memory_kb - before.memory_kb < GROWTH_KB
        assert await peak - before.memory_kb < PEAK_KB
        late = [percentile(each["late"], 99) for each in (quiet, loud)]
        own = [percentile(each["lags"], 99) for each in (quiet, loud)]
        if scale.timed:
            assert max(own) < MOST_OWN_MS, f"the callers could not keep their own clock: is the machine busy? {own}"
            assert late[1] < late[0] + LATER_MS + own[1], (late, own)
        log = built.log("stream") + built.log("web")
        assert log.count("Traceback") == log.count("Invalid UTF-8 sequence"), "uvicorn's own, which closes the socket"
        record_property("malformed messages", scale.messages)
        record_property("hostile handshakes", scale.handshakes)
        record_property("tasks, sockets and descriptors left", sum(after.over(before, SPARE).values()))
        record_property("KB more memory", max(0, after.memory_kb - before.memory_kb))
        record_property("ms late of their own (p99)", round(own[1]))
        record_property("ms late before (p99)", round(late[0]))
        record_property("ms late meanwhile (p99)", round(late[1]))


async def abuse(built: House, scale: Scale) -> None:
    """Everything at once but for the database's stall, which would hold up the others' handshakes."""
    stubborn = asyncio.create_task(without_reading(built, wait=scale.messages >= 1000))
    async with asyncio.TaskGroup() as group:
        group.create_task(knock_at_the_door(built, scale.handshakes))
        for seed in range(STREAMS):
            group.create_task(send_nonsense(built, scale.messages // STREAMS, seed))
    await flood_a_consumer_that_waits(built)
    await talk_to_stalled_providers(built, scale.stalled_s)
    await stubborn


async def knock_at_the_door(built: House, count: int) -> None:
    """Handshakes that no stream may come of, first messages that are no start, and frames that are none."""
    dice = random.Random(1)
    _, token = await announced(built)
    openings = hostile.handshakes(dice, token)
    nonsense = hostile.messages(dice, "")
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with turns:
            if number % 8 == 0:
                async with let_in(built, token) as socket:
                    await socket.send(next(nonsense))
                    await asyncio.wait_for(socket.wait_closed(), 10)
                assert socket.close_code == 1008
            elif number % 8 == 1:
                async with let_in(built, token) as socket:
                    socket.transport.write(hostile.NO_FRAMES[number // 8 % len(hostile.NO_FRAMES)])
                    await asyncio.wait_for(socket.wait_closed(), 10)
            else:
                reply = await said(built.stream_port, next(openings), abrupt=dice.random() < 0.3)
                assert b" 101 " not in reply, reply

    await asyncio.gather(*(one(number) for number in range(count)))


async def said(port: int, opening: bytes, *, abrupt: bool) -> bytes:
    """The first answer, if there is any, to somebody who says this and leaves."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    reply = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        writer.write(opening)
        async with asyncio.timeout(REPLY_S):
            await writer.drain()
            reply = await reader.read(200)
    if abrupt:
        writer.transport.abort()
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return reply


async def announced(built: House) -> tuple[str, str]:
    """A call that waits for its stream (``House.announce``), asked for again where it is refused for lateness."""
    deadline = time.monotonic() + LET_IN_S
    while True:
        try:
            return await built.announce()
        except RefusedError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


@contextlib.asynccontextmanager
async def let_in(built: House, token: str, **options: Any) -> AsyncIterator[ClientConnection]:
    """A socket at the stream server, which takes nobody for three seconds after it was late, and is asked again."""
    deadline = time.monotonic() + LET_IN_S
    while True:
        try:
            async with built.knock(token, **options) as line:
                yield line
                return
        except InvalidStatus:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(1)


async def send_nonsense(built: House, count: int, seed: int) -> None:
    """A stream that begins as it should, and then sends what no line sends; it must not be ended for it."""
    call_uuid, token = await announced(built)
    async with let_in(built, token) as line:
        await line.send(start(call_uuid, built.codec))
        listening = asyncio.create_task(listen(line))
        messages = hostile.messages(random.Random(seed), call_uuid)
        for _ in range(count):
            await line.send(next(messages))
            await asyncio.sleep(PAUSE_S)
        assert line.close_code is None
        listening.cancel()


async def listen(line: ClientConnection) -> None:
    with contextlib.suppress(ConnectionClosed):
        while True:
            await line.recv()


async def flood_a_consumer_that_waits(built: House) -> None:
    """The consumer waits for a database that somebody holds; its peer sends as fast as the socket takes it."""
    call_uuid, token = await announced(built)
    frame = json.dumps(hostile.media(b"\xff" * 40_000))
    async with let_in(built, token) as line:
        with databases.stalled("", built.var_dir), contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(4):
                await line.send(start(call_uuid, built.codec))
                while True:
                    await line.send(frame)
        await asyncio.sleep(1)
        line.transport.abort()


async def talk_to_stalled_providers(built: House, seconds: float) -> None:
    """Calls whose providers accept the connection and never say a word."""
    calls = [await announced(built) for _ in range(3)]

    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        writer.close()

    async def caller(call_uuid: str, token: str) -> None:
        async with let_in(built, token) as line:
            await line.send(start(call_uuid, built.codec))
            listening = asyncio.create_task(listen(line))
            with contextlib.suppress(ConnectionClosed):
                for chunk in range(round(seconds * 50)):
                    await line.send(json.dumps(hostile.media(chunk=chunk + 1)))
                    await asyncio.sleep(0.02)
            listening.cancel()

    async with await asyncio.start_server(never, "127.0.0.1", 0) as server:
        hole = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await asyncio.to_thread(built.python, "-c", REDIRECT, built.box_url, hole)
        await asyncio.gather(*(caller(*each) for each in calls))
        await asyncio.to_thread(built.python, "-c", REDIRECT, hole, built.box_url)


async def without_reading(built: House, *, wait: bool) -> None:
    """A caller who speaks and takes nothing; where there is time, until the server has enough of it."""
    call_uuid, token = await announced(built)
    async with let_in(built, token, max_queue=1, ping_interval=None) as line:
        await line.send(start(call_uuid, built.codec))
        try:
            async with asyncio.timeout(UNREAD_S if wait else 5):
                for chunk in range(UNREAD_S * 50):
                    await line.send(json.dumps(hostile.media(chunk=chunk + 1)))
                    await asyncio.sleep(0.02)
        except ConnectionClosed:
            return
        except TimeoutError:
            assert not wait, "a peer that reads nothing was kept"
        line.transport.abort()


@contextlib.asynccontextmanager
async def others(built: House, scale: Scale) -> AsyncIterator[dict[str, Any]]:
    """Calls that behave, made by a process of their own; what they have experienced, once the block is left."""
    await until(lambda: figure(built.stream_port, "parley_loop_lag_seconds") < CALM_S, LET_IN_S, "the server is late")
    calls = []
    for call_uuid, token in [await announced(built) for _ in range(OTHERS)]:
        calls.append([f"{built.environment['STREAM_URL']}/stream/{token}/", call_uuid])
    orders = Orders(calls, interrupts=False, ramp_s=1.0, settle_s=3.0, measure_s=scale.seconds, probe=built.box_url)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.load.callers", json.dumps(asdict(orders)),
        stdout=asyncio.subprocess.PIPE, limit=1 << 26,
    )  # fmt: skip
    assert process.stdout is not None
    found: dict[str, Any] = {}
    try:
        assert json.loads(await process.stdout.readline())["event"] == "begin"
        yield found
        async for line in process.stdout:
            found.update(json.loads(line))
        assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()


async def at_rest(built: House) -> Holdings:
    """What the stream process holds once its calls are over."""
    await until(
        lambda: not built.rows("SELECT 1 FROM calls_call WHERE carried_by <> ''"), 20, "a call is still carried"
    )
    nothing = Holdings(memory_kb=0, files=0, sockets=0, threads=0, tasks=0)
    return await asyncio.to_thread(settled, built.pid("stream"), built.stream_port, before=nothing, spare={}, within=6)


async def highest(pid: int) -> int:
    """The most memory (KB) that the process has until this is cancelled."""
    most = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            most = max(most, memory_kb(pid))
            await asyncio.sleep(0.1)
    return most

"""Who gets in at ``/stream/<token>/``: the table of strangers, each refused before anything is opened at a provider."""

import asyncio
import datetime
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.utils import timezone

from calls import edge, live_calls
from calls.models import Call, EdgeRefusal, StreamToken, Turn
from calls.telephony import signatures, stream_tokens
from streaming import consumers, doorkeeper, live
from streaming.live import Process
from streaming.routing import websocket_application
from tests import factories
from tests.streaming import fakes
from tests.streaming.fakes import FakeProviders
from tests.streaming.phone import Phone

pytestmark = [pytest.mark.db, pytest.mark.django_db(transaction=True)]

STREAM_URL = "wss://stream.example.com"
UNKNOWN = "0123456789abcdef" * 2


@pytest.fixture
def call(settings, monkeypatch: pytest.MonkeyPatch) -> Call:
    settings.STREAM_URL = STREAM_URL
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(edge, "_counter", edge._Counter())
    monkeypatch.setattr(consumers, "START_S", 0.3)
    return factories.CallFactory()


@pytest.fixture
def token(call: Call) -> str:
    return stream_tokens.issue(call=call, now=timezone.now())


@pytest.fixture
async def process(call: Call, world: FakeProviders, tmp_path: Path) -> AsyncIterator[Process]:
    process = Process(fakes.resources(world, live_calls, tmp_path), max_calls=0)
    await live.install(process)
    yield process
    await live.close_process()


def signed(path: str, auth_token: str, *, scheme: str = "http") -> list[tuple[bytes, bytes]]:
    """The headers of a handshake as Plivo signs it."""
    base = signatures.base_string(method="GET", url=STREAM_URL.replace("wss", scheme) + path, params=())
    signature = signatures.sign(base=base, nonce="12345", token=auth_token)
    return [(b"X-Plivo-Signature-V3", signature.encode()), (b"X-Plivo-Signature-V3-Nonce", b"12345")]


class Visit:
    """One socket at our door."""

    def __init__(self, path: str, headers: list[tuple[bytes, bytes]], *, call_id: str = "", query: str = "") -> None:
        self.phone = Phone(call_id=call_id)
        self.phone.incoming.put_nowait({"type": "websocket.connect"})
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.lower(), value) for name, value in headers],
            "client": ("192.0.2.1", 1),
        }
        self.task = asyncio.create_task(websocket_application(scope, self.phone.receive, self.phone.send))

    async def over(self) -> None:
        async with asyncio.timeout(8):
            await self.task
        await self.phone.stop()


@pytest.fixture
def visit(call: Call) -> Iterator[Any]:
    def come(token: str, *, auth_token: str | None = None, call_id: str = "", path: str = "", **more: Any) -> Visit:
        path = path or f"/stream/{token}/"
        return Visit(path, signed(path, auth_token or call.plivo_account.auth_token), call_id=call_id, **more)

    return come


async def refusals(process: Process) -> list[str]:
    """The reasons recorded so far, once nothing waits to be recorded."""
    await asyncio.gather(*process.resources._background, return_exceptions=True)
    return await sync_to_async(lambda: list(EdgeRefusal.objects.values_list("reason", flat=True)))()


async def uses() -> int:
    return await sync_to_async(lambda: sum(StreamToken.objects.values_list("uses", flat=True)))()


async def refused_at_the_door(visitor: Visit) -> None:
    await visitor.over()
    assert not visitor.phone.accepted
    assert visitor.phone.closed == 1008


async def turned_away(visitor: Visit) -> None:
    visitor.phone.start()
    await visitor.over()
    assert visitor.phone.accepted
    assert visitor.phone.closed == 1008


async def test_plivo_with_a_fresh_token_gets_its_call_and_the_log_its_turns(
    process: Process, world: FakeProviders, visit, call: Call, token: str
) -> None:
    visitor = visit(token, call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 500 and not visitor.phone.playing)
    world.heard = ["Hello, this is Anna."]
    visitor.phone.say(400)
    await visitor.phone.until(lambda: "I see." in world.spoken)
    await asyncio.sleep(0.3)
    visitor.phone.hang_up()
    await visitor.over()
    call_now = await sync_to_async(Call.objects.get)(pk=call.pk)
    assert (call_now.status, call_now.stream_ended_at) == ("live", None)
    turns = await sync_to_async(lambda: list(Turn.objects.values_list("index", "role", "text")))()
    assert [role for _, role, _ in turns] == ["agent", "caller", "agent"]
    assert turns[1][2] == "Hello, this is Anna."
    assert await refusals(process) == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_each_form_of_the_signed_address_is_taken(
    process: Process, call: Call, token: str, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms: set[str] = set()
    monkeypatch.setattr(doorkeeper, "_forms_seen", forms)
    path = f"/stream/{token}/"
    visitor = Visit(path, signed(path, call.plivo_account.auth_token, scheme=scheme), call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 0)
    visitor.phone.hang_up()
    await visitor.over()
    assert forms == {f"{scheme}://"}


@pytest.mark.parametrize("path", ["/", "/stream/", "/stream//", "/stream/a/b/", "/talk/x/", "/stream/%00/"])
async def test_no_token_is_refused(process: Process, world: FakeProviders, visit, path: str) -> None:
    await refused_at_the_door(visit("", path=path))
    assert world.opened == []


async def test_a_wrong_token_is_refused(process: Process, world: FakeProviders, visit) -> None:
    await refused_at_the_door(visit(UNKNOWN))
    assert await refusals(process) == ["token_unknown"]
    assert world.opened == []


async def test_a_token_that_is_none_is_refused(process: Process, visit) -> None:
    await refused_at_the_door(visit("not-a-token"))
    assert await refusals(process) == ["token_malformed"]


async def test_an_expired_token_is_refused(process: Process, visit, token: str) -> None:
    long_ago = timezone.now() - stream_tokens.FIRST_USE
    await sync_to_async(StreamToken.objects.update)(expires_at=long_ago)
    await refused_at_the_door(visit(token))
    assert await refusals(process) == ["token_expired"]


async def test_an_unsigned_handshake_is_refused(process: Process, world: FakeProviders, token: str) -> None:
    await refused_at_the_door(Visit(f"/stream/{token}/", []))
    assert await refusals(process) == ["signature_missing_headers"]
    assert (await uses(), world.opened) == (0, [])


async def test_a_forged_handshake_is_refused_with_the_forms_tried_and_the_remedy(
    process: Process, visit, token: str
) -> None:
    await refused_at_the_door(visit(token, auth_token="of-somebody-else"))
    assert await refusals(process) == ["signature_bad_signature"]
    row = await sync_to_async(EdgeRefusal.objects.get)()
    assert row.sample["forms_tried"]
    assert "STREAM_URL" in row.remedy
    assert token not in str(row.sample)


async def test_without_the_signature_rule_the_token_alone_is_enough(
    process: Process, settings, call: Call, token: str
) -> None:
    settings.STREAM_SIGNATURE = "token"
    visitor = Visit(f"/stream/{token}/", [], call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 0)
    visitor.phone.hang_up()
    await visitor.over()


async def test_development_admits_the_unsigned_but_never_the_forged(
    process: Process, settings, visit, call: Call, token: str
) -> None:
    settings.ALLOW_UNSIGNED = True
    await refused_at_the_door(visit(token, auth_token="of-somebody-else"))
    visitor = Visit(f"/stream/{token}/", [], call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 0)
    visitor.phone.hang_up()
    await visitor.over()


async def test_a_web_page_is_refused(process: Process, call: Call, token: str) -> None:
    path = f"/stream/{token}/"
    headers = [*signed(path, call.plivo_account.auth_token), (b"Origin", b"https://evil.example")]
    await refused_at_the_door(Visit(path, headers))
    assert await refusals(process) == ["origin"]


@pytest.mark.parametrize("call_id", ["", "another-call"])
async def test_the_right_token_with_a_wrong_call_is_turned_away(
    process: Process, world: FakeProviders, visit, token: str, call_id: str
) -> None:
    await turned_away(visit(token, call_id=call_id))
    assert await refusals(process) == ["token_wrong_call"]
    assert (await uses(), world.opened) == (0, [])


async def test_anothers_token_opens_nothing(process: Process, world: FakeProviders, visit, call: Call) -> None:
    other = await sync_to_async(factories.CallFactory)()
    others = await sync_to_async(stream_tokens.issue)(call=other, now=timezone.now())
    await turned_away(visit(others, auth_token=other.plivo_account.auth_token, call_id=call.plivo_call_uuid))
    assert world.opened == []


@pytest.mark.parametrize("call_id", ["", "another-call"])
async def test_a_used_token_with_another_call_or_none_is_turned_away(
    process: Process, world: FakeProviders, visit, call: Call, token: str, call_id: str
) -> None:
    await sync_to_async(stream_tokens.redeem)(token=token, plivo_call_uuid=call.plivo_call_uuid, now=timezone.now())
    await turned_away(visit(token, call_id=call_id))
    assert (await uses(), world.opened) == (1, [])


async def test_a_token_used_three_times_is_refused(process: Process, visit, token: str) -> None:
    await sync_to_async(StreamToken.objects.update)(uses=3)
    await refused_at_the_door(visit(token))
    assert await refusals(process) == ["token_used_up"]


async def test_no_start_is_turned_away(process: Process, world: FakeProviders, visit, token: str) -> None:
    visitor = visit(token)
    await visitor.over()
    assert visitor.phone.accepted
    assert visitor.phone.closed == 1008
    assert await refusals(process) == ["no_start"]
    assert (await uses(), world.opened) == (0, [])


@pytest.mark.parametrize("first", ['{"event":"media","media":{"payload":"/w=="}}', "{", '{"event":"stop"}'])
async def test_anything_before_start_is_turned_away(
    process: Process, world: FakeProviders, visit, token: str, first: str
) -> None:
    visitor = visit(token)
    visitor.phone.put(first)
    await visitor.over()
    assert visitor.phone.closed == 1008
    assert world.opened == []


async def test_an_event_of_tomorrow_may_come_before_start(process: Process, visit, call: Call, token: str) -> None:
    visitor = visit(token, call_id=call.plivo_call_uuid)
    visitor.phone.put('{"event":"connected"}')
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 0)
    visitor.phone.hang_up()
    await visitor.over()


async def test_a_codec_that_was_not_asked_for_is_turned_away(
    process: Process, world: FakeProviders, visit, call: Call, token: str
) -> None:
    visitor = visit(token, call_id=call.plivo_call_uuid)
    visitor.phone.start(mediaFormat={"encoding": "audio/opus", "sampleRate": 48000})
    await visitor.over()
    assert visitor.phone.closed == 1003
    assert world.opened == []


async def test_a_call_that_is_over_gets_no_stream(process: Process, world: FakeProviders, visit, call, token) -> None:
    await sync_to_async(Call.objects.filter(pk=call.pk).update)(status="ended", ended_at=timezone.now())
    await refused_at_the_door(visit(token))
    assert await refusals(process) == ["token_call_over"]


async def test_a_draining_process_takes_no_stream(process: Process, visit, token: str) -> None:
    live.begin_drain()
    await refused_at_the_door(visit(token))
    assert await refusals(process) == ["draining"]
    assert live.draining()


async def test_a_second_socket_of_a_living_call_is_turned_away(process: Process, visit, call: Call, token: str) -> None:
    first = visit(token, call_id=call.plivo_call_uuid)
    first.phone.start()
    await first.phone.until(lambda: first.phone.heard_ms > 0)
    await turned_away(visit(token, call_id=call.plivo_call_uuid))
    assert not first.task.done()
    assert await refusals(process) == ["second_stream"]
    assert await uses() == 1
    first.phone.hang_up()
    await first.over()


async def carried(call: Call, by: str, *, seen: datetime.timedelta) -> None:
    """The call is carried by a session of another process, which showed its last sign of life so long ago."""
    calls = Call.objects.filter(pk=call.pk)
    await sync_to_async(calls.update)(carried_by=by, last_seen_at=timezone.now() - seen)


async def facts(call: Call) -> dict[str, Any]:
    """The call's row."""
    return await sync_to_async(Call.objects.filter(pk=call.pk).values().get)()


async def test_a_socket_of_a_call_that_another_process_carries_is_turned_away(
    process: Process, world: FakeProviders, visit, call: Call, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "TAKE_OVER_S", 0.3)
    await carried(call, "elsewhere", seen=datetime.timedelta(0))
    await turned_away(visit(token, call_id=call.plivo_call_uuid))
    assert await refusals(process) == ["second_stream"]
    assert (await uses(), world.opened) == (0, [])
    assert (await facts(call))["carried_by"] == "elsewhere"


async def test_a_socket_waits_for_the_call_of_a_process_that_has_died_and_takes_it(
    process: Process, visit, call: Call, token: str
) -> None:
    began = timezone.now()
    await carried(call, "killed", seen=datetime.timedelta(0))
    visitor = visit(token, call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 0)
    assert timezone.now() - began > live_calls.LEASE
    assert (await facts(call))["carried_by"] not in {"", "killed"}
    assert await uses() == 1
    visitor.phone.hang_up(1006)
    await visitor.over()
    assert (await facts(call))["carried_by"] == ""


async def test_a_session_gives_way_to_one_of_another_process_and_writes_no_end(
    process: Process, visit, call: Call, token: str
) -> None:
    visitor = visit(token, call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.phone.until(lambda: visitor.phone.heard_ms > 0)
    await carried(call, "elsewhere", seen=datetime.timedelta(0))
    before = await facts(call)
    await visitor.over()
    assert visitor.phone.closed == 1000
    assert await facts(call) == before
    roles = await sync_to_async(lambda: list(Turn.objects.values_list("role", flat=True)))()
    assert roles == ["agent"]  # what it had said is kept all the same


async def test_a_session_that_could_not_begin_leaves_the_call_to_the_next(
    process: Process, visit, call: Call, token: str
) -> None:
    account = call.agent.llm_account
    account.api_key = ""
    await sync_to_async(account.save)()
    visitor = visit(token, call_id=call.plivo_call_uuid)
    visitor.phone.start()
    await visitor.over()
    assert await refusals(process) == ["provider_account"]
    assert (await facts(call))["carried_by"] == ""


async def test_the_stream_after_a_lost_one_goes_on_with_what_was_said(
    process: Process, world: FakeProviders, visit, call: Call, token: str
) -> None:
    first = visit(token, call_id=call.plivo_call_uuid)
    first.phone.start()
    await first.phone.until(lambda: first.phone.heard_ms > 500 and not first.phone.playing)
    world.heard = ["My name is Anna.", "Do you remember me?"]
    world.replies = ["Nice to meet you.", "Of course, Anna."]
    first.phone.say(400)
    await first.phone.until(lambda: "Nice to meet you." in world.spoken and not first.phone.playing)
    await asyncio.sleep(0.6)
    first.phone.hang_up(1006)
    await first.over()
    again = await sync_to_async(stream_tokens.issue)(call=call, now=timezone.now())
    second = visit(again, call_id=call.plivo_call_uuid)
    second.phone.start()
    await second.phone.until(lambda: second.phone.heard_ms > 0 and not second.phone.playing)
    second.phone.say(400)
    await second.phone.until(lambda: "Of course, Anna." in world.spoken)
    contents = [message.content for message in world.requests[-1].messages]
    assert "My name is Anna." in contents
    assert "Nice to meet you." in contents
    assert contents[-1] == "Do you remember me?"
    second.phone.hang_up()
    await second.over()
    indexes = await sync_to_async(lambda: list(Turn.objects.values_list("index", flat=True)))()
    assert sorted(indexes) == list(range(len(indexes)))


async def test_an_unreachable_database_refuses_for_now(
    process: Process, visit, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "HANDSHAKE_S", 0.0)
    visitor = visit(token)
    await visitor.over()
    assert not visitor.phone.accepted
    assert await refusals(process) == ["database"]

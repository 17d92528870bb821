"""The line of the "Talk to it" page: who may use it, and what goes over it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.test import Client

from agents.models import Agent
from calls import live_calls
from calls.models import Call, Turn
from streaming import live
from streaming.conversation.events import WriteTurn
from streaming.live import Process
from streaming.metrics import timings
from streaming.routing import websocket_application
from tests import factories
from tests.streaming import fakes
from tests.streaming.fakes import FakeProviders, silence, tone

pytestmark = [pytest.mark.db, pytest.mark.django_db(transaction=True)]

ORIGIN = "https://parley.example.com"


@pytest.fixture
def agent(settings) -> Agent:
    settings.PUBLIC_URL = ORIGIN
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    return factories.AgentVersionFactory(agent=factories.AgentFactory(greeting="Published.", disclosure="")).agent


@pytest.fixture
def visitor(db) -> Any:
    return factories.UserFactory(permissions=["agents.talk_to_agent"])


@pytest.fixture
async def process(agent: Agent, world: FakeProviders, tmp_path: Path) -> AsyncIterator[Process]:
    process = Process(fakes.resources(world, live_calls, tmp_path), max_calls=0)
    await live.install(process)
    yield process
    await live.close_process()


def cookie_of(user: Any) -> str:
    client = Client()
    client.force_login(user)
    return client.cookies[django_settings.SESSION_COOKIE_NAME].value


class Page:
    """A browser's side of the socket; answers checkpoints once their audio is played (at once)."""

    def __init__(self, agent_id: object, *, session: str = "", origin: str = ORIGIN, query: str = "") -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.incoming.put_nowait({"type": "websocket.connect"})
        self.messages: list[dict[str, Any]] = []
        self.audio = bytearray()
        self.accepted = False
        self.closed: int | None = None
        headers = [(b"origin", origin.encode())] if origin else []
        headers.append((b"cookie", f"{django_settings.SESSION_COOKIE_NAME}={session}; other=1".encode()))
        scope = {
            "type": "websocket",
            "path": f"/talk/{agent_id}/",
            "query_string": query.encode(),
            "headers": headers,
        }
        self.task = asyncio.create_task(websocket_application(scope, self.incoming.get, self.send))
        self._microphone = asyncio.create_task(self._listen())
        self.to_say = bytearray()

    async def send(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "websocket.accept":
                self.accepted = True
            case "websocket.close":
                self.closed = message["code"]
            case _ if message.get("bytes") is not None:
                self.audio += message["bytes"]
            case _:
                self.messages.append(json.loads(message["text"]))
                if self.messages[-1]["type"] == "checkpoint":
                    self.say({"type": "played", "name": self.messages[-1]["name"]})

    def say(self, message: dict[str, Any]) -> None:
        self.incoming.put_nowait({"type": "websocket.receive", "text": json.dumps(message)})

    async def _listen(self) -> None:
        while True:
            audio, self.to_say = bytes(self.to_say[:160]), self.to_say[160:]
            self.incoming.put_nowait({"type": "websocket.receive", "bytes": audio or silence(20)})
            await asyncio.sleep(0.02)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    async def over(self) -> None:
        async with asyncio.timeout(8):
            await self.task
        self._microphone.cancel()


async def test_a_visitor_talks_types_and_presses_keys(
    process: Process, world: FakeProviders, agent: Agent, visitor: Any
) -> None:
    page = Page(agent.pk, session=await sync_to_async(cookie_of)(visitor))
    await fakes.until(lambda: page.audio)
    (ready,) = page.of("ready")
    assert (ready["agent"], ready["draft"], ready["sandbox"]) == (agent.name, False, False)
    world.heard = ["By voice."]
    world.replies = ["First.", "Second."]
    await fakes.until(lambda: page.of("turn"))
    page.to_say += tone(400)
    await fakes.until(lambda: len([turn for turn in page.of("turn") if turn["role"] == "agent"]) == 2)
    page.say({"type": "text", "text": "  By keyboard.  "})
    page.say({"type": "digit", "digit": "nine"})
    page.say({"type": "nonsense"})
    await fakes.until(lambda: len([turn for turn in page.of("turn") if turn["role"] == "agent"]) == 3)
    page.say({"type": "hangup"})
    await page.over()
    assert [(turn["role"], turn["kind"], turn["text"]) for turn in page.of("turn")] == [
        ("agent", "greeting", page.of("turn")[0]["text"]),
        ("caller", "speech", "By voice."),
        ("agent", "speech", "First."),
        ("caller", "typed", "By keyboard."),
        ("agent", "speech", "Second."),
    ]
    assert page.of("turn")[2]["timings"]["response_ms"] >= 0
    assert any(partial["text"] == "By voice." for partial in page.of("partial"))
    assert page.messages[-1] == {"type": "ended"}
    call = await sync_to_async(Call.objects.get)()
    assert (call.direction, call.status, call.end_reason) == ("browser", "ended", "caller_hung_up")
    assert (str(call.public_id), call.started_by_id) == (ready["call"], visitor.pk)
    assert await sync_to_async(Turn.objects.count)() == 5


async def test_the_draft_is_talked_to_when_asked_for(
    process: Process, world: FakeProviders, agent: Agent, visitor: Any
) -> None:
    await sync_to_async(Agent.objects.filter(pk=agent.pk).update)(greeting="Draft.")
    page = Page(agent.pk, session=await sync_to_async(cookie_of)(visitor), query="draft=1")
    await fakes.until(lambda: page.audio)
    assert page.of("ready")[0]["draft"]
    await fakes.until(lambda: "Draft." in " ".join(world.spoken))
    page.incoming.put_nowait({"type": "websocket.disconnect", "code": 1001})
    await page.over()
    assert (await sync_to_async(Call.objects.get)()).agent_version_id is None


@pytest.mark.parametrize("origin", ["", "https://evil.example", "http://parley.example.com", ORIGIN + ".evil.example"])
async def test_another_sites_page_is_refused(process: Process, agent: Agent, visitor: Any, origin: str) -> None:
    page = Page(agent.pk, session=await sync_to_async(cookie_of)(visitor), origin=origin)
    await page.over()
    assert (page.accepted, page.closed) == (False, 1008)
    assert not await sync_to_async(Call.objects.exists)()


async def test_nobody_gets_in_without_a_session(process: Process, world: FakeProviders, agent: Agent) -> None:
    for session in ("", "x" * 32, '"; drop'):
        page = Page(agent.pk, session=session)
        await page.over()
        assert (page.accepted, page.closed) == (False, 1008)
    assert world.opened == []


async def test_a_user_without_the_permission_is_refused(process: Process, agent: Agent) -> None:
    user = await sync_to_async(factories.UserFactory)()
    page = Page(agent.pk, session=await sync_to_async(cookie_of)(user))
    await page.over()
    assert (page.accepted, page.closed) == (False, 1008)


async def test_a_user_who_was_switched_off_is_refused(process: Process, agent: Agent, visitor: Any) -> None:
    session = await sync_to_async(cookie_of)(visitor)
    visitor.is_active = False
    await sync_to_async(visitor.save)()
    page = Page(agent.pk, session=session)
    await page.over()
    assert (page.accepted, page.closed) == (False, 1008)


async def test_an_agent_that_cannot_be_talked_to_says_why(process: Process, agent: Agent, visitor: Any) -> None:
    unpublished = await sync_to_async(factories.AgentFactory)()
    session = await sync_to_async(cookie_of)(visitor)
    page = Page(unpublished.pk, session=session)
    await page.over()
    assert "publish" in page.of("error")[0]["message"]
    gone = Page("00000000-0000-0000-0000-000000000000", session=session)
    await gone.over()
    assert gone.of("error")[0]["message"] == "There is no such agent any more."
    odd = Page("-" * 36, session=session)
    await odd.over()
    assert odd.of("error")


async def test_a_draining_process_takes_no_visitor(process: Process, agent: Agent, visitor: Any) -> None:
    live.begin_drain()
    page = Page(agent.pk, session=await sync_to_async(cookie_of)(visitor))
    await page.over()
    assert page.closed == 1008


def test_the_timings_of_a_turn_are_differences_of_its_moments() -> None:
    turn = WriteTurn(
        "agent", "speech", "Hi.", 900, 1500, speech_end_ms=100, decided_ms=400, stt_final_ms=350, llm_first_ms=600,
        tts_first_ms=700, first_sent_ms=710, first_heard_ms=750,
    )  # fmt: skip
    assert timings(turn) == {
        "response_ms": 650,
        "decision_ms": 300,
        "stt_ms": 250,
        "llm_ms": 250,
        "tts_ms": 100,
    }
    assert set(timings(WriteTurn("caller", "speech", "Hi.", 0, 1)).values()) == {None}

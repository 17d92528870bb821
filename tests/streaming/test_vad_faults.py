"""One call's fault in the voice detector's common round ends at most that call: the others go on hearing."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agents.providers.base import MULAW_8K
from streaming.conversation.events import SpeechWindow
from streaming.conversation.machine import Conversation
from streaming.live import Process
from tests.streaming.fakes import FakeProviders, FakeStore, context
from tests.streaming.phone import Phone

pytestmark = pytest.mark.db


class Faults:
    """Which conversations fail: on a window, or when they are asked for their next moment.

    Attributes:
        order: all conversations, oldest first.
    """

    def __init__(self) -> None:
        self.broken: set[tuple[str, Conversation]] = set()
        self.order: list[Conversation] = []


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> Faults:
    faults = Faults()
    handle = Conversation.handle
    wake = Conversation.wake_at_ms.fget

    def told(self: Conversation, event: Any, now_ms: int) -> Any:
        if self not in faults.order:
            faults.order.append(self)
        if ("handle", self) in faults.broken and isinstance(event, SpeechWindow):
            raise ZeroDivisionError("a fault of this call")
        return handle(self, event, now_ms)

    def wakes(self: Conversation) -> Any:
        if ("wake", self) in faults.broken:
            raise ZeroDivisionError("a fault of this call")
        return wake(self)

    monkeypatch.setattr(Conversation, "handle", told)
    monkeypatch.setattr(Conversation, "wake_at_ms", property(wakes))
    return faults


@pytest.fixture
async def unhandled() -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: seen.append(what))
    return seen


@pytest.mark.parametrize("where", ["handle", "wake"])
async def test_a_call_that_fails_when_it_is_told_of_a_window_ends_and_the_other_talks_on(
    ring: Callable[..., Any], world: FakeProviders, faults: Faults, unhandled: list[dict[str, Any]], where: str
) -> None:
    world.heard = ["I would like to book a table."]
    world.replies = ["Certainly. For when?"]
    first = ring(context(1))
    await first.phone.until(lambda: first.phone.heard_ms >= 240 and not first.phone.playing)
    second = ring(context(2), Phone(call_id="call-2"))
    await second.phone.until(lambda: second.phone.heard_ms >= 240 and not second.phone.playing)
    faults.broken.add((where, faults.order[0]))
    await first.ended()
    before = second.phone.heard_ms
    second.phone.say(500)
    await second.phone.until(lambda: second.phone.heard_ms > before and not second.phone.playing)
    second.phone.hang_up()
    await second.ended()
    assert unhandled == [], "the loop's own handler learns of no call's fault"


async def test_a_callback_that_fails_does_not_stop_the_rounds(
    process: Process, ring: Callable[..., Any], world: FakeProviders, store: FakeStore, unhandled: list[dict[str, Any]]
) -> None:
    world.heard = ["I would like to book a table."]
    world.replies = ["Certainly. For when?"]
    lane = process.resources.vad.attach(MULAW_8K, lambda _: 1 / 0)
    lane.feed(bytes(8000))
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms >= 240 and not call.phone.playing)
    lane.feed(bytes(8000))
    before = call.phone.heard_ms
    call.phone.say(500)
    await call.phone.until(lambda: call.phone.heard_ms > before and not call.phone.playing)
    call.phone.hang_up()
    await call.ended()
    assert [row["role"] for row in store.turns] == ["agent", "caller", "agent"]
    assert unhandled, "such a fault is reported"
    lane.close()

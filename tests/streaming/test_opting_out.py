"""Who asks for it is on the do-not-call list before they are told so, whatever becomes of the call."""

import threading
from pathlib import Path

import pytest
from django.db import OperationalError

from agents.providers.base import ToolCall
from calls import live_calls
from streaming import opt_outs, opting_out
from streaming.conversation.languages import language
from streaming.spill import SpillFile
from tests.streaming.fakes import FakeProviders, FakeStore, context, spec, until

pytestmark = pytest.mark.db

SAID = language("en-US").opted_out


@pytest.fixture
def written(monkeypatch):
    """What was written, in order; ``errors`` are raised first, ``gate`` cleared holds it up."""
    found: list[tuple[int, str, str]] = []

    def opt_out(*, call_id, source, evidence, now):
        opt_out.gate.wait(20)
        if opt_out.errors:
            raise opt_out.errors.pop(0)
        found.append((call_id, str(source), evidence))

    opt_out.errors, opt_out.gate, opt_out.found = [], threading.Event(), found
    opt_out.gate.set()
    monkeypatch.setattr(live_calls, "opt_out", opt_out)
    monkeypatch.setattr(opt_outs, "PAUSE_S", 0.01)
    return opt_out


async def test_the_key_is_written_and_then_the_caller_is_told(ring, world: FakeProviders, store: FakeStore, written):
    call = ring(context(opt_out_key="9"))
    await call.phone.until(lambda: call.phone.heard_ms > 100)
    written.gate.clear()
    call.phone.press("9")
    await until(lambda: not call.phone.playing)
    assert SAID not in world.spoken
    written.gate.set()
    await call.ended()
    assert written.found == [(1, "key", "pressed 9")]
    assert SAID in world.spoken
    assert store.ended == [(1, "opted_out", True)]


async def test_the_models_tool_writes_what_was_said_and_tells_the_model(ring, world: FakeProviders, written):
    world.heard = ["Stop calling me."]
    asks = ToolCall(id="t", name="opt_out", arguments='{"words": "Stop calling me."}')
    world.replies = [[asks], "You are on the list. Goodbye."]
    call = ring(context(agent=spec(tools=("opt_out",))))
    await call.phone.until(lambda: call.phone.heard_ms > 200 and not call.phone.playing)
    call.phone.say(500)
    await until(lambda: "You are on the list." in " ".join(world.spoken))
    assert written.found == [(1, "spoken", "Stop calling me.")]
    assert world.requests[-1].messages[-1].content == opting_out.DONE
    call.phone.hang_up()
    await call.ended()


async def test_who_says_so_and_hangs_up_is_on_the_list_though_the_model_never_came_to_it(
    ring, world: FakeProviders, written
):
    world.heard = ["Stop calling me."]
    world.llm_pause = 30.0
    call = ring(context(opt_out_key="9"))
    await call.phone.until(lambda: call.phone.heard_ms > 200 and not call.phone.playing)
    call.phone.say(500)
    await until(lambda: world.requests)
    call.phone.hang_up()
    await call.ended()
    await until(lambda: written.found)
    assert written.found == [(1, "spoken", "Stop calling me.")]


async def test_a_tool_that_the_agent_does_not_have_writes_nothing(ring, world: FakeProviders, written):
    world.heard = ["Stop calling me."]
    world.replies = [[ToolCall(id="t", name="opt_out", arguments='{"words": "x"}')], "I see."]
    call = ring(context())
    await call.phone.until(lambda: call.phone.heard_ms > 200 and not call.phone.playing)
    call.phone.say(500)
    await until(lambda: "I see." in world.spoken)
    assert written.found == []
    call.phone.hang_up()
    await call.ended()


async def test_who_presses_the_key_and_hangs_up_has_asked_all_the_same(ring, written):
    call = ring(context(opt_out_key="9"))
    await call.phone.until(lambda: call.phone.heard_ms > 100)
    written.gate.clear()
    call.phone.press("9")
    call.phone.hang_up()
    await call.ended()
    assert written.found == []
    written.gate.set()
    await until(lambda: written.found == [(1, "key", "pressed 9")])


async def test_a_database_that_fails_is_tried_again(ring, world: FakeProviders, written):
    written.errors += [OperationalError("locked"), OperationalError("locked")]
    call = ring(context(opt_out_key="9"))
    await call.phone.until(lambda: call.phone.heard_ms > 100)
    call.phone.press("9")
    await call.ended()
    assert len(written.found) == 1
    assert SAID in world.spoken


def kept(var_dir: Path) -> list[Path]:
    return list((var_dir / "opt-outs").iterdir())


async def test_one_that_is_away_is_not_waited_for_once_it_is_on_the_disk(
    ring, world: FakeProviders, written, tmp_path: Path
):
    written.errors += [OperationalError("gone")] * 10_000
    call = ring(context(opt_out_key="9"))
    await call.phone.until(lambda: call.phone.heard_ms > 100)
    call.phone.press("9")
    await call.ended()
    assert SAID in world.spoken
    assert (len(kept(tmp_path)), written.found) == (1, [])
    written.errors.clear()
    await until(lambda: written.found == [(1, "key", "pressed 9")])
    await until(lambda: not kept(tmp_path))


async def test_what_neither_database_nor_disk_takes_is_not_said_to_be_written_and_tried_on(
    ring, world: FakeProviders, written, monkeypatch
):
    def full(*_):
        raise OSError("no space")

    monkeypatch.setattr(SpillFile, "create", full)
    written.errors += [OperationalError("gone")] * 10_000
    call = ring(context(opt_out_key="9"))
    await call.phone.until(lambda: call.phone.heard_ms > 200 and not call.phone.playing)
    call.phone.press("9")
    await until(lambda: language("en-US").not_opted_out in world.spoken)
    assert SAID not in world.spoken
    call.phone.hang_up()
    await call.ended()
    written.errors.clear()
    await until(lambda: written.found == [(1, "key", "pressed 9")])

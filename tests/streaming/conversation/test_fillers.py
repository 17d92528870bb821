"""While a tool takes long the caller is told to wait, and never left in silence for more than a few seconds."""

import itertools

import pytest

from streaming.conversation import events
from tests.streaming.conversation.scenario import plan, tool
from tests.streaming.simulator import Say, Simulation, brain

pytestmark = pytest.mark.pure

BOOK = "I would like to book a table."
QUIET = plan(opening=())


def book(took_ms, *script, the_plan=QUIET, asked=None, until_ms=15_000):
    model = brain(("book", asked or tool()), ("free", "There is one at seven."), ("five", "Five it is."))
    script = [Say(BOOK, at=1000), *script]
    return Simulation(the_plan, script=script, model=model, tools={"lookup": (took_ms, "free: 7")}).run(until_ms)


def fillers(call):
    return [turn for turn in call.turns if turn.kind == "filler"]


def test_a_quick_tool_needs_no_filler():
    assert fillers(book(1200)) == []


def test_a_tool_of_six_seconds_is_bridged_and_then_answered():
    call = book(6000)

    (filler,) = fillers(call)
    assert filler.heard == "One moment, please."
    assert call.said_by("agent")[1] == "There is one at seven."
    answered = call.actions(events.ToolResult)[0][0]
    assert filler.first_heard_ms - call.turns[0].ended_ms < 3000
    assert call.turns[-1].first_heard_ms - answered < 1500


def test_a_very_long_tool_is_bridged_a_few_times_and_the_silence_stays_short():
    call = book(18_000, until_ms=24_000)

    spoken = [(turn.first_heard_ms, turn.ended_ms) for turn in fillers(call)]
    assert len(spoken) == 4
    assert all(start - end < 4500 for (_, end), (start, _) in itertools.pairwise(spoken))


def test_words_before_the_tool_count_as_a_filler_until_they_have_faded():
    call = book(2500, asked=tool(text="Let me have a look at the book for you."))

    assert fillers(call) == []


def test_a_filler_is_never_cut_off_by_the_answer():
    call = book(1700)

    (filler,) = fillers(call)
    assert (filler.heard, filler.interrupted) == ("One moment, please.", False)
    assert call.said_by("agent")[-1] == "There is one at seven."


def test_a_caller_who_speaks_during_the_tool_is_not_talked_over_and_answered_with_the_result():
    call = book(6000, Say("For five people, by the way.", pause=1300))

    assert call.said_by("agent")[-1] == "Five it is."
    assert call.requests[-1].messages[-2].content == "free: 7"
    for filler in fillers(call):
        assert filler.first_heard_ms > call.spoke_at("For five people, by the way.")


def test_the_model_never_hears_of_its_fillers():
    call = book(6000)

    assert [message.role for message in call.requests[-1].messages] == ["system", "user", "assistant", "tool"]


def test_an_agents_own_filler_and_its_languages_are_said():
    assert fillers(book(4000, the_plan=plan(opening=(), filler="Bear with me.")))[0].heard == "Bear with me."
    assert fillers(book(4000, the_plan=plan(opening=(), language="de-DE")))[0].heard == "Einen Moment, bitte."
    assert fillers(book(4000, the_plan=plan(opening=(), language="xx"))) == []

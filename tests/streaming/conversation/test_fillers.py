"""While a tool takes long the caller is told to wait, and never left in silence for more than a few seconds."""

import itertools

import pytest

from agents.providers.errors import ErrorKind
from streaming.conversation import events
from tests.streaming.conversation.scenario import plan, tool
from tests.streaming.simulator import Answer, Mouth, Say, Simulation, brain

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


# --- an answer that takes long ---


def slow(first_ms=350, *script, mouth=None, the_plan=QUIET, model=None, until_ms=15_000):
    model = model or brain(default=Answer("There is one at seven.", first_ms=first_ms))
    return Simulation(the_plan, script=[Say(BOOK, at=1000), *script], model=model, mouth=mouth).run(until_ms)


def silences(call, until_ms):
    """How long the caller heard nothing each time, up to a moment."""
    heard = [(turn.first_heard_ms, turn.ended_ms) for turn in call.turns if turn.role == "agent" and turn.heard]
    edges = [(0, call.spoke_at(BOOK)), *heard, (until_ms, until_ms)]
    return [start - end for (_, end), (start, _) in itertools.pairwise(edges)]


def test_an_answer_that_takes_its_usual_time_needs_no_filler():
    assert fillers(slow(1200)) == []


@pytest.mark.parametrize(
    "what", [{"first_ms": 5000}, {"mouth": Mouth(first_ms=5000)}], ids=["the model is slow", "the voice is slow"]
)
def test_an_answer_that_takes_five_seconds_is_bridged_and_then_heard(what):
    call = slow(**what)

    assert call.said_by("agent")[0] == "One moment, please."
    assert call.said_by("agent")[-1] == "There is one at seven."
    assert max(silences(call, call.turns[-1].first_heard_ms)) < 3000
    assert [message.role for message in call.requests[-1].messages] == ["system", "user"]


def test_a_caller_who_goes_on_over_the_filler_is_answered_as_a_whole():
    call = slow(5000, Say("For five people, by the way.", into=200), until_ms=20_000)

    assert call.requests[-1].messages[-1].content.endswith("For five people, by the way.")
    assert [text for text in call.said_by("agent") if "seven" in text] == ["There is one at seven."]


def test_a_filler_without_sound_does_not_end_the_call():
    call = slow(5000, mouth=Mouth(fails=lambda text: "moment" in text))

    assert call.said_by("agent")[-1] == "There is one at seven."
    assert call.ended is None


def test_an_answer_that_fails_after_all_ends_with_the_apology_and_no_long_silence():
    call = slow(model=brain(default=Answer(first_ms=9000, fails=ErrorKind.TIMEOUT)), until_ms=20_000)

    assert call.ended == "provider_failure"
    assert max(silences(call, call.ended_ms)) < 3000

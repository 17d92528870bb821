"""Model or voice break in the middle of an answer: the call goes on, and only what was heard counts as heard."""

import itertools

import pytest

from agents.providers.errors import ErrorKind
from agents.spec import TurnTaking
from streaming.conversation.reply import Segment
from tests.streaming.conversation.scenario import end_call, plan, tool
from tests.streaming.simulator import BROKEN_MS, Answer, Mouth, Say, Simulation, brain

pytestmark = pytest.mark.pure

QUIET = plan(opening=())
TABLE = Say("I would like to book a table.", at=1000)
APOLOGY = "I am sorry, I am having technical trouble."
FIRST = "We have two tables for you this evening in the restaurant by the sea."
SECOND = "The one at the window is a little louder because of the bar beside it."
THIRD = "The one in the garden is what most of our guests like better in summer."
FOURTH = "Which of the two would you like to have this evening, may I ask you?"
BOTH = f"{FIRST} {SECOND} {THIRD}"


def answers(*given: Answer, then: str = "I see."):
    """A model that answers in this order, whatever it is asked."""
    each = itertools.chain(given, itertools.repeat(Answer(then)))
    return lambda _: next(each)


# --- the voice -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [True, False], ids=["with timings", "without timings"])
def test_a_voice_that_breaks_off_in_a_sentence_goes_on_with_the_next_one(words):
    mouth = Mouth(breaks=lambda text: text == SECOND, words=words)
    call = Simulation(QUIET, script=[TABLE, Say("The garden.")], model=answers(Answer(BOTH)), mouth=mouth).run(30_000)
    answer = call.turns[1]
    assert answer.text == BOTH
    assert answer.heard.startswith(f"{FIRST} The one")
    assert answer.heard.endswith(f" {THIRD}")
    spoken_of_second = answer.heard.removeprefix(FIRST).removesuffix(THIRD).strip()
    assert SECOND.startswith(spoken_of_second)
    assert len(spoken_of_second) <= BROKEN_MS / Mouth().ms_per_char * 1.2
    assert answer.end_reason == "finished"
    assert call.ended is None
    assert call.requests[-1].messages[-1].content == "The garden."
    assert call.requests[-1].messages[-2].content == answer.heard, "the model is told what was heard"


def test_the_last_sentence_that_breaks_off_ends_the_answer_without_its_missing_words():
    mouth = Mouth(breaks=lambda text: text == THIRD)
    call = Simulation(QUIET, script=[TABLE], model=answers(Answer(BOTH)), mouth=mouth).run(18_000)
    assert call.turns[1].heard.startswith(f"{FIRST} {SECOND} The one")
    assert "summer" not in call.turns[1].heard
    assert call.turns[1].end_reason == "finished"


def test_a_voice_that_breaks_off_twice_in_one_answer_is_still_trusted_as_one_lost_connection_takes_two_segments():
    mouth = Mouth(breaks=lambda text: text in {FIRST, SECOND})
    call = Simulation(QUIET, script=[TABLE], model=answers(Answer(BOTH)), mouth=mouth).run(15_000)
    assert call.turns[1].heard.endswith(THIRD)
    assert call.ended is None


def test_a_voice_that_breaks_off_three_times_in_a_row_is_given_up():
    mouth = Mouth(breaks=lambda text: text != APOLOGY)
    call = Simulation(QUIET, script=[TABLE], model=answers(Answer(f"{BOTH} {FOURTH}")), mouth=mouth).run()
    assert call.turns[1].end_reason == "failed"
    assert call.said_by("agent")[-1] == APOLOGY
    assert call.ended == "provider_failure"


def test_breaks_with_a_whole_sentence_between_them_are_not_in_a_row():
    mouth = Mouth(breaks=lambda text: text in {FIRST, THIRD})
    script = [TABLE, Say("And on Sunday?"), Say("And on Monday?")]
    call = Simulation(QUIET, script=script, model=answers(then=BOTH), mouth=mouth).run(50_000)
    assert len(call.notes("voice_failed")) == 6
    assert call.ended is None


def test_a_goodbye_that_breaks_off_still_ends_the_call_as_the_agent_wished():
    goodbye = "Thank you very much for your call and have a lovely evening."
    mouth = Mouth(breaks=lambda text: text == goodbye)
    call = Simulation(QUIET, script=[TABLE], model=brain(default=end_call(goodbye)), mouth=mouth).run()
    assert call.ended == "agent_ended"
    assert call.turns[-1].heard != goodbye


def test_a_sentence_without_audio_is_left_out_of_what_was_heard():
    call = Simulation(QUIET, script=[TABLE], model=answers(Answer(BOTH)), mouth=Mouth(mute=lambda t: t == SECOND)).run(
        18_000
    )
    assert call.turns[1].heard == f"{FIRST} {THIRD}"
    assert call.turns[1].text == BOTH
    assert call.ended is None


def test_an_answer_without_any_sound_is_asked_for_again_and_never_counts_as_heard():
    mouth = Mouth(mute=lambda text: text == FIRST)
    call = Simulation(QUIET, script=[TABLE], model=answers(Answer(FIRST), then="Gladly."), mouth=mouth).run(9_000)
    assert call.said_by("agent") == ["Gladly."]
    assert call.requests[-1].messages[-1].content == TABLE.text
    assert call.ended is None


def test_a_voice_that_breaks_off_in_a_speculative_reply_spoils_it_and_another_is_begun():
    model = answers(Answer(FIRST, first_ms=20, chars_per_s=4000), then="Gladly.")
    mouth = Mouth(breaks=lambda text: text == FIRST, first_ms=20)
    call = Simulation(QUIET, script=[TABLE], model=model, mouth=mouth).run(9_000)
    assert [request.speculative for request in call.requests] == [True, True]
    assert call.said_by("agent") == ["Gladly."]


def test_a_voice_that_stays_mute_is_given_up():
    call = Simulation(QUIET, script=[TABLE], model=answers(then=FIRST), mouth=Mouth(mute=lambda t: t != APOLOGY)).run()
    assert call.said_by("agent") == [APOLOGY]
    assert call.ended == "provider_failure"


def test_a_greeting_without_sound_is_not_in_the_context():
    greeting = plan().opening[0]
    call = Simulation(plan(), script=[TABLE], mouth=Mouth(mute=lambda text: text == greeting)).run(4_000)
    assert call.turns[0].heard == ""
    assert call.turns[0].first_heard_ms is None
    assert [message.role for message in call.requests[-1].messages] == ["system", "user"]


def test_the_words_of_a_broken_segment_are_counted_by_its_whole_text():
    segment = Segment("one two three four five six seven eight nine ten")
    segment.duration_ms, segment.complete, segment.broken = 1000, True, True
    assert segment.length_ms == 1000
    assert segment.heard_text(1000) == segment.voiced_text == "one two three"
    segment.duration_ms = 0
    assert segment.voiced_text == ""


# --- the model -------------------------------------------------------------------------------------------------------


def test_a_model_that_breaks_off_before_a_sound_is_asked_again():
    broken = Answer(f"{FIRST} One of", fails=ErrorKind.DROPPED)
    call = Simulation(QUIET, script=[TABLE], model=answers(broken, then="Gladly."), mouth=Mouth(first_ms=900)).run(
        9_000
    )
    assert call.said_by("agent") == ["Gladly."]
    assert call.requests[0].messages == call.requests[1].messages
    assert call.ended is None


def test_a_model_that_breaks_off_again_is_given_up():
    broken = Answer(f"{FIRST} One of", fails=ErrorKind.DROPPED)
    call = Simulation(QUIET, script=[TABLE], model=answers(broken, broken), mouth=Mouth(first_ms=900)).run()
    assert len(call.requests) == 2
    assert call.said_by("agent") == [APOLOGY]
    assert call.ended == "provider_failure"


def test_every_turn_of_the_caller_has_its_own_second_try():
    broken = Answer(f"{FIRST} One of", fails=ErrorKind.DROPPED)
    model = answers(broken, Answer("Gladly."), broken, Answer("Of course."))
    script = [TABLE, Say("And on Sunday?")]
    call = Simulation(QUIET, script=script, model=model, mouth=Mouth(first_ms=900)).run(14_000)
    assert call.said_by("agent") == ["Gladly.", "Of course."]


@pytest.mark.parametrize(
    "broken",
    [
        Answer("We have", fails=ErrorKind.UNAUTHORISED),
        tool("book", text="We have", fails=ErrorKind.DROPPED),
        end_call("Bye.", text="We have", fails=ErrorKind.DROPPED),
        Answer(fails=ErrorKind.DROPPED),
    ],
    ids=["of no use", "a tool ran", "the call ends", "the driver has tried again already"],
)
def test_a_broken_answer_is_not_asked_for_again(broken):
    the_plan = plan(opening=(), turn_taking=TurnTaking(speculate_ms=0))
    call = Simulation(the_plan, script=[TABLE], model=answers(broken), mouth=Mouth(first_ms=900)).run()
    assert len(call.requests) == 1
    assert call.ended in {"provider_failure", "agent_ended"}


AGAIN = "Sorry, could you say that again?"
ONCE_MORE = Say("I would like to book a table.")
CUT = Answer(f"{FIRST} One of them is by the", fails=ErrorKind.DROPPED, chars_per_s=60)


def test_an_answer_that_was_heard_in_part_is_not_asked_for_again_but_the_caller_is():
    call = Simulation(QUIET, script=[TABLE, ONCE_MORE], model=answers(CUT, then="Gladly.")).run(18_000)
    assert call.said_by("agent") == [FIRST, AGAIN, "Gladly."]
    assert len(call.requests) == 2
    assert call.ended is None


def test_a_model_that_breaks_off_two_answers_in_a_row_is_given_up():
    call = Simulation(QUIET, script=[TABLE, ONCE_MORE], model=answers(CUT, CUT)).run()
    assert call.said_by("agent") == [FIRST, AGAIN, FIRST, APOLOGY]
    assert call.ended == "provider_failure"


def test_a_model_that_breaks_off_for_good_is_given_up_at_once():
    unpaid = Answer(CUT.text, fails=ErrorKind.OUT_OF_CREDIT, chars_per_s=60)
    call = Simulation(QUIET, script=[TABLE], model=answers(unpaid)).run()
    assert call.said_by("agent") == [FIRST, APOLOGY]


def test_a_speculative_reply_that_breaks_off_does_not_use_up_the_second_try():
    broken = Answer("We have", fails=ErrorKind.DROPPED, first_ms=20, chars_per_s=4000)
    call = Simulation(QUIET, script=[TABLE], model=answers(broken, broken, then="Gladly.")).run(9_000)
    assert [request.speculative for request in call.requests] == [True, True, False]
    assert {request.messages[-1].content for request in call.requests} == {TABLE.text}
    assert call.said_by("agent") == ["Gladly."]

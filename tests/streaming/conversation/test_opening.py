"""Who speaks first, and what becomes of a caller who speaks over the greeting."""

import pytest

from agents.providers.base import Message
from streaming.conversation import events
from tests.streaming.conversation.scenario import GREETING, plan
from tests.streaming.simulator import HangUp, Noise, Say, Simulation, brain

pytestmark = pytest.mark.pure


def test_the_agent_speaks_disclosure_notice_and_greeting_as_phrases_at_once():
    opening = ("I am a computer voice.", "This call is recorded.", "How can I help?")
    call = Simulation(plan(opening=opening)).run(until_ms=8_000)
    spoken = [action for _, action in call.actions(events.Speak)][:3]
    assert [action.text for action in spoken] == list(opening)
    assert all(action.phrase for action in spoken)
    assert [action.last for action in spoken] == [False, False, True]
    assert call.turns[0].kind == "greeting"
    assert call.turns[0].first_sent_ms <= 5
    assert call.turns[0].heard == " ".join(opening)
    heard = [note.data for _, note in call.notes("opening_heard")]
    assert [data["part"] for data in heard] == [0, 1, 2], "each part is logged once it was heard, and from when"
    assert [data["from_ms"] for data in heard] == sorted(data["from_ms"] for data in heard)


def test_when_the_caller_is_to_speak_first_the_agent_waits_and_then_answers_with_the_opening():
    call = Simulation(
        plan(speaks_first="caller"), script=[Say("Hello?", at=1000), Say("I need a table.")], model=brain()
    ).run(until_ms=12_000)
    assert call.actions(events.ReleaseVoice)[0][0] > call.spoke_at("Hello?")
    assert call.transcript()[:3] == [("caller", "Hello?"), ("agent", GREETING), ("caller", "I need a table.")]
    assert len([r for r in call.requests if not r.speculative]) + len(call.notes("speculation_adopted")) == 1


def test_a_caller_who_speaks_first_with_a_request_hears_the_opening_and_then_the_answer():
    call = Simulation(
        plan(speaks_first="caller", opening=("This call is recorded.",)),
        script=[Say("I would like to book a table.", at=500)],
        model=brain(("book", "Gladly. For how many?")),
    ).run(until_ms=9_000)
    assert call.said_by("agent")[:2] == ["This call is recorded.", "Gladly. For how many?"]


def test_a_silent_caller_who_was_to_speak_first_hears_the_opening_in_the_end():
    call = Simulation(plan(speaks_first="caller")).run(until_ms=15_000)
    assert call.actions(events.ReleaseVoice)[0][0] == 8000
    assert call.said_by("agent") == [GREETING]


def test_an_agent_without_a_greeting_waits_in_silence():
    call = Simulation(plan(opening=()), script=[Say("Good morning, are you open?", at=2000)]).run(until_ms=7_000)
    assert call.transcript()[0] == ("caller", "Good morning, are you open?")


def test_hello_over_the_greeting_neither_stops_it_nor_is_answered():
    call = Simulation(plan(), script=[Say("Hello?", at=700), Say("I need a table.")]).run(until_ms=9_000)
    assert call.said_by("agent")[0] == GREETING
    assert [turn.end_reason for turn in call.turns if turn.text == "Hello?"] == ["backchannel"]
    asked = [request.messages[-1].content for request in call.requests]
    assert set(asked) == {"I need a table."}


@pytest.mark.parametrize("text", ["Hello?", "Hello, hello?"])
@pytest.mark.parametrize("at", [0, 60, 120])
def test_who_says_hello_as_they_pick_up_is_greeted_within_half_a_second_all_the_same(text, at):
    call = Simulation(plan(), script=[Say(text, at=at)]).run(until_ms=9_000)
    assert [ms for ms, _ in call.actions(events.PauseVoice)], "the hello is heard"
    (resumed,) = [ms for ms, _ in call.actions(events.ResumeVoice)]
    assert resumed <= 400
    assert call.said_by("agent") == [GREETING]
    assert not call.requests


@pytest.mark.parametrize("text", ["No.", "Low"])
def test_a_single_word_said_before_the_greeting_could_be_heard_answers_the_phone_alone(text):
    call = Simulation(plan(), script=[Say(text, at=60)]).run(until_ms=9_000)
    assert call.said_by("agent") == [GREETING]
    assert [turn.end_reason for turn in call.turns if turn.text == text] == ["backchannel"]
    assert not call.requests
    later = Simulation(plan(), script=[Say(text, at=900)]).run(until_ms=9_000)
    assert (later.said_by("agent")[0] == GREETING) == (text == "Low")


def test_stop_stops_the_greeting_from_the_first_moment_on():
    call = Simulation(plan(), script=[Say("Stop!", at=60)]).run(until_ms=9_000)
    assert next(turn for turn in call.turns if turn.kind == "greeting").interrupted
    assert call.requests[0].messages[-1].content == "Stop!"


def test_a_long_sentence_begun_as_the_phone_is_picked_up_stops_the_greeting():
    call = Simulation(plan(), script=[Say("Hello, I would like to book a table for tonight.", at=60)]).run(
        until_ms=9_000
    )
    assert next(turn for turn in call.turns if turn.kind == "greeting").interrupted
    assert call.requests


def test_hello_after_the_first_words_of_the_greeting_has_the_time_of_any_interjection():
    call = Simulation(plan(), script=[Say("Hello, hello?", at=400)]).run(until_ms=9_000)
    (paused,) = [ms for ms, _ in call.actions(events.PauseVoice)]
    (resumed,) = [ms for ms, _ in call.actions(events.ResumeVoice)]
    assert 350 < resumed - paused <= 700


def test_real_words_over_an_interruptible_greeting_stop_it():
    call = Simulation(plan(), script=[Say("I want to speak to a manager.", at=700)]).run(until_ms=9_000)
    greeting = next(turn for turn in call.turns if turn.kind == "greeting")
    assert greeting.interrupted
    assert GREETING.startswith(greeting.heard)
    assert len(greeting.heard) < len(GREETING)


def test_words_over_an_uninterruptible_greeting_are_answered_after_it():
    call = Simulation(plan(opening_interruptible=False), script=[Say("I want to speak to a manager.", at=700)]).run(
        until_ms=9_000
    )
    assert call.actions(events.PauseVoice) == []
    assert call.said_by("agent")[0] == GREETING
    assert ("caller", "I want to speak to a manager.") in call.transcript()
    answered = call.actions(events.ReleaseVoice)[1][0]
    assert answered == next(turn for turn in call.turns if turn.kind == "greeting").ended_ms
    # The greeting stands before the caller's words in the context, whole.
    assert call.requests[-1].messages[1:] == (
        Message(role="assistant", content=GREETING),
        Message(role="user", content="I want to speak to a manager."),
    )


def test_more_words_over_an_uninterruptible_greeting_are_one_message_with_the_first():
    call = Simulation(
        plan(opening_interruptible=False),
        script=[Say("I want a table.", at=300), Say("For five people.", at=2600)],
    ).run(until_ms=12_000)
    assert call.requests[-1].messages[-1].content == "I want a table. For five people."


def test_noise_over_the_greeting_lets_it_go_on():
    call = Simulation(plan(), script=[Noise(250, at=1000)]).run(until_ms=7_000)
    assert call.said_by("agent")[0] == GREETING
    assert len(call.actions(events.PauseVoice)) == len(call.actions(events.ResumeVoice)) == 1


def test_a_resumed_call_does_not_greet_again_and_answers_the_caller_who_was_waiting():
    history = (Message(role="assistant", content="Hello."), Message(role="user", content="Book a table."))
    call = Simulation(plan(history=history), resumed=True, model=brain(("book", "For how many?"))).run(until_ms=3_000)
    assert call.said_by("agent") == ["For how many?"]
    assert [m.content for m in call.requests[0].messages] == ["You are Anna.", "Hello.", "Book a table."]


def test_a_resumed_call_whose_last_words_were_the_agents_says_that_it_is_back():
    history = (Message(role="user", content="Hi."), Message(role="assistant", content="How can I help?"))
    call = Simulation(plan(history=history), resumed=True, script=[Say("A table, please."), HangUp(after=500)]).run(
        until_ms=20_000
    )
    assert call.said_by("agent")[0].startswith("Sorry, I lost you")
    assert GREETING not in call.said_by("agent")
    assert call.requests[0].messages[1:3] == history

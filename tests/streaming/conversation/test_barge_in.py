"""Speech over the agent's voice."""

import pytest

from agents.providers.base import Message
from agents.spec import TurnTaking
from streaming.conversation import events
from streaming.conversation.machine import Conversation
from tests.streaming.conversation.scenario import LONG, plan
from tests.streaming.simulator import Answer, Carrier, Ears, Mouth, Noise, Press, Say, Simulation, Type, Wait, brain

pytestmark = pytest.mark.pure

ASK = Say("What tables do you have?", at=1000)
QUIET = plan(opening=())


def talk(*script, until_ms=30_000, model=None, the_plan=QUIET, **options):
    return Simulation(the_plan, script=[ASK, *script], model=model or brain(("what tables", LONG)), **options).run(
        until_ms=until_ms
    )


def agent_turn(call):
    return next(turn for turn in call.turns if turn.role == "agent")


def test_speech_pauses_the_voice_at_once():
    call = talk(Say("stop talking please", into=2000))
    [(paused, _)] = call.actions(events.PauseVoice)
    began = next(word.start_ms for word in call._words if word.text == "stop")
    assert 96 <= paused - began <= 96 + 32


def test_a_real_interruption_ends_the_reply_and_becomes_the_next_turn():
    call = talk(
        Say("I would rather sit outside.", into=3000), model=brain(("what tables", LONG), ("outside", "Of course."))
    )
    turn = agent_turn(call)
    assert turn.interrupted
    assert turn.end_reason == "interrupted"
    assert turn.interrupted_ms == call.actions(events.PauseVoice)[0][0]
    assert turn.text == LONG
    assert 0 < len(turn.heard) < len(LONG)
    assert LONG.startswith(turn.heard)
    assert call.said_by("caller")[1] == "I would rather sit outside."
    assert call.said_by("agent")[1] == "Of course."
    assert call.actions(events.ResumeVoice) == []


@pytest.mark.parametrize("words", [True, False])
def test_the_model_is_told_only_what_was_heard(words):
    call = talk(Say("I would rather sit outside.", into=4000), mouth=Mouth(words=words))
    heard = agent_turn(call).heard
    [context] = [r.messages for r in call.requests if "outside." in r.messages[-1].content][-1:]
    assert context[1:] == (
        Message(role="user", content="What tables do you have?"),
        Message(role="assistant", content=f"{heard} \N{EM DASH}"),
        Message(role="user", content="I would rather sit outside."),
    )


@pytest.mark.parametrize("words", [True, False])
@pytest.mark.parametrize("into", [1000, 2500, 5000, 7600])
def test_the_heard_text_is_right_to_the_word(words, into):
    call = talk(Say("I would rather sit outside.", into=into), mouth=Mouth(words=words))
    turn = agent_turn(call)
    # The voice speaks 60 ms a character: what was played when it was silenced is known exactly.
    played = (turn.interrupted_ms - turn.first_heard_ms) / 60
    assert abs(len(turn.heard) - played) <= 13  # the longest word, "restaurant", and its space


@pytest.mark.parametrize("said", ["uh-huh", "mhm.", "Yeah,", "okay", "Right, I see."])
def test_a_backchannel_does_not_interrupt_and_needs_no_answer(said):
    call = talk(Say(said, into=2000, word_ms=250))
    assert agent_turn(call).heard == LONG
    assert not agent_turn(call).interrupted
    [spoken] = [turn for turn in call.turns if turn.text == said]
    assert spoken.end_reason == "backchannel"
    assert not any(said in message.content for request in call.requests for message in request.messages)


@pytest.mark.parametrize("partial_ms", [150, None])
def test_after_a_cough_the_voice_goes_on_within_the_limit_and_every_word_is_heard(partial_ms):
    call = talk(Noise(300, into=2000), ears=Ears(partial_ms=partial_ms))
    [(paused, _)], [(resumed, _)] = call.actions(events.PauseVoice), call.actions(events.ResumeVoice)
    assert resumed - paused <= 650  # to be heard within 700
    assert agent_turn(call).heard == LONG
    assert call.said_by("caller") == [ASK.text]


def test_the_voice_resumes_only_once_the_caller_is_silent():
    call = talk(Noise(800, into=2000))
    [(resumed, _)] = call.actions(events.ResumeVoice)
    span = call._spans[-1]
    assert resumed >= span[1]
    assert resumed - span[1] <= 264 + 32


@pytest.mark.parametrize("said", ["stop", "wait", "no", "Excuse me"])
def test_a_stop_word_interrupts_at_once(said):
    call = talk(Say(said, into=2000))
    assert agent_turn(call).interrupted


@pytest.mark.parametrize(
    ("language", "backchannel", "stop"),
    [
        ("de-DE", "ja genau", "Moment"),
        ("es-MX", "sí claro", "espere"),
        ("fr-FR", "d'accord", "attendez"),
        ("hi-IN", "ठीक है", "रुकिए"),
    ],
)
def test_backchannels_and_stop_words_are_known_in_the_callers_language(language, backchannel, stop):
    listening = talk(Say(backchannel, into=2000), the_plan=plan(opening=(), language=language))
    assert not agent_turn(listening).interrupted
    stopping = talk(Say(stop, into=2000), the_plan=plan(opening=(), language=language))
    assert agent_turn(stopping).interrupted


def test_long_speech_interrupts_whatever_its_words():
    call = talk(Say("yeah yeah yeah yeah yeah yeah", into=2000))
    assert agent_turn(call).interrupted


def test_one_word_that_is_no_backchannel_lets_the_agent_finish_and_is_then_answered():
    call = talk(Say("Tuesday", into=2000), model=brain(("what tables", LONG), ("tuesday", "Tuesday it is.")))
    assert agent_turn(call).heard == LONG
    assert call.said_by("agent")[1] == "Tuesday it is."
    assert call.requests[-1].messages[-2].content == LONG


def test_yes_over_the_end_of_a_question_is_an_answer():
    question = "Shall I book the table by the window for you then?"
    call = talk(
        Say("Yes.", into=len(question) * 60 - 500),
        model=brain(("what tables", question), ("yes", "It is booked.")),
    )
    assert call.said_by("caller")[1] == "Yes."
    assert call.said_by("agent")[1] == "It is booked."


def test_long_noise_without_a_word_does_not_silence_the_agent_for_good():
    call = talk(Noise(20_000, into=2000))
    assert agent_turn(call).heard == LONG
    assert call.notes("noise_ignored")
    assert len(call.actions(events.PauseVoice)) == 1


def test_noise_again_and_again_does_not_make_the_agent_stutter_for_ever():
    call = talk(*[Noise(200, into=600), *[Noise(200, pause=900)] * 20])
    assert len([at for at, _ in call.actions(events.PauseVoice) if at < agent_turn(call).ended_ms]) == 3
    assert agent_turn(call).heard == LONG


def test_words_still_interrupt_after_false_alarms():
    call = talk(*[Noise(200, into=600), *[Noise(200, pause=1100)] * 3], Say("I want to sit outside.", pause=900))
    assert agent_turn(call).interrupted


def test_an_agent_that_may_not_be_interrupted_finishes_and_then_answers():
    call = talk(
        Say("I would rather sit outside.", into=2000),
        the_plan=plan(opening=(), interruptible=False),
        model=brain(("what tables", LONG), ("outside", "Of course.")),
    )
    assert call.actions(events.PauseVoice) == []
    assert call.said_by("agent")[:2] == [LONG, "Of course."]


def test_a_question_that_was_interrupted_still_gets_its_answer_patience():
    question = "What is your phone number? You can also send it to us later by e-mail, just as you like it best."
    call = talk(
        Say("It is four one five", into=2200),
        Say("five five five two six seven one.", pause=1200),
        model=brain(("what tables", question)),
    )
    assert agent_turn(call).interrupted
    assert call.said_by("caller")[1] == "It is four one five five five five two six seven one."


def test_a_voice_that_ends_while_it_is_paused_is_let_go():
    conversation = Conversation(plan(opening=("Hello.",)))
    conversation.handle(events.Started(), 0)
    conversation.handle(events.SegmentAudio(1, 0, 400, complete=True), 1)
    conversation.handle(events.SegmentSent(1, 0, 1), 1)
    paused = [action for at in (100, 132, 164) for action in conversation.handle(events.SpeechWindow(0.9), at)]
    assert events.PauseVoice() in paused
    assert events.CancelGeneration(1) in conversation.handle(events.SegmentHeard(1, 0), 170)


def test_a_segment_that_was_heard_was_heard_with_all_before_it():
    conversation = Conversation(plan(opening=("Hello.", "How can I help?")))
    conversation.handle(events.Started(), 0)
    [turn] = [a for a in conversation.handle(events.SegmentHeard(1, 1), 3000) if isinstance(a, events.WriteTurn)]
    assert turn.heard == "Hello. How can I help?"


def test_nothing_is_paused_while_nothing_plays():
    call = talk(Say("Are you there?", pause=900), model=brain(default=Answer(LONG, first_ms=3000)))
    assert call.actions(events.PauseVoice) == []


def test_speech_in_a_gap_between_two_sentences_keeps_the_next_one_back():
    slow = Answer("One look at the book. Yes, there is one by the window.", chars_per_s=15)
    call = talk(Say("Please hurry up a bit.", into=1600), model=brain(("what tables", slow)))
    turn = agent_turn(call)
    assert turn.interrupted
    assert turn.heard == "One look at the book."


def test_the_numbers_of_the_agent_decide_what_interrupts():
    stubborn = plan(opening=(), turn_taking=TurnTaking(interrupt_min_words=6, interrupt_min_ms=5000))
    call = talk(Say("I have another question.", into=2000), the_plan=stubborn)
    assert agent_turn(call).heard == LONG
    assert call.said_by("caller")[1] == "I have another question."
    assert call.said_by("agent")[1] == "I see. What else can I do for you?"


def test_the_answer_that_waited_is_dropped_when_the_caller_goes_on_to_interrupt():
    call = talk(Say("Tuesday", into=1500), Say("or no, make it Wednesday.", pause=1500))
    assert agent_turn(call).interrupted
    assert call.requests[-1].messages[-1].content == "Tuesday or no, make it Wednesday."


def test_a_typed_line_interrupts_and_is_answered_at_once():
    call = talk(Type("Never mind", into=2000), model=brain(("what tables", LONG), ("never mind", "All right.")))
    assert agent_turn(call).interrupted
    typed = next(turn for turn in call.turns if turn.kind == "typed")
    assert typed.text == "Never mind"
    assert call.said_by("agent")[1] == "All right."
    assert call.requests[-1].messages[-2].content.startswith(agent_turn(call).heard)


def test_checkpoints_that_are_never_acknowledged_do_not_hold_the_conversation_up():
    call = talk(Say("Thank you very much, goodbye then."), carrier=Carrier(acknowledges=False))
    assert agent_turn(call).heard == LONG
    assert len(call.said_by("agent")) == 2


def test_keys_wait_behind_an_agent_that_may_not_be_interrupted():
    call = talk(Press("7#", into=1000), Wait(100), the_plan=plan(opening=(), interruptible=False))
    assert agent_turn(call).heard == LONG
    assert call.requests[-1].messages[-1].content == "[keypad] 7"

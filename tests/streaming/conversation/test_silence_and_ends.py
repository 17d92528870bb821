"""Silence, the longest call, operators, failures: never dead air, never stuck."""

import pytest

from agents.providers.errors import ErrorKind
from streaming.conversation import events
from tests.streaming.conversation.scenario import GREETING, LONG, plan
from tests.streaming.simulator import Answer, Carrier, Do, Ears, HangUp, Mouth, Noise, Press, Say, Simulation, brain

pytestmark = pytest.mark.pure

QUIET = plan(opening=())
TABLE = Say("I would like to book a table.", at=1000)


# --- silence ---------------------------------------------------------------------------------------------------------


def test_a_silent_caller_is_asked_twice_and_then_the_call_ends_politely():
    call = Simulation(plan()).run()
    assert call.said_by("agent") == [GREETING, "Are you still there?", "I cannot hear you.", "Goodbye."]
    assert [turn.kind for turn in call.turns] == ["greeting", "reprompt", "reprompt", "goodbye"]
    assert call.ended == "silence"


def test_silence_counts_from_the_last_word_that_was_heard():
    call = Simulation(plan()).run()
    for before, after in zip(call.turns, call.turns[1:], strict=False):
        assert 8000 <= after.started_ms - before.ended_ms <= 8010


def test_a_caller_who_answers_starts_the_reprompts_anew():
    call = Simulation(plan(), script=[Say("Yes, I am thinking.", at=15_000)]).run(until_ms=30_000)
    assert [at.data["number"] for _, at in call.notes("reprompt")] == [1, 1]


def test_nobody_is_reprompted_while_speaking():
    call = Simulation(plan(), script=[Say(" ".join(["and"] * 60) + " done.", after=500)]).run(until_ms=22_000)
    assert call.notes("reprompt") == []


def test_nobody_is_reprompted_while_the_model_thinks():
    call = Simulation(QUIET, script=[TABLE], model=brain(default=Answer("Yes.", first_ms=12_000))).run(until_ms=14_000)
    assert call.notes("reprompt") == []


def test_comfort_noise_below_the_threshold_does_not_put_the_reprompts_off():
    call = Simulation(plan(), script=[Noise(600_000, at=0, probability=0.45)]).run()
    assert call.ended == "silence"
    assert call.ended_ms < 45_000


@pytest.mark.parametrize("ears", [Ears(), Ears(partial_ms=None)])
def test_a_line_that_only_hums_ends_as_well(ears):
    call = Simulation(plan(), script=[Noise(600_000, at=100)], ears=ears).run()
    assert call.ended == "silence"
    assert call.ended_ms < 90_000


def test_sound_that_may_be_speech_puts_the_reprompt_off_once():
    call = Simulation(QUIET, script=[Say("one two three four five six seven.", at=7_000)], ears=Ears(partial_ms=None))
    assert call.run(until_ms=15_000).notes("reprompt") == []
    humming = Simulation(QUIET, script=[Noise(600_000, at=7_000)], ears=Ears(partial_ms=None)).run(until_ms=16_000)
    [(reprompted, _)] = humming.notes("reprompt")
    assert 15_000 - 32 <= reprompted <= 15_000 + 32


@pytest.mark.parametrize("gap", [150, 350, 2000])
def test_a_line_with_noise_again_and_again_and_never_a_word_ends_as_well(gap):
    call = Simulation(plan(), script=[Noise(400, at=100), *[Noise(400, pause=gap)] * 400]).run()
    assert call.ended == "silence"
    assert call.ended_ms < 90_000


def test_a_noise_that_begins_while_the_agent_thinks_does_not_swallow_the_answer():
    call = Simulation(
        QUIET, script=[TABLE, Noise(600_000, pause=700)], model=brain(("book", Answer("For how many?", first_ms=900)))
    ).run(until_ms=12_000)
    assert call.said_by("agent") == ["For how many?"]


def test_words_that_run_into_a_lasting_noise_are_answered():
    call = Simulation(QUIET, script=[TABLE, Noise(600_000, pause=0)]).run(until_ms=12_000)
    assert call.said_by("caller") == [TABLE.text]
    assert len(call.said_by("agent")) == 1


def test_words_spoken_into_a_lasting_noise_are_answered_and_interrupt():
    script = [TABLE, Noise(600_000, pause=0), Say("I would rather sit outside.", into=1500)]
    call = Simulation(QUIET, script=script, model=brain(("outside", "Of course."), default=LONG)).run(until_ms=20_000)
    assert call.said_by("caller") == [TABLE.text, "I would rather sit outside."]
    assert call.said_by("agent")[1] == "Of course."


def test_without_reprompts_the_line_is_held_for_half_a_minute():
    call = Simulation(plan(reprompts=())).run()
    assert call.said_by("agent") == [GREETING, "Goodbye."]
    assert 30_000 <= call.ended_ms <= 40_000


def test_a_caller_who_comes_back_over_the_last_goodbye_is_not_hung_up_on():
    the_plan = plan(opening=(), reprompts=("Hello?",), goodbye="I have to hang up now, goodbye and have a nice day.")
    call = Simulation(the_plan, script=[Say("Wait, I am here!", at=18_200)]).run(until_ms=24_000)
    assert call.ended is None
    assert call.turns[-1].text == "I see. What else can I do for you?"


def test_keys_keep_the_reprompt_away():
    call = Simulation(plan(opening=()), script=[Press("123456", at=6000, gap_ms=1500)]).run(until_ms=17_000)
    assert call.notes("reprompt") == []
    assert call.turns[0].text == "[keypad] 123456"


# --- the longest call ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lost", "ended"), [(frozenset(), None), (frozenset({1}), "silence")])
def test_words_said_over_the_last_goodbye_are_waited_for_when_the_recogniser_is_late(lost, ended):
    the_plan = plan(opening=(), interruptible=False, reprompts=("Hello?",), goodbye="I have to hang up now. Goodbye.")
    script = [Say("I would like a table.", at=17_000, word_ms=150)]
    ears = Ears(partial_ms=None, final_ms=the_plan.turn_taking.stt_final_ms + 600, lost=lost)
    call = Simulation(the_plan, script=script, ears=ears).run(until_ms=23_000)
    assert call.ended == ended
    assert call.said_by("caller") == ([] if lost else ["I would like a table."])


def test_the_longest_call_ends_with_wrap_up_and_goodbye_heard():
    call = Simulation(plan(max_call_ms=20_000)).run()
    assert call.turns[-1].kind == "wrap_up"
    assert call.turns[-1].heard == "I am afraid our time is up. Goodbye."
    assert call.ended == "max_length"
    assert call.ended_ms < 27_000


def test_the_longest_call_lets_the_agent_finish_its_sentence():
    call = Simulation(plan(opening=(), max_call_ms=6_000), script=[TABLE], model=brain(("book", LONG[:110]))).run()
    assert [turn.kind for turn in call.turns] == ["speech", "speech", "wrap_up"]
    assert not call.turns[1].interrupted
    assert call.ended == "max_length"


def test_the_longest_call_does_not_wait_for_an_endless_monologue():
    endless = "This is a long sentence about our restaurant and its history. " * 30
    call = Simulation(plan(opening=(), max_call_ms=6_000), script=[TABLE], model=brain(("book", endless))).run()
    assert call.turns[-1].kind == "wrap_up"
    assert call.ended_ms < 6_000 + 10_000 + 5_000


def test_a_caller_cannot_talk_the_agent_out_of_the_longest_call():
    script = [Say("But wait, stop, I have another question.", at=20_300)]
    call = Simulation(plan(max_call_ms=20_000, reprompts=()), script=script).run()
    assert call.ended == "max_length"
    assert call.ended_ms < 30_000
    assert any(turn.role == "caller" for turn in call.turns), "what was said is kept"


def test_a_goodbye_that_is_never_acknowledged_does_not_hold_the_line():
    call = Simulation(plan(max_call_ms=10_000), carrier=Carrier(acknowledges=False)).run()
    assert call.ended == "max_length"
    assert call.ended_ms < 20_000


def test_a_voice_that_never_comes_does_not_hold_the_line():
    conversation = Simulation(plan(max_call_ms=60_000)).conversation
    conversation.handle(events.Started(), 0)
    ended = None
    while ended is None:
        now = conversation.wake_at_ms
        ended = next((a for a in conversation.handle(events.Tick(), now) if isinstance(a, events.EndCall)), None)
    assert ended.reason == "provider_failure"
    assert now < 60_000


# --- operators, drains, hang-ups -------------------------------------------------------------------------------------


def test_an_operator_ends_the_call_with_the_goodbye_heard():
    call = Simulation(plan(), script=[Do(events.EndRequested("operator"), at=1500)]).run()
    assert call.turns[0].interrupted
    assert call.turns[-1].heard == "Goodbye."
    assert call.ended == "operator"
    assert call.ended_ms < 3000


def test_an_operator_may_end_the_call_without_a_word():
    call = Simulation(plan(), script=[Do(events.EndRequested("operator", say_goodbye=False), at=1500)]).run()
    assert call.ended_ms == 1500
    assert call.turns[0].heard


def test_a_hang_up_writes_what_was_under_way_and_nothing_follows():
    call = Simulation(QUIET, script=[TABLE, HangUp(into=2000)], model=brain(("book", LONG))).run()
    turn = call.turns[-1]
    assert turn.role == "agent"
    assert turn.interrupted
    assert LONG.startswith(turn.heard)
    assert 20 <= len(turn.heard) <= 45
    assert call.conversation.over
    assert call.conversation.wake_at_ms is None
    assert call.actions(events.EndCall) == []
    assert call.conversation.handle(events.Typed("hello"), call.now + 1) == []


def test_an_answer_that_nobody_has_heard_yet_is_kept_at_a_hang_up():
    call = Simulation(QUIET, script=[TABLE, HangUp(pause=850)], mouth=Mouth(first_ms=3000)).run()
    assert [(turn.role, turn.heard) for turn in call.turns] == [("caller", ""), ("agent", "")]
    assert call.turns[1].text


# --- failures --------------------------------------------------------------------------------------------------------


def test_a_model_that_fails_is_apologised_for_and_the_call_ends():
    call = Simulation(QUIET, script=[TABLE], model=brain(default=Answer(fails=ErrorKind.SERVER_ERROR))).run()
    assert call.said_by("agent") == ["I am sorry, I am having technical trouble."]
    assert call.turns[-1].kind == "apology"
    assert call.ended == "provider_failure"


def test_a_model_that_fails_in_mid_answer_is_heard_as_far_as_it_came():
    first = "We have two tables for you this evening in the restaurant by the sea."
    broken = Answer(f"{first} One of them is by the", fails=ErrorKind.DROPPED, chars_per_s=60)
    call = Simulation(QUIET, script=[TABLE], model=brain(("book", broken))).run()
    assert call.actions(events.ReplyFailed)[0][0] < call.turns[1].ended_ms
    assert call.said_by("agent")[:2] == [first, "Sorry, could you say that again?"]


def test_a_speculative_reply_that_fails_is_asked_for_again():
    answers = iter([Answer(fails=ErrorKind.DROPPED, first_ms=20), Answer("Gladly.")])
    call = Simulation(QUIET, script=[TABLE], model=lambda _: next(answers)).run(until_ms=6_000)
    assert call.said_by("agent") == ["Gladly."]


def test_a_content_filter_is_no_technical_trouble():
    call = Simulation(QUIET, script=[TABLE], model=brain(default=Answer(fails=ErrorKind.CONTENT_FILTER))).run(7_000)
    assert call.said_by("agent") == ["Sorry, could you say that again?"]
    assert call.ended is None


def test_a_voice_that_fails_is_apologised_for():
    call = Simulation(QUIET, script=[TABLE], mouth=Mouth(fails=lambda text: "else" in text)).run()
    assert call.said_by("agent")[-1] == "I am sorry, I am having technical trouble."
    assert call.ended == "provider_failure"


def test_a_voice_that_cannot_even_apologise_ends_the_call():
    call = Simulation(plan(), mouth=Mouth(fails=lambda text: True)).run()
    assert call.ended == "provider_failure"
    assert call.ended_ms < 1000


def test_a_transcriber_that_is_gone_for_good_ends_the_call_with_an_apology():
    failed = events.TranscriberFailed(ErrorKind.UNAUTHORISED, fatal=True)
    call = Simulation(plan(), script=[Do(failed, at=1000)]).run()
    assert call.said_by("agent") == [GREETING, "I am sorry, I am having technical trouble."]
    assert call.ended == "provider_failure"


def test_a_transcriber_that_is_being_replaced_changes_nothing():
    failed = events.TranscriberFailed(ErrorKind.DROPPED, fatal=False)
    call = Simulation(plan(), script=[Do(failed, at=1000)]).run(until_ms=6_000)
    assert call.said_by("agent") == [GREETING]
    assert call.notes("transcriber_failed")


def test_a_model_that_says_nothing_at_all_is_given_up():
    call = Simulation(QUIET, script=[TABLE], model=brain(default=Answer(silent=True))).run()
    assert call.ended == "provider_failure"
    assert call.ended_ms < 40_000


# --- listening only --------------------------------------------------------------------------------------------------


def test_an_agent_that_only_listens_writes_and_shows_the_callers_turns_and_says_nothing():
    script = [Say("The meeting starts now.", at=1000), Noise(300, at=5000), Say("It ends now.", at=30_000)]
    call = Simulation(plan(mode="listen_only"), script=script).run(until_ms=60_000)
    assert call.transcript() == [("caller", "The meeting starts now."), ("caller", "It ends now.")]
    shown = [action for _, action in call.actions(events.ShowPartial)]
    assert any(not action.final and action.text == "The meeting" for action in shown)
    assert any(action.final and action.text == "It ends now." for action in shown)
    told = {type(entry) for _, entry in call.log}
    assert not told & {events.StartReply, events.Speak, events.ReleaseVoice, events.PauseVoice}


def test_an_agent_that_only_listens_ends_at_the_longest_call_without_a_word():
    call = Simulation(plan(mode="listen_only", max_call_ms=50_000)).run()
    assert (call.ended, call.ended_ms, call.turns) == ("max_length", 50_000, [])

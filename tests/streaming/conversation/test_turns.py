"""From the end of the caller's speech to the agent's answer."""

import pytest

from streaming.conversation import events
from streaming.conversation.events import SpeechWindow, TranscriptFinal
from streaming.conversation.machine import Conversation
from tests.streaming.conversation.scenario import plan
from tests.streaming.simulator import Answer, Do, Ears, HangUp, Noise, Press, Say, Simulation, Wait, brain

pytestmark = pytest.mark.pure

TABLE = "I would like to book a table."


def one_turn(text=TABLE, *, until_ms=9_000, **options):
    options.setdefault("model", brain(("book", "Gladly. For how many people?")))
    return Simulation(plan(opening=()), script=[Say(text, at=1000)], **options).run(until_ms=until_ms)


def test_a_pause_starts_a_speculative_reply_then_a_commit_then_the_release():
    call = one_turn()
    end = call.spoke_at(TABLE)
    [(guessed, guess)] = call.actions(events.StartReply)
    assert guess.speculative
    # 100 and 200 ms after the last window of speech, which is up to a window longer than the speech.
    assert 100 <= guessed - end <= 100 + 64
    [(committed, _)] = call.actions(events.Commit)
    assert 200 <= committed - end <= 264
    [(released, release)] = call.actions(events.ReleaseVoice)
    assert release.generation == guess.generation
    assert released == call.actions(TranscriptFinal)[0][0]
    assert call.notes("speculation_adopted")


def test_nothing_of_a_speculative_reply_is_released_before_the_turn_is_decided():
    call = one_turn(ears=Ears(final_ms=650))
    spoken = call.actions(events.Speak)[0][0]
    released = call.actions(events.ReleaseVoice)[0][0]
    assert spoken < released
    held = [action for at, action in call.actions(events.Speak) if at < released]
    assert len(held) == 1, "only the first piece is synthesised on trust"


def test_the_callers_turn_is_written_when_it_is_decided_with_its_times_and_rule():
    call = one_turn()
    turn = call.turns[0]
    assert (turn.role, turn.kind, turn.text, turn.end_reason) == ("caller", "speech", TABLE, "complete_words")
    assert turn.speech_end_ms < turn.decided_ms
    assert turn.stt_final_ms == turn.decided_ms
    assert 900 <= turn.started_ms <= 1040
    assert turn.ended_ms == turn.speech_end_ms


def test_the_agents_turn_holds_every_moment_from_speech_end_to_first_sound():
    call = one_turn(until_ms=12_000)
    turn = call.turns[1]
    moments = [turn.speech_end_ms, turn.decided_ms, turn.tts_first_ms, turn.first_sent_ms, turn.first_heard_ms]
    assert None not in moments
    assert moments == sorted(moments)
    assert turn.speech_end_ms < turn.llm_first_ms < turn.tts_first_ms
    assert turn.interrupted_ms is None
    assert turn.heard == "Gladly. For how many people?"


def test_a_speculation_on_other_words_is_cancelled_and_the_reply_started_anew():
    call = Simulation(
        plan(opening=()), script=[Say("I want a stable.", at=1000, final="I want a table.")], model=brain()
    ).run(until_ms=9_000)
    first, second = call.requests
    assert first.messages[-1].content == "I want a stable."
    assert second.messages[-1].content == "I want a table."
    assert first.generation in {action.generation for _, action in call.actions(events.CancelGeneration)}
    assert [release.generation for _, release in call.actions(events.ReleaseVoice)] == [second.generation]


def test_case_and_punctuation_do_not_spoil_a_speculation():
    call = Simulation(
        plan(opening=()), script=[Say("i want a table", at=1000, final="I want a table.")], model=brain()
    ).run(until_ms=9_000)
    assert len(call.requests) == 1
    assert call.notes("speculation_adopted")


def test_without_speculation_the_reply_starts_when_the_turn_is_decided():
    numbers = plan().turn_taking
    quiet = plan(opening=(), turn_taking=type(numbers)(speculate_ms=0))
    call = Simulation(quiet, script=[Say(TABLE, at=1000)]).run(until_ms=9_000)
    assert [request.speculative for request in call.requests] == [False]


def test_a_caller_who_goes_on_before_the_release_keeps_the_turn():
    call = Simulation(
        plan(opening=()),
        script=[Say("My number is four one five", at=1000), Say("five five five two.", pause=700)],
    ).run(until_ms=12_000)
    assert call.said_by("caller") == ["My number is four one five five five five two."]
    assert len(call.actions(events.Commit)) == 2
    assert call.requests[-1].messages[-1].content == "My number is four one five five five five two."
    released = {release.generation for _, release in call.actions(events.ReleaseVoice)}
    cancelled = {action.generation for _, action in call.actions(events.CancelGeneration)}
    assert {request.generation for request in call.requests} == released | cancelled
    assert not released & cancelled


def test_a_caller_who_goes_on_over_a_decided_but_unheard_reply_gets_one_answer_to_everything():
    slow = brain(default=Answer("Here you are, five people.", first_ms=1500))
    call = Simulation(
        plan(opening=()), script=[Say(TABLE, at=1000), Say("For five people.", pause=1000)], model=slow
    ).run(until_ms=12_000)
    assert call.said_by("caller") == [TABLE, "For five people."]
    assert not [at for at, _ in call.actions(events.StartReply) if call._spans[1][0] + 96 < at < call._spans[1][1]]
    assert call.requests[-1].messages[-1].content == f"{TABLE} For five people."
    assert len(call.said_by("agent")) == 1
    assert call.actions(events.PauseVoice) == []


def test_noise_over_a_decided_but_unheard_reply_only_delays_it():
    slow = brain(default=Answer("Here you are.", first_ms=1300))
    call = Simulation(plan(opening=()), script=[Say(TABLE, at=1000), Noise(200, pause=1000)], model=slow).run(
        until_ms=12_000
    )
    assert call.said_by("caller") == [TABLE]
    assert call.said_by("agent") == ["Here you are."]
    assert call.requests[-1].messages[-1].content == TABLE


def test_a_final_text_that_never_comes_is_replaced_by_the_last_partial():
    call = one_turn(ears=Ears(lost=frozenset({1})))
    assert call.said_by("caller") == [TABLE]
    committed = call.actions(events.Commit)[0][0]
    assert call.turns[0].decided_ms == committed + 700
    assert call.notes("stt_final_overdue")


def test_a_final_text_that_comes_too_late_is_not_a_second_turn():
    call = one_turn(ears=Ears(late={1: 1500}))
    assert call.said_by("caller") == [TABLE]
    assert len(call.said_by("agent")) == 1
    assert call.notes("stt_final_late")


def test_a_final_that_is_answered_twice_counts_once():
    again = Do(TranscriptFinal(TABLE, 1), pause=600)
    call = Simulation(plan(opening=()), script=[Say(TABLE, at=1000), again]).run(until_ms=9_000)
    assert call.said_by("caller") == [TABLE]
    assert len(call.requests) == 1


@pytest.mark.parametrize("lost", [True, False])
def test_words_whose_final_never_came_are_kept_once_when_the_caller_goes_on(lost):
    """The recogniser gives the lost words with the next final, or never."""
    conversation = Conversation(plan(opening=()))
    heard = []

    def give(event, now_ms):
        heard.extend(a for a in conversation.handle(event, now_ms) if isinstance(a, events.Commit | events.WriteTurn))

    def speak(begin_ms, end_ms, probability=0.95):
        for at in range(begin_ms, end_ms, 32):
            give(SpeechWindow(probability), at)

    give(events.Started(), 0)
    speak(1000, 1800)
    give(events.TranscriptPartial("my number is"), 1790)
    speak(1800, 2200, 0.0)
    speak(2200, 3200)
    give(events.TranscriptPartial("my number is four one"), 3190)
    speak(3200, 3600, 0.0)
    assert heard == [events.Commit(1), events.Commit(2)]
    give(TranscriptFinal("my number is four one five." if lost else "four one five.", 2), 3620)
    speak(3620, 7000, 0.0)
    assert heard[-1].text == "my number is four one five."


def test_words_taken_from_a_partial_are_not_taken_again_when_the_recogniser_repeats_them():
    script = [Say(TABLE, at=1000), Say("For five people, please.", pause=819)]
    call = Simulation(plan(opening=()), script=script, ears=Ears(partial_ms=100, final_ms=852)).run(until_ms=9_000)
    assert call.notes("stt_final_overdue")
    assert call.said_by("caller") == [TABLE, "For five people, please."]


def test_a_late_final_is_the_turn_when_there_was_no_partial_at_all():
    call = one_turn(ears=Ears(partial_ms=None, late={1: 1500}))
    assert call.said_by("caller") == [TABLE]
    assert call.said_by("agent") == ["Gladly. For how many people?"]


def test_finals_that_the_provider_gives_by_itself_are_accepted_and_not_doubled():
    call = one_turn(ears=Ears(ends_itself=True, final_ms=60))
    assert call.said_by("caller") == [TABLE]
    assert len(call.said_by("agent")) == 1


def test_speech_that_the_vad_missed_is_answered_all_the_same():
    call = Simulation(plan(opening=()), script=[Say(TABLE, at=1000, seen_by_vad=False)]).run(until_ms=9_000)
    assert call.said_by("caller") == [TABLE]
    assert len(call.said_by("agent")) == 1


def test_an_empty_final_after_noise_is_no_turn():
    call = Simulation(plan(opening=()), script=[Noise(400, at=1000)]).run(until_ms=5_000)
    assert len(call.actions(events.Commit)) == 1
    assert call.turns == []
    assert call.requests == []


@pytest.mark.parametrize("final", ["(coughs)", "[music]", ".", "*sighs*"])
def test_sounds_that_the_recogniser_describes_are_no_words(final):
    script = [Say("hrm", at=1000, final=final)]
    call = Simulation(plan(opening=()), script=script, ears=Ears(partial_ms=None)).run(until_ms=5_000)
    assert call.turns == []
    assert call.requests == []


def test_words_that_break_off_are_waited_for_to_the_longest_silence():
    call = one_turn("I would like to")
    turn = call.turns[0]
    assert turn.end_reason == "longest_silence"
    assert turn.decided_ms - turn.speech_end_ms == 1600


def test_a_number_in_pieces_is_one_turn_when_the_agent_has_asked_for_it():
    call = Simulation(
        plan(opening=("What is your phone number?",)),
        script=[
            Say("It's four one five.", after=400),
            Say("five five five.", pause=1100),
            Say("two six seven one.", pause=1100),
        ],
    ).run(until_ms=16_000)
    assert call.said_by("caller") == ["It's four one five. five five five. two six seven one."]


def test_the_pauses_of_a_slow_speaker_are_learned():
    pause = 620
    script = [
        Say("I was thinking about maybe", at=1000),
        Say("coming over on some day", pause=pause),
        Say("perhaps in the next week", pause=pause),
        Say("with my family.", pause=pause),
    ]
    call = Simulation(plan(opening=()), script=script).run(until_ms=16_000)
    assert len(call.said_by("caller")) == 1
    turn = call.turns[0]
    assert turn.end_reason == "learned_pace"
    assert turn.decided_ms - turn.speech_end_ms > pause


def test_a_pause_in_which_the_agent_spoke_teaches_nothing():
    call = Simulation(plan(), script=[Say("Yes, hello there, I need a table.", after=300), Say("For two.", after=400)])
    call.run(until_ms=20_000)
    assert call.conversation._hearing.endpointing.learned_ms == 0


def test_a_pause_within_a_turn_that_the_agent_filled_teaches_nothing():
    script = [Say("I want to", at=2400), Say("book a table.", pause=1300)]
    call = Simulation(plan(opening_interruptible=False), script=script).run(until_ms=9_000)
    assert call.turns[0].kind == "greeting"
    assert call.turns[0].ended_ms > call._spans[0][1]
    assert call.said_by("caller") == ["I want to book a table."]
    assert call.conversation._hearing.endpointing.learned_ms == 0


def test_a_turn_models_probability_settles_what_the_words_leave_open():
    waits = {}
    for probability in (None, 0.95, 0.1):
        script = [Say("I would like a table tomorrow evening", at=1000)]
        call = Simulation(plan(opening=()), script=script, turn_model=probability).run(until_ms=9_000)
        turn = call.turns[0]
        waits[probability] = turn.decided_ms - turn.speech_end_ms
    assert waits[0.95] < waits[None] < waits[0.1]
    assert waits[0.95] < 500  # as soon as the final text is there


@pytest.mark.parametrize(("text", "asked"), [("I want a table.", 0), ("I want a table for", 0), ("a table tonight", 1)])
def test_a_turn_model_is_asked_once_and_only_where_the_words_leave_it_open(text, asked):
    call = Simulation(plan(opening=()), script=[Say(text, at=1000)], turn_model=0.5).run(until_ms=9_000)
    assert sum(isinstance(item, events.JudgeTurn) for _, item in call.log) == asked


def test_a_turn_model_is_asked_while_no_words_have_come_yet():
    ears = Ears(partial_ms=None)
    call = Simulation(plan(opening=()), script=[Say("a table tonight", at=1000)], ears=ears, turn_model=0.9)
    call.run(until_ms=9_000)
    asked = [at for at, item in call.log if isinstance(item, events.JudgeTurn)]
    committed = [at for at, item in call.log if isinstance(item, events.Commit)]
    assert asked == committed


def test_a_line_that_falls_silent_in_the_middle_of_a_word_still_ends_the_turn():
    conversation = Conversation(plan(opening=()))
    conversation.handle(events.Started(), 0)
    for window in range(1, 20):
        conversation.handle(SpeechWindow(0.95), 1000 + window * 32)
    conversation.handle(events.TranscriptPartial(TABLE), 1620)
    commits = []
    while not commits:
        now = conversation.wake_at_ms
        assert now < 4500
        commits = [a for a in conversation.handle(events.Tick(), now) if isinstance(a, events.Commit)]
    assert conversation.handle(TranscriptFinal(TABLE, 1), now + 200)


def test_keys_reach_the_model_as_text_after_a_pause():
    call = Simulation(plan(opening=()), script=[Press("4155", at=1000)], model=brain(("4155", "Thank you."))).run(
        until_ms=9_000
    )
    turn = call.turns[0]
    assert (turn.kind, turn.text) == ("dtmf", "[keypad] 4155")
    assert turn.decided_ms == 1000 + 3 * 300 + 2000
    assert call.requests[0].messages[-1].content == "[keypad] 4155"
    assert call.said_by("agent")[0] == "Thank you."


def test_an_answer_that_is_owed_waits_for_the_keys_that_are_being_pressed():
    slow = brain(default=Answer("Thank you.", first_ms=1500))
    script = [Say(TABLE, at=1000), Press("4155", pause=900, gap_ms=1200)]
    call = Simulation(plan(opening=()), script=script, model=slow).run(until_ms=14_000)
    assert call.said_by("agent") == ["Thank you."]
    assert call.requests[-1].messages[-1].content == f"{TABLE} [keypad] 4155"
    assert len(call.requests) == 2


def test_the_hash_key_ends_the_entry_at_once():
    call = Simulation(plan(opening=()), script=[Press("42#", at=1000)]).run(until_ms=9_000)
    assert call.turns[0].text == "[keypad] 42"
    assert call.turns[0].decided_ms == 1600


def test_a_key_stops_the_agent_and_what_was_heard_stays():
    call = Simulation(plan(), script=[Press("1#", at=1500)]).run(until_ms=6_000)
    greeting = call.turns[0]
    assert greeting.interrupted
    assert greeting.end_reason == "interrupted_by_keypad"
    assert greeting.heard


def test_words_said_before_the_keys_belong_to_the_same_message():
    call = Simulation(
        plan(opening=()), script=[Say("My pin is", at=1000), Press("42#", pause=300)], ears=Ears(final_ms=100)
    ).run(until_ms=9_000)
    assert call.said_by("caller") == ["My pin is", "[keypad] 42"]
    assert call.requests[-1].messages[-1].content == "My pin is [keypad] 42"


def test_a_turn_at_hang_up_is_written_as_far_as_it_was_heard():
    call = Simulation(plan(opening=()), script=[Say("I would like to book a", at=1000), HangUp(at=2200)]).run()
    [turn] = call.turns
    assert turn.interrupted
    assert TABLE.startswith(turn.text)
    assert len(turn.text.split()) >= 3
    assert call.ended is None


def test_a_five_minute_call_is_the_same_each_time():
    script = [Say("Yes, and what else do you have for me today?"), Wait(200), Say("uh-huh", into=900)] * 25
    first = Simulation(plan(max_call_ms=3_600_000), script=script).run(until_ms=300_000)
    second = Simulation(plan(max_call_ms=3_600_000), script=script).run(until_ms=300_000)
    assert first.log == second.log
    assert len(first.turns) > 50


def test_words_right_behind_a_long_noise_are_heard_though_the_vad_took_them_for_it():
    script = [Say("I would like a table.", word_ms=150, pause=0), Noise(2397, pause=82)]
    call = Simulation(
        plan(opening=()),
        script=[*script, Say("uh-huh", word_ms=300, pause=0)],
        ears=Ears(partial_ms=100, final_ms=101),
    ).run(until_ms=15_000)

    assert " ".join(call.said_by("caller")) == "I would like a table. uh-huh"

"""The manners of a call, scene by scene, where no other test here holds them; the same scenes over real sockets are
``tests/integration/stream/test_turn_taking.py``, and docs/turn-taking.md tells which test holds what.
"""

import itertools

import pytest

from agents.providers.base import ToolCall
from agents.providers.errors import ErrorKind
from streaming.conversation import events
from tests.streaming.conversation.scenario import GREETING, LONG, end_call, plan, tool
from tests.streaming.simulator import Answer, Carrier, Do, Ears, Noise, Say, Simulation, brain

pytestmark = pytest.mark.pure

QUIET = plan(opening=())
ASK = Say("What tables do you have?", at=1000)
TABLES = Say(ASK.text, after=700)
STORY = " ".join([LONG] * 4)
LISTENING = ("uh-huh", "okay", "mhm.", "right", "I see") * 4


def agent_turns(call):
    return [turn for turn in call.turns if turn.role == "agent"]


def pauses(call):
    return [note.data["paused_for_ms"] for _, note in call.notes("voice_resumed")]


def longest_silence_ms(call):
    """From the end of what somebody said to the beginning of what came next."""
    heard = sorted(
        [(turn.first_heard_ms, turn.ended_ms) for turn in agent_turns(call)]
        + [(start, end) for start, end, *_ in call._spans]
    )
    return max(after[0] - before[1] for before, after in itertools.pairwise(heard))


def test_a_number_of_twelve_digits_in_three_pieces_with_pauses_of_900_ms_is_one_turn():
    call = Simulation(
        plan(opening=("What is your customer number?",)),
        script=[
            Say("Zero one two three.", after=400),
            Say("eight three nine zero.", pause=900),
            Say("seven one nine two.", pause=900),
        ],
    ).run(until_ms=14_000)
    assert call.said_by("caller") == ["Zero one two three. eight three nine zero. seven one nine two."]


def test_a_yes_is_answered_at_once():
    call = Simulation(plan(opening=("Shall I book it?",)), script=[Say("Yes.", after=600)]).run(until_ms=6000)
    answer = agent_turns(call)[1]
    assert call.turns[1].end_reason == "complete_words"
    assert answer.decided_ms - answer.speech_end_ms <= 500  # the recogniser's own time, and 20 ms of window
    assert answer.first_heard_ms - answer.speech_end_ms < 900


def test_twenty_backchannels_cancel_no_reply_start_no_turn_and_pause_the_voice_for_700_ms_at_most():
    script = [ASK, Say(LISTENING[0], into=1200, word_ms=230)]
    script += [Say(said, pause=1500, word_ms=230) for said in LISTENING[1:]]
    call = Simulation(QUIET, script=script, model=brain(("what tables", STORY))).run(until_ms=60_000)
    answer = agent_turns(call)[0]
    assert (answer.heard, answer.interrupted) == (STORY, False)
    assert {turn.end_reason for turn in call.turns[1:] if turn.role == "caller"} == {"backchannel"}
    assert len([turn for turn in call.turns if turn.end_reason == "backchannel"]) == 20
    assert all("okay" not in message.content for request in call.requests for message in request.messages)
    assert pauses(call)
    assert max(pauses(call)) <= 700


def test_wait_stop_silences_the_voice_within_200_ms_and_the_model_is_told_what_was_heard():
    call = Simulation(
        QUIET, script=[ASK, Say("wait, stop", into=4000)], model=brain(("what tables", LONG), ("stop", "Yes?"))
    ).run(until_ms=12_000)
    answer = agent_turns(call)[0]
    began = next(word.start_ms for word in call._words if word.text == "wait,")
    paused = call.actions(events.PauseVoice)[0][0]
    assert paused - began <= 200
    played = (paused - answer.first_heard_ms) / 60  # the voice speaks 60 ms a character
    words = list(itertools.accumulate(len(word) + 1 for word in LONG.split()))
    assert abs(len(answer.heard.split()) - sum(end <= played for end in words)) <= 1
    assert call.requests[-1].messages[-2].content == f"{answer.heard} \N{EM DASH}"


def test_a_mute_caller_behind_comfort_noise_is_asked_twice_and_hung_up_on_within_three_silences():
    call = Simulation(plan(), script=[Noise(600_000, at=0, probability=0.3, dbfs=-50)]).run()
    assert call.said_by("agent")[1:] == ["Are you still there?", "I cannot hear you.", "Goodbye."]
    assert call.ended == "silence"
    assert call.ended_ms < 3 * 8000 + sum(60 * len(said) for said in call.said_by("agent")) + 2500


def test_a_first_checkpoint_that_is_never_acknowledged_keeps_nobody_waiting():
    script = [Say("I need a table.", after=700), Say("Goodbye.")]
    model = brain(("table", "For how many?"), ("goodbye", end_call("Goodbye!")))
    heard = Simulation(plan(), script=script, model=model).run()
    deaf = Simulation(plan(), script=script, model=model, carrier=Carrier(deaf_to=1)).run()
    assert deaf.transcript() == heard.transcript()
    assert (deaf.ended, heard.ended) == ("agent_ended", "agent_ended")
    assert deaf.ended_ms - heard.ended_ms < 2000


def test_checkpoints_that_a_clear_has_swallowed_are_not_waited_for():
    answer = "Yes. It is free at seven, and it is by the window, as you like it."
    call = Simulation(
        QUIET, script=[ASK, Say("stop", into=500), Say("Thanks, bye.")], model=brain(("what", answer), ("stop", "Yes?"))
    ).run(until_ms=16_000)
    assert agent_turns(call)[0].interrupted
    assert call.said_by("agent")[1:3] == ["Yes?", "I see. What else can I do for you?"]
    assert call.notes("reprompt") == []


def test_a_recogniser_that_dies_in_a_turn_leaves_no_silence_over_three_seconds_and_the_talk_goes_on():
    script = [
        ASK,
        Do(events.TranscriberFailed(ErrorKind.DROPPED, fatal=False), pause=50),
        Say("The one by the window, please."),
    ]
    call = Simulation(
        QUIET,
        script=script,
        ears=Ears(lost=frozenset({1})),
        model=brain(("what tables", LONG), ("window", "It is yours.")),
    ).run(until_ms=24_000)
    assert call.said_by("caller") == [ASK.text, "The one by the window, please."]
    assert call.said_by("agent")[:2] == [LONG, "It is yours."]
    assert longest_silence_ms(call) < 3000


def test_a_slow_tool_is_bridged_also_when_the_caller_talks_meanwhile_and_then_gives_its_result():
    call = Simulation(
        QUIET,
        script=[Say("Book a table.", at=1000), Say("For five, please.", pause=2600)],
        model=brain(("book", tool()), ("five", "Five at seven it is.")),
        tools={"lookup": (6000, "free: 7")},
    ).run(until_ms=16_000)
    assert [turn.heard for turn in agent_turns(call) if turn.kind == "filler"]
    assert call.said_by("agent")[-1] == "Five at seven it is."
    assert call.requests[-1].messages[-2].content == "free: 7"


@pytest.mark.parametrize("stall_ms", [100, 2000])
@pytest.mark.parametrize("at_ms", [1200, 1900, 2800])
def test_audio_that_a_network_holds_up_in_mid_sentence_is_one_sentence_still(stall_ms, at_ms):
    said = "I would like to book a table for two."
    call = Simulation(
        QUIET,
        script=[Say(said, at=1000)],
        model=brain(("for two", "Gladly.")),
        carrier=Carrier(stall=(at_ms, stall_ms)),
    ).run(until_ms=12_000)
    assert call.said_by("caller") == [said]
    assert len(call.actions(events.Commit)) == 1, "a recogniser that is asked in mid-sentence hears half a word"
    assert call.said_by("agent")[0] == "Gladly."
    assert agent_turns(call)[0].first_heard_ms - max(call.spoke_at(said), at_ms + stall_ms) < 1500


def test_audio_that_a_network_holds_up_while_the_agent_speaks_changes_nothing():
    call = Simulation(QUIET, script=[ASK], model=brain(("what tables", LONG)), carrier=Carrier(stall=(5000, 2000))).run(
        until_ms=20_000
    )
    assert agent_turns(call)[0].heard == LONG
    assert call.actions(events.PauseVoice) == []


@pytest.mark.parametrize("agent_dbfs", [-30, -22, -16, -12])
def test_the_agents_own_echo_20_db_down_neither_pauses_it_nor_starts_a_turn(agent_dbfs):
    carrier = Carrier(agent_dbfs=agent_dbfs, echo_db=-20)
    call = Simulation(plan(), script=[TABLES], carrier=carrier, model=brain(("what tables", LONG))).run(until_ms=24_000)
    assert call.said_by("agent")[:2] == [GREETING, LONG]
    assert call.said_by("caller") == [ASK.text]
    assert call.actions(events.PauseVoice) == []


def test_a_caller_is_heard_over_the_agents_echo_from_the_first_word():
    said = "I would rather sit outside."
    call = Simulation(
        plan(), script=[TABLES, Say(said, into=3000)], carrier=Carrier(echo_db=-20), model=brain(("what tables", LONG))
    ).run(until_ms=16_000)
    assert call.said_by("caller") == [ASK.text, said]
    assert agent_turns(call)[1].interrupted


def test_keys_that_the_model_presses_are_pressed_in_the_turn_that_asks_for_them_and_told_of():
    keys = ToolCall(id="k1", name="press_keys", arguments='{"keys": "4"}')
    call = Simulation(
        QUIET,
        script=[Say("Press four for me.", at=1000)],
        model=brain(("press four", Answer(tools=[keys])), ("were pressed", "I have pressed four.")),
        tools={"press_keys": (0, "The keys were pressed.")},
    ).run(until_ms=8_000)
    assert [action.call for _, action in call.actions(events.RunTool)] == [keys]
    assert call.said_by("agent") == ["I have pressed four."]

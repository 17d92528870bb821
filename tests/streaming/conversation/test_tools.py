"""Tools: run once the turn is decided, never lost, and never for ever."""

import pytest

from agents.providers.base import Message
from streaming.conversation import events
from tests.streaming.conversation.scenario import end_call, plan, tool
from tests.streaming.simulator import Answer, Ears, Noise, Say, Simulation, brain

pytestmark = pytest.mark.pure

BOOK = "I would like to book a table."
QUIET = plan(opening=())


def book(model, *script, until_ms=25_000, the_plan=QUIET, **options):
    return Simulation(the_plan, script=[Say(BOOK, at=1000), *script], model=model, **options).run(until_ms=until_ms)


def answers(call):
    return [turn.heard for turn in call.turns if turn.role == "agent" and turn.kind != "filler"]


def roles(messages):
    return [message.role for message in messages]


def test_a_tool_of_a_speculative_reply_runs_only_when_the_turn_is_decided():
    call = book(brain(("book", tool(first_ms=50))), ears=Ears(final_ms=650))
    decided = call.turns[0].decided_ms
    [(asked, _)] = call.actions(events.ReplyTool)
    [(ran, _)] = call.actions(events.RunTool)
    assert asked < decided == ran


def test_a_tool_of_a_cancelled_speculation_never_runs():
    call = Simulation(
        QUIET,
        script=[Say("Cancel my table", at=1000), Say("or rather move it to Tuesday.", pause=600)],
        model=brain(("tuesday", "Moved."), ("cancel", tool("cancel", first_ms=50))),
    ).run(until_ms=12_000)
    assert call.actions(events.RunTool) == []


def test_the_result_goes_back_to_the_model_in_the_same_turn():
    call = book(brain(("book", tool()), ("free: 7", "There is one at seven.")), tools={"lookup": (400, "free: 7")})
    last = call.requests[-1]
    assert roles(last.messages) == ["system", "user", "assistant", "tool"]
    assert last.messages[2].tool_calls[0].name == "lookup"
    assert last.messages[3] == Message(role="tool", content="free: 7", tool_call_id="t1")
    assert call.said_by("agent")[0] == "There is one at seven."
    row = next(turn for turn in call.turns if turn.role == "tool")
    assert (row.text, row.data["result"], row.ended_ms - row.started_ms) == ("lookup", "free: 7", 400)


def test_words_before_the_tool_are_heard_before_the_answer():
    call = book(
        brain(("book", tool(text="One moment, let me look.")), ("free", "There is one at seven.")),
        tools={"lookup": (200, "free: 7")},
    )
    assert call.said_by("agent")[:2] == ["One moment, let me look.", "There is one at seven."]
    releases = [at for at, _ in call.actions(events.ReleaseVoice)]
    assert releases[1] >= next(turn for turn in call.turns if turn.role == "agent").ended_ms


def test_a_caller_who_speaks_during_a_tool_loses_neither_words_nor_result():
    call = book(
        brain(("book", tool()), ("five", "Five it is, at seven.")),
        Say("For five people, by the way.", pause=1400),
        tools={"lookup": (2500, "free: 7")},
    )
    assert len(call.actions(events.RunTool)) == 1
    assert roles(call.requests[-1].messages) == ["system", "user", "assistant", "tool", "user"]
    assert call.requests[-1].messages[3].content == "free: 7"
    assert call.said_by("agent")[0] == "Five it is, at seven."


def test_a_turn_that_ends_during_a_tool_is_answered_with_its_result():
    call = book(
        brain(("book", tool()), ("five", "Five it is, at seven.")),
        Say("For five people.", pause=1400),
        tools={"lookup": (5000, "free: 7")},
    )
    assert call.said_by("caller") == [BOOK, "For five people."]
    assert len([r for r in call.requests if not r.speculative or r.generation > 1]) == 1
    assert [m.content for m in call.requests[-1].messages[-2:]] == ["free: 7", "For five people."]
    assert answers(call)[0] == "Five it is, at seven."


def test_noise_during_a_tool_does_not_swallow_the_answer():
    call = book(
        brain(("book", tool()), ("free", "There is one at seven.")),
        Noise(400, pause=1400),
        tools={"lookup": (600, "free: 7")},
    )
    assert call.said_by("agent")[0] == "There is one at seven."


def test_interrupting_the_words_before_a_tool_keeps_its_result():
    call = book(
        brain(("book", tool(text="One moment please, let me have a look at the book for you.")), ("five", "Noted.")),
        Say("I forgot, for five people.", into=900),
        tools={"lookup": (1500, "free: 7")},
    )
    assert next(turn for turn in call.turns if turn.role == "agent").interrupted
    assert roles(call.requests[-1].messages)[-3:] == ["assistant", "tool", "user"]
    assert call.said_by("agent")[1] == "Noted."


def test_a_model_that_never_stops_asking_for_tools_is_stopped_after_three_rounds():
    count = iter(range(100))
    call = book(lambda messages: tool(call_id=f"t{next(count)}"))
    assert len(call.actions(events.RunTool)) == 3
    assert call.notes("tool_refused")
    assert call.said_by("agent")[0] == "Sorry, could you say that again?"


def test_a_tool_that_never_answers_is_given_up_and_the_model_told():
    call = book(
        brain(("book", tool()), ("did not answer", "I cannot look that up.")),
        tools={"lookup": (-1, "")},
        until_ms=40_000,
    )
    assert call.notes("tool_overdue")
    assert answers(call)[0] == "I cannot look that up."


def test_nobody_is_reprompted_while_a_tool_runs():
    call = book(brain(("book", tool()), ("free", "At seven.")), tools={"lookup": (15_000, "free")}, until_ms=22_000)
    assert call.notes("reprompt") == []
    assert answers(call) == ["At seven."]


def test_two_tools_of_one_reply_both_answer_before_the_model_goes_on():
    both = tool(call_id="a")
    both.tools = [*both.tools, *tool("price", call_id="b").tools]
    call = book(
        brain(("book", both), ("30", "At seven for thirty.")), tools={"lookup": (100, "7"), "price": (900, "30")}
    )
    assert [message.tool_call_id for message in call.requests[-1].messages[-2:]] == ["a", "b"]
    assert len(call.actions(events.StartReply)) == 2


def test_end_call_says_its_goodbye_and_hangs_up_after_it_was_heard():
    call = book(brain(("book", end_call("Goodbye and see you soon."))))
    turn = call.turns[-1]
    assert turn.heard == "Goodbye and see you soon."
    assert call.ended == "agent_ended"
    assert call.ended_ms >= turn.first_heard_ms + len(turn.heard) * 60
    assert call.actions(events.RunTool) == []
    assert [turn.text for turn in call.turns if turn.role == "tool"] == ["end_call"]


@pytest.mark.parametrize(
    ("answer", "heard"),
    [
        (end_call(), "Goodbye."),
        (end_call(text="It was nice to talk to you."), "It was nice to talk to you."),
        (end_call("See you soon!", text="Noted. See you soon!"), "Noted. See you soon!"),
        (end_call("See you soon!", text="It is booked."), "It is booked. See you soon!"),
    ],
)
def test_the_last_words_are_the_tools_else_the_replys_else_the_plans(answer, heard):
    call = book(brain(("book", answer)))
    assert call.said_by("agent") == [heard]
    assert call.ended == "agent_ended"


@pytest.mark.parametrize("said", ["Bye!", "Thank you, bye bye.", "Okay."])
def test_a_farewell_over_the_goodbye_does_not_keep_the_line_open(said):
    call = book(brain(("book", end_call("Goodbye and see you soon at our restaurant."))), Say(said, into=600))
    assert call.ended == "agent_ended"
    assert len(call.said_by("agent")) == 1


def test_a_caller_who_wants_to_go_on_over_the_goodbye_is_not_hung_up_on():
    call = book(
        brain(("book", end_call("Goodbye and see you soon at our restaurant.")), ("vegan", "Yes, we do.")),
        Say("Oh, do you have vegan dishes?", into=700),
        until_ms=12_000,
    )
    assert call.ended is None
    assert call.said_by("agent")[1] == "Yes, we do."


def test_words_over_a_goodbye_that_may_not_be_interrupted_call_the_end_off_as_well():
    call = book(
        brain(("book", end_call("Goodbye and see you soon at our restaurant.")), ("vegan", "Yes, we do.")),
        Say("Oh, do you have vegan dishes?", into=500),
        the_plan=plan(opening=(), interruptible=False),
        until_ms=12_000,
    )
    assert call.notes("closing_called_off")
    assert call.said_by("agent")[1] == "Yes, we do."


@pytest.mark.parametrize("partial_ms", [150, None])
def test_a_caller_who_begins_with_the_last_word_of_the_goodbye_is_heard_out(partial_ms):
    goodbye = "Goodbye and see you soon."
    options = {"ears": Ears(partial_ms=partial_ms), "the_plan": plan(opening=(), interruptible=False)}
    model = brain(("book", end_call(goodbye)), ("vegan", "Yes, we do."))
    more = book(model, Say("Oh, do you have vegan dishes?", into=len(goodbye) * 60 - 200), until_ms=12_000, **options)
    assert more.ended is None
    assert more.said_by("agent")[1] == "Yes, we do."
    leave = book(model, Say("Thank you, bye!", into=len(goodbye) * 60 - 200), **options)
    assert leave.ended == "agent_ended"
    assert leave.said_by("caller")[1] == "Thank you, bye!"
    assert len(leave.said_by("agent")) == 1


def test_end_call_is_refused_where_the_plan_does_not_allow_it():
    call = book(
        brain(("book", end_call()), ("not available", "How else can I help?")),
        the_plan=plan(opening=(), may_end_call=False),
        until_ms=9_000,
    )
    assert call.ended is None
    assert call.said_by("agent") == ["How else can I help?"]


def test_a_tool_beside_end_call_still_runs_and_nothing_follows_it():
    answer = end_call("Goodbye.")
    answer.tools = [*tool("opt_out").tools, *answer.tools]
    call = book(brain(("book", answer)))
    assert [action.call.name for _, action in call.actions(events.RunTool)] == ["opt_out"]
    assert call.ended == "agent_ended"
    assert len(call.requests) == 1


def test_an_empty_answer_is_asked_for_once_more():
    answers = iter([Answer(""), Answer("Sorry. For how many?")])
    call = book(lambda messages: next(answers), until_ms=9_000)
    assert call.said_by("agent") == ["Sorry. For how many?"]


def test_a_second_empty_answer_makes_the_agent_ask_the_caller_to_repeat():
    call = book(brain(default=Answer("**…**")), until_ms=7_000)
    assert call.said_by("agent") == ["Sorry, could you say that again?"]
    assert call.ended is None


def test_an_answer_cut_by_its_length_ends_with_its_last_whole_sentence():
    call = book(
        brain(("book", Answer("We have two tables for you. One of them is by the", reason="length"))), until_ms=8_000
    )
    assert call.said_by("agent") == ["We have two tables for you."]

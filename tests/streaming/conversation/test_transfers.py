"""Putting a caller through: announced, heard to its end, called off by the caller, and only to who is allowed."""

import json

import pytest

from agents.providers.base import Message, ToolCall
from streaming.conversation import events
from tests.streaming.conversation.scenario import plan
from tests.streaming.simulator import Answer, Say, Simulation, brain

pytestmark = pytest.mark.pure

ASKS = "Can I talk to somebody about my bill?"
PLAN = plan(opening=(), transfers=("billing", "front desk"))


def transfer(destination="billing", announcement="", *, text=""):
    arguments = json.dumps({"destination": destination, "announcement": announcement})
    return Answer(text, tools=[ToolCall(id="t", name="transfer_call", arguments=arguments)])


def ring(answer, *script, the_plan=PLAN, **options):
    model = brain(("no such destination", "I cannot put you through."), ("bill", answer), ("wait", "Yes?"))
    return Simulation(the_plan, script=[Say(ASKS, at=1000), *script], model=model, **options).run(until_ms=25_000)


def test_the_announcement_is_heard_to_its_end_before_the_caller_is_put_through():
    call = ring(transfer(announcement="I am putting you through to billing."))

    ((at, ended),) = call.actions(events.EndCall)
    assert (ended.reason, ended.transfer_to) == ("transferred", "billing")
    turn = call.turns[-1]
    assert (turn.heard, turn.interrupted) == ("I am putting you through to billing.", False)
    assert at - turn.ended_ms < 100


def test_words_of_the_model_announce_it_as_well():
    call = ring(transfer(text="One moment, I will connect you to billing."))

    assert call.said_by("agent") == ["One moment, I will connect you to billing."]
    assert call.ended == "transferred"


def test_without_an_announcement_the_usual_one_of_the_language_is_said():
    assert ring(transfer()).said_by("agent") == ["I am putting you through. One moment, please."]
    german = plan(opening=(), transfers=("billing",), language="de-DE")
    assert ring(transfer(), the_plan=german).said_by("agent") == ["Ich verbinde Sie. Einen Moment, bitte."]


def test_a_caller_who_says_wait_stays_with_the_agent():
    call = ring(
        transfer(announcement="I am putting you through to billing, this may take a little while."),
        Say("No, wait, please.", into=800),
    )

    assert call.actions(events.EndCall) == [] or call.ended != "transferred"
    assert call.notes("interrupted")[0][1].data["closing_called_off"]
    assert "Yes?" in call.said_by("agent")


@pytest.mark.parametrize("destination", ["the police", "", "+15551234567"])
def test_a_destination_that_the_agent_does_not_have_goes_back_to_the_model(destination):
    call = ring(transfer(destination))

    assert call.ended != "transferred"
    assert call.requests[-1].messages[-1] == Message(
        role="tool", content="There is no such destination. There are: billing, front desk.", tool_call_id="t"
    )
    assert call.said_by("agent")[0] == "I cannot put you through."


def test_an_agent_without_destinations_puts_nobody_through():
    call = ring(transfer(), the_plan=plan(opening=()))

    assert call.ended != "transferred"
    assert call.requests[-1].messages[-1].content == "This tool is not available."


def test_a_caller_whom_nobody_answered_is_told_so():
    history = (
        Message(role="user", content=ASKS),
        Message(role="assistant", content="I am putting you through."),
        Message(role="user", content="[The transfer to billing was busy. You are talking to the caller again.]"),
    )
    call = Simulation(
        plan(opening=(), transfers=("billing",), history=history),
        model=brain(("was busy", "Billing is busy. Can I take a message?")),
        resumed=True,
    ).run(until_ms=6000)

    assert call.said_by("agent")[0] == "Billing is busy. Can I take a message?"

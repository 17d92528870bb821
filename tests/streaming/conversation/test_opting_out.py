"""The key by which a campaign's people are never called again."""

import pytest

from streaming.conversation import events
from streaming.conversation.languages import language
from tests.streaming.conversation.scenario import LONG, plan
from tests.streaming.simulator import Press, Say, Simulation, brain

pytestmark = pytest.mark.pure

SAID = language("en-US").opted_out
CAMPAIGN = plan(opt_out_key="9")


def asked(call: Simulation) -> list[int]:
    return [at for at, _ in call.actions(events.OptOut)]


def test_the_key_is_written_before_anything_is_said_and_then_the_call_ends():
    call = Simulation(CAMPAIGN, script=[Press("9", at=1500)]).run(until_ms=12_000)
    assert asked(call) == [1500]
    assert call.said_by("caller") == ["[keypad] 9"]
    assert call.said_by("agent")[-1] == SAID
    assert call.ended == "opted_out"
    first_word = next(at for at, action in call.log if isinstance(action, events.Speak) and action.text == SAID)
    assert first_word > 1500, "not before it was written"


def test_it_works_over_a_greeting_that_cannot_be_interrupted():
    stubborn = plan(opt_out_key="9", opening_interruptible=False, interruptible=False)
    call = Simulation(stubborn, script=[Press("9", at=600)]).run(until_ms=12_000)
    assert asked(call) == [600]
    assert call.ended == "opted_out"


def test_it_works_while_the_agent_answers():
    script = [Say("What tables do you have?"), Press("9", into=2000)]
    call = Simulation(CAMPAIGN, script=script, model=brain(("what tables", LONG))).run(until_ms=24_000)
    assert call.ended == "opted_out"
    assert call.said_by("agent")[-1] == SAID


def test_the_same_key_within_a_number_is_a_digit():
    call = Simulation(CAMPAIGN, script=[Press("495#", at=4000)], model=brain(("495", "Thank you."))).run(
        until_ms=12_000
    )
    assert asked(call) == []
    assert call.said_by("caller") == ["[keypad] 495"]


@pytest.mark.parametrize("key", ["1", "0", "#"])
def test_another_key_is_what_it_always_is(key):
    assert asked(Simulation(CAMPAIGN, script=[Press(key, at=4000)]).run(until_ms=9_000)) == []


def test_on_a_call_that_is_no_campaigns_it_is_a_key_like_any_other():
    call = Simulation(plan(), script=[Press("9", at=4000)], model=brain(("9", "Nine."))).run(until_ms=12_000)
    assert asked(call) == []
    assert "Nine." in call.said_by("agent")


def test_what_could_not_be_written_is_not_said_to_have_been():
    call = Simulation(CAMPAIGN, script=[Press("9", at=6000)], opts_out=False).run(until_ms=14_000)
    assert SAID not in call.said_by("agent")
    assert language("en-US").not_opted_out in call.said_by("agent")
    assert call.ended is None


def test_pressing_it_twice_ends_the_call_once():
    call = Simulation(CAMPAIGN, script=[Press("99", at=1500, gap_ms=20)]).run(until_ms=12_000)
    assert call.ended == "opted_out"
    assert call.said_by("agent").count(SAID) == 1


def test_every_language_that_is_spoken_has_the_words_for_it():
    for tag in ("en-US", "de-DE", "es-ES", "fr-FR", "hi-IN"):
        assert language(tag).opted_out, tag
        assert language(tag).not_opted_out, tag

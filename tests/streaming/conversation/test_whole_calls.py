"""Random whole calls, with the real pacer: nothing is lost, nothing is doubled, nothing contradicts what was heard."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.spec import TurnTaking
from streaming.conversation import events
from tests.streaming.conversation.scenario import LONG, plan, tool
from tests.streaming.simulator import Answer, Carrier, Ears, Mouth, Noise, Press, Say, Simulation, brain

pytestmark = pytest.mark.pure

lines = st.sampled_from(
    [
        "I would like a table.",
        "uh-huh",
        "yes",
        "wait",
        "my number is four one five",
        "five five five",
        "and then we",
        "Tuesday",
        "what about the garden room",
        "look it up please",
        "a b c d",
    ]
)
when = st.one_of(
    st.builds(dict, pause=st.integers(0, 4000)),
    st.builds(dict, into=st.integers(50, 6000)),
    st.builds(dict, after=st.integers(0, 3000)),
)
steps = st.one_of(
    st.builds(lambda text, timing, pace: Say(text, word_ms=pace, **timing), lines, when, st.integers(150, 450)),
    st.builds(lambda ms, timing: Noise(ms, **timing), st.integers(50, 3000), when),
    st.builds(lambda keys, timing: Press(keys, **timing), st.sampled_from(["1", "42#"]), when),
)
models = st.sampled_from(
    [
        brain(("look it up", tool(text="One moment.")), default=LONG),
        brain(default=Answer("Yes, of course. And what else?", first_ms=1200)),
        brain(("look it up", tool()), default="I see."),
    ]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    script=st.lists(steps, min_size=1, max_size=8),
    model=models,
    ears=st.builds(Ears, partial_ms=st.sampled_from([None, 100, 400]), final_ms=st.integers(50, 1200)),
    mouth=st.builds(Mouth, words=st.booleans(), first_ms=st.integers(20, 900)),
    carrier=st.builds(Carrier, acknowledges=st.booleans()),
    the_plan=st.builds(
        lambda *flags: plan(
            interruptible=flags[0],
            opening_interruptible=flags[1],
            reprompts=("Hello?",),
            reprompt_after_ms=3000,
            max_call_ms=3_600_000,
            turn_taking=TurnTaking(speculate_ms=100 if flags[2] else 0),
        ),
        st.booleans(),
        st.booleans(),
        st.booleans(),
    ),
)
def test_every_word_of_the_caller_is_in_exactly_one_turn_and_the_agents_turns_are_what_was_heard(
    script, model, ears, mouth, carrier, the_plan
):
    call = Simulation(the_plan, script=script, model=model, ears=ears, mouth=mouth, carrier=carrier, tools={})
    call.run(until_ms=300_000)
    # A line that begins when the agent has just hung up is heard by nobody.
    said = [word.text for word in call._words if word.line_ms < (call.ended_ms or call.now) - 130]
    written = " ".join(turn.text for turn in call.turns if turn.role == "caller" and turn.kind == "speech").split()
    assert written == said
    for turn in call.turns:
        if turn.role == "agent":
            assert turn.text.startswith(turn.heard)
            assert turn.interrupted or turn.heard == turn.text
    started = {action.generation for _, action in call.actions(events.StartReply)}
    cancelled = {action.generation for _, action in call.actions(events.CancelGeneration)}
    released = {action.generation for _, action in call.actions(events.ReleaseVoice)}
    assert started <= cancelled | released
    pauses = len(call.actions(events.PauseVoice))
    ends = [entry for _, entry in call.log if type(entry) in {events.ResumeVoice, events.CancelGeneration}]
    assert pauses <= len(ends), "no pause without an end"
    assert call.ended == "silence", "and left alone the call ends"

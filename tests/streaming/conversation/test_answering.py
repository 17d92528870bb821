"""Who answered a call of ours: people are talked to at once, machines get the message after their greeting, screeners
are told who calls.
"""

import pytest

from streaming.conversation import events
from streaming.conversation.machines import told
from streaming.conversation.plan import AnsweringPlan
from tests.streaming.conversation.scenario import GREETING, plan
from tests.streaming.simulator import Carrier, Do, HangUp, Mouth, Say, Simulation, brain

pytestmark = pytest.mark.pure

MESSAGE = "This is the dentist. Please call us back about your appointment."
WHO = "This is Anna, the assistant of the dentist, about your appointment."
VOICEMAIL = "Hi, you have reached Bob. I can't come to the phone. Please leave a message after the tone."
SCREENER = "Hi, if you record your name and reason for calling, I'll see if this person is available."


def call(*script, on_machine="leave_message", until_ms=90_000, **changes):
    outbound = plan(answering=AnsweringPlan(on_machine=on_machine, message=MESSAGE, screening=WHO), **changes)
    return Simulation(outbound, script=script, model=brain()).run(until_ms=until_ms)


def verdicts(simulation):
    return [(note.data["who"], note.data["evidence"]) for _, note in simulation.notes("answered_by")]


def began(simulation, text):
    """When it was heard from, of each time that it was said."""
    generations = {each.generation for _, each in simulation.actions(events.Speak) if each.text == text}
    return [each.heard_from_ms for _, each in simulation.actions(events.SegmentSent) if each.generation in generations]


# --- people ----------------------------------------------------------------------------------------------------------


def test_a_person_is_greeted_at_once_and_talked_to():
    simulation = call(
        Say("Hello?", at=300), Say("Who is there please?"), Say("What tables do you have?"), until_ms=30_000
    )
    assert simulation.said_by("agent")[0] == GREETING
    assert began(simulation, GREETING)[0] < 200
    assert verdicts(simulation) == []
    assert simulation.conversation.answering.answered_by == "human"


@pytest.mark.parametrize(
    "said",
    [
        "Would you like to leave a message?",
        "Do you want to leave her a message?",
        "Miller and Sons, good morning, how can I help you?",
        "You have reached Acme, this is Bob speaking.",
        "Sorry, she is not available right now.",
        "Who is calling please?",
        "Möchten Sie eine Nachricht hinterlassen?",
        "Did you get my voicemail?",
        "I am driving, I will call you back as soon as I can.",
        "Is the parcel in the mailbox?",
        "Ich habe Ihnen auf den Anrufbeantworter gesprochen.",
        "He's out, I'll leave him a message.",
        "You can leave a message with me.",
    ],
)
def test_what_people_say_when_they_pick_up_makes_no_machine_of_them(said):
    simulation = call(Say(said, at=300), until_ms=15_000)
    assert verdicts(simulation) == []
    assert MESSAGE not in simulation.said_by("agent")


def test_a_person_who_has_talked_is_one_whatever_the_carrier_believes():
    simulation = call(
        Say("Yes, hello, this is Bob."),
        Say("What tables do you have?"),
        Do(events.MachineReported()),
        until_ms=30_000,
    )
    assert verdicts(simulation) == []
    assert simulation.notes("carriers_verdict_ignored")
    assert simulation.ended is None


@pytest.mark.parametrize("on_machine", ["hang_up", "leave_message"])
def test_a_guess_after_a_hello_hangs_up_on_nobody(on_machine):
    script = [Say("Hello?", at=300), Do(events.MachineReported(), at=5000)]
    simulation = call(*script, on_machine=on_machine, until_ms=12_000)
    assert verdicts(simulation) == []
    assert simulation.notes("carriers_verdict_ignored")


@pytest.mark.parametrize(
    ("said", "tag", "certain"),
    [
        ("Er ist momentan nicht erreichbar.", "de-DE", False),
        ("Der Teilnehmer ist momentan nicht erreichbar.", "de-DE", True),
        ("No está disponible.", "es-ES", False),
        ("El teléfono al que llama no está disponible.", "es-ES", True),
        ("वह अभी व्यस्त है", "hi-IN", False),
        ("आप जिस नंबर पर कॉल कर रहे हैं वह अभी व्यस्त है", "hi-IN", True),
    ],
)
def test_that_somebody_is_not_there_people_say_too_and_only_networks_name_the_line(said, tag, certain):
    found = told(said, tag)
    assert (found.machine, found.machine or found.hint) == (certain, True)


def test_one_turn_of_a_person_beats_the_carriers_guess_in_the_calls_row():
    words = "Hello, I'm not interested, goodbye."
    simulation = call(Say(words, at=300), Do(events.MachineReported(), pause=2500), HangUp(pause=300), until_ms=12_000)
    assert simulation.conversation.answering.answered_by == "human"


def test_who_talks_after_a_wrong_guess_is_a_person_though_the_agent_went_on():
    script = [Do(events.MachineReported(), at=1000), Say("Sorry, who is this?", at=6000), Say("What do you want?")]
    simulation = call(*script, on_machine="go_on", until_ms=40_000)
    assert simulation.conversation.answering.answered_by == "human"
    assert simulation.said_by("agent").count(GREETING) == 1


def test_on_a_call_that_came_in_nothing_is_a_machine():
    simulation = Simulation(plan(), script=[Say(VOICEMAIL, at=300), Do(events.Beep(), pause=500)]).run(until_ms=20_000)
    assert verdicts(simulation) == []
    assert simulation.ended is None


# --- machines --------------------------------------------------------------------------------------------------------


def test_a_message_is_left_whole_after_the_beep():
    simulation = call(Say(VOICEMAIL, at=400), Do(events.Beep(), pause=1500))
    (beep,) = (at for at, event in simulation.log if isinstance(event, events.Beep))
    assert verdicts(simulation) == [("machine", "words")]
    (start,) = began(simulation, MESSAGE)
    assert beep <= start <= beep + 400
    assert simulation.said_by("agent")[-1] == MESSAGE
    assert simulation.ended == "message_left"
    assert simulation.conversation.answering.answered_by == "machine"


def test_without_a_beep_the_message_waits_for_the_end_of_the_greeting():
    simulation = call(Say(VOICEMAIL, at=400))
    (start,) = began(simulation, MESSAGE)
    assert start > simulation.spoke_at(VOICEMAIL) + 2000
    assert simulation.ended == "message_left"


def test_a_beep_that_comes_late_begins_the_message_anew():
    simulation = call(Say(VOICEMAIL, at=400), Do(events.Beep(), pause=4500))
    first, second = began(simulation, MESSAGE)
    (beep,) = (at for at, event in simulation.log if isinstance(event, events.Beep))
    assert first < beep <= second
    assert simulation.said_by("agent")[-1] == MESSAGE
    assert simulation.ended == "message_left"


def test_what_the_agent_was_saying_stops_when_a_machine_answers():
    simulation = call(Say(VOICEMAIL, at=2000), Do(events.Beep(), pause=500))
    assert simulation.said_by("agent")[0] != GREETING
    assert simulation.said_by("agent")[-1] == MESSAGE


def test_no_reply_is_made_for_a_machine_and_none_of_its_silence_is_asked_about():
    simulation = call(Say(VOICEMAIL, at=400), Do(events.Beep(), pause=2000))
    assert all(reply.speculative for reply in simulation.requests), "what was begun on trust is never heard"
    assert not [turn for turn in simulation.turns if turn.kind in {"speech", "reprompt"} and turn.role == "agent"]


def test_a_beep_alone_tells_a_machine():
    simulation = call(Do(events.Beep(), at=3000))
    assert verdicts(simulation) == [("machine", "beep")]
    assert simulation.ended == "message_left"


def test_a_greeting_without_a_pause_is_recorded():
    simulation = call(Say("la " * 60, at=300, word_ms=250))
    assert verdicts(simulation) == [("machine", "long_greeting")]
    assert simulation.ended == "message_left"


def test_the_carriers_verdict_counts_where_nobody_has_talked():
    simulation = call(Do(events.MachineReported(), at=5000))
    assert verdicts(simulation) == [("machine", "carrier")]
    assert simulation.ended == "message_left"


def test_somebody_who_talks_over_a_message_that_was_a_guess_is_a_person():
    simulation = call(
        Do(events.MachineReported(), at=1000),
        Say("Hello? Who is this please?", at=5500),
        until_ms=30_000,
    )
    assert verdicts(simulation) == [("machine", "carrier"), ("human", "words")]
    assert simulation.ended is None
    assert GREETING in simulation.said_by("agent")
    assert simulation.conversation.answering.answered_by == "human"


def test_a_long_answer_to_the_greeting_makes_no_machine_of_anybody():
    simulation = call(Say("Yes it is me and " + "la " * 50, after=300, word_ms=250), until_ms=40_000)
    assert verdicts(simulation) == []


def test_who_speaks_up_before_the_message_was_no_machine_and_is_greeted():
    simulation = call(Do(events.MachineReported(), at=1500), Say("Hello, are you there?", at=2200), until_ms=12_000)
    assert verdicts(simulation) == [("machine", "carrier"), ("human", "words")]
    assert MESSAGE not in simulation.said_by("agent")
    assert GREETING in simulation.said_by("agent")[1:]


def test_a_machine_whose_greeting_begins_like_a_person_is_one_in_the_end():
    simulation = call(
        Do(events.MachineReported(), at=200),
        Say("Hi, this is Bob.", at=600),
        Say("Please leave a message after the tone.", pause=1200),
        Do(events.Beep(), pause=400),
    )
    assert verdicts(simulation)[-1] == ("machine", "words")
    assert simulation.said_by("agent")[-1] == MESSAGE
    assert simulation.ended == "message_left"


def test_a_machine_that_talks_on_over_the_message_is_no_person():
    simulation = call(
        Say(VOICEMAIL, at=400),
        Do(events.Beep(), pause=500),
        Say("I am really sorry about that one", pause=800),
    )
    assert simulation.ended == "message_left"
    assert simulation.said_by("agent")[-1] == MESSAGE


def test_it_is_hung_up_on_at_once_where_that_is_wanted():
    simulation = call(Say(VOICEMAIL, at=400), on_machine="hang_up")
    assert simulation.ended == "machine"
    assert simulation.ended_ms < simulation.spoke_at(VOICEMAIL) + 500
    assert MESSAGE not in simulation.said_by("agent")


def test_it_is_talked_to_where_that_is_wanted():
    simulation = call(Say(VOICEMAIL, at=400), on_machine="go_on", until_ms=25_000)
    assert verdicts(simulation) == [("machine", "words")]
    assert simulation.ended is None
    assert [turn.kind for turn in simulation.turns if turn.role == "agent"].count("speech") >= 1


def test_a_greeting_that_does_not_end_is_hung_up_on():
    simulation = call(
        Say("Please leave a message after the tone. " + "la " * 300, at=300, word_ms=300), until_ms=120_000
    )
    assert simulation.ended == "machine"
    assert 60_000 < simulation.ended_ms < 75_000


def test_a_message_that_the_voice_fails_of_was_not_left():
    outbound = plan(answering=AnsweringPlan(on_machine="leave_message", message=MESSAGE))
    simulation = Simulation(
        outbound, script=[Do(events.Beep(), at=3000)], mouth=Mouth(fails=lambda text: text == MESSAGE)
    ).run(until_ms=60_000)
    assert simulation.ended == "machine"


def test_a_machine_that_hangs_up_leaves_what_was_heard():
    simulation = call(Say(VOICEMAIL, at=400), Do(events.Beep(), pause=500), HangUp(into=1500))
    message = simulation.turns[-1]
    assert (message.kind, message.interrupted) == ("voicemail", True)
    assert message.heard != MESSAGE


def test_the_machines_own_echo_of_the_message_changes_nothing():
    outbound = plan(answering=AnsweringPlan(on_machine="leave_message", message=MESSAGE))
    simulation = Simulation(
        outbound, script=[Do(events.Beep(), at=3000)], carrier=Carrier(echo_db=-20), model=brain()
    ).run(until_ms=60_000)
    assert simulation.ended == "message_left"
    assert simulation.said_by("agent")[-1] == MESSAGE


# --- screeners -------------------------------------------------------------------------------------------------------


def test_a_screener_is_told_who_calls_and_whoever_comes_is_greeted():
    simulation = call(
        Say(SCREENER, at=300),
        Say("Thank you, please stay on the line.", after=500),
        Say("Hello?", pause=9000),
        Say("What is it about?"),
        until_ms=40_000,
    )
    assert verdicts(simulation) == [("screening", "words"), ("human", "words")]
    said = [text for text in simulation.said_by("agent") if text in {WHO, GREETING}]
    assert said[-2:] == [WHO, GREETING]
    asked = [turn.started_ms for turn in simulation.turns if turn.kind == "reprompt"]
    assert all(at > began(simulation, GREETING)[-1] for at in asked), "nobody is asked while somebody looks"
    assert simulation.ended is None


def test_without_words_of_its_own_a_screener_hears_the_opening():
    outbound = plan(answering=AnsweringPlan(on_machine="hang_up"))
    simulation = Simulation(outbound, script=[Say(SCREENER, at=300)]).run(until_ms=20_000)
    (turn,) = (turn for turn in simulation.turns if turn.kind == "screening")
    assert turn.heard == GREETING


def test_a_screener_that_takes_a_message_in_the_end_gets_it():
    simulation = call(
        Say(SCREENER, at=300),
        Say("The person is not available. Please leave a message after the tone.", after=4000),
        Do(events.Beep(), pause=500),
    )
    assert verdicts(simulation) == [("screening", "words"), ("machine", "words")]
    assert simulation.ended == "message_left"
    assert simulation.conversation.answering.answered_by == "machine"


def test_nobody_is_waited_for_for_ever():
    simulation = call(Say(SCREENER, at=300), until_ms=120_000)
    assert simulation.ended == "silence"
    assert simulation.ended_ms < 75_000
    assert simulation.conversation.answering.answered_by == "screening"


# --- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("en-US", "You've reached the voicemail of Anna Miller"),
        ("en-GB", "The person you are calling cannot take your call"),
        ("en-US", "At the tone, please record your message"),
        ("de-DE", "Bitte sprechen Sie Ihre Nachricht nach dem Signalton"),
        ("de-DE", "Der Teilnehmer ist zurzeit nicht erreichbar"),
        ("es-ES", "Por favor, deje su mensaje después del tono"),
        ("fr-FR", "Laissez-moi un message après le bip"),
        ("hi-IN", "कृपया बीप के बाद अपना संदेश छोड़ें"),
        ("fr-FR", "Please leave your message after the beep"),
    ],
)
def test_machines_of_every_language_are_known_by_their_words(tag, text):
    assert told(text, tag).machine


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("en-US", SCREENER),
        ("en-US", "Please state your name and the reason for your call"),
        ("de-DE", "Bitte nennen Sie Ihren Namen und den Grund für Ihren Anruf"),
        ("es-ES", "Por favor diga su nombre y el motivo de su llamada"),
        ("fr-FR", "Dites votre nom et le motif de votre appel"),
    ],
)
def test_screeners_are_known_by_their_words(tag, text):
    assert told(text, tag).screening
    assert not told(text, tag).machine

"""The key by which a campaign's people are never called again."""

import pytest

from streaming.conversation import events
from streaming.conversation.languages import language, wants_no_calls
from streaming.conversation.plan import AnsweringPlan
from tests.streaming.conversation.scenario import LONG, plan
from tests.streaming.simulator import Do, HangUp, Press, Say, Simulation, brain

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


# --- whoever says so and hangs up ------------------------------------------------------------------------------------


def spoken(call: Simulation) -> list[str]:
    return [action.evidence for _, action in call.actions(events.OptOut) if action.spoken]


def test_who_says_so_and_hangs_up_at_once_has_asked():
    words = "Take me off your list and stop calling."
    call = Simulation(CAMPAIGN, script=[Say(words, at=2500), HangUp(pause=100)]).run(until_ms=12_000)
    (evidence,) = spoken(call)
    assert words.startswith(evidence), "as far as the recogniser had come"
    assert call.said_by("caller") == [evidence]


def test_who_is_asked_back_and_hangs_up_has_asked():
    words = "Please do not call me again."
    model = brain(("again", "Shall I put you on our list?"))
    call = Simulation(CAMPAIGN, script=[Say(words, at=2500), Say("Yes."), HangUp(pause=50)], model=model)
    assert spoken(call.run(until_ms=20_000)) == [words]


def test_who_hangs_up_without_a_word_of_it_has_not():
    for words in ("I will call you back.", "Don't call me before nine.", "Is this a list of tables?"):
        call = Simulation(CAMPAIGN, script=[Say(words, at=2500), HangUp(pause=100)]).run(until_ms=12_000)
        assert asked(call) == []


def test_a_screener_that_says_it_for_somebody_has_asked():
    screened = plan(opt_out_key="9", answering=AnsweringPlan(on_machine="hang_up", message="", screening="It is Anna."))
    name = "Hi, if you record your name and reason for calling, I'll see if this person is available."
    words = "This person takes no such calls. Please remove this number from your mailing and contact list."
    script = [Say(name, at=300), Say(words), HangUp(pause=800)]
    call = Simulation(screened, script=script).run(until_ms=60_000)
    assert spoken(call) == [words]


def test_on_a_call_that_came_in_words_put_nobody_on_the_list():
    call = Simulation(plan(), script=[Say("Stop calling me.", at=2500), HangUp(pause=100)]).run(until_ms=12_000)
    assert asked(call) == []


def test_who_was_put_on_the_list_by_the_key_is_put_there_once():
    script = [Say("Stop calling me.", at=2500), Press("9", pause=50)]
    call = Simulation(CAMPAIGN, script=script).run(until_ms=16_000)
    assert call.ended == "opted_out"
    assert len(asked(call)) == 1


@pytest.mark.parametrize(
    "words",
    [
        "Take me off your list.", "Remove my number from your database", "Take me off it, thanks", "Stop calling me!",
        "Don\u2019t call me again.", "do not ever call here anymore", "Never call this number.", "Don't call, please.",
        "I don't want any more calls.", "I do not want you to call me any more", "No more calls!", "Unsubscribe.",
        "Put me on the do-not-call list.", "opt me out", "Delete my number.",
        "Rufen Sie mich nie wieder an!", "Bitte rufen Sie hier nicht mehr an.",
        "Ich möchte nicht mehr angerufen werden.",
        "Keine Anrufe mehr bitte", "Hören Sie auf, mich anzurufen.", "Nehmen Sie mich von Ihrer Liste.",
        "Löschen Sie meine Nummer", "Streichen Sie mich aus der Kartei",
        "No me llame más.", "No vuelva a llamar.", "Deje de llamarme", "No quiero que me llamen",
        "Quíteme de la lista.",
        "Ne m'appelez plus.", "Arrêtez de m'appeler !", "Je ne veux plus être appelé.", "Ne me rappelez jamais.",
        "Retirez-moi de votre liste.", "Je ne veux plus d'appels",
        "मुझे कॉल मत करो", "फ़ोन मत कीजिए", "mujhe call mat karo",
    ],
)  # fmt: skip
def test_these_words_ask_for_no_more_calls(words):
    assert wants_no_calls(words)


@pytest.mark.parametrize(
    "words",
    [
        "Don't call me before nine.", "Call me again tomorrow.", "Can you take my order?", "Do not call him Bob.",
        "Remove the Tuesday from my booking.", "I never called you.", "Stop, wait.", "I'm calling about the list.",
        "Rufen Sie mich morgen an.", "Ich bin nicht mehr interessiert.",
        "Ich habe nicht angerufen.", "Keine Anrufe heute.",
        "Llámeme más tarde.", "No, llame mañana.", "Rappelez-moi plus tard.", "Vous pouvez rappeler plus tard.",
        "No, llame más tarde.", "Je vous appelle demain.",
        "कल कॉल करो", "",
    ],
)  # fmt: skip
def test_these_words_do_not(words):
    assert not wants_no_calls(words)


# --- the key while the call is about to end --------------------------------------------------------------------------

MESSAGE = "This is the dentist. Please call us back about your appointment, any day between nine and five."


def test_it_works_over_a_message_that_was_meant_for_a_machine():
    guessed = plan(opt_out_key="9", answering=AnsweringPlan(on_machine="leave_message", message=MESSAGE, screening=""))
    script = [Do(events.MachineReported(), at=1000), Press("9", at=6000)]
    call = Simulation(guessed, script=script).run(until_ms=30_000)
    assert asked(call) == [6000]
    assert call.said_by("agent")[-1] == SAID
    assert call.ended == "opted_out"


def test_it_works_over_the_goodbye_of_the_longest_call():
    short = plan(opt_out_key="9", max_call_ms=5000)
    call = Simulation(short, script=[Press("9", at=5600)]).run(until_ms=30_000)
    assert asked(call) == [5600]
    assert call.said_by("agent")[-1] == SAID
    assert call.ended == "opted_out"

"""How much silence a turn needs."""

import pytest

from agents.spec import TurnTaking
from streaming.conversation.endpointing import Endpointing

pytestmark = pytest.mark.pure

NUMBERS = TurnTaking()


def endpointing(language="en-US", asked=""):
    rules = Endpointing(turn_taking=NUMBERS, language_tag=language)
    rules.agent_said(asked)
    return rules


@pytest.mark.parametrize(
    "text", ["I want a table.", "Do you open on Sundays?", "Yes", "no thanks", "okay sure", "\u4f60\u597d\u3002"]
)
def test_a_complete_sentence_or_short_answer_ends_after_the_least_wait(text):
    wait = endpointing().wait(text)
    assert (wait.ms, wait.rule) == (NUMBERS.min_wait_ms, "complete_words")


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "I would like to"),
        ("en", "I would like a table and."),
        ("en", "Well,"),
        ("en", "I mean..."),
        ("de", "Ich möchte einen Tisch für"),
        ("es", "quiero una mesa para"),
        ("fr", "je voudrais une table pour"),
        ("hi", "मुझे एक टेबल चाहिए और"),
    ],
)
def test_words_that_break_off_get_the_longest_wait(language, text):
    assert endpointing(language).wait(text).ms == NUMBERS.max_wait_ms


def test_open_words_get_a_wait_between():
    assert NUMBERS.min_wait_ms < endpointing().wait("a table tomorrow evening").ms < NUMBERS.max_wait_ms


@pytest.mark.parametrize(
    ("language", "question", "answer", "rule"),
    [
        ("en", "What is your phone number?", "four one five", "patience_number"),
        ("en", "Could you spell your name for me?", "M, A, Y.", "patience_spelling"),
        ("en", "What is your e-mail address?", "It's john.", "patience_email"),
        ("en", "What is the street address?", "Ten Downing Street.", "patience_address"),
        ("de", "Wie lautet Ihre Telefonnummer?", "null drei null", "patience_number"),
        ("es", "¿Cuál es su número de teléfono?", "seis uno dos", "patience_number"),
        ("fr", "Quel est votre numéro ?", "zéro six douze", "patience_number"),
        ("hi", "आपका फ़ोन नंबर क्या है?", "नौ आठ सात", "patience_number"),
    ],
)
def test_the_answer_to_a_question_for_a_value_gets_patience(language, question, answer, rule):
    wait = endpointing(language, question).wait(answer)
    assert wait.rule == rule
    assert wait.ms >= NUMBERS.min_wait_ms + NUMBERS.patience_ms


@pytest.mark.parametrize("text", ["it is four one five", "my code is 415", "jane at, jane@", "B R"])
def test_a_value_that_is_being_given_gets_patience_unasked(text):
    assert endpointing().wait(text).rule.startswith("patience_") or endpointing().wait(text).ms >= 1600


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("What is your e-mail address?", "john.doe@example.com"),
        ("What is your e-mail address?", "John at example dot com"),
        ("What is your phone number?", "four one five five five five two six seven one."),
        ("What is your phone number?", "4155552671."),
        ("What is your phone number?", "I don't have one."),
        ("For how many people is it?", "Four."),
    ],
)
def test_a_complete_value_or_a_refusal_needs_no_patience(question, text):
    assert endpointing(asked=question).wait(text).ms < NUMBERS.min_wait_ms + NUMBERS.patience_ms


def test_only_the_last_question_counts():
    rules = endpointing(asked="Is this your phone number? Great. How many people are coming?")
    assert rules.asked == ""


def test_the_learned_pause_is_a_floor_and_never_above_the_longest_wait():
    rules = endpointing()
    for _ in range(8):
        rules.caller_paused(600)
    assert rules.wait("I want a table.").ms == 750
    for _ in range(8):
        rules.caller_paused(3000)
    assert rules.wait("I want a table.").ms == NUMBERS.max_wait_ms


@pytest.mark.parametrize("pause", [0, 150, 60_000])
def test_pauses_between_words_and_long_absences_teach_nothing(pause):
    rules = endpointing()
    rules.caller_paused(pause)
    assert rules.learned_ms == 0


def test_a_turn_model_is_heard_only_where_the_words_leave_it_open():
    rules = endpointing()
    assert rules.wait("a table tomorrow evening", probability=1.0).ms == NUMBERS.min_wait_ms
    assert rules.wait("a table tomorrow evening", probability=0.0).ms == NUMBERS.max_wait_ms
    assert rules.wait("I want a table.", probability=0.0).ms == NUMBERS.min_wait_ms
    assert rules.wait("I want a", probability=1.0).ms == NUMBERS.max_wait_ms


def test_a_language_without_lists_goes_by_punctuation():
    rules = endpointing("sv-SE")
    assert rules.wait("Jag vill boka ett bord.").rule == "complete_words"
    assert rules.wait("jag vill boka").rule == "open_words"

"""The scripted brain: whole dialogues, what it keeps from the messages alone, tools and forms."""

from typing import Any

import pytest

from sandbox.brain import Brain, blank
from sandbox.brain_extract import fill_form, transcript_lines
from sandbox.grammar import scenario
from sandbox.voice import say

pytestmark = pytest.mark.pure

END_CALL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "end_call",
        "parameters": {"type": "object", "properties": {"goodbye": {"type": "string"}}},
    },
}


def talk(name: str, *said: str, tools: tuple[dict[str, Any], ...] = (END_CALL,)) -> list[Any]:
    """The replies to these lines of a caller, each with the whole history before it."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You answer the phone."}]
    replies = []
    for text in said:
        messages.append({"role": "user", "content": text})
        replies.append(Brain(name).reply(messages, tools))
        messages.append({"role": "assistant", "content": replies[-1].text[:20]})  # only the beginning was heard
    return replies


def script(name: str) -> list[str]:
    lines = {line["id"]: line["text"] for line in scenario(name)["caller"]["lines"]}
    steps = [step for step in scenario(name)["caller"]["steps"] if isinstance(step, dict)]
    said = [step.get("say") or (step.get("interrupt") or {}).get("say") for step in steps]
    return [lines[identity] for identity in said if identity]


def test_the_front_desk_books_with_the_correction_and_ends_the_call() -> None:
    replies = talk("front_desk", *script("front_desk"))
    assert "Which day" in replies[0].text
    assert "Tuesday morning" in replies[1].text
    assert say(replies[1].text, "en-us").duration_ms >= 6000  # long enough to be interrupted
    assert "Wednesday morning" in replies[2].text
    assert "your name" in replies[2].text
    assert "Anna Miller" in replies[3].text
    assert "Wednesday morning" in replies[3].text
    assert "forty dollars" in replies[4].text
    assert replies[5].tool is not None
    assert replies[5].tool[0] == "end_call"
    assert "Goodbye" in replies[5].tool[1]["goodbye"]


def test_the_reminder_moves_the_appointment() -> None:
    replies = talk("appointment_reminder", *script("appointment_reminder"))
    assert "Friday afternoon" in replies[-2].text or "Friday afternoon" in replies[-3].text
    assert replies[-1].tool is not None


def test_without_the_tool_the_goodbye_is_spoken() -> None:
    (reply,) = talk("front_desk", "goodbye", tools=())
    assert reply.tool is None
    assert "Goodbye" in reply.text


def test_what_is_outside_the_script_is_answered_with_what_it_understands() -> None:
    (reply,) = talk("front_desk", "who won the world cup")
    assert "demonstration" in reply.text
    assert "appointment" in reply.text


def test_a_sentence_cut_at_a_pause_is_joined() -> None:
    messages = [
        {"role": "user", "content": "my name is"},
        {"role": "user", "content": "anna miller"},
    ]
    assert "Anna Miller" in Brain("front_desk").reply(messages, ()).text


def test_it_keeps_nothing_between_two_requests() -> None:
    brain = Brain("front_desk")
    brain.reply([{"role": "user", "content": "my name is anna miller"}], ())
    assert "Anna" not in brain.reply([{"role": "user", "content": "goodbye"}], ()).text


def test_repeat_says_the_last_thing_again() -> None:
    first, again = talk("front_desk", "tuesday morning please", "could you say that again please")
    assert first.text == again.text


@pytest.mark.parametrize(
    "text",
    [
        "[00:01] Caller: tuesday please\n[00:05] Agent: Gladly.",
        "user: tuesday please\nassistant: Gladly.",
        '[{"role": "caller", "text": "tuesday please"}, {"role": "agent", "text": "Gladly."}]',
        '{"turns": [{"speaker": "caller", "text": "tuesday please"}, {"speaker": "agent", "text": "Gladly."}]}',
    ],
)
def test_transcripts_are_read_in_several_forms(text: str) -> None:
    assert transcript_lines(text) == [("caller", "tuesday please"), ("agent", "Gladly.")]


def test_a_form_gets_values_of_its_own_types() -> None:
    schema = {
        "type": "object",
        "properties": {
            "summary": {"type": "string"},
            "outcome": {"type": "string", "enum": ["completed", "failed"]},
            "sentiment": {"enum": ["positive", "neutral", "negative"]},
            "success": {"type": "boolean"},
            "fields": {
                "type": "object",
                "properties": {
                    "day": {"anyOf": [{"type": "string"}, {"type": "null"}]},
                    "name": {"type": ["string", "null"]},
                    "budget": {"type": ["number", "null"]},
                    "tags": {"type": "array", "items": {"type": "string"}},
                },
            },
        },
    }
    transcript = "Caller: on tuesday please\nAgent: The name?\nCaller: this is john smith\nCaller: bye"
    form = fill_form(Brain("front_desk"), [{"role": "user", "content": transcript}], schema)
    assert form == {
        "summary": "John Smith booked an appointment for Tuesday.",
        "outcome": "completed",
        "sentiment": "positive",
        "success": True,
        "fields": {"day": "Tuesday", "name": "John Smith", "budget": None, "tags": []},
    }


def test_a_call_without_a_word_fills_an_empty_form() -> None:
    schema = {"type": "object", "properties": {"success": {"type": "boolean"}, "name": {"type": ["string", "null"]}}}
    messages = [{"role": "user", "content": "Agent: Hello?"}]
    assert fill_form(Brain("front_desk"), messages, schema) == {"success": False, "name": None}


def test_blank_values_fit_their_schemas() -> None:
    assert blank({"enum": ["a", "b"]}) == "a"
    assert blank({"type": ["integer", "null"]}) is None
    assert blank({"type": "object", "properties": {"a": {"type": "array"}, "b": {"const": 3}}}) == {"a": [], "b": 3}

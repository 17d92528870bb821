import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.providers.base import ToolCall
from agents.spec import TransferTarget
from agents.tools.base import EndCall, PressKeys, ToolProblem, definitions, interpret, register, registry
from tests.streaming.fakes import spec

pytestmark = pytest.mark.pure

BILLING = TransferTarget(name="billing", number="+15551230001", description="questions about invoices")
DESK = TransferTarget(name="front desk", number="+15551230002")


def call(arguments: str, name: str = "end_call") -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def test_a_goodbye_is_taken_from_the_arguments():
    assert interpret(call('{"goodbye": "See you on Tuesday."}')) == EndCall("See you on Tuesday.")


@pytest.mark.parametrize("arguments", ["", "{}", "  ", '{"unknown": 1}'])
def test_ending_the_call_needs_no_arguments(arguments):
    assert interpret(call(arguments)) == EndCall("")


@pytest.mark.parametrize("arguments", ["{", "[]", '"x"', '{"goodbye": 5}', '{"goodbye": null}', "\ud800"])
def test_bad_arguments_go_back_to_the_model_as_a_problem(arguments):
    assert isinstance(interpret(call(arguments)), ToolProblem)


@given(st.text(), st.text())
def test_no_tool_call_raises(name, arguments):
    interpret(call(arguments, name))
    interpret(call(arguments))


def test_an_unknown_tool_is_a_problem_and_an_unknown_name_in_a_definition_an_error():
    assert isinstance(interpret(call("{}", "launch")), ToolProblem)
    with pytest.raises(KeyError):
        definitions(spec(tools=("launch",)))


def test_two_tools_cannot_share_a_name():
    with pytest.raises(ValueError, match="already"):
        register(registry["end_call"])


def test_the_model_is_told_of_each_tool_with_a_closed_schema():
    told = definitions(spec(tools=tuple(registry), transfers=(BILLING, DESK)))
    assert [definition.name for definition in told] == list(registry)
    for definition in told:
        assert definition.parameters["additionalProperties"] is False
        assert set(definition.parameters["required"]) <= set(definition.parameters["properties"])
        assert definition.description


def test_the_model_chooses_a_destination_by_name_and_learns_no_number():
    (definition,) = definitions(spec(tools=("transfer_call",), transfers=(BILLING, DESK)))
    destination = definition.parameters["properties"]["destination"]

    assert destination["enum"] == ["billing", "front desk"]
    assert "billing: questions about invoices" in destination["description"]
    assert "555" not in str(definition.parameters)


def test_only_keys_of_a_phone_are_pressed():
    assert interpret(call('{"keys": "12#"}', "press_keys")) == PressKeys("12#")
    for keys in ("", "12a", "1" * 33, "\u0661"):
        assert isinstance(interpret(call(json.dumps({"keys": keys}), "press_keys")), ToolProblem)

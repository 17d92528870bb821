"""What the model's tool calls do on the line."""

import pytest

from agents.providers.base import ToolCall
from agents.spec import AgentSpec, StageSpec
from streaming import tools
from streaming.conversation.events import RunTool

pytestmark = pytest.mark.pure

STAGE = StageSpec(account_id="", provider="fake", model="fake")


class Keys:
    """A line that remembers the keys it was sent."""

    def __init__(self) -> None:
        self.pressed: list[str] = []

    def press(self, keys: str) -> None:
        self.pressed.append(keys)


def press(arguments: str, *offered: str) -> tuple[list[str], str]:
    """The keys that went down the line, and what the model is told."""
    line = Keys()
    spec = AgentSpec(name="Anna", stt=STAGE, llm=STAGE, tts=STAGE, tools=offered)
    call = ToolCall(id="k1", name="press_keys", arguments=arguments)
    result = tools.run(RunTool(3, call), spec, line)  # type: ignore[arg-type]  # only this much of a line
    assert (result.generation, result.call_id) == (3, "k1")
    return line.pressed, result.content


def test_keys_go_down_the_line_and_the_model_is_told_so() -> None:
    assert press('{"keys": "12#"}', "press_keys") == (["12#"], "The keys were pressed.")


@pytest.mark.parametrize(("arguments", "offered"), [('{"keys": "12#"}', ()), ('{"keys": "abc"}', ("press_keys",))])
def test_keys_that_are_none_or_that_the_agent_may_not_press_stay_where_they_are(arguments, offered) -> None:
    pressed, told = press(arguments, *offered)
    assert pressed == []
    assert told

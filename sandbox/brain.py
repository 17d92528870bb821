"""The scripted brain of the demonstration (model `demo-script`): rules of a scenario instead of a language model.

It keeps nothing between requests: state and slots come from replaying the caller's messages in the request through
the rules of sandbox/scenarios/<name>.yaml. Used by sandbox/openai/thinker.py; sandbox/brain_extract.py fills post-call
forms from the same replay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sandbox import grammar


@dataclass(frozen=True)
class BrainReply:
    """What the brain says, and the tool that it calls: (name, arguments)."""

    text: str
    tool: tuple[str, dict[str, Any]] | None = None


@dataclass
class Dialogue:
    """Where a conversation stands after some messages of the caller.

    Attributes:
        state: name of the question that is open.
        slots: what the caller gave, as it is to be spoken.
        rules: ids of the rules that fired, in order; "outside" where none did.
    """

    state: str
    slots: dict[str, str] = field(default_factory=dict)
    rules: list[str] = field(default_factory=list)
    said: str = ""
    tool: str = ""


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"[^\w' ]", " ", text.lower().replace("\u2019", "'"))).strip()


def fill(text: str, slots: dict[str, str]) -> str:
    """Put slots into `{name}`; a missing one leaves nothing behind."""
    filled = re.sub(r"\{(\w+)\}", lambda match: slots.get(match.group(1), ""), text)
    return re.sub(r"\s+([,.!?])", r"\1", re.sub(r"\s+", " ", filled)).strip()


class Brain:
    """The rules of one scenario."""

    def __init__(self, name: str) -> None:
        """Raises grammar.UnknownScenarioError when the scenario has no brain."""
        script = grammar.scenario(name).get("brain")
        if not script:
            message = f"scenario {name!r} has no brain"
            raise grammar.UnknownScenarioError(message)
        self.script: dict[str, Any] = script

    def replay(self, messages: Iterable[str]) -> Dialogue:
        """The dialogue after these messages of the caller, oldest first."""
        dialogue = Dialogue(state=self.script["start"], said=self.script["greeting"])
        for message in messages:
            self._hear(dialogue, _plain(message))
        return dialogue

    def _take_slots(self, text: str, slots: dict[str, str]) -> None:
        for name, slot in self.script["slots"].items():
            found = re.search(slot["pattern"], text)
            if found:
                value = next(group for group in found.groups() if group)
                slots[name] = value.title() if slot.get("title") else value
        for name, phrase in self.script.get("phrases", {}).items():
            slots[name] = fill(phrase, slots)

    def _rule(self, text: str, dialogue: Dialogue) -> dict[str, Any] | None:
        for rule in self.script["rules"]:
            if (
                re.search(rule["says"], text)
                and ("in" not in rule or dialogue.state in rule["in"])
                and all(dialogue.slots.get(slot) for slot in rule.get("has", ()))
                and not any(dialogue.slots.get(slot) for slot in rule.get("lacks", ()))
            ):
                return dict(rule)
        return None

    def _hear(self, dialogue: Dialogue, text: str) -> None:
        dialogue.tool = ""
        before = dict(dialogue.slots)
        self._take_slots(text, dialogue.slots)
        dialogue.slots["before"] = before.get("day", "")
        rule = self._rule(text, dialogue)
        if rule is None:
            dialogue.rules.append("outside")
            dialogue.said = self.script["outside"]
            return
        dialogue.rules.append(rule["id"])
        if rule.get("repeat"):
            return
        dialogue.state = rule.get("to", dialogue.state)
        parts = [rule["say"], self.script["questions"].get(dialogue.state, "") if rule.get("ask") else ""]
        dialogue.said = fill(" ".join(parts), dialogue.slots)
        dialogue.tool = rule.get("tool", "")

    def reply(self, messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]]) -> BrainReply:
        """Answer the last message of a chat, in the form of the Chat Completions API."""
        if messages and messages[-1].get("role") == "tool":
            return BrainReply(self.script["after_tool"])
        said = callers_words(messages)
        if not said:
            return BrainReply(self.script["greeting"])
        dialogue = self.replay(said)
        if dialogue.rules[-1] == "outside":
            joined = _last_turn(messages)
            whole = self.replay([*said[:-1], joined])
            dialogue = whole if whole.rules[-1] != "outside" else dialogue
        call = _tool_call(dialogue, tools)
        return BrainReply("" if call and _spoken_argument(tools, call[0]) else dialogue.said, call)


def _content(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content)


def callers_words(messages: Sequence[dict[str, Any]]) -> list[str]:
    """What the caller said, message by message."""
    return [_content(message) for message in messages if message.get("role") == "user" and _content(message).strip()]


def _last_turn(messages: Sequence[dict[str, Any]]) -> str:
    """The caller's last messages with no reply between them: one sentence that was cut at a pause."""
    turn: list[str] = []
    for message in reversed(messages):
        if message.get("role") != "user":
            break
        turn.append(_content(message))
    return " ".join(reversed(turn))


def _parameters(tools: Sequence[dict[str, Any]], name: str) -> dict[str, Any] | None:
    for tool in tools:
        function = tool.get("function", tool)
        if function.get("name") == name:
            return dict(function.get("parameters") or {})
    return None


def _spoken_argument(tools: Sequence[dict[str, Any]], name: str) -> str | None:
    """The tool's string argument that is said to the caller, if it has one."""
    properties = (_parameters(tools, name) or {}).get("properties", {})
    return next((key for key in properties if key in ("goodbye", "message", "farewell", "text")), None)


def _tool_call(dialogue: Dialogue, tools: Sequence[dict[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """The first tool that the rule asks for and that was offered, with arguments as its schema wants them."""
    wanted = dialogue.tool.split(" or ") if dialogue.tool else []
    offered = ((each, _parameters(tools, each)) for each in wanted)
    tool, parameters = next(((each, found) for each, found in offered if found is not None), ("", None))
    if parameters is None:
        return None
    spoken = _spoken_argument(tools, tool)
    arguments: dict[str, Any] = {}
    for name, schema in parameters.get("properties", {}).items():
        if name == spoken:
            arguments[name] = dialogue.said
        elif name in parameters.get("required", ()):
            arguments[name] = dialogue.slots.get(name) or blank(schema)
    return tool, arguments


def blank(schema: dict[str, Any]) -> Any:
    """The emptiest value that a JSON schema takes."""
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return None if None in schema["enum"] else schema["enum"][0]
    for union in ("anyOf", "oneOf"):
        if schema.get(union):
            blanks = [blank(option) for option in schema[union]]
            return None if None in blanks else blanks[0]
    kinds = schema.get("type", "string")
    if isinstance(kinds, list):
        return None if "null" in kinds else blank({**schema, "type": kinds[0]})
    if kinds == "object":
        return {name: blank(part) for name, part in schema.get("properties", {}).items()}
    return {"string": "", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None}.get(kinds, "")


def arguments_text(arguments: dict[str, Any]) -> str:
    """Arguments as the API carries them: JSON text."""
    return json.dumps(arguments, ensure_ascii=False)

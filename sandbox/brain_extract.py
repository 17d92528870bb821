"""Fills the form that is asked for after a call (`response_format: json_schema`) from the transcript in the request.

It replays the caller's lines through the scenario's rules and reads the form's fields by name; what no rule knows gets
an empty value of the right type. Used by sandbox/openai/thinker.py for the model `demo-script`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from sandbox.brain import Brain, Dialogue, blank, callers_words, fill

_CALLER = r"(?:caller|user|customer|human|contact|patient|client)"
_AGENT = r"(?:agent|assistant|bot|ai)"
_STAMP = r"(?:[\[(]?\d+(?:[:.]\d+)*\s*(?:ms|s)?[\])]?[\s,-]*)?"
_LINE = re.compile(rf"^\W*{_STAMP}\W*({_CALLER}|{_AGENT})\b[^:>\n]{{0,40}}[:>]\s*(.*)$", re.IGNORECASE)


def transcript_lines(text: str) -> list[tuple[str, str]]:
    """(speaker "caller" or "agent", words) of a transcript written as lines "Caller: ..." or as JSON messages."""
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        content = None
    if isinstance(content, dict):
        content = next((value for value in content.values() if isinstance(value, list)), None)
    if isinstance(content, list):
        return [_json_line(item) for item in content if isinstance(item, dict)]
    found = [match.groups() for match in map(_LINE.match, text.splitlines()) if match]
    return [("caller" if re.fullmatch(_CALLER, who, re.IGNORECASE) else "agent", words) for who, words in found]


def _json_line(item: dict[str, Any]) -> tuple[str, str]:
    who = str(item.get("role") or item.get("speaker") or "")
    words = next((str(item[key]) for key in ("text", "content", "heard", "words") if item.get(key)), "")
    return ("caller" if re.fullmatch(_CALLER, who, re.IGNORECASE) else "agent"), words


def fill_form(brain: Brain, messages: Sequence[dict[str, Any]], schema: dict[str, Any]) -> dict[str, Any]:
    """A JSON object of the asked schema about the conversation in the request."""
    said: list[str] = []
    for text in callers_words(messages):
        lines = transcript_lines(text)
        said += [words for who, words in lines if who == "caller"] if lines else []
    if not said:
        said = [] if len(callers_words(messages)) <= 1 else callers_words(messages)
    dialogue = brain.replay(said)
    return {name: _value(brain, dialogue, name, part) for name, part in schema.get("properties", {}).items()}


def _value(brain: Brain, dialogue: Dialogue, name: str, schema: dict[str, Any]) -> Any:
    plain = re.sub(r"[^a-z]+", "_", name.lower())
    if schema.get("type") == "object" and schema.get("properties"):
        return {key: _value(brain, dialogue, key, part) for key, part in schema["properties"].items()}
    for rule in brain.script.get("extract", ()):
        if plain not in rule["fields"]:
            continue
        if all(dialogue.slots.get(slot) for slot in rule.get("has", ())) and (
            "fired" not in rule or set(rule["fired"]) & set(dialogue.rules)
        ):
            return _fit(rule["value"], dialogue, schema)
    return _fit(dialogue.slots[plain], dialogue, schema) if dialogue.slots.get(plain) else blank(schema)


def _fit(value: Any, dialogue: Dialogue, schema: dict[str, Any]) -> Any:
    """The rule's value in the schema's type; for an enum the first of the rule's candidates that it has."""
    options = [
        option for union in ("anyOf", "oneOf") for option in schema.get(union, ()) if option.get("type") != "null"
    ]
    if options:
        return _fit(value, dialogue, options[0])
    candidates = [fill(item, dialogue.slots) if isinstance(item, str) else item for item in _as_list(value)]
    if schema.get("enum"):
        return next((item for item in candidates if item in schema["enum"]), blank(schema))
    kinds = schema.get("type", "string")
    kind = next((item for item in _as_list(kinds) if item != "null"), "string")
    first = candidates[0]
    if kind == "boolean":
        return first if isinstance(first, bool) else str(first).lower() in ("true", "yes", "success")
    if kind in ("integer", "number"):
        return first if isinstance(first, int | float) and not isinstance(first, bool) else blank(schema)
    if kind == "array":
        return [first]
    return str(first) if kind == "string" else blank(schema)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]

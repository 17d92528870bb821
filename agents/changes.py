"""What differs between two versions of an agent, in an operator's words.

Called by the admin: "unpublished changes" of a draft, and the comparison of any two versions.
"""

import difflib
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from django.core.exceptions import ValidationError

from agents import extraction, transfers
from agents.drafts import build_spec
from agents.models import Agent
from agents.services import published_spec
from agents.spec import AgentSpec, FurtherSpec
from agents.turn_presets import NUMBERS

LABELS: dict[str, str] = {
    "stt": "Speech-to-text", "llm": "Language model", "tts": "Text-to-speech", "account_id": "account",
    "system_prompt": "Instructions", "disclosure": "AI disclosure", "speaks_first": "Who speaks first",
    "record": "Record calls", "plivo_record": "Also record at Plivo", "interruptible": "Can be interrupted",
    "greeting_interruptible": "Greeting can be interrupted", "voice_id": "Voice", "voice_settings": "Voice settings",
    "turn_taking": "Turn-taking", "reprompt": "Reprompt", "max_call_ms": "Longest call", "after_ms": "after",
    "wrap_up": "Said at the longest call", "extraction": "Fields to extract", "fallback_number": "Fallback number",
    "transfers": "May put callers through to", "filler": "Said while something takes long",
    "stt_further": "Speech-to-text, if that fails", "llm_further": "Language model, if that fails",
    "tts_further": "Voice, if that fails",
    "backchannels": "Words that only show listening", "stop_words": "Words that stop the agent",
}  # fmt: skip


class Line(msgspec.Struct, frozen=True):
    """One line of a text that changed: "+" added, "-" removed, " " kept."""

    sign: Literal["+", "-", " "]
    text: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One setting that differs; a text of several lines comes as ``lines``, anything else as before and after."""

    label: str
    before: str = ""
    after: str = ""
    lines: tuple[Line, ...] = ()


def compare(old: AgentSpec, new: AgentSpec, *, account_names: Mapping[str, str] | None = None) -> list[Change]:
    """Every setting that differs, in the order of ``AgentSpec``.

    Args:
        account_names: of provider accounts by id, shown in place of the ids.
    """
    before, after = _flat(old, account_names or {}), _flat(new, account_names or {})
    return [
        _change(label, before.get(label, ""), after.get(label, ""))
        for label in dict.fromkeys([*before, *after])
        if before.get(label, "") != after.get(label, "")
    ]


def settings_of(spec: AgentSpec, *, account_names: Mapping[str, str]) -> list[tuple[str, str]]:
    """All settings as label and text, in the order of ``AgentSpec``."""
    return list(_flat(spec, account_names).items())


def has_unpublished_changes(agent: Agent) -> bool:
    """Whether publishing now would change what callers get; a draft that cannot be published counts as changed."""
    try:
        return build_spec(agent) != published_spec(agent)
    except ValidationError:
        return True


def _flat(spec: AgentSpec, account_names: Mapping[str, str]) -> dict[str, str]:
    """Settings as label to text, nested ones by their path."""
    result: dict[str, str] = {}
    for name in spec.__struct_fields__:
        value = getattr(spec, name)
        label = _label(name)
        if name == "extraction":
            result[label] = extraction.format_lines(value)
        elif name == "transfers":
            result[label] = transfers.format_lines(value)
        elif name.endswith("_further"):
            result[label] = "\n".join(_choice(choice, account_names) for choice in value)
        elif name == "variables":
            result[label] = "\n".join(f"{key} = {text}" for key, text in sorted(value.items()))
        elif isinstance(value, msgspec.Struct):
            for inner, part in msgspec.structs.asdict(value).items():
                text = account_names.get(part, part) if inner == "account_id" else part
                result[f"{label}: {_label(inner).lower()}"] = _seconds(inner, text)
        else:
            result[label] = _seconds(name, value)
    return result


def _choice(choice: FurtherSpec, account_names: Mapping[str, str]) -> str:
    """One line: account, model, and voice and options where there are any."""
    voice = f"voice {choice.voice_id}" if choice.voice_id else ""
    settings = (choice.voice_settings, choice.options)
    parts = [account_names.get(choice.account_id, choice.account_id), choice.model, voice, *map(_text, settings)]
    return ", ".join(filter(None, parts))


def _seconds(name: str, value: Any) -> str:
    """Times that operators set in seconds are shown so."""
    return f"{value / 1000:g} s" if name in {"max_call_ms", "after_ms"} else _text(value)


def _label(name: str) -> str:
    if number := NUMBERS.get(name):
        return f"{number.label} ({number.unit})"
    return LABELS.get(name) or name.replace("_ms", " (ms)").replace("_", " ").capitalize()


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} = {_text(part)}" for key, part in sorted(value.items()))
    if isinstance(value, tuple):
        return "\n".join(_text(part) for part in value)
    return str(value).replace("\r\n", "\n")


def _change(label: str, before: str, after: str) -> Change:
    if "\n" not in before + after:
        return Change(label=label, before=before, after=after)
    lines: list[Line] = []
    for line in difflib.unified_diff(before.split("\n"), after.split("\n"), n=2, lineterm=""):
        if line[:3] in {"---", "+++"} and not lines:
            continue
        sign: Any = line[:1]
        lines.append(Line(" ", "…") if sign == "@" else Line(sign, line[1:]))
    return Change(label=label, lines=tuple(lines[1:]))  # the first is the position, which says nothing here

"""Caller scripts: read from sandbox/scenarios/*.yaml or given inline, and checked in full before a call begins.

Used by the control API (a wrong script is refused with a sentence, never half played) and by `python -m sandbox.clips`.
A step is one word (`hangup`) or a mapping with one key (`say: book`, `silence: {ms: 500}`).
"""

from __future__ import annotations

import base64
import dataclasses
import wave
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from sandbox.audio import Samples, read_wav
from sandbox.plivo.media_format import PHONE_RATE

SCENARIOS = Path(__file__).parent.parent / "scenarios"
DTMF_DIGITS = frozenset("0123456789*#ABCDwW")

_NUMBER = (int, float)
# Step -> its parameters: type(s) and default; a default of None means that it must be given.
STEPS: dict[str, dict[str, tuple[Any, Any]]] = {
    "wait_agent_starts": {"timeout_ms": (_NUMBER, 10000)},
    "wait_agent_finishes": {"timeout_ms": (_NUMBER, 20000), "silence_ms": (_NUMBER, 600)},
    "say": {"clip": (str, ""), "wav": (str, ""), "text": (str, ""), "gain": (_NUMBER, 1.0)},
    "interrupt": {"after_ms": (_NUMBER, 500), "say": (str, None), "timeout_ms": (_NUMBER, 10000)},
    "silence": {"ms": (_NUMBER, None)},
    "comfort_noise": {"ms": (_NUMBER, None), "level_dbfs": (_NUMBER, -50)},
    "background_noise": {"level_dbfs": (_NUMBER, -50), "active": (bool, True)},
    "echo": {"level_db": (_NUMBER, -20), "delay_ms": (_NUMBER, 120), "active": (bool, True)},
    "beep": {"hz": (_NUMBER, 1000), "ms": (_NUMBER, 500)},
    "press": {"digits": (str, None), "gap_ms": (_NUMBER, 200)},
    "wait_stream": {"timeout_ms": (_NUMBER, 10000)},
    "wait_clear": {"timeout_ms": (_NUMBER, 5000)},
    "wait_hangup": {"timeout_ms": (_NUMBER, 10000)},
    "hangup": {},
    "drop_tcp": {},
}
# The parameter that a bare value stands for: `say: book` is `say: {clip: book}`.
_SHORT = {"say": "clip", "press": "digits", "silence": "ms", "comfort_noise": "ms", "interrupt": "say"}


class BadScenarioError(ValueError):
    """The script cannot be played; the message says which step and why."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One thing that the caller does."""

    action: str
    options: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class CallerScript:
    """A caller's lines, voice and steps."""

    scenario: str
    lines: Mapping[str, str]
    voice: str
    voices: tuple[str, ...]
    steps: tuple[Step, ...]
    direction: str = "inbound"
    from_number: str = "15551230001"


def scenario_names() -> list[str]:
    """The scenarios in the folder."""
    return sorted(path.stem for path in SCENARIOS.glob("*.yaml"))


def load_scenario(name: str, *, voice: str | None = None) -> CallerScript:
    """The `caller` section of a scenario. Raises BadScenarioError."""
    if name not in scenario_names():
        message = f"no scenario {name!r}; there are: {', '.join(scenario_names())}"
        raise BadScenarioError(message)
    document = yaml.safe_load((SCENARIOS / f"{name}.yaml").read_text(encoding="utf-8"))
    return parse_caller(document.get("caller"), scenario=name, voice=voice)


def parse_caller(caller: Any, *, scenario: str = "front_desk", voice: str | None = None) -> CallerScript:
    """Check a `caller` mapping and return it as a script. Raises BadScenarioError naming what is wrong."""
    if not isinstance(caller, Mapping):
        message = "caller: a mapping with `steps` is expected"
        raise BadScenarioError(message)
    scenario = str(caller.get("scenario", scenario))
    lines = {}
    for line in caller.get("lines", []):
        if not isinstance(line, Mapping) or not {"id", "text"} <= set(line):
            message = f"caller.lines: {line!r} has no id and text"
            raise BadScenarioError(message)
        lines[str(line["id"])] = str(line["text"])
    steps = caller.get("steps", [])
    if not isinstance(steps, list):
        message = "caller.steps: a list is expected"
        raise BadScenarioError(message)
    chosen = voice or str(caller.get("voice", "en-us"))
    return CallerScript(
        scenario=scenario,
        lines=lines,
        voice=chosen,
        voices=tuple(caller.get("voices", [chosen])),
        steps=tuple(_step(index, step) for index, step in enumerate(steps, 1)),
        direction=str(caller.get("direction", "inbound")),
        from_number=str(caller.get("from", "15551230001")),
    )


def _step(index: int, raw: Any) -> Step:
    if isinstance(raw, str):
        raw = {raw: {}}
    if not isinstance(raw, Mapping) or len(raw) != 1:
        message = f"step {index}: {raw!r} is not one action"
        raise BadScenarioError(message)
    action, given = next(iter(raw.items()))
    if action not in STEPS:
        message = f"step {index}: unknown action {action!r}; there are: {', '.join(STEPS)}"
        raise BadScenarioError(message)
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        if action not in _SHORT:
            message = f"step {index}: {action} takes a mapping"
            raise BadScenarioError(message)
        given = {_SHORT[action]: str(given) if action == "press" else given}
    return Step(action=action, options=_options(index, action, given))


def _options(index: int, action: str, given: Mapping[str, Any]) -> dict[str, Any]:
    known = STEPS[action]
    unknown = set(given) - set(known)
    if unknown:
        message = f"step {index}: {action} has no {', '.join(sorted(unknown))}"
        raise BadScenarioError(message)
    options: dict[str, Any] = {}
    for name, (kind, default) in known.items():
        value = given.get(name, default)
        if value is None:
            message = f"step {index}: {action} needs {name}"
            raise BadScenarioError(message)
        if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
            message = f"step {index}: {action}.{name} cannot be {value!r}"
            raise BadScenarioError(message)
        if name.endswith("ms") and value < 0:
            message = f"step {index}: {action}.{name} is negative"
            raise BadScenarioError(message)
        options[name] = value
    if action == "say" and bool(options["clip"]) == bool(options["wav"]):
        message = f"step {index}: say needs clip or wav"
        raise BadScenarioError(message)
    if options.get("wav"):
        options["samples"] = _speech(index, options.pop("wav"))
    if action == "press" and not set(options["digits"]) <= DTMF_DIGITS:
        message = f"step {index}: press can only send 0-9, *, #, A-D"
        raise BadScenarioError(message)
    return options


def _speech(index: int, encoded: str) -> Samples:
    try:
        samples, rate = read_wav(base64.b64decode(encoded, validate=True))
    except (ValueError, EOFError, wave.Error) as error:
        message = f"step {index}: say.wav is no WAV file in base64: {error}"
        raise BadScenarioError(message) from error
    if rate != PHONE_RATE or samples.ndim != 1:
        message = f"step {index}: say.wav must be mono at {PHONE_RATE} Hz"
        raise BadScenarioError(message)
    return samples

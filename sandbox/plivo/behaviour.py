"""How the numbers of the outside world answer: a person, a machine, nobody, busy ... each number with its own plan.

Set through /control/behaviours, read by the engine for every leg that it dials.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

from sandbox.plivo.scenario import BadScenarioError, CallerScript, load_scenario, parse_caller

KINDS = (
    "human", "machine", "busy", "no-answer", "rejected", "invalid", "unallocated", "unreachable", "congested",
    "out-of-credit",
)  # fmt: skip
# No phone rings.
NOT_DIALLED = frozenset({"invalid", "unallocated", "out-of-credit"})
# The hangup code of the kinds that never answer; no-answer rings until the timeout.
FAILURE_CODES = {
    "busy": 3010,
    "rejected": 3020,
    "invalid": 2000,
    "unallocated": 3050,
    "unreachable": 2010,
    "congested": 3090,
    "out-of-credit": 1010,
}


class BadBehaviourError(ValueError):
    """The plan cannot be followed; the message says why."""


@dataclasses.dataclass(frozen=True)
class Behaviour:
    """One way to answer. Times in ms, scaled; None takes the sandbox's settings. `talk_ms` is for a `<Dial>`ed leg."""

    kind: str = "human"
    script: CallerScript | None = None
    ring_ms: int | None = None
    answer_ms: int | None = None
    talk_ms: int = 3000

    def caller(self) -> CallerScript:
        """The script of who picks up."""
        return self.script or load_scenario("voicemail" if self.kind == "machine" else "appointment_reminder")


def parse_script(given: Mapping[str, Any]) -> CallerScript | None:
    """`scenario` (a name) or `script` (a caller section), with an optional `voice`. Raises BadBehaviourError."""
    voice = given.get("voice")
    try:
        if "script" in given:
            return parse_caller(given["script"], scenario=str(given.get("scenario", "front_desk")), voice=voice)
        return load_scenario(str(given["scenario"]), voice=voice) if "scenario" in given else None
    except BadScenarioError as error:
        raise BadBehaviourError(str(error)) from error


def parse_behaviour(given: Any) -> Behaviour:
    """A behaviour from JSON. Raises BadBehaviourError."""
    known = {"kind", "scenario", "script", "voice", "ring_ms", "answer_ms", "talk_ms"}
    if not isinstance(given, Mapping) or set(given) - known:
        message = f"a mapping with {', '.join(sorted(known))} is expected"
        raise BadBehaviourError(message)
    kind = given.get("kind", "human")
    if kind not in KINDS:
        message = f"kind cannot be {kind!r}; there are: {', '.join(KINDS)}"
        raise BadBehaviourError(message)
    times = {name: given[name] for name in ("ring_ms", "answer_ms", "talk_ms") if name in given}
    for name, value in times.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            message = f"{name} cannot be {value!r}"
            raise BadBehaviourError(message)
    return Behaviour(kind=kind, script=parse_script(given), **times)


class Behaviours:
    """The plans by number; `*` is for all others, and a person answers where there is none."""

    def __init__(self) -> None:
        """Everybody picks up."""
        self._plans: dict[str, deque[Behaviour]] = {}

    def set(self, number: str, sequence: list[Behaviour]) -> None:
        """What happens at the next calls to a number: one after the other, the last one from then on."""
        if not sequence:
            message = "the sequence is empty"
            raise BadBehaviourError(message)
        self._plans[number] = deque(sequence)

    def next_for(self, number: str) -> Behaviour:
        """Take the behaviour of the next call to a number."""
        plan = self._plans.get(number) or self._plans.get("*")
        if not plan:
            return Behaviour()
        return plan.popleft() if len(plan) > 1 else plan[0]

    def reset(self) -> None:
        """Everybody picks up again."""
        self._plans.clear()

    def report(self) -> dict[str, list[str]]:
        """The kinds still to come, by number."""
        return {number: [behaviour.kind for behaviour in plan] for number, plan in self._plans.items()}

"""Turn-taking as operators see it: three presets, and the numbers behind them with their limits.

``agents.services`` turns a preset and its overrides into a ``TurnTaking``; the admin makes inputs of ``NUMBERS``.
"""

from collections.abc import Mapping

import msgspec

from agents.spec import TurnTaking

PRESETS: dict[str, TurnTaking] = {
    # Time to think: for older callers, long answers, addresses and numbers read from a card.
    "relaxed": TurnTaking(
        commit_ms=250,
        speculate_ms=150,
        min_wait_ms=500,
        max_wait_ms=2600,
        patience_ms=1800,
        interrupt_min_words=3,
        interrupt_min_ms=1200,
    ),
    "balanced": TurnTaking(),
    # Short questions and answers; cuts in sooner when somebody pauses in mid-sentence.
    "quick": TurnTaking(
        commit_ms=150,
        speculate_ms=80,
        min_wait_ms=120,
        max_wait_ms=1000,
        patience_ms=900,
        interrupt_min_words=1,
        interrupt_min_ms=600,
    ),
}


class Number(msgspec.Struct, frozen=True, kw_only=True):
    """One advanced setting: what it is called, what it does and what it may be (both limits included)."""

    label: str
    help: str
    least: float
    most: float
    unit: str = "ms"
    whole: bool = True


NUMBERS: dict[str, Number] = {
    "min_wait_ms": Number(
        label="Shortest wait", help="Silence before the agent answers a finished sentence.", least=0, most=3000
    ),
    "max_wait_ms": Number(
        label="Longest wait", help="Silence after which the agent answers in any case.", least=400, most=8000
    ),
    "patience_ms": Number(
        label="Patience with numbers",
        help="Added to the waits while a number, an e-mail address or a spelling is being given.",
        least=0,
        most=6000,
    ),
    "interrupt_min_words": Number(
        label="Words that interrupt",
        help="Fewer words than this (“yes”, “uh-huh”) do not stop the agent.",
        least=1,
        most=10,
        unit="words",
    ),
    "interrupt_min_ms": Number(
        label="Speech that interrupts",
        help="Speech of this length stops the agent, whatever is said.",
        least=200,
        most=5000,
    ),
    "resume_ms": Number(
        label="Resume after a false alarm",
        help="When a noise stopped the agent's voice, it goes on after this time.",
        least=200,
        most=3000,
    ),
    "commit_ms": Number(
        label="Pause that asks for the text", help="Silence after which the words are fetched.", least=60, most=1500
    ),
    "speculate_ms": Number(
        label="Pause that prepares a reply",
        help="Silence after which a reply is prepared on trust; 0 waits for the end of the turn.",
        least=0,
        most=1500,
    ),
    "stt_final_ms": Number(
        label="Wait for the final text",
        help="How long the recogniser may take before its last guess is used.",
        least=100,
        most=3000,
    ),
    "speech_threshold": Number(
        label="Speech sensitivity",
        help="Probability from which sound counts as speech; higher for noisy lines.",
        least=0.1,
        most=0.95,
        unit="of 1",
        whole=False,
    ),
    "start_windows": Number(
        label="Sound that counts as speech",
        help="Windows of 32 ms in a row before the caller is taken to be speaking.",
        least=1,
        most=15,
        unit="windows",
    ),
}


def turn_taking(preset: str, overrides: Mapping[str, object]) -> TurnTaking:
    """The preset's numbers with the overrides put in.

    Raises:
        ValueError: one sentence per problem, joined by a space: unknown preset or number, no number, out of limits,
            or waits that contradict each other.
    """
    if preset not in PRESETS:
        raise ValueError(f"Unknown turn-taking preset “{preset}”: choose {', '.join(PRESETS)}.")
    if not isinstance(overrides, Mapping):
        raise ValueError("Advanced turn-taking is a name and a number each.")
    problems: list[str] = []
    values: dict[str, int | float] = {}
    for name, value in overrides.items():
        try:
            values[name] = _checked(name, value)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(" ".join(problems))
    result = msgspec.structs.replace(PRESETS[preset], **values)
    if result.max_wait_ms < result.min_wait_ms:
        raise ValueError(
            f"The longest wait ({result.max_wait_ms} ms) is shorter than the shortest wait ({result.min_wait_ms} ms)."
        )
    if result.speculate_ms > result.commit_ms:
        raise ValueError(
            f"The pause that prepares a reply ({result.speculate_ms} ms) is longer than the pause that asks for the "
            f"text ({result.commit_ms} ms)."
        )
    return result


def nearest(numbers: TurnTaking) -> tuple[str, dict[str, int | float]]:
    """The preset that differs least from these numbers, and the overrides that make up the difference."""
    best = min(PRESETS, key=lambda preset: len(_differences(PRESETS[preset], numbers)))
    return best, _differences(PRESETS[best], numbers)


def _differences(base: TurnTaking, numbers: TurnTaking) -> dict[str, int | float]:
    return {name: getattr(numbers, name) for name in NUMBERS if getattr(numbers, name) != getattr(base, name)}


def _checked(name: str, value: object) -> int | float:
    number = NUMBERS.get(name)
    if number is None:
        raise ValueError(f"Unknown turn-taking number “{name}”.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{number.label} must be a number.")
    if not number.least <= value <= number.most:  # also refuses NaN
        raise ValueError(f"{number.label} must be between {number.least:g} and {number.most:g} {number.unit}.")
    if not number.whole:
        return float(value)
    if value != int(value):
        raise ValueError(f"{number.label} must be a whole number.")
    return int(value)

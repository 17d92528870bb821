"""Whom an agent may put callers through to: checked, and as lines that an operator writes.

Called by ``agents.drafts`` and the admin's form.
"""

import re
from typing import Any

import msgspec

from agents.spec import TransferTarget

MAX_TARGETS = 20
E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_NAME = re.compile(r"[^\W_][\w .&'/-]{0,39}")
_HOW = "write it as name | +15551234567 | when to put callers through"


def parse_lines(text: str) -> tuple[TransferTarget, ...]:
    """``name | number | description`` per line.

    Raises:
        ValueError: with a sentence that names the line.
    """
    targets = []
    for line in filter(None, map(str.strip, text.splitlines())):
        parts = [part.strip() for part in line.split("|", 2)]
        if len(parts) < 2:
            raise ValueError(f"“{line}”: {_HOW}.")
        number = re.sub(r"[\s().-]", "", parts[1])
        targets.append(TransferTarget(name=parts[0], number=number, description="".join(parts[2:])))
    return _checked(targets)


def from_json(stored: Any) -> tuple[TransferTarget, ...]:
    """The stored form.

    Raises:
        ValueError: it is malformed, or a number is no E.164 number.
    """
    try:
        return _checked(msgspec.convert(stored, list[TransferTarget]))
    except msgspec.ValidationError as error:
        raise ValueError(f"The destinations are malformed: {error}.") from error


def format_lines(targets: tuple[TransferTarget, ...]) -> str:
    """The inverse of ``parse_lines``."""
    return "\n".join(" | ".join(filter(None, (each.name, each.number, each.description))) for each in targets)


def _checked(targets: list[TransferTarget]) -> tuple[TransferTarget, ...]:
    if len(targets) > MAX_TARGETS:
        raise ValueError(f"At most {MAX_TARGETS} destinations.")
    seen: set[str] = set()
    for target in targets:
        if not _NAME.fullmatch(target.name):
            raise ValueError(f"“{target.name}” is no name: up to 40 letters, digits and spaces.")
        if not E164.fullmatch(target.number):
            raise ValueError(f"{target.name}: write the number with its country code, as +15551234567.")
        if target.name.casefold() in seen:
            raise ValueError(f"“{target.name}” is there twice.")
        if len(target.description) > 200:
            raise ValueError(f"{target.name}: say in up to 200 characters when callers are put through.")
        seen.add(target.name.casefold())
    return tuple(targets)

"""Reference numbers: what is neither a quantity nor a year is read out sign by sign."""

import re
from collections.abc import Iterator

from streaming.spoken import numbers
from streaming.spoken.lexicon import Tongue
from streaming.spoken.place import Said

_GROUPS = re.compile(r"(?<![\w-])\d{2,}(?:-\d{2,})+(?![\w-])")
_CODES = re.compile(r"(?<![\w-])(?=[A-Z0-9-]*\d[A-Z0-9-]*\d)(?=[\d-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*(?![\w-])")
_DIGITS = re.compile(r"(?<![\w.,])\d+(?![\w]|[.,]\d)")
_CUE_CHARS = 48  # how far before its digits a text names a number


def spelled(text: str, tongue: Tongue) -> Iterator[Said]:
    """Reference numbers: what is neither a quantity nor a year is read out sign by sign."""
    if tongue.words is None:
        return
    for match in _GROUPS.finditer(text):
        groups = match[0].split("-")
        if len(groups) > 2 or (max(map(len, groups)) > 2 and not _years(groups)):
            yield Said(*match.span(), ", ".join(numbers.digits(group, tongue) for group in groups))
    for match in _CODES.finditer(text):
        if len(match[0]) >= 4:
            parts = re.findall(r"\d+|[A-Z]+", match[0])
            yield Said(*match.span(), ", ".join(numbers.digits(part, tongue) for part in parts))
    for match in _DIGITS.finditer(text):
        if _is_reference(text, match, tongue):
            yield Said(*match.span(), ", ".join(numbers.digits(part, tongue) for part in _in_threes(match[0])))


def _years(groups: list[str]) -> bool:
    return all(len(group) == 4 and "1100" <= group <= "2099" for group in groups)


def _is_reference(text: str, match: re.Match[str], tongue: Tongue) -> bool:
    digits = match[0]
    if len(digits) < 2:
        return False
    if digits.startswith("0") or len(digits) > numbers.MAX_DIGITS:
        return True
    if len(digits) >= 5:
        return not digits.endswith("000")
    before = re.split(r"[.!?]\s", text[max(0, match.start() - _CUE_CHARS) : match.start()])[-1]
    dialled = tongue.words.dialled if tongue.words is not None else ""
    if len(digits) == 3 and dialled and re.search(rf"\b(?:{dialled})\s$", before, re.IGNORECASE):
        return True
    return len(digits) >= 3 and tongue.code_cue is not None and tongue.code_cue.search(before) is not None


def _in_threes(digits: str) -> list[str]:
    """Groups of three, the last of up to five: how people read a long number out."""
    groups = []
    while len(digits) > 5:
        groups.append(digits[:3])
        digits = digits[3:]
    return [*groups, digits]

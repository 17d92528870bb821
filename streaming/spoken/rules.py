"""The rules in their order of precedence, and what they make of a text.

A rule never touches what an earlier one has said: an address comes before the numbers in it, a date before the ranges,
plain numbers last.
"""

import re
from collections.abc import Callable, Iterator

from streaming.spoken import addresses, amounts, dates, references
from streaming.spoken.lexicon import Tongue, Words
from streaming.spoken.place import SAID, Rule, Said

_RANGE = re.compile(rf"(?<=[\d{SAID}])\s?[-\u2013]\s?(?=[\d{SAID}])")
_PER = re.compile(rf"(?<=[\d{SAID}])/(?=[^\W\d])")
_HASH = re.compile(r"(?<!\w)#\s?(?=\d)")
_AMPERSAND = re.compile(r"(?<=\w)\s&\s(?=\w)")


def _sign(pattern: re.Pattern[str], name: Callable[[Words], str]) -> Rule:
    def rule(text: str, tongue: Tongue) -> Iterator[Said]:
        if tongue.words is not None:
            for match in pattern.finditer(text):
                before = "" if not match.start() or text[match.start() - 1].isspace() else " "
                yield Said(*match.span(), f"{before}{name(tongue.words)} ")

    return rule


RULES: tuple[Rule, ...] = (
    addresses.email,
    addresses.url,
    amounts.always,
    dates.date,
    dates.month_day,
    dates.time,
    amounts.money,
    addresses.phone,
    amounts.percent,
    amounts.degrees,
    amounts.ordinal,
    references.spelled,
    _sign(_RANGE, lambda words: words.until),
    _sign(_PER, lambda words: words.per),
    _sign(_HASH, lambda words: words.number),
    _sign(_AMPERSAND, lambda words: words.conjunction),
    amounts.year,
    amounts.plain,
)


def rewritten(text: str, tongue: Tongue) -> list[Said]:
    """The places of a text that are said otherwise than written, in order, without overlaps."""
    taken: list[Said] = []
    masked = text
    for rule in RULES:
        for said in rule(masked, tongue):
            if said.words and all(said.end <= other.start or other.end <= said.start for other in taken):
                taken.append(said)
        for place in taken:
            masked = masked[: place.start] + SAID * (place.end - place.start) + masked[place.end :]
    return sorted(taken)

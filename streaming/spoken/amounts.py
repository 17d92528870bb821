"""Amounts and counts: money, percentages, degrees, ordinals, years, plain numbers."""

import re
from collections.abc import Iterator

from streaming.spoken import numbers
from streaming.spoken.lexicon import Tongue
from streaming.spoken.place import Said

_SYMBOLS = {
    "$": "USD",
    "US$": "USD",
    "C$": "CAD",
    "A$": "AUD",
    "€": "EUR",
    "£": "GBP",
    "¥": "JPY",
    "₹": "INR",
    "RS": "INR",
    "RS.": "INR",
}
_SYMBOL = r"US\$|C\$|A\$|Rs\.?|[$€£₹¥]"
_CODE = r"USD|EUR|GBP|INR|JPY|CHF|CAD|AUD"
_SPACE = r"[ \u00a0\u202f]"
_NUMBER = rf"\d+(?:[.,'\u2019]\d+|{_SPACE}\d{{3}}(?!\d))*"
_MONEY_BEFORE = re.compile(rf"(?<![\w.])(-?)({_SYMBOL}|\b(?:{_CODE})){_SPACE}?({_NUMBER})", re.IGNORECASE)
_MONEY_BEHIND = re.compile(rf"(?<![\w.,])(-?)({_NUMBER}){_SPACE}?([€£₹$]|(?:{_CODE})\b)")
_PERCENT = re.compile(rf"(?<![\w.,])({_NUMBER}){_SPACE}?%")
_DEGREES = re.compile(rf"(?<![\w.,])(-?)({_NUMBER}){_SPACE}?°{_SPACE}?([CF]\b)?")
_ALWAYS = re.compile(r"(?<![\w/])24/7(?![\w/])")
_YEAR = re.compile(r"(?<![\w.,])\d{4}(?![\w]|[.,]\d)")
_PLAIN = re.compile(rf"(?<![\w.,])(-|\u2212)?({_NUMBER})(?!\w)")


def money(text: str, tongue: Tongue) -> Iterator[Said]:
    """Amounts with a currency."""
    for match in _MONEY_BEFORE.finditer(text):
        yield _amount(text, match, match[3], match[2], tongue)
    for match in _MONEY_BEHIND.finditer(text):
        yield _amount(text, match, match[2], match[3], tongue)


def _amount(text: str, match: re.Match[str], number: str, sign: str, tongue: Tongue) -> Said:
    end = match.end()
    currency = _SYMBOLS.get(sign.upper(), sign.upper())
    value = numbers.parse(number, tongue)
    magnitudes = tongue.words.magnitudes if tongue.words is not None else ""
    behind = re.compile(rf"\s({magnitudes})\b", re.IGNORECASE).match(text, end) if magnitudes else None
    if behind is not None and tongue.words is not None:
        end = behind.end()
        article = f" {tongue.words.magnitude_of}" if tongue.words.magnitude_of and behind[1] != "mil" else ""
        said = f"{numbers.quantity(value, tongue)} {behind[1]}{article} {numbers.currency_name(currency, tongue)}"
    else:
        said = numbers.money(value, currency, tongue)
    return Said(match.start(), end, _negative(match[1], said, tongue))


def _negative(sign: str | None, said: str, tongue: Tongue) -> str:
    return f"{tongue.words.minus if tongue.words is not None else '-'} {said}" if sign else said


def percent(text: str, tongue: Tongue) -> Iterator[Said]:
    """Percentages."""
    if tongue.words is not None:
        for match in _PERCENT.finditer(text):
            value = numbers.quantity(numbers.parse(match[1], tongue), tongue)
            yield Said(*match.span(), f"{value} {tongue.words.percent}")


def degrees(text: str, tongue: Tongue) -> Iterator[Said]:
    """Temperatures and angles."""
    if tongue.words is not None:
        for match in _DEGREES.finditer(text):
            value = numbers.quantity(numbers.parse(match[2], tongue), tongue)
            scale = {"C": " Celsius", "F": " Fahrenheit", None: ""}[match[3]]
            yield Said(*match.span(), _negative(match[1], f"{value} {tongue.words.degrees}{scale}", tongue))


def ordinal(text: str, tongue: Tongue) -> Iterator[Said]:
    """Figures with an ordinal ending: "21st"."""
    endings = {"en": r"(?:st|nd|rd|th)", "fr": r"(?:ère|ere|er|ème|eme|e)"}.get(tongue.primary)
    if endings is None:
        return
    for match in re.finditer(rf"(?<![\w.,])(\d{{1,4}}){endings}\b", text, re.IGNORECASE):
        said = numbers.ordinal(int(match[1]), tongue)
        yield Said(*match.span(), "première" if match[0].lower() in {"1ère", "1ere"} else said)


def always(text: str, tongue: Tongue) -> Iterator[Said]:
    """ "24/7"."""
    for match in _ALWAYS.finditer(text):
        yield Said(*match.span(), f"{numbers.cardinal(24, tongue)} {numbers.cardinal(7, tongue)}")


def year(text: str, tongue: Tongue) -> Iterator[Said]:
    """Four figures that are read as a year."""
    for match in _YEAR.finditer(text):
        if 1100 <= int(match[0]) <= 2099 and tongue.numerals:
            yield Said(*match.span(), numbers.year(int(match[0]), tongue))


def plain(text: str, tongue: Tongue) -> Iterator[Said]:
    """Every other number."""
    if not tongue.numerals:
        return
    for match in _PLAIN.finditer(text):
        value = numbers.parse(match[2], tongue)
        # "1 Minute" is "eine Minute": the voice knows the gender of the noun behind it, these rules do not.
        if match[2].endswith("1") and tongue.primary != "en" and re.match(r"\s[^\W\d]", text[match.end() :]):
            continue
        yield Said(*match.span(), _negative(match[1], numbers.quantity(value, tongue), tongue))

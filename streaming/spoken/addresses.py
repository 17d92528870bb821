"""Addresses: e-mail, web, telephone."""

import re
from collections.abc import Iterator

import phonenumbers

from streaming.spoken import numbers
from streaming.spoken.lexicon import Tongue, Words
from streaming.spoken.place import Said

_DOMAINS = "com|org|net|info|biz|io|ai|co|app|dev|gov|edu|eu|uk|us|ca|au|in|de|at|ch|fr|es|it|nl|mx|me|tv"
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_URL = re.compile(
    rf"(?:https?://|www\.)[^\s<>\"]+|(?<![\w@.])(?:[a-z0-9-]+\.)+(?:{_DOMAINS})\b(?:/[\w./%-]*\w)?(?![\w@])",
    re.IGNORECASE,
)


def email(text: str, tongue: Tongue) -> Iterator[Said]:
    """E-mail addresses, sign by sign between the words."""
    if tongue.words is not None:
        for match in _EMAIL.finditer(text):
            yield Said(*match.span(), _signs(match[0], tongue))


def url(text: str, tongue: Tongue) -> Iterator[Said]:
    """Web addresses, without the parts that nobody says."""
    if tongue.words is None:
        return
    for match in _URL.finditer(text):
        address = match[0].rstrip(".,;:!?)'\"")
        bare = re.sub(r"^(?:https?://)?(?:www\.)?", "", address, flags=re.IGNORECASE)
        # Nobody can note down a query by ear.
        shown = re.split(r"[?#]", bare)[0].rstrip("/")
        if shown:
            yield Said(match.start(), match.start() + len(address), _signs(shown, tongue))


def _signs(address: str, tongue: Tongue) -> str:
    words = tongue.words
    assert words is not None  # noqa: S101 - both callers have looked
    names = {".": words.dot, "@": words.at, "/": words.slash, "-": words.dash, "_": words.underscore, "+": words.plus}
    parts = re.findall(r"\d+|[^\W\d_]+|.", address)
    return " ".join(numbers.digits(part, tongue) if part.isdigit() else names.get(part, part) for part in parts)


def phone(text: str, tongue: Tongue) -> Iterator[Said]:
    """Telephone numbers, digit by digit in their groups."""
    if tongue.words is None or sum(char.isdigit() for char in text) < 7:
        return
    for found in phonenumbers.PhoneNumberMatcher(text, tongue.region):
        start, end = found.start, found.end
        if text[:start].endswith(("#", "$", "€", "£", "₹")):
            continue
        yield Said(start, end, _phone_words(found.raw_string, found.number, tongue, tongue.words))


def _phone_words(raw: str, number: phonenumbers.PhoneNumber, tongue: Tongue, words: Words) -> str:
    extension = number.extension or ""
    bare = raw[: raw.rindex(extension)] if extension else raw
    groups = re.findall(r"\d+", bare)
    if max(map(len, groups)) > 5:
        international = bare.lstrip().startswith("+")
        style = phonenumbers.PhoneNumberFormat
        shown = phonenumbers.PhoneNumber(country_code=number.country_code, national_number=number.national_number)
        shown.italian_leading_zero = number.italian_leading_zero
        groups = re.findall(
            r"\d+", phonenumbers.format_number(shown, style.INTERNATIONAL if international else style.NATIONAL)
        )
    said = ", ".join(numbers.digits(group, tongue) for group in groups)
    if bare.lstrip("( ").startswith("+"):
        said = f"{words.plus} {said}"
    if extension:
        said += f", {words.extension} {numbers.digits(extension, tongue)}"
    return said

"""Which numbers may be called at all, and in which time zones their owner may be.

Pure, over Google's numbering plans (``phonenumbers``). Used when people are imported, at every claim and once more
right before a number is dialled: Plivo takes a list of numbers joined by "<" where one is expected, and SIP addresses.
"""

import re
from collections.abc import Collection
from enum import StrEnum
from functools import lru_cache

import msgspec
import phonenumbers
from babel import Locale
from phonenumbers import PhoneNumberType as Type
from phonenumbers import timezone as zones_by_number

E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
MAX_LENGTH = 40
# What people write between the digits of a number. Anything else (letters, "<", ",", "@", "=") is no number.
_WRITTEN = re.compile(r"\+?[0-9 ().\-/\u00a0\u2010-\u2014]+", re.ASCII)
_NOWHERE = "001"  # satellite and other numbers of no country
_UNKNOWN_ZONE = zones_by_number.UNKNOWN_TIMEZONE

# Dear, or not a person's.
_REFUSED_TYPES = {
    Type.PREMIUM_RATE: "a premium-rate number",
    Type.SHARED_COST: "a shared-cost number",
    Type.PERSONAL_NUMBER: "a personal number, which is charged like a premium-rate one",
    Type.PAGER: "a pager",
    Type.UAN: "a company's access number",
    Type.VOICEMAIL: "a voicemail number",
}
# They say nothing of where somebody is.
_PLACELESS_TYPES = {Type.TOLL_FREE, Type.VOIP, Type.UNKNOWN}
_NORTH_AMERICA = 1  # a country code of 25 countries


class Kind(StrEnum):
    """What kind of refusal it is, for counting."""

    NOT_A_NUMBER = "not_a_number"
    NOT_INTERNATIONAL = "not_international"
    INVALID = "invalid"
    TYPE = "type"
    COUNTRY = "country"


class NumberRefused(ValueError):  # noqa: N818  (as a person would say it)
    """Not a number that may be called; its text says why, for an operator."""

    def __init__(self, kind: Kind, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class Number(msgspec.Struct, frozen=True):
    """A valid number.

    Attributes:
        e164: as +14155550100.
        country: ISO 3166 two letters; "001" for none.
        refused_as: why nobody is to call it, whatever the operator allows; empty for one that may be called.
        zones: IANA names of the time zones in which its owner may be; empty when the number does not tell.
    """

    e164: str
    country: str
    refused_as: str
    zones: tuple[str, ...]


def parse(raw: str, *, country: str = "") -> Number:
    """A number as somebody has written it.

    Args:
        raw: with its country code and a plus, as "+1 (415) 555-0100"; without them where ``country`` is given.
        country: ISO 3166 two letters; of numbers without a plus.

    Raises:
        NumberRefused: it is no number, or none that exists.
    """
    text = raw.strip()
    if not text:
        raise NumberRefused(Kind.NOT_A_NUMBER, "there is no number")
    if len(text) > MAX_LENGTH or not _WRITTEN.fullmatch(text):
        raise NumberRefused(Kind.NOT_A_NUMBER, "it holds what no phone number holds")
    if not text.startswith("+") and not country:
        raise NumberRefused(Kind.NOT_INTERNATIONAL, "it has no country code: write it as +14155550100")
    try:
        found = phonenumbers.parse(text, country or None)
    except phonenumbers.NumberParseException:
        raise NumberRefused(Kind.INVALID, "it is no phone number") from None
    if not phonenumbers.is_valid_number(found):
        raise NumberRefused(Kind.INVALID, "no such number can exist: a digit may be missing or wrong")
    e164 = phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)
    if not E164.fullmatch(e164) or found.extension:
        raise NumberRefused(Kind.INVALID, "it cannot be dialled from abroad")
    kind = phonenumbers.number_type(found)
    region = phonenumbers.region_code_for_number(found) or _NOWHERE
    refused_as = "a satellite or other number of no country" if region == _NOWHERE else _REFUSED_TYPES.get(kind, "")
    return Number(e164, region, refused_as, _zones(found, kind, region))


def callable_number(e164: str, *, countries: Collection[str]) -> Number:
    """The number, if it may be called: the last look before it is dialled.

    Args:
        e164: exactly as ``Number.e164``.
        countries: ISO 3166 two letters, of the countries that the operator has allowed; none by default.

    Raises:
        NumberRefused: it is written otherwise, does not exist, or must not be called.
    """
    if not E164.fullmatch(e164):
        raise NumberRefused(Kind.NOT_A_NUMBER, "it is not written as +14155550100")
    number = parse(e164)
    if number.e164 != e164:
        raise NumberRefused(Kind.NOT_A_NUMBER, "it is not written as +14155550100")
    if number.refused_as:
        raise NumberRefused(Kind.TYPE, f"it is {number.refused_as}")
    if number.country not in countries:
        raise NumberRefused(Kind.COUNTRY, country_refused(number.country))
    return number


def country_refused(country: str) -> str:
    """Why a number of this country (ISO 3166) is not called."""
    return f"calls to {country} are not allowed: see the allowed countries"


@lru_cache(maxsize=1)
def country_names() -> list[tuple[str, str]]:
    """ISO 3166 two letters and English name of every country that has a numbering plan, in the names' order."""
    names = Locale("en").territories
    return sorted(((code, names[code]) for code in phonenumbers.SUPPORTED_REGIONS), key=lambda pair: pair[1])


def _zones(number: phonenumbers.PhoneNumber, kind: int, region: str) -> tuple[str, ...]:
    """Where the number's owner may be; nothing rather than a guess.

    Of a mobile number in a country of several zones all of these count. By what the plans call "geographical" a
    Jamaican number is in one zone instead of all of North America's 42; so, wrongly, is a Russian mobile number.
    """
    if kind in _PLACELESS_TYPES or kind in _REFUSED_TYPES or region == _NOWHERE:
        return ()
    elsewhere_in_north_america = number.country_code == _NORTH_AMERICA and region not in {"US", "CA"}
    find = (
        zones_by_number.time_zones_for_geographical_number
        if elsewhere_in_north_america
        else zones_by_number.time_zones_for_number
    )
    zones = tuple(find(number))
    return () if _UNKNOWN_ZONE in zones else zones

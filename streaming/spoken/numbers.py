"""Numbers in words: cardinals, decimals, digits one by one, years, ordinals and amounts of money."""

import re
from decimal import Decimal

import babel.numbers
from num2words import CONVERTER_CLASSES, num2words

from streaming.spoken.lexicon import Tongue

MAX_DIGITS = 15  # longer ones are no quantity that anyone says


def parse(text: str, tongue: Tongue) -> Decimal:
    """The value of a written number ("1,234.50"), whichever of the two usual separators its language groups by.

    Args:
        text: digits with separators between them, at least one digit, nothing else.
    """
    text = re.sub(r"[\s'\u2019]", "", text)
    signs = [sign for sign in ".," if sign in text]
    if len(signs) == 2:
        decimal = max(signs, key=text.rindex)
    elif signs and (text.count(signs[0]) > 1 or _grouped(text, signs[0], tongue)):
        decimal = ""
    else:
        decimal = signs[0] if signs else ""
    whole, _, part = text.rpartition(decimal) if decimal else (text, "", "")
    return Decimal(re.sub(r"\D", "", whole) or "0") + (Decimal(f"0.{part}") if part else 0)


def _grouped(text: str, sign: str, tongue: Tongue) -> bool:
    """Whether the only sign in the number groups its thousands."""
    group = "." if tongue.decimal == "," else ","
    return sign == group and re.fullmatch(rf"\d{{1,3}}{re.escape(sign)}\d{{3}}", text) is not None


def cardinal(value: int, tongue: Tongue) -> str:
    """ "two hundred and six"; the figures themselves where the language's words are not known."""
    return _in_words(value, tongue, "cardinal").replace(",", "")


def ordinal(value: int, tongue: Tongue) -> str:
    """ "twenty-sixth"; the figures themselves where the language's words are not known."""
    return _in_words(value, tongue, "ordinal")


def year(value: int, tongue: Tongue) -> str:
    """ "nineteen ninety-four"."""
    own = tongue.words is not None and 1100 <= value <= 2099
    return _in_words(value, tongue, "year") if own else cardinal(value, tongue)


def _in_words(value: int, tongue: Tongue, to: str) -> str:
    if not tongue.numerals or value >= 10**MAX_DIGITS:
        return str(value)
    try:
        return str(num2words(value, lang=tongue.numerals, to=to))
    except (NotImplementedError, OverflowError):  # languages differ in what they know and how far they count
        return str(value)


def quantity(value: Decimal, tongue: Tongue) -> str:
    """A number with its decimals read out one by one: "three point one four"."""
    whole, _, part = f"{value:f}".partition(".")
    if not part or tongue.words is None:
        return cardinal(int(whole), tongue) if not part else f"{value:f}".replace(".", tongue.decimal)
    if not tongue.numerals:
        return f"{value:f}".replace(".", tongue.decimal)
    return f"{cardinal(int(whole), tongue)} {tongue.words.decimal} {digits(part, tongue)}"


def digits(text: str, tongue: Tongue) -> str:
    """Each digit by itself, letters too: "A B four two"."""
    if tongue.words is None:
        return " ".join(text)
    return " ".join(tongue.words.digits[int(char)] if char in "0123456789" else char for char in text)


def money(value: Decimal, currency: str, tongue: Tongue) -> str:
    """ "twelve dollars and fifty cents".

    Args:
        currency: ISO 4217 code.
    """
    # In other languages than ours the library's amounts are not of one kind.
    if tongue.words is None or value >= 10**MAX_DIGITS:
        return _counted(value, currency, tongue)
    amount = value.quantize(Decimal("0.01"))
    try:
        said = num2words(amount, lang=tongue.numerals, to="currency", currency=currency, separator="\0")
    except (NotImplementedError, OverflowError):  # a language or a currency that it does not know, or too much of it
        return _counted(value, currency, tongue)
    major, _, minor = str(said).replace(",", "").replace(" sterling", "").partition("\0")
    if amount == amount.to_integral_value():
        return major.strip()
    return minor.strip() if amount < 1 else f"{major.strip()} {tongue.words.cents} {minor.strip()}"


def _counted(value: Decimal, currency: str, tongue: Tongue) -> str:
    name = babel.numbers.get_currency_name(currency, count=value, locale=tongue.locale)
    return f"{quantity(value, tongue)} {name}"


def currency_name(currency: str, tongue: Tongue) -> str:
    """The plural of a currency's name: "dollars"."""
    forms = getattr(CONVERTER_CLASSES.get(tongue.numerals), "CURRENCY_FORMS", {}).get(currency)
    if forms and tongue.words is not None:
        return str(forms[0][-1])
    return babel.numbers.get_currency_name(currency, count=2, locale=tongue.locale)

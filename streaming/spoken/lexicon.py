"""The words that the rules need, by language; a language without an entry gets only what the libraries know of it."""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass, field

import babel
import babel.dates
import babel.numbers
from num2words import CONVERTER_CLASSES

from streaming.conversation.languages import language


@dataclass(frozen=True)
class Words:
    """What a language calls the signs.

    Attributes:
        digits: zero to nine, as they are read out one by one.
        decimal: between a number and its decimals.
        cents: between "twelve dollars" and "fifty cents".
        times: hour and minute (0-59) with the text behind them ("pm", "Uhr") to words.
        magnitudes: pattern of the words that multiply an amount.
        dialled: pattern of what stands before a short number that is dialled ("call 911").
        magnitude_of: the article between a magnitude and its currency ("un millón de dólares").
    """

    digits: tuple[str, ...]
    dot: str
    at: str
    slash: str
    dash: str
    underscore: str
    plus: str
    minus: str
    decimal: str
    conjunction: str
    percent: str
    number: str
    until: str
    per: str
    extension: str
    degrees: str
    cents: str
    times: Callable[[Callable[[int], str], int, int, str], str] | None = None
    magnitudes: str = ""
    magnitude_of: str = ""
    dialled: str = ""


def _english_time(cardinal: Callable[[int], str], hour: int, minute: int, behind: str) -> str:
    half = behind[0].upper() + "M" if behind else ""
    if minute:
        spoken = f"oh {cardinal(minute)}" if minute < 10 else cardinal(minute)
    elif half:
        spoken = ""
    elif hour == 0:
        return "midnight"
    else:
        spoken = "o'clock" if hour <= 12 else "hundred"
    return " ".join(filter(None, (cardinal(hour), spoken, half)))


def _german_time(cardinal: Callable[[int], str], hour: int, minute: int, _behind: str) -> str:
    spoken = "ein" if hour == 1 else cardinal(hour)
    return f"{spoken} Uhr {cardinal(minute)}" if minute else f"{spoken} Uhr"


def _spanish_time(cardinal: Callable[[int], str], hour: int, minute: int, behind: str) -> str:
    spoken = re.sub(r"uno$", "una", cardinal(hour))
    half = f" {behind[0].lower()} m" if behind else ""
    if not minute:
        return spoken + (half or (" hora" if hour == 1 else " horas"))
    return f"{spoken} y {cardinal(minute)}{half}"


def _french_time(cardinal: Callable[[int], str], hour: int, minute: int, _behind: str) -> str:
    spoken = re.sub(r"un$", "une", cardinal(hour))
    named = f"{spoken} heure" if hour <= 1 else f"{spoken} heures"
    return f"{named} {cardinal(minute)}" if minute else named


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS = {
    "en": Words(
        digits=_split("zero one two three four five six seven eight nine"),
        dot="dot", at="at", slash="slash", dash="dash", underscore="underscore", plus="plus", minus="minus",
        decimal="point", conjunction="and", percent="percent", number="number", until="to", per="per",
        extension="extension", degrees="degrees", cents="and", times=_english_time,
        magnitudes="thousand|million|billion|trillion", dialled="call|dial|text",
    ),
    "de": Words(
        digits=_split("null eins zwei drei vier fünf sechs sieben acht neun"),
        dot="Punkt", at="ät", slash="Schrägstrich", dash="Bindestrich", underscore="Unterstrich", plus="plus",
        minus="minus", decimal="Komma", conjunction="und", percent="Prozent", number="Nummer", until="bis", per="pro",
        extension="Durchwahl", degrees="Grad", cents="und", times=_german_time,
        magnitudes="Tausend|Millionen|Million|Milliarden|Milliarde", dialled="wählen Sie|wählen Sie die|Notruf",
    ),
    "es": Words(
        digits=_split("cero uno dos tres cuatro cinco seis siete ocho nueve"),
        dot="punto", at="arroba", slash="barra", dash="guion", underscore="guion bajo", plus="más", minus="menos",
        decimal="coma", conjunction="y", percent="por ciento", number="número", until="a", per="por",
        extension="extensión", degrees="grados", cents="con", times=_spanish_time,
        magnitudes="mil|millones|millón", magnitude_of="de",
    ),
    "fr": Words(
        digits=_split("zéro un deux trois quatre cinq six sept huit neuf"),
        dot="point", at="arobase", slash="barre oblique", dash="tiret", underscore="tiret bas", plus="plus",
        minus="moins", decimal="virgule", conjunction="et", percent="pour cent", number="numéro", until="à", per="par",
        extension="poste", degrees="degrés", cents="et", times=_french_time,
        magnitudes="mille|millions|million|milliards|milliard", magnitude_of="de",
    ),
    "hi": Words(
        digits=_split("शून्य एक दो तीन चार पाँच छह सात आठ नौ"),
        dot="डॉट", at="ऐट", slash="स्लैश", dash="डैश", underscore="अंडरस्कोर", plus="प्लस", minus="माइनस",
        decimal="दशमलव", conjunction="और", percent="प्रतिशत", number="नंबर", until="से", per="प्रति", extension="एक्सटेंशन",
        degrees="डिग्री", cents="और", magnitudes="हज़ार|हजार|लाख|करोड़",
    ),
}  # fmt: skip
_COUNTED = CONVERTER_CLASSES.keys() - {"am"}  # in Amharic the library stumbles at 1,100
# Where a number without a country code is dialled, for tags that name no country.
_REGIONS = {"en": "US", "de": "DE", "es": "ES", "fr": "FR", "hi": "IN"}


@dataclass(frozen=True)
class Tongue:
    """One language tag with all that belongs to it.

    Attributes:
        primary: such as "en".
        region: of telephone numbers without a country code, such as "US"; None where the tag tells none.
        words: None for a language that has no entry here.
        numerals: num2words' name of the language, empty where it has none.
        decimal, group: separators in numbers.
        day_first: 3/4/2026 is the third of April.
        months: lower-case names and abbreviations to 1-12.
        code_cue: matches where a text speaks of a number that is read out digit by digit (an account, a PIN).
    """

    primary: str
    locale: babel.Locale
    region: str | None
    words: Words | None
    numerals: str
    decimal: str
    group: str
    day_first: bool
    months: dict[str, int] = field(repr=False)
    code_cue: re.Pattern[str] | None


@functools.lru_cache(maxsize=64)
def tongue(tag: str) -> Tongue:
    """All that belongs to a BCP 47 tag; one that nobody knows is taken for a language without rules. Never raises."""
    subtags = tag.replace("_", "-").split("-")
    primary = subtags[0].lower()
    country = next((subtag.upper() for subtag in subtags[1:] if re.fullmatch(r"[A-Za-z]{2}", subtag)), None)
    locale = _locale(primary, country)
    # Of the library's variants only India's counts otherwise; some of the others lack half of what the main one knows.
    numerals = "en_IN" if (primary, country) == ("en", "IN") else primary
    short = babel.dates.get_date_format("short", locale=locale).pattern
    months = {
        name.lower().rstrip("."): number
        for width in ("wide", "abbreviated")
        for context in ("format", "stand-alone")
        for number, name in babel.dates.get_month_names(width, context, locale).items()
        if not name.isdigit()
    }
    cue = dict(language(tag).asks).get("number")
    return Tongue(
        primary=primary,
        locale=locale,
        region=country or _REGIONS.get(primary),
        words=_WORDS.get(primary),
        numerals=numerals if numerals in _COUNTED else "",
        decimal=babel.numbers.get_decimal_symbol(locale),
        group=babel.numbers.get_group_symbol(locale),
        day_first=short.find("d") < short.find("M"),
        months=months,
        code_cue=re.compile(cue, re.IGNORECASE) if cue else None,
    )


def _locale(primary: str, country: str | None) -> babel.Locale:
    for parts in ((primary, country), (primary, None)):
        try:
            return babel.Locale(*parts)
        except (babel.UnknownLocaleError, ValueError):
            continue
    return babel.Locale("en")

"""Dates and times of day."""

import datetime
import re
from collections.abc import Iterator

import babel.dates

from streaming.spoken import numbers
from streaming.spoken.lexicon import Tongue
from streaming.spoken.place import Said

_ISO_DATE = re.compile(r"(?<![\w-])(\d{4})-(\d{2})-(\d{2})(?![\w-])")
_DATE = re.compile(r"(?<![\w./-])(\d{1,2})([./-])(\d{1,2})\2(\d{4})(?![\w/-])")
_TIME = re.compile(
    r"(?<![\w.:,-])([01]?\d|2[0-4]):([0-5]\d)(?![:\d])(?:\s?(a\.m\.|p\.m\.|[ap]m\b|Uhr\b|h\b))?", re.IGNORECASE
)
_HALF_DAY = re.compile(r"(?<![\w.:,])(1[0-2]|[1-9])(?::([0-5]\d))?\s?(a\.m\.|p\.m\.|[ap]m\b)", re.IGNORECASE)
_CLOCK = {
    "de": re.compile(r"(?<![\w.:,-])([01]?\d|2[0-4])(?:[.:]([0-5]\d))?\s?(Uhr)\b(?:\s([0-5]?\d)\b(?!\s?Uhr))?"),
    "fr": re.compile(r"(?<![\w.:,-])([01]?\d|2[0-4])\s?(?:h|heures?)(?:\s?([0-5]\d))?\b"),
}


def date(text: str, tongue: Tongue) -> Iterator[Said]:
    """Dates in figures."""
    for pattern in (_ISO_DATE, _DATE):
        for match in pattern.finditer(text):
            day = _day(match, iso=pattern is _ISO_DATE, day_first=tongue.day_first)
            if day is not None and tongue.words is not None:
                written = babel.dates.format_date(day, "long", locale=tongue.locale)
                start = match.start()
                if tongue.primary == "de" and (before := re.search(r"\w+\s$", text[:start])):
                    start, written = before.start(), before[0] + written  # it bends the ordinal
                yield Said(start, match.end(), _long_date(written, tongue))


def _long_date(written: str, tongue: Tongue) -> str:
    """A date in the language's long style, its figures in words."""
    for said in month_day(written, tongue):
        return written[: said.start] + said.words + written[said.end :]
    return re.sub(r"\d+", lambda figure: numbers.year(int(figure[0]), tongue), written)


def _day(match: re.Match[str], *, iso: bool, day_first: bool) -> datetime.date | None:
    if iso:
        orders = [(int(match[1]), int(match[2]), int(match[3]))]
    else:
        first, second, year = int(match[1]), int(match[3]), int(match[4])
        orders = [(year, second, first), (year, first, second)]
        if not day_first and match[2] != ".":
            orders.reverse()
    for order in orders:
        try:
            return datetime.date(*order)
        except ValueError:
            continue
    return None


def month_day(text: str, tongue: Tongue) -> Iterator[Said]:
    """Days beside the name of their month: they are said as ordinals in English and German."""
    names = "|".join(sorted(map(re.escape, tongue.months), key=len, reverse=True))
    names = rf"(?=[A-Z])(?i:{names})"  # you may 3 times, in May 3 times
    if tongue.primary == "en":
        yield from _english_days(text, names, tongue)
    elif tongue.primary == "de":
        yield from _german_days(text, names, tongue)


def _english_days(text: str, names: str, tongue: Tongue) -> Iterator[Said]:
    day, year = r"(\d{1,2})(?:st|nd|rd|th)?", r"(?:,?\s(\d{4})\b)?"
    for match in re.finditer(rf"(?<!\w)({names})\.?\s{day}\b(?!\s?[:%]){year}", text):
        if 1 <= int(match[2]) <= 31:
            said = f"{_month_name(match[1], tongue)} {numbers.ordinal(int(match[2]), tongue)}"
            yield Said(*match.span(), _dated(said, match[3], tongue))
    point = r"(?:\.(?=\s[a-z\d]))?"  # of an abbreviation, not of the sentence
    pattern = rf"(?<![\w.,])(?:the\s)?{day}\s(?:of\s)?({names})\b{point}{year}"
    for match in re.finditer(pattern, text):
        if 1 <= int(match[1]) <= 31:
            said = f"the {numbers.ordinal(int(match[1]), tongue)} of {_month_name(match[2], tongue)}"
            yield Said(*match.span(), _dated(said, match[3], tongue))


def _german_days(text: str, names: str, tongue: Tongue) -> Iterator[Said]:
    pattern = rf"(?:\b(\w+)\s)?(?<![\w.,])(\d{{1,2}})\.\s?({names})\b\.?(?:\s(\d{{4}})\b)?"
    for match in re.finditer(pattern, text):
        if 1 <= int(match[2]) <= 31:
            article = match[1] or ""
            bent = numbers.ordinal(int(match[2]), tongue)
            bent += "" if article.lower() == "der" else "n" if article else "r"
            said = f"{article} {bent} {_month_name(match[3], tongue)}".strip()
            yield Said(*match.span(), _dated(said, match[4], tongue))


def _month_name(name: str, tongue: Tongue) -> str:
    months = babel.dates.get_month_names("wide", "format", tongue.locale)
    return str(months[tongue.months[name.lower().rstrip(".")]])


def _dated(day: str, year: str | None, tongue: Tongue) -> str:
    if not year:
        return day
    comma = "," if tongue.primary == "en" else ""
    return f"{day}{comma} {numbers.year(int(year), tongue)}"


def time(text: str, tongue: Tongue) -> Iterator[Said]:
    """Times of day, with hour and minute or with am and pm."""
    if tongue.words is None or tongue.words.times is None:
        return
    say = tongue.words.times
    clock = _CLOCK.get(tongue.primary)
    for pattern in filter(None, (_TIME, _HALF_DAY, clock)):
        for match in pattern.finditer(text):
            parts = match.groups()
            behind = (parts[2] or "") if len(parts) > 2 else ""
            minute = parts[1] or (parts[3] if len(parts) > 3 else None) or 0
            half = behind if behind[:1].lower() in {"a", "p"} else ""
            words = say(lambda value: numbers.cardinal(value, tongue), int(match[1]), int(minute), half)
            # "5 p.m." at the end of a sentence ends it too.
            stop = "." if behind.endswith(".") and not text[match.end() :].strip() else ""
            yield Said(*match.span(), words + stop)

"""From a row of a table to a person who may be called: what the columns mean, and what is wrong with a row.

Pure. The wizard shows a guess of the columns' meaning, which the operator corrects; ``imports`` reads the rows by it.
"""

import datetime
import re
import zoneinfo
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Literal

import msgspec

from agents.prompts import BUILT_IN, MAX_VALUE_CHARS, NAME, clean
from calls.numbers import NumberRefused, parse

# What a column may mean besides a variable of the agent's texts (VARIABLE) and nothing (IGNORED).
FIELDS = {
    "number": "Phone number",
    "name": "Name",
    "time_zone": "Time zone",
    "region": "State or region",
    "language": "Language",
    "consent": "Consent",
    "consent_at": "Date of consent",
    "consent_source": "Where consent was given",
}
VARIABLE, IGNORED = "variable", ""

_GUESSES = {
    "number": "phone number|phone|number|mobile|mobile number|cell|cell phone|tel|telephone|telefon|telefonnummer|"
    "handy|msisdn|telefono|teléfono|téléphone",
    "name": "name|full name|contact|contact name|nombre|nom",
    "time_zone": "time zone|timezone|tz|zeitzone",
    "region": "state|region|province|bundesland|state or region",
    "language": "language|lang|locale|sprache|idioma|langue",
    "consent": "consent|opt in|optin|permission|einwilligung",
    "consent_at": "consent date|date of consent|consented at|consent at|opt in date",
    "consent_source": "consent source|where consent was given|opt in source",
}
_BY_HEADER = {text: field for field, texts in _GUESSES.items() for text in texts.split("|")}

Consent = Literal["", "express", "written"]
_CONSENTS: dict[str, Consent] = {
    **dict.fromkeys(["", "no", "none", "false", "0", "n"], ""),
    **dict.fromkeys(["express", "yes", "true", "1", "y", "verbal", "oral"], "express"),
    **dict.fromkeys(["written", "signed", "express written"], "written"),
}
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-[A-Z]{2})?")
MAX_NAME, MAX_REGION, MAX_SOURCE = 120, 60, 200
MAX_VARIABLES = 40


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A row that can be called. ``zones``: where the number's owner may be, unless ``time_zone`` says it."""

    number: str
    country: str
    zones: tuple[str, ...]
    name: str = ""
    time_zone: str = ""
    region: str = ""
    language: str = ""
    consent: Consent = ""
    consent_at: datetime.date | None = None
    consent_source: str = ""
    variables: dict[str, str] = {}


class RowRefused(ValueError):  # noqa: N818  (as a person would say it)
    """A row that is no person; its text names every fault of it."""


class Meaning(msgspec.Struct, frozen=True):
    """What a column means: a key of FIELDS, VARIABLE with its name, or IGNORED."""

    field: str
    variable: str = ""


def guess(names: Sequence[str]) -> list[Meaning]:
    """What the columns of these headers most likely mean; each field is taken by the first that fits."""
    meanings: list[Meaning] = []
    taken: set[str] = set()
    for name in names:
        field = _BY_HEADER.get(re.sub(r"[\W_]+", " ", name.casefold()).strip(), "")
        variable = "" if field and field not in taken else variable_name(name)
        if field and field not in taken:
            meanings.append(Meaning(field))
            taken.add(field)
        elif variable and variable not in taken:
            meanings.append(Meaning(VARIABLE, variable))
            taken.add(variable)
        else:
            meanings.append(Meaning(IGNORED))
    return meanings


def variable_name(header: str) -> str:
    """A header as an agent's texts would name it, "Order no." as order_no; empty when nothing is left of it."""
    name = re.sub(r"[^a-z0-9]+", "_", header.casefold()).strip("_")[:40].strip("_")
    if name in BUILT_IN:
        name = f"their_{name}"[:40]
    return name if NAME.fullmatch(name) else ""


def faults(meanings: Sequence[Meaning]) -> list[str]:
    """What is wrong with the operator's choice, in sentences; empty when rows can be read by it."""
    found: list[str] = []
    fields = [meaning.field for meaning in meanings if meaning.field in FIELDS]
    if "number" not in fields:
        found.append("Choose the column that holds the phone number.")
    found += [f"Two columns are the {FIELDS[field].lower()}." for field in FIELDS if fields.count(field) > 1]
    variables = [meaning.variable for meaning in meanings if meaning.field == VARIABLE]
    for variable in dict.fromkeys(variables):
        if not NAME.fullmatch(variable):
            found.append(f"“{variable}” cannot name a variable: small letters, digits and “_”, a letter first.")
        elif variable in BUILT_IN:
            found.append(f"“{variable}” is {BUILT_IN[variable]} already: choose another name.")
        elif variables.count(variable) > 1:
            found.append(f"Two columns are the variable “{variable}”.")
    if len(variables) > MAX_VARIABLES:
        found.append(f"At most {MAX_VARIABLES} columns can be variables.")
    return found


def person(cells: Sequence[str], meanings: Sequence[Meaning], *, country: str) -> Person:
    """The person of a row.

    Args:
        cells: as many as ``meanings``.
        country: ISO 3166 two letters, of numbers without a country code; may be empty.

    Raises:
        RowRefused: something in the row cannot be meant so.
    """
    given = {meaning.field: cell for meaning, cell in zip(meanings, cells, strict=True) if meaning.field in FIELDS}
    wrong: list[str] = []

    def read(field: str, reader: Callable[[str], str]) -> str:
        try:
            return reader(given.get(field, ""))
        except ValueError as error:
            wrong.append(f"{FIELDS[field]}: {error}")
            return ""

    number = None
    try:
        number = parse(given.get("number", ""), country=country)
    except NumberRefused as refused:
        wrong.append(f"{FIELDS['number']}: {refused}")
    if number is not None and number.refused_as:
        wrong.append(f"{FIELDS['number']}: it is {number.refused_as}")
    zone, tongue = read("time_zone", time_zone), read("language", language)
    consent, consent_at = read("consent", _consent), read("consent_at", _date)
    if wrong or number is None:
        raise RowRefused("; ".join(wrong))
    return Person(
        number=number.e164,
        country=number.country,
        zones=number.zones,
        name=clean(given.get("name", ""))[:MAX_NAME],
        time_zone=zone,
        region=clean(given.get("region", ""))[:MAX_REGION],
        language=tongue,
        consent=_CONSENTS[consent],
        consent_at=datetime.date.fromisoformat(consent_at) if consent_at else None,
        consent_source=clean(given.get("consent_source", ""))[:MAX_SOURCE],
        variables=_variables(cells, meanings),
    )


def given(fields: Mapping[str, str], variables: Mapping[str, object], *, country: str = "") -> Person:
    """The person whom a program names, under the rules of an imported row.

    Args:
        fields: by the names of FIELDS; one that is left out is empty.
        country: as in ``person``.

    Raises:
        RowRefused: something cannot be meant so.
    """
    wrong: list[str] = []
    try:
        values = typed_variables(variables)
    except ValueError as error:
        wrong.append(str(error))
    try:
        cells = [" ".join(cell.split()) for cell in fields.values()]
        found = person(cells, [Meaning(name) for name in fields], country=country)
    except RowRefused as refused:
        wrong.append(str(refused))
    if wrong:
        raise RowRefused("; ".join(wrong))
    return msgspec.structs.replace(found, variables={name: value for name, value in values.items() if value})


def typed_variables(given: object) -> dict[str, str]:
    """Variables that somebody has typed. Raises ValueError with what is wrong with them."""
    if not isinstance(given, dict):
        raise ValueError('Write names and values, such as {"order_no": "A-17"}.')
    meanings = [Meaning("number"), *(Meaning(VARIABLE, str(name)) for name in given)]
    if found := faults(meanings):
        raise ValueError(" ".join(found))
    if any(isinstance(value, dict | list | None) for value in given.values()):
        raise ValueError("A value is a text or a number.")
    return {name: clean(value)[:MAX_VALUE_CHARS] for name, value in given.items()}


def _variables(cells: Sequence[str], meanings: Sequence[Meaning]) -> dict[str, str]:
    values = {
        meaning.variable: clean(cell)[:MAX_VALUE_CHARS]
        for meaning, cell in zip(meanings, cells, strict=True)
        if meaning.field == VARIABLE
    }
    return {name: value for name, value in values.items() if value}


@lru_cache(maxsize=1)
def _zone_names() -> Mapping[str, str]:
    return {name.casefold(): name for name in zoneinfo.available_timezones()}


def time_zone(cell: str) -> str:
    """The IANA name of a zone in which people live. Raises ValueError."""
    if not cell:
        return ""
    name = _zone_names().get(cell.casefold().replace(" ", "_"))
    # "EST" and "Etc/GMT+5" are zones, but know no summer: nobody lives by them.
    if name is None or "/" not in name or name.startswith("Etc/"):
        raise ValueError("not a time zone: write it as America/New_York")
    return name


def language(cell: str) -> str:
    """A language's tag in its usual spelling. Raises ValueError."""
    if not cell:
        return ""
    parts = cell.replace("_", "-").split("-")
    tag = "-".join([parts[0].lower(), *(part.title() if len(part) == 4 else part.upper() for part in parts[1:])])
    if not _LANGUAGE.fullmatch(tag):
        raise ValueError("not a language: write it as en or en-US")
    return tag


def _consent(cell: str) -> str:
    if cell.casefold() not in _CONSENTS:
        raise ValueError("write express, written or none")
    return cell.casefold()


def _date(cell: str) -> str:
    if not cell:
        return ""
    try:
        return datetime.datetime.fromisoformat(cell).date().isoformat()
    except ValueError:
        raise ValueError("not a date: write it as 2026-05-03") from None

"""Fields that are filled from the transcript after a call: how operators write them, and their JSON schema.

``agents.services`` checks them, the admin shows them one per line, ``calls.summaries`` asks the model for them.
"""

import datetime
import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, cast, get_args

import msgspec

from agents.spec import ExtractionField, FieldType

TYPES: tuple[str, ...] = get_args(FieldType)
MAX_FIELDS = 30
MAX_TEXT = 2000
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_JSON_TYPES = {"text": "string", "number": "number", "boolean": "boolean", "date": "string", "choice": "string"}


def json_schema(fields: Iterable[ExtractionField]) -> dict[str, Any]:
    """A strict schema of one object that holds every field; null stands for "was not said".

    Strict as structured output demands it: all properties required, none additional.
    """
    properties: dict[str, Any] = {}
    for field in fields:
        prop: dict[str, Any] = {"type": [_JSON_TYPES[field.type], "null"], "description": _description(field)}
        if field.type == "choice":
            prop["enum"] = [*field.choices, None]
        properties[field.name] = prop
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def from_json(raw: object) -> tuple[ExtractionField, ...]:
    """The fields as ``Agent.extraction`` stores them, checked.

    Raises:
        ValueError: all problems, one sentence each, joined by a space.
    """
    try:
        fields = msgspec.convert(raw, tuple[ExtractionField, ...])
    except msgspec.ValidationError as error:
        raise ValueError(f"The fields to extract are not well-formed: {error}.") from error
    if problems := _problems(fields):
        raise ValueError(" ".join(problems))
    return fields


def parse_lines(text: str) -> tuple[ExtractionField, ...]:
    """Fields written one per line as ``name | type | description``.

    The type "choice" lists its values: ``outcome | choice: booked, declined | what they decided``. A line may leave out
    the description, or the type as well, which is then "text".

    Raises:
        ValueError: all problems, one sentence each with its line number, joined by a space.
    """
    fields: list[ExtractionField] = []
    problems: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, kind, description = (part.strip() for part in (line + "||").split("|", 2))
        kind, _, choices = kind.partition(":")
        kind = kind.strip().lower() or "text"
        if kind not in TYPES:
            problems.append(f"Line {number}: “{kind}” is no type; write {', '.join(TYPES)}.")
            continue
        fields.append(
            ExtractionField(
                name=name,
                type=kind,  # type: ignore[arg-type]  # just checked
                description=description.rstrip("| "),
                choices=tuple(choice.strip() for choice in choices.split(",") if choice.strip()),
            )
        )
    problems += _problems(tuple(fields))
    if problems:
        raise ValueError(" ".join(problems))
    return tuple(fields)


def format_lines(fields: Iterable[ExtractionField]) -> str:
    """The inverse of ``parse_lines``."""
    return "\n".join(
        " | ".join(
            [field.name, field.type + (f": {', '.join(field.choices)}" if field.choices else ""), field.description]
        ).rstrip("| ")
        for field in fields
    )


def checked(values: Mapping[str, Any], fields: Iterable[ExtractionField]) -> dict[str, str | int | float | bool | None]:
    """What a model returned, held against the fields: exactly their names, and None for whatever does not fit."""
    return {field.name: _fitting(values.get(field.name), field) for field in fields}


def _fitting(value: object, field: ExtractionField) -> str | int | float | bool | None:
    if field.type == "boolean":
        return value if isinstance(value, bool) else None
    if field.type == "number":
        # NaN, infinity and integers beyond a float have no place in JSON columns of either database.
        fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
        return cast("int | float", value) if fits else None
    text = value.strip()[:MAX_TEXT].replace("\x00", "") if isinstance(value, str) else ""
    if field.type == "choice":
        return text if text in field.choices else None
    return (_date(text) if field.type == "date" else text) or None


def _date(text: str) -> str:
    try:
        return datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        return ""


def _description(field: ExtractionField) -> str:
    words = field.description or field.name.replace("_", " ")
    return f"{words}, as YYYY-MM-DD" if field.type == "date" else words


def _problems(fields: tuple[ExtractionField, ...]) -> list[str]:
    problems = []
    seen: set[str] = set()
    if len(fields) > MAX_FIELDS:
        problems.append(f"At most {MAX_FIELDS} fields can be extracted, these are {len(fields)}.")
    for field in fields:
        if not _NAME.fullmatch(field.name):
            problems.append(
                f"“{field.name}” is no field name: use small letters, digits and _, beginning with a letter."
            )
        elif field.name in seen:
            problems.append(f"The field “{field.name}” is there twice.")
        seen.add(field.name)
        if field.type == "choice" and len(set(field.choices)) < 2:
            problems.append(f"The field “{field.name}” needs at least two choices, as in “choice: yes, no”.")
        if field.type != "choice" and field.choices:
            problems.append(f"The field “{field.name}” has choices, so its type must be choice.")
    return problems

"""Form fields that show stored JSON as lines an operator can write: no brackets, no quotes.

Used by the forms of agents and voices.
"""

from typing import Any

import msgspec
from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from agents import extraction, transfers


class LinesField(forms.CharField):
    """One text per line, as a list of texts. Subclasses say how else lines are read and written."""

    def __init__(self, *, rows: int = 3, placeholder: str = "", **kwargs: Any) -> None:
        widget = UnfoldAdminTextareaWidget(attrs={"rows": rows, "placeholder": placeholder, "spellcheck": "false"})
        super().__init__(**({"required": False, "widget": widget} | kwargs))

    def read(self, lines: list[str]) -> Any:
        """Non-empty, stripped lines as the value to store; raises ValidationError."""
        return lines

    def write(self, value: Any) -> str:
        """The stored value as lines; what was stored by other ways may be malformed and must not raise."""
        return "\n".join(str(line) for line in value) if isinstance(value, list) else str(value or "")

    def clean(self, value: Any) -> Any:
        """The value to store; raises ValidationError."""
        text = super().clean(value)
        return self.read([line.strip() for line in str(text).splitlines() if line.strip()])

    def prepare_value(self, value: Any) -> str:
        """Lines, whether given stored data or what was just typed."""
        return value if isinstance(value, str) else self.write(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compares what is written, so that an untouched field counts as unchanged."""
        written = self.prepare_value(initial)
        return written.splitlines() != str(data or "").strip().splitlines()


class PairsField(LinesField):
    """``name = value`` per line, as a dictionary of texts."""

    def read(self, lines: list[str]) -> dict[str, Any]:
        """Refuses a line without a name or without "=", and a name that comes twice."""
        pairs: dict[str, Any] = {}
        problems = []
        for line in lines:
            name, separator, value = (part.strip() for part in line.partition("="))
            if not separator or not name:
                problems.append(f"“{line}”: write it as name = value.")
            elif name in pairs:
                problems.append(f"“{name}” is there twice.")
            else:
                pairs[name] = self.value_of(value)
        if problems:
            raise ValidationError(problems)
        return pairs

    def value_of(self, text: str) -> Any:
        """The text itself."""
        return text

    def write(self, value: Any) -> str:
        """One pair per line, in the order in which they were written."""
        if not isinstance(value, dict):
            return str(value or "")
        return "\n".join(f"{name} = {self.text_of(part)}" for name, part in value.items())

    def text_of(self, value: Any) -> str:
        """The inverse of ``value_of``."""
        return str(value)


class OptionsField(PairsField):
    """``name = value`` per line; a value may be true, false or a number."""

    def value_of(self, text: str) -> str | int | float | bool:
        """JSON's reading of true, false and numbers; anything else is a text."""
        try:
            return msgspec.json.decode(text, type=bool | int | float)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return text

    def text_of(self, value: Any) -> str:
        """As ``value_of`` reads it."""
        return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


class ExtractionField(LinesField):
    """``name | type | description`` per line, as ``Agent.extraction`` stores it."""

    def read(self, lines: list[str]) -> list[dict[str, Any]]:
        """Refuses what ``agents.extraction`` refuses."""
        try:
            return msgspec.to_builtins(extraction.parse_lines("\n".join(lines)))
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def write(self, value: Any) -> str:
        """The lines, or the stored data as it is where it is malformed."""
        try:
            return extraction.format_lines(extraction.from_json(value or []))
        except ValueError:
            return msgspec.json.encode(value).decode()


class TransfersField(LinesField):
    """``name | number | description`` per line, as ``Agent.transfers`` stores it."""

    def read(self, lines: list[str]) -> list[dict[str, Any]]:
        """Refuses what ``agents.transfers`` refuses."""
        try:
            return msgspec.to_builtins(transfers.parse_lines("\n".join(lines)))
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def write(self, value: Any) -> str:
        """The lines, or the stored data as it is where it is malformed."""
        try:
            return transfers.format_lines(transfers.from_json(value or []))
        except ValueError:
            return msgspec.json.encode(value).decode()

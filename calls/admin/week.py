"""A week of hours as people write them: a field for each day."""

import itertools
import re
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from unfold.widgets import UnfoldAdminTextInputWidget

WEEK = tuple(f"day_{at}" for at in range(7))
_SPAN = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*[-–]\s*(\d{1,2})(?::(\d{2}))?", re.ASCII)  # noqa: RUF001
Read = TypeVar("Read")


def read_day(text: str) -> list[list[int]]:
    """ "9-12, 13:30-18" as minutes of the day. Raises ValueError."""
    spans = []
    for part in filter(None, (each.strip() for each in text.split(","))):
        match = _SPAN.fullmatch(part)
        if match is None:
            raise ValueError("write it as 9:00-12:00, 13:00-18:00")
        start, end = (int(match[at]) * 60 + int(match[at + 1] or 0) for at in (1, 3))
        if not start < end <= 24 * 60:
            raise ValueError(f"“{part}” does not end after it begins, within the day")
        spans.append([start, end])
    spans.sort()
    if any(later[0] <= earlier[1] for earlier, later in itertools.pairwise(spans)):
        raise ValueError("its hours overlap")
    return spans


def written_day(spans: list[list[int]]) -> str:
    """The other way round."""
    return ", ".join(f"{a // 60}:{a % 60:02}-{b // 60}:{b % 60:02}" for a, b in spans)


def text_field(label: str) -> forms.CharField:
    """Of a day, or of what is written as shortly."""
    return forms.CharField(required=False, max_length=80, label=label, widget=UnfoldAdminTextInputWidget())


class WeekForm(forms.ModelForm):
    """Of a model whose ``week`` holds the hours, seven lists of minutes of the day."""

    day_0 = text_field("Monday")
    day_1 = text_field("Tuesday")
    day_2 = text_field("Wednesday")
    day_3 = text_field("Thursday")
    day_4 = text_field("Friday")
    day_5 = text_field("Saturday")
    day_6 = text_field("Sunday")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, day in zip(WEEK, self.instance.week or [[]] * 7, strict=True):
            self.initial[name] = written_day(day)

    def clean(self) -> dict[str, Any]:
        """Puts the week together; hours that cannot be read are named at their day."""
        data = super().clean() or self.cleaned_data
        self.instance.week = [self.read(name, read_day) or [] for name in WEEK]
        return data

    def read(self, field: str, reader: Callable[[str], Read]) -> Read | None:
        """What a field says; None where it cannot be read, which the form says beside it."""
        try:
            return reader(self.cleaned_data.get(field, ""))
        except ValueError as error:
            self.add_error(field, f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return None

"""How a campaign's plan is written: hours and retries as people write them, countries by name."""

import itertools
import re
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelect2MultipleWidget, UnfoldAdminTextInputWidget

from calls.models import Campaign
from calls.numbers import country_names

RETRIED = ("busy", "no_answer", "machine", "failed", "hung_up")
MOST_RETRIES, LONGEST_DELAY = 10, 30 * 24 * 60
GUARDS = ("budget", "breaker_percent", "breaker_window_s")
_SPAN = re.compile(r"(\d{1,2})(?::(\d{2}))?\s*[-–]\s*(\d{1,2})(?::(\d{2}))?", re.ASCII)  # noqa: RUF001


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


def read_delays(text: str) -> list[int]:
    """ "15, 60" as minutes. Raises ValueError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(not part.isascii() or not part.isdigit() for part in parts):
        raise ValueError("write minutes, as 15, 60")
    delays = [int(part) for part in parts]
    if len(delays) > MOST_RETRIES or any(not 1 <= delay <= LONGEST_DELAY for delay in delays):
        raise ValueError(f"at most {MOST_RETRIES} times, each within 30 days")
    return delays


def _text(label: str) -> forms.CharField:
    return forms.CharField(required=False, max_length=80, label=label, widget=UnfoldAdminTextInputWidget())


class CampaignForm(forms.ModelForm):
    """The plan: its week and its retries as people write them."""

    day_0 = _text("Monday")
    day_1 = _text("Tuesday")
    day_2 = _text("Wednesday")
    day_3 = _text("Thursday")
    day_4 = _text("Friday")
    day_5 = _text("Saturday")
    day_6 = _text("Sunday")
    retry_busy = _text("Busy")
    retry_no_answer = _text("No answer")
    retry_machine = _text("A machine answered")
    retry_failed = _text("Failed")
    retry_hung_up = _text("Hung up within 10 seconds")
    countries = forms.MultipleChoiceField(
        required=False,
        widget=UnfoldAdminSelect2MultipleWidget(),
        help_text="Only numbers of these are called. A country that shares its code with another, as Jamaica with the "
        "United States, is a country of its own.",
    )

    class Meta:
        model = Campaign
        fields = (
            "name", "agent", "agent_version", "purpose", "contact_lists", "caller_numbers", "countries", "starts_at",
            "ends_at", "on_holidays", "concurrency", "on_machine", "voicemail_message", "screening_answer", "ring_s",
            "gap_hours", "most_a_day", "most_a_week", *GUARDS,
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "countries" in self.fields:
            self.fields["countries"].choices = country_names()  # type: ignore[attr-defined]
        for at, day in enumerate(self.instance.week):
            self.initial[f"day_{at}"] = written_day(day)
        for outcome, delays in self.instance.retries.items():
            self.initial[f"retry_{outcome}"] = ", ".join(map(str, delays))

    def clean(self) -> dict[str, Any]:
        """Puts week and retries together; what cannot be read is named at its field."""
        data = super().clean() or self.cleaned_data
        self.instance.week = [self._read(f"day_{at}", read_day) for at in range(7)]
        found = {outcome: self._read(f"retry_{outcome}", read_delays) for outcome in RETRIED}
        self.instance.retries = {outcome: delays for outcome, delays in found.items() if delays}
        if data.get("on_machine") == Campaign.OnMachine.LEAVE_MESSAGE and not data.get("voicemail_message", "").strip():
            self.add_error("voicemail_message", "Write the message that is to be left.")
        starts, ends = data.get("starts_at"), data.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "It ends before it begins.")
        self._hold()
        return data

    def _hold(self) -> None:
        """Keeps the row as it is until all is saved: a draft is not changed past its launch, and so its approval."""
        if self.instance._state.adding:
            return
        rows = Campaign.objects.select_for_update(no_key=True).filter(pk=self.instance.pk)
        if rows.values_list("status", flat=True).first() != self.instance.status:
            text = "Its status has changed while you saved, so nothing was saved: open its page again."
            self.add_error(None, text)

    def _read(self, field: str, reader: Any) -> Any:
        try:
            return reader(self.cleaned_data.get(field, ""))
        except ValueError as error:
            self.add_error(field, f"{str(error)[:1].upper()}{str(error)[1:]}.")
            return []


WEEK = tuple(f"day_{at}" for at in range(7))
RETRIES = tuple(f"retry_{outcome}" for outcome in RETRIED)
LATER = (
    "on_holidays", *GUARDS, "concurrency", "on_machine", "voicemail_message", "screening_answer", *WEEK, *RETRIES,
    "gap_hours", "most_a_day", "most_a_week", "ends_at", "countries",
)  # fmt: skip

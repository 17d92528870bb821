"""How a campaign's plan is written: hours and retries as people write them, countries by name."""

from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelect2MultipleWidget

from calls.admin.week import WEEK, WeekForm, text_field
from calls.models import Campaign
from calls.numbers import country_names

RETRIED = ("busy", "no_answer", "machine", "failed", "hung_up")
MOST_RETRIES, LONGEST_DELAY = 10, 30 * 24 * 60
GUARDS = ("budget", "breaker_percent", "breaker_window_s")


def read_delays(text: str) -> list[int]:
    """ "15, 60" as minutes. Raises ValueError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if any(not part.isascii() or not part.isdigit() for part in parts):
        raise ValueError("write minutes, as 15, 60")
    delays = [int(part) for part in parts]
    if len(delays) > MOST_RETRIES or any(not 1 <= delay <= LONGEST_DELAY for delay in delays):
        raise ValueError(f"at most {MOST_RETRIES} times, each within 30 days")
    return delays


class CampaignForm(WeekForm):
    """The plan: its week and its retries as people write them."""

    retry_busy = text_field("Busy")
    retry_no_answer = text_field("No answer")
    retry_machine = text_field("A machine answered")
    retry_failed = text_field("Failed")
    retry_hung_up = text_field("Hung up within 10 seconds")
    countries = forms.MultipleChoiceField(
        required=False,
        choices=country_names,
        widget=UnfoldAdminSelect2MultipleWidget(),
        help_text="Only numbers of these are called. A country that shares its code with another, as Jamaica with the "
        "United States, is a country of its own.",
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput())  # the change that the page showed last

    class Meta:
        model = Campaign
        fields = (
            "name", "agent", "agent_version", "purpose", "contact_lists", "caller_numbers", "countries", "starts_at",
            "ends_at", "on_holidays", "concurrency", "calls_per_second", "on_machine", "voicemail_message",
            "screening_answer", "ring_s", "longest_call_s", "gap_hours", "most_a_day", "most_a_week", *GUARDS,
        )  # fmt: skip

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["seen"] = self._latest_change()
        for outcome, delays in self.instance.retries.items():
            self.initial[f"retry_{outcome}"] = ", ".join(map(str, delays))

    def clean(self) -> dict[str, Any]:
        """Puts the retries together, too; what cannot be read is named at its field."""
        data = super().clean()
        found = {outcome: self.read(f"retry_{outcome}", read_delays) for outcome in RETRIED}
        self.instance.retries = {outcome: delays for outcome, delays in found.items() if delays}
        if data.get("on_machine") == Campaign.OnMachine.LEAVE_MESSAGE and not data.get("voicemail_message", "").strip():
            self.add_error("voicemail_message", "Write the message that is to be left.")
        starts, ends = data.get("starts_at"), data.get("ends_at")
        if starts and ends and ends <= starts:
            self.add_error("ends_at", "It ends before it begins.")
        self._hold()
        return data

    def _latest_change(self) -> str:
        latest = self.instance.history.order_by("-history_id").values_list("history_id", flat=True)
        return "" if self.instance._state.adding else str(latest.first() or "")

    def _hold(self) -> None:
        """Keeps the row as it is until all is saved: a draft is not changed past its launch, and so its approval.

        After the launch countries can only be taken out: a second person, and the law's duties, were asked for those.
        """
        if self.instance._state.adding:
            return
        rows = Campaign.objects.select_for_update(no_key=True).filter(pk=self.instance.pk)
        status, countries = rows.values_list("status", "countries").first() or ("", [])
        if status != self.instance.status:
            text = "Its status has changed while you saved, so nothing was saved: open its page again."
            self.add_error(None, text)
        elif self.cleaned_data.get("seen", "") not in {"", self._latest_change()}:
            text = "Somebody else has changed it while you did, so nothing was saved: open its page again."
            self.add_error(None, text)
        elif status != Campaign.Status.DRAFT and set(self.cleaned_data.get("countries", [])) - set(countries):
            self.add_error(
                "countries", "After the launch countries can only be taken out. Others need another campaign."
            )


RETRIES = tuple(f"retry_{outcome}" for outcome in RETRIED)
# What of it decides when people are due.
WHEN = frozenset({"on_holidays", "gap_hours", "most_a_day", "most_a_week", "ends_at", *WEEK})
LATER = (
    "on_holidays", *GUARDS, "concurrency", "calls_per_second", "on_machine", "voicemail_message", "screening_answer",
    *WEEK, *RETRIES, "longest_call_s", "gap_hours", "most_a_day", "most_a_week", "ends_at", "countries",
)  # fmt: skip

"""What operators add to the law as Parley knows it: narrower hours, and holidays."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone
from simple_history.models import HistoricalRecords

PLACE = RegexValidator(r"^[A-Z]{2}(-[A-Z]{2})?\Z", "As FR or US-FL.")


class LegalWindow(models.Model):
    """Hours of a place that count beside those that Parley knows: what both allow is allowed, so none widens any."""

    place = models.CharField(
        max_length=5, validators=[PLACE], help_text="ISO 3166, or US-FL for a state of the United States."
    )
    week = models.JSONField(help_text="In each person's own time: spans of minutes, by weekday, Monday first.")
    source = models.CharField(max_length=200, help_text="Which law or rule says so, such as “47 CFR 64.1200(c)(1)”.")
    looked_up = models.DateField(default=timezone.localdate, help_text="When somebody read it there.")
    note = models.CharField(max_length=200, blank=True)

    history = HistoricalRecords()

    class Meta:
        ordering = ["place", "pk"]
        verbose_name = "legal window"
        verbose_name_plural = "legal hours"

    def __str__(self) -> str:
        return f"{self.place}: {self.source}"


class Holiday(models.Model):
    """A day on which nobody of a place is called, unless a campaign calls on holidays."""

    date = models.DateField()
    place = models.CharField(
        max_length=5,
        blank=True,
        validators=[PLACE],
        help_text="ISO 3166, or US-FL for a state of the United States; empty: everywhere.",
    )
    name = models.CharField(max_length=80)
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )

    class Meta:
        ordering = ["date", "place"]
        constraints = [models.UniqueConstraint(fields=["date", "place"], name="holiday_once_in_a_place")]

    def __str__(self) -> str:
        return f"{self.date}: {self.name}"

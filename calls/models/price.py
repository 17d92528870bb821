"""Prices, by the day from which they hold. Parley ships none: they change, and contracts differ."""

from decimal import Decimal

from django.core.validators import MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from agents.models import ProviderAccount

PLIVO = "plivo"
ANY = "*"


class Price(models.Model):
    """What one unit of something costs in USD, from a day until the next row of the same; read by ``calls.costs``."""

    class Unit(models.TextChoices):
        INPUT = "input", "a million input tokens"
        CACHED = "cached", "a million cached input tokens"
        OUTPUT = "output", "a million output tokens"
        CHARACTERS = "characters", "1,000 characters"
        MINUTE = "minute", "a minute"

    provider = models.CharField(max_length=20, choices=[*ProviderAccount.Provider.choices, (PLIVO, "Plivo")])
    model = models.CharField(
        "model or country",
        max_length=80,
        default=ANY,
        help_text="As the agent names it; of Plivo the country called, such as US; * for all without a row of theirs.",
    )
    unit = models.CharField(max_length=10, choices=Unit, help_text="Minutes are of audio heard, or of a Plivo call.")
    usd = models.DecimalField("USD", max_digits=12, decimal_places=6, validators=[MinValueValidator(Decimal())])
    valid_from = models.DateField(help_text="The day from which it holds; calls before it keep the price of then.")
    source = models.CharField(max_length=200, help_text="Where it is from: a price list's address, a contract.")

    history = HistoricalRecords()

    class Meta:
        ordering = ["provider", "model", "unit", "-valid_from"]
        constraints = [
            models.UniqueConstraint(fields=["provider", "model", "unit", "valid_from"], name="price_once_a_day"),
            models.CheckConstraint(condition=models.Q(usd__gte=0), name="price_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.provider} {self.model}, {self.get_unit_display()}"

"""Phone numbers that callers can ring."""

import uuid

from django.core.validators import RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from agents.models import Agent
from calls.models.plivo_account import PlivoAccount

E164 = r"^\+[1-9][0-9]{6,14}$"


class PhoneNumber(models.Model):
    """A number rented at Plivo and the agent that answers it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.CharField(max_length=16, unique=True, validators=[RegexValidator(E164, "As +15551234567.")])
    alias = models.CharField(max_length=80, blank=True)
    plivo_account = models.ForeignKey(PlivoAccount, on_delete=models.PROTECT, related_name="numbers")
    agent = models.ForeignKey(
        Agent,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="numbers",
        help_text="Answers this number.",
    )
    country = models.CharField(max_length=2, blank=True, editable=False)
    number_type = models.CharField(max_length=20, blank=True, editable=False)
    points_here = models.BooleanField(
        "connected", null=True, editable=False, help_text="Whether Plivo sends this number's calls to Parley."
    )
    synced_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoricalRecords()

    class Meta:
        ordering = ["number"]
        constraints = [models.CheckConstraint(condition=models.Q(number__regex=E164), name="phone_number_is_e164")]

    def __str__(self) -> str:
        return f"{self.number} {self.alias}".strip()

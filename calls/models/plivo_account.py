"""The Plivo account that carries the calls."""

import uuid
from decimal import Decimal

from django.core.validators import MinValueValidator, RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from agents.fields import EncryptedTextField


class TokenlessManager(models.Manager["PlivoAccount"]):
    """Leaves the token where it is until somebody asks for it: no page decrypts secrets, or fails on a lost key."""

    def get_queryset(self) -> models.QuerySet["PlivoAccount"]:
        return super().get_queryset().defer("auth_token")


class PlivoAccount(models.Model):
    """A Plivo account or subaccount: its auth id, its token, and the application that points at us."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    auth_id = models.CharField(
        max_length=20,
        unique=True,
        validators=[RegexValidator(r"^(MA|SA)[A-Z0-9]{18}$", "MA or SA and 18 capital letters or digits.")],
    )
    auth_token = EncryptedTextField(help_text="Stored encrypted and never shown again.")
    token_hint = models.CharField(max_length=8, blank=True, editable=False)
    api_url = models.URLField("API URL", blank=True, help_text="Empty for Plivo's own, or the one of the environment.")
    calls_per_second = models.DecimalField(
        max_digits=5,
        decimal_places=1,
        default=2,
        validators=[MinValueValidator(Decimal("0.1"))],
        help_text="How many calls a second campaigns start; Plivo's own limit of an account is 2 unless it was raised.",
    )
    max_calls = models.PositiveSmallIntegerField(
        "calls at once",
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text="While so many go on, those that came in included, no other is begun. Plivo allows an account 50 in "
        "India, and elsewhere any number. Empty: no limit.",
    )
    application_id = models.CharField(max_length=40, blank=True, editable=False)
    is_sandbox = models.BooleanField("sandbox", default=False, help_text="A simulated phone network.")
    tested_at = models.DateTimeField("last tested", null=True, editable=False)
    test_ok = models.BooleanField("works", null=True, editable=False)
    test_message = models.CharField("what the test found", max_length=500, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TokenlessManager()
    history = HistoricalRecords(excluded_fields=["auth_token"])

    class Meta:
        ordering = ["name"]
        base_manager_name = "objects"  # for the account of a number or call, too
        verbose_name = "Plivo account"
        permissions = [("test_plivoaccount", "Can test the connection of a Plivo account")]

    def __str__(self) -> str:
        return self.name

"""Voices that agents can be given."""

import uuid

from django.db import models

from agents.models.provider_account import ProviderAccount


class Voice(models.Model):
    """One voice of a provider account, fetched from the provider or typed in by its id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    account = models.ForeignKey(ProviderAccount, on_delete=models.CASCADE, related_name="voices")
    external_id = models.CharField("voice id", max_length=120, help_text="The provider's own id of the voice.")
    name = models.CharField(max_length=120)
    language = models.CharField(max_length=20, blank=True, help_text="As the provider states it; informative only.")
    description = models.CharField(max_length=300, blank=True)
    settings = models.JSONField(
        default=dict, blank=True, help_text='The provider\'s own names, such as {"stability": 0.5, "speed": 1.0}.'
    )
    synced_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["account", "external_id"], name="voice_once_per_account")]

    def __str__(self) -> str:
        return f"{self.name} ({self.account.name})"

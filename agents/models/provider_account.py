"""Accounts at AI providers: where to connect and with which key."""

import uuid

from django.db import models
from simple_history.models import HistoricalRecords

from agents.fields import EncryptedTextField


class KeylessManager(models.Manager["ProviderAccount"]):
    """Leaves the key where it is until somebody asks for it: no list decrypts secrets, or fails on a lost key."""

    def get_queryset(self) -> models.QuerySet["ProviderAccount"]:
        return super().get_queryset().defer("api_key")


class ProviderAccount(models.Model):
    """A key and an address at OpenAI, ElevenLabs or any server that speaks OpenAI's protocol."""

    class Provider(models.TextChoices):
        OPENAI = "openai", "OpenAI"
        ELEVENLABS = "elevenlabs", "ElevenLabs"
        OPENAI_COMPATIBLE = "openai_compatible", "OpenAI-compatible server"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    provider = models.CharField(max_length=20, choices=Provider)
    base_url = models.URLField(
        "base URL", blank=True, help_text="Empty for the provider's own address (or the one set for the installation)."
    )
    api_key = EncryptedTextField(
        "API key", blank=True, help_text="Stored encrypted and never shown again. Empty: the key of the environment."
    )
    key_hint = models.CharField(max_length=8, blank=True, editable=False)
    is_sandbox = models.BooleanField(
        "sandbox", default=False, help_text="Scripted replies and synthetic voices; labelled so wherever it shows."
    )
    tested_at = models.DateTimeField("last tested", null=True, editable=False)
    test_ok = models.BooleanField("works", null=True, editable=False)
    test_message = models.CharField("what the test found", max_length=500, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = KeylessManager()
    history = HistoricalRecords(excluded_fields=["api_key"])

    class Meta:
        ordering = ["name"]
        verbose_name = "AI provider account"
        permissions = [("test_provideraccount", "Can test the connection of an AI provider account")]

    def __str__(self) -> str:
        return self.name

"""Webhooks that Parley sends: where to, and each event that goes there."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import Q
from simple_history.models import HistoricalRecords

from agents.fields import EncryptedTextField


class SecretlessManager(models.Manager["WebhookEndpoint"]):
    """Leaves the secrets where they are until somebody signs: no page decrypts them, or fails on a lost key."""

    def get_queryset(self) -> models.QuerySet["WebhookEndpoint"]:
        return super().get_queryset().defer("secret", "old_secret")


class WebhookEndpoint(models.Model):
    """An address that is told of events. Its secrets are written by ``calls.hooks.endpoints`` alone."""

    class Event(models.TextChoices):
        CALL_ENDED = "call.ended", "A call has ended"
        OPT_OUT_ADDED = "opt_out.added", "Somebody is not to be called again"
        CAMPAIGN_FINISHED = "campaign.finished", "A campaign is finished"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    url = models.CharField("address", max_length=500, help_text="Begins with https://")
    events = models.JSONField(default=list)
    whole_numbers = models.BooleanField(
        "whole phone numbers", default=False, help_text="Otherwise most of their digits are left out, as +1415•••••71."
    )
    secret = EncryptedTextField(editable=False)
    old_secret = EncryptedTextField(blank=True, editable=False)
    old_secret_until = models.DateTimeField(null=True, editable=False, help_text="Until then both sign.")
    enabled = models.BooleanField(default=True, editable=False)
    disabled_reason = models.CharField(max_length=300, blank=True, editable=False)
    failing_since = models.DateTimeField(
        null=True, editable=False, help_text="First failure after which nothing was delivered."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = SecretlessManager()
    history = HistoricalRecords(excluded_fields=["secret", "old_secret", "failing_since"])

    class Meta:
        ordering = ["name"]
        base_manager_name = "objects"  # for the endpoint of a delivery, too
        permissions = [
            ("test_webhookendpoint", "Can send test events to webhook endpoints"),
            ("roll_webhookendpoint", "Can roll the secrets of webhook endpoints"),
        ]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One event on its way to one endpoint. ``state`` is written by ``calls.hooks.deliveries`` alone."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        SENDING = "sending", "Being sent"
        DELIVERED = "delivered", "Delivered"
        FAILED = "failed", "Failed"

    id = models.BigAutoField(primary_key=True)
    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries")
    event_id = models.UUIDField("webhook-id", help_text="The same at every try and endpoint: tells repetitions.")
    event_key = models.CharField(max_length=80, help_text="What happened to what, such as call.ended:<id>.")
    kind = models.CharField("event", max_length=20)
    body = models.TextField(help_text="As it is sent.")
    whole_numbers = models.BooleanField(default=False, help_text="Whether the body holds them.")
    state = models.CharField(max_length=9, choices=State, default=State.WAITING)
    tries = models.PositiveSmallIntegerField(default=0)
    next_try_at = models.DateTimeField(
        "next try", null=True, help_text="While it is sent: from when another worker may send it."
    )
    last_status = models.PositiveSmallIntegerField("last answer", null=True, help_text="HTTP status.")
    last_error = models.CharField(max_length=300, blank=True)
    last_took_ms = models.PositiveIntegerField("took (ms)", null=True)
    created_at = models.DateTimeField()
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        verbose_name_plural = "webhook deliveries"
        constraints = [models.UniqueConstraint(fields=["endpoint", "event_key"], name="event_once_for_an_endpoint")]
        indexes = [
            models.Index(
                fields=["endpoint", "next_try_at"], name="delivery_due", condition=Q(next_try_at__isnull=False)
            ),
            models.Index(fields=["-created_at", "-id"], name="delivery_newest"),
        ]
        permissions = [("resend_webhookdelivery", "Can deliver webhooks again")]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id}"

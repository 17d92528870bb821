"""Keys with which programs use the HTTP API."""

import uuid

from django.conf import settings
from django.db import models
from simple_history.models import HistoricalRecords


class ApiKey(models.Model):
    """One program's key, as a hash, and what it may do. Made, found and revoked by ``calls.api.keys`` alone."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True, help_text="Which program uses it.")
    prefix = models.CharField("begins with", max_length=16, editable=False)
    key_hash = models.CharField(max_length=64, unique=True, editable=False)
    can_add_contacts = models.BooleanField("may add people to lists", default=False)
    can_call = models.BooleanField("may start calls", default=False)
    can_read = models.BooleanField("may read calls", default=False, help_text="Transcript and summary included.")
    can_opt_out = models.BooleanField("may add to the do-not-call list", default=False)
    can_see_numbers = models.BooleanField("sees whole phone numbers", default=False)
    countries = models.JSONField(
        default=list, blank=True, help_text="ISO 3166, of numbers that it may have called; none by default."
    )
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    last_used_at = models.DateTimeField("last used", null=True, editable=False, help_text="To the minute.")
    revoked_at = models.DateTimeField("revoked", null=True, editable=False)

    history = HistoricalRecords(excluded_fields=["key_hash", "last_used_at"])

    class Meta:
        ordering = ["name"]
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

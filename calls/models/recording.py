"""Recordings of calls: ours (two channels, from the stream) and, if asked for, Plivo's."""

import uuid

from django.db import models

from calls.models.call import Call


class Recording(models.Model):
    """One audio file of a call; left channel caller, right channel agent where we made it."""

    class Source(models.TextChoices):
        PARLEY = "parley", "Parley"
        PLIVO = "plivo", "Plivo"

    class Status(models.TextChoices):
        RUNNING = "running", "Running"
        PENDING = "pending", "Waiting to be fetched"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="recordings")
    source = models.CharField(max_length=10, choices=Source)
    status = models.CharField(max_length=10, choices=Status)
    file = models.FileField(upload_to="recordings/", max_length=200, blank=True)
    duration_ms = models.PositiveIntegerField(default=0)
    channels = models.PositiveSmallIntegerField(default=2)
    rate = models.PositiveIntegerField("rate (Hz)", default=8000)
    size = models.PositiveBigIntegerField("bytes", default=0)
    sha256 = models.CharField(max_length=64, blank=True)
    peaks = models.JSONField(default=list, help_text="Per channel, 0-1, for the player's waveform.")
    repaired = models.BooleanField(default=False, help_text="Put together after a crash.")
    parts = models.JSONField(
        default=dict,
        help_text="Per stream host: whether it still holds tracks of the call (held), "
        "and why some are missing (error).",
    )
    plivo_recording_id = models.CharField(max_length=64, blank=True)
    plivo_url = models.URLField(max_length=500, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["call", "source"]
        constraints = [models.UniqueConstraint(fields=["call", "source"], name="recording_once_per_source")]
        indexes = [models.Index(fields=["status", "next_attempt_at"], name="recording_due")]

    def __str__(self) -> str:
        return f"{self.call_id} {self.source}"

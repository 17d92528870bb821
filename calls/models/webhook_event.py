"""Every webhook as it came, stored before it is applied."""

from django.db import models

from calls.models.call import Call


class WebhookEvent(models.Model):
    """One verified request from Plivo. ``nonce`` is unique, so a replay cannot be applied twice."""

    kind = models.CharField(max_length=20)
    call = models.ForeignKey(Call, null=True, on_delete=models.SET_NULL, related_name="webhooks")
    nonce = models.CharField(max_length=64, unique=True)
    body_sha256 = models.CharField(max_length=64)
    params = models.JSONField()
    received_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-received_at", "-id"]
        indexes = [models.Index(fields=["-received_at", "-id"], name="webhook_newest")]

    def __str__(self) -> str:
        return f"{self.kind} {self.received_at:%Y-%m-%d %H:%M:%S}"

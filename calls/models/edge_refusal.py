"""What was refused at the edge: forged webhooks, strangers' sockets. Counted per minute: a flood stays small."""

from django.db import models


class EdgeRefusal(models.Model):
    """Refusals of one reason within one minute, with the last one as the sample."""

    class Edge(models.TextChoices):
        WEBHOOK = "webhook", "Webhook"
        STREAM = "stream", "Stream"

    edge = models.CharField(max_length=10, choices=Edge)
    reason = models.CharField(max_length=40)
    minute = models.DateTimeField()
    count = models.PositiveIntegerField(default=1)
    sample = models.JSONField(default=dict, help_text="URL forms tried and the like; never a token.")
    remedy = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-minute"]
        verbose_name = "refusal at the edge"
        verbose_name_plural = "refusals at the edge"
        constraints = [
            models.UniqueConstraint(fields=["edge", "reason", "minute"], name="refusal_once_per_minute_and_reason")
        ]

    def __str__(self) -> str:
        return f"{self.edge} {self.reason} {self.minute:%Y-%m-%d %H:%M}"

"""What a model made of a call after it."""

from django.db import models

from calls.models.call import Call


class CallSummary(models.Model):
    """Summary, outcome, success, sentiment and the agent's extracted fields."""

    class Status(models.TextChoices):
        PENDING = "pending", "Waiting"
        READY = "ready", "Ready"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Nothing was said"

    class Sentiment(models.TextChoices):
        POSITIVE = "positive", "Positive"
        NEUTRAL = "neutral", "Neutral"
        NEGATIVE = "negative", "Negative"

    call = models.OneToOneField(Call, on_delete=models.CASCADE, related_name="summary")
    status = models.CharField(max_length=10, choices=Status, default=Status.PENDING)
    summary = models.TextField(blank=True)
    outcome = models.CharField(max_length=200, blank=True)
    success = models.BooleanField(null=True)
    sentiment = models.CharField(max_length=10, choices=Sentiment, blank=True)
    extracted = models.JSONField(default=dict, blank=True)
    model = models.CharField(max_length=80, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        verbose_name_plural = "call summaries"
        indexes = [models.Index(fields=["status", "next_attempt_at"], name="summary_due")]

    def __str__(self) -> str:
        return f"summary of {self.call_id}"

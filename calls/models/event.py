"""The timeline of a call: what happened when."""

from django.db import models

from calls.models.call import Call


class CallEvent(models.Model):
    """One thing that happened on a call, for the timeline and for finding out why."""

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    offset_ms = models.IntegerField(null=True, help_text="From the call's live_at.")
    kind = models.CharField(max_length=40)
    data = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["at", "id"]
        indexes = [models.Index(fields=["call", "at"], name="event_by_call")]

    def __str__(self) -> str:
        return f"{self.call_id} {self.kind}"

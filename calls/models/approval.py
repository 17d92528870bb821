"""A second person's yes to a campaign's launch."""

from django.conf import settings
from django.db import models

from calls.models.campaign import Campaign


class Approval(models.Model):
    """Holds for the plan that was looked at, and for nothing that it was changed to. Made by ``control.approve``."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="approvals")
    fingerprint = models.CharField(max_length=64, help_text="Of the plan, the agent's version and the lists.")
    people = models.PositiveIntegerField(help_text="In the lists when it was approved.")
    approved_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    approved_at = models.DateTimeField()

    class Meta:
        ordering = ["approved_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "fingerprint", "approved_by"], name="approved_once_by_a_person")
        ]

    def __str__(self) -> str:
        return f"{self.campaign} by {self.approved_by}"

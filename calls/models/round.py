"""The people of a campaign gone through in the background, and how far it has come."""

from django.db import models

from calls.models.campaign import Campaign


class CampaignRound(models.Model):
    """One that is to be made, or goes on; whatever is done is deleted. Written by ``calls.campaigns.rounds`` alone."""

    class Kind(models.TextChoices):
        ENROL = "enrol", "People are being put in"
        CHANGED = "changed", "Something was changed, and when people are due is worked out anew"
        HELD = "held", "Whoever is held is looked at again"

    id = models.BigAutoField(primary_key=True)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="rounds")
    kind = models.CharField(max_length=7, choices=Kind)
    after = models.CharField(max_length=80, blank=True, help_text="Whom it has passed last; empty: nobody.")
    done = models.PositiveIntegerField(default=0, help_text="People whom it has passed.")
    moved_at = models.DateTimeField(help_text="Last progress; without any for long the sweep starts it again.")

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.kind}: {self.done}"

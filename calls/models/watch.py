"""What the guards of a running campaign have found, so that many workers need not look at once."""

from decimal import Decimal

from django.db import models

from calls.models.campaign import Campaign


class CampaignWatch(models.Model):
    """The latest look at a campaign. Written by ``calls.campaigns.guards`` and ``budget`` alone."""

    campaign = models.OneToOneField(Campaign, primary_key=True, on_delete=models.CASCADE, related_name="watch")
    looked_at = models.DateTimeField(help_text="Of the latest look at what failed.")
    thorough_at = models.DateTimeField(help_text="When spending, silence and short calls are to be looked at again.")
    reckoned_at = models.DateTimeField(null=True, help_text="Of the sums below.")
    spent_usd = models.DecimalField(max_digits=14, decimal_places=6, default=Decimal())
    calls = models.PositiveIntegerField(default=0, help_text="That were over, rung or refused by Plivo.")
    missing = models.TextField(blank=True, help_text="Prices that are not known, one a line.")
    warning = models.TextField(blank=True, help_text="What an operator should know, though nothing is paused.")

    def __str__(self) -> str:
        return str(self.campaign_id)

"""Single calls outside any campaign."""

from django.db import models
from django.db.models import Q

from calls.models.api_key import ApiKey
from calls.models.call import Call
from calls.models.campaign import Campaign
from calls.models.contact import Contact


class OneOffCall(models.Model):
    """What one call was ordered with: for what, to whom, by whom. Written by ``calls.one_off`` alone, never changed."""

    class Origin(models.TextChoices):
        API = "api", "API"
        TEST = "test", "Test of a campaign"
        VERIFICATION = "verification", "Verification of a test number"

    call = models.OneToOneField(Call, primary_key=True, on_delete=models.CASCADE, related_name="one_off")
    origin = models.CharField(max_length=12, choices=Origin)
    purpose = models.CharField(max_length=13, choices=Campaign.Purpose)
    country = models.CharField(max_length=3, help_text="ISO 3166, of the number.")
    zones = models.JSONField(default=list, help_text="Time zones in which the number's owner may be.")
    time_zone = models.CharField(max_length=40, blank=True)
    region = models.CharField(max_length=60, blank=True)
    consent = models.CharField(max_length=8, blank=True, choices=Contact.Consent)
    consent_at = models.DateField(null=True)
    consent_source = models.CharField(max_length=200, blank=True)
    on_machine = models.CharField(max_length=13, choices=Campaign.OnMachine, default=Campaign.OnMachine.HANG_UP)
    voicemail_message = models.TextField(blank=True, max_length=600)
    screening_answer = models.TextField(blank=True, max_length=300)
    ring_s = models.PositiveSmallIntegerField(default=40)
    api_key = models.ForeignKey(ApiKey, null=True, on_delete=models.PROTECT, related_name="one_off_calls")
    idempotency_key = models.CharField(max_length=255, blank=True)
    body_sha256 = models.CharField(max_length=64, blank=True, help_text="Of the request that started it.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["api_key", "idempotency_key"],
                condition=Q(api_key__isnull=False),
                name="one_call_for_an_idempotency_key",
            ),
            models.CheckConstraint(
                condition=Q(api_key=None, idempotency_key="")
                | (Q(api_key__isnull=False) & ~Q(idempotency_key="") & ~Q(body_sha256="")),
                name="a_program_names_each_call_it_starts",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.origin} {self.call_id}"

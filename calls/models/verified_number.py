"""Numbers at which operators may have campaigns tried out on themselves."""

import uuid

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from calls.models.call import Call
from calls.models.phone_number import E164


class VerifiedNumber(models.Model):
    """A number that an operator calls their own, and whether they have shown it. Written by ``calls.verifying``."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, editable=False, on_delete=models.CASCADE, related_name="+")
    number = models.CharField(max_length=16, validators=[RegexValidator(E164, "As +15551234567.")])
    country = models.CharField(max_length=3, editable=False)
    zones = models.JSONField(default=list, editable=False)
    time_zone = models.CharField(max_length=40, blank=True, help_text="Such as America/New_York; beats the number's.")
    region = models.CharField(
        "state",
        max_length=60,
        blank=True,
        help_text="Of a number in the United States, such as NY; without it the hours of the strictest state hold.",
    )
    code_hash = models.CharField(max_length=64, blank=True, editable=False)
    code_expires_at = models.DateTimeField(null=True, editable=False)
    tries = models.PositiveSmallIntegerField(default=0, editable=False, help_text="At the code that holds.")
    call = models.ForeignKey(
        Call, null=True, editable=False, on_delete=models.SET_NULL, related_name="verifies", help_text="The latest."
    )
    verified_at = models.DateTimeField("verified", null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["number"]
        verbose_name = "test number"
        constraints = [
            models.UniqueConstraint(fields=["user", "number"], name="test_number_once_for_a_user"),
            models.CheckConstraint(condition=models.Q(number__regex=E164), name="test_number_is_e164"),
        ]

    def __str__(self) -> str:
        return self.number

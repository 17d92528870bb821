"""Tokens that let Plivo open the WebSocket of one call."""

from django.db import models

from calls.models.call import Call


class StreamToken(models.Model):
    """A 128-bit token, stored hashed; 60 s to its first use, at most 3 uses, all for the same call."""

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="stream_tokens")
    token_sha256 = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    uses = models.PositiveSmallIntegerField(default=0)
    first_used_at = models.DateTimeField(null=True)
    plivo_call_uuid = models.CharField(max_length=64, blank=True, help_text="callId of its first use.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return f"token of {self.call_id}"

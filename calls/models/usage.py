"""What each provider call of a call consumed."""

import uuid

from django.db import models

from calls.models.call import Call


class Usage(models.Model):
    """One provider call; prices are applied later, from dated tables."""

    class Stage(models.TextChoices):
        STT = "stt", "Speech-to-text"
        LLM = "llm", "Language model"
        TTS = "tts", "Text-to-speech"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="usage")
    key = models.UUIDField(
        default=uuid.uuid4, unique=True, help_text="Written again, it replaces: reports are cumulative."
    )
    stage = models.CharField(max_length=3, choices=Stage)
    purpose = models.CharField(max_length=20, default="turn", help_text="turn, speculative, phrase, summary")
    provider = models.CharField(max_length=20)
    account_id = models.CharField(max_length=36, blank=True)
    model = models.CharField(max_length=80)
    offset_ms = models.IntegerField(null=True)
    input_tokens = models.PositiveIntegerField(default=0)
    cached_tokens = models.PositiveIntegerField(default=0)
    output_tokens = models.PositiveIntegerField(default=0)
    characters = models.PositiveIntegerField(default=0)
    audio_ms = models.PositiveIntegerField(default=0)
    first_ms = models.PositiveIntegerField(null=True)
    total_ms = models.PositiveIntegerField(default=0)
    estimated = models.BooleanField(default=False)
    error = models.CharField(max_length=20, blank=True)

    class Meta:
        ordering = ["call", "id"]
        verbose_name_plural = "usage"

    def __str__(self) -> str:
        return f"{self.call_id} {self.stage} {self.model}"

"""What an agent moves on to when a provider fails: further accounts, models and voices of a stage, in order."""

from django.db import models
from simple_history.models import HistoricalRecords

from agents.models.agent import Agent
from agents.models.provider_account import ProviderAccount
from agents.models.voice import Voice


class WithAccounts(models.Manager["FurtherChoice"]):
    """With account and voice, in one query, without decrypting a key."""

    def get_queryset(self) -> models.QuerySet["FurtherChoice"]:
        return super().get_queryset().select_related("account", "voice").defer("account__api_key")


class FurtherChoice(models.Model):
    """One choice behind the first of a stage; part of the agent's draft, frozen with it at publication."""

    class Stage(models.TextChoices):
        TTS = "tts", "the voice (text-to-speech)"
        STT = "stt", "the ears (speech-to-text)"
        LLM = "llm", "the language model"

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="further_choices")
    position = models.PositiveSmallIntegerField("order", default=0, db_index=True)
    stage = models.CharField("for", max_length=3, choices=Stage)
    account = models.ForeignKey(ProviderAccount, on_delete=models.PROTECT, related_name="+")
    model = models.CharField(max_length=80, help_text="As the provider calls it.")
    voice = models.ForeignKey(
        Voice, null=True, blank=True, on_delete=models.PROTECT, related_name="+", help_text="Only for the voice."
    )
    options = models.JSONField(default=dict, blank=True)

    objects = WithAccounts()
    history = HistoricalRecords()

    class Meta:
        ordering = ["position", "id"]
        default_permissions = ()  # whoever may change the agent may change its choices

    def __str__(self) -> str:
        return f"{self.account.name}, {self.model}"

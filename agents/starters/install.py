"""Creates and publishes the two starter agents with accounts that use the keys of the environment."""

from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from agents.models import Agent, ProviderAccount, Voice
from agents.services import publish
from agents.starters.appointment_reminder import APPOINTMENT_REMINDER
from agents.starters.front_desk import FRONT_DESK

# A voice of ElevenLabs' default library, which every account can use.
VOICE_ID, VOICE_NAME = "21m00Tcm4TlvDq8ikWAM", "Rachel"
LLM_OPTIONS = {"reasoning_effort": "none"}


def install(user: AbstractBaseUser | None = None) -> list[Agent]:
    """The front desk and the appointment reminder; those that exist (by name) are left untouched."""
    with transaction.atomic():
        openai = _account("OpenAI", ProviderAccount.Provider.OPENAI)
        elevenlabs = _account("ElevenLabs", ProviderAccount.Provider.ELEVENLABS)
        voice, _ = Voice.objects.get_or_create(
            account=elevenlabs, external_id=VOICE_ID, defaults={"name": VOICE_NAME, "language": "en"}
        )
        stages = {
            "stt_account": elevenlabs,
            "llm_account": openai,
            "llm_options": LLM_OPTIONS,
            "tts_account": elevenlabs,
            "voice": voice,
        }
        return [publish_once(texts | stages, user=user) for texts in (FRONT_DESK, APPOINTMENT_REMINDER)]


def publish_once(fields: dict[str, Any], *, user: AbstractBaseUser | None) -> Agent:
    """The agent of that name; made and published when there is none."""
    agent, created = Agent.objects.get_or_create(name=fields["name"], defaults=fields)
    if created:
        publish(agent=agent, user=user, note="As installed")
    return agent


def _account(name: str, provider: str) -> ProviderAccount:
    """The oldest account at that provider that is not the sandbox's; made when there is none."""
    accounts = ProviderAccount.objects.filter(provider=provider, is_sandbox=False).order_by("created_at")
    return accounts.first() or ProviderAccount.objects.create(name=name, provider=provider)

"""The agent of the demonstration: scripted replies and synthetic voices, all of it served by the sandbox."""

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from agents.accounts import set_key
from agents.models import Agent, ProviderAccount, Voice
from agents.starters.front_desk import FRONT_DESK
from agents.starters.install import publish_once

NAME = "Front desk (sandbox)"
KEY = "demo-front_desk"  # no secret: it picks the scenario
VOICE_ID = "sandboxClaraEnUs0001"


def install_sandbox(base_url: str, user: AbstractBaseUser | None = None) -> Agent:
    """A published agent whose three stages are the sandbox at ``base_url``; its accounts follow a changed address."""
    base = base_url.rstrip("/")
    with transaction.atomic():
        brain = _account("Sandbox brain", ProviderAccount.Provider.OPENAI_COMPATIBLE, f"{base}/v1")
        ears_and_voice = _account("Sandbox ears and voice", ProviderAccount.Provider.ELEVENLABS, base)
        voice, _ = Voice.objects.get_or_create(
            account=ears_and_voice,
            external_id=VOICE_ID,
            defaults={"name": "Clara (espeak-ng)", "language": "en", "description": "Synthetic, for trying things out"},
        )
        fields = FRONT_DESK | {
            "name": NAME,
            "purpose": "Scripted demonstration: books an appointment without any AI provider.",
            "variables": {**FRONT_DESK["variables"], "business": "Rowan Dental"},
            "stt_account": ears_and_voice,
            "llm_account": brain,
            "llm_model": "demo-script",
            "tts_account": ears_and_voice,
            "voice": voice,
            "extraction": [
                {"name": "reason", "type": "text", "description": "why the caller rang"},
                {"name": "day", "type": "text", "description": "the day of the appointment"},
                {"name": "name", "type": "text", "description": "the caller's name"},
            ],
        }
        return publish_once(fields, user=user)


def _account(name: str, provider: str, base_url: str) -> ProviderAccount:
    account = ProviderAccount.objects.filter(name=name).first()
    if account is None:
        account = ProviderAccount(name=name, provider=provider, is_sandbox=True)
        set_key(account, KEY)
    if account.base_url != base_url:
        account.base_url = base_url
        account.save()
    return account

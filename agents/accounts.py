"""AI provider accounts: keys, connection settings, the connection test, voices.

Called by the admin, by ``calls`` when it gives a live call its providers, and by the starters. The key never leaves
through a message or a log.
"""

import asyncio
from typing import NamedTuple

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from agents.crypto import UndecryptableError
from agents.fields import Secret, can_be_a_key
from agents.models import Agent, FurtherChoice, ProviderAccount, Voice
from agents.providers import registry
from agents.providers.base import MULAW_8K, CatalogueVoice, Clocks, ProviderConfig
from agents.providers.errors import ProviderError, Stage
from agents.providers.pools import Pools
from agents.spec import AgentSpec, FurtherSpec, StageSpec

TEST_DEADLINE_S = 10
STAGE_NAMES: dict[Stage, str] = {"stt": "Speech-to-text", "llm": "Language model", "tts": "Text-to-speech"}
# What a test asks for where no agent names a model: the defaults of a new agent, and OpenAI's for its own voices.
TEST_MODELS: dict[tuple[str, Stage], str] = {
    ("openai", "llm"): "gpt-6-luna",
    ("openai", "stt"): "gpt-live-transcribe",
    ("openai", "tts"): "gpt-4o-mini-tts",
    ("elevenlabs", "stt"): "scribe_v2_realtime",
    ("elevenlabs", "tts"): "eleven_flash_v2_5",
}
OPENAI_VOICES = (
    "alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse",
)  # fmt: skip


class AccountError(Exception):
    """An account cannot be used as it stands; the text says to an operator what to do."""


class Finding(NamedTuple):
    """What a test of one stage or of the whole account found; ``message`` is for an operator and holds no key."""

    ok: bool
    message: str


def sandboxed(spec: AgentSpec) -> bool:
    """Whether some choice of a stage is scripted or synthetic."""
    ids = {choice.account_id for stage in STAGE_NAMES for choice in spec.choices(stage) if choice.account_id}
    return ProviderAccount.objects.filter(pk__in=ids, is_sandbox=True).exists()


def set_key(account: ProviderAccount, key: str) -> None:
    """Gives the unsaved account a key (empty: none) and the hint by which people recognise it."""
    account.api_key = Secret(key)
    account.key_hint = key[-4:] if len(key) >= 12 else "set" if key else ""


def key_of(account: ProviderAccount) -> str:
    """The account's own key or the environment's; empty when there is none.

    Raises:
        AccountError: the stored key cannot be decrypted, or it can be no key.
    """
    try:
        own = account.api_key
    except UndecryptableError as error:
        raise AccountError(f"{account.name}: {error}, or enter the API key again.") from error
    key = str(own) or _environment_key(account)
    if not can_be_a_key(key):
        where = "the account" if own else "the environment"
        raise AccountError(f"{account.name}: the API key holds blanks or special characters: correct it in {where}.")
    return key


def has_key(account: ProviderAccount) -> bool:
    """Whether there is a key to use, without decrypting it."""
    return bool(account.key_hint or _environment_key(account))


def offers(provider: str, stage: str) -> bool:
    """Whether accounts of this provider can serve the stage "stt", "llm" or "tts"."""
    return stage in registry.stages(provider)


def base_url_of(account: ProviderAccount) -> str:
    """The account's own address or the installation's; empty only for an OpenAI-compatible server without one."""
    defaults = {"openai": settings.OPENAI_BASE_URL, "elevenlabs": settings.ELEVENLABS_BASE_URL}
    return (account.base_url or defaults.get(account.provider, "")).rstrip("/")


def stage_config(
    stage: StageSpec,
    *,
    language: str,
    voice_id: str = "",
    voice_settings: dict[str, str | int | float | bool] | None = None,
) -> ProviderConfig:
    """Everything an adapter needs for one stage of a published agent.

    Raises:
        AccountError: the account is gone, is now another provider's, or has no usable key or address.
    """
    try:
        account = ProviderAccount.objects.get(pk=stage.account_id)
    except ProviderAccount.DoesNotExist as error:
        raise AccountError("The AI provider account was deleted: choose another in the agent and publish.") from error
    if account.provider != stage.provider:
        raise AccountError(f"{account.name} has become an account of another provider: publish the agent again.")
    key = key_of(account)
    if not key and account.provider != ProviderAccount.Provider.OPENAI_COMPATIBLE:
        raise AccountError(f"{account.name} has no API key: enter one in the account.")
    base_url = base_url_of(account)
    if not base_url:
        raise AccountError(f"{account.name} has no base URL: enter the server's address in the account.")
    return ProviderConfig(
        provider=stage.provider,
        base_url=base_url,
        api_key=key,
        model=stage.model,
        language=language,
        voice_id=voice_id,
        voice_settings=voice_settings or {},
        options=stage.options,
        account_id=str(account.pk),
    )


def choice_config(choice: FurtherSpec, *, language: str) -> ProviderConfig:
    """``stage_config`` of one of ``AgentSpec.choices``."""
    return stage_config(choice, language=language, voice_id=choice.voice_id, voice_settings=choice.voice_settings)


class StageConfigs(NamedTuple):
    """The choices of a stage that can be used, in order, and for an operator what is wrong with the others."""

    usable: tuple[ProviderConfig, ...]
    problems: tuple[str, ...]


def stage_configs(spec: AgentSpec, stage: Stage) -> StageConfigs:
    """Everything that adapters need for a stage of a published agent.

    Raises:
        AccountError: not one choice can be used; the error is the first one's.
    """
    usable: list[ProviderConfig] = []
    errors: list[AccountError] = []
    for choice in spec.choices(stage):
        try:
            usable.append(choice_config(choice, language=spec.language))
        except AccountError as error:
            errors.append(error)
    if not usable:
        raise errors[0]
    return StageConfigs(tuple(usable), tuple(map(str, errors)))


def test_account(account: ProviderAccount) -> Finding:
    """Connects for real with each stage that the provider offers, within 10 s, and stores what it found.

    Blocks; must not be called from a running event loop.
    """
    result = _test(account)
    ProviderAccount.objects.filter(pk=account.pk).update(
        tested_at=timezone.now(), test_ok=result.ok, test_message=result.message
    )
    return result


def sync_voices(account: ProviderAccount) -> int:
    """Fetches the account's voices and adds or renames them here; returns how many the provider has.

    Voices that the provider no longer lists stay: an agent or an old version may speak with them.

    Raises:
        AccountError: the provider cannot be reached, refuses, or has no list of voices.
    """
    if account.provider == ProviderAccount.Provider.OPENAI:
        found = [CatalogueVoice(voice_id=name, name=name.capitalize()) for name in OPENAI_VOICES]
    elif account.provider == ProviderAccount.Provider.ELEVENLABS:
        config = _config(account, model=TEST_MODELS["elevenlabs", "tts"])
        try:
            found = asyncio.run(_list_voices(config))
        except ProviderError as error:
            raise AccountError(f"{account.name}: {_in_words(error)}") from error
        except TimeoutError as error:
            raise AccountError(f"{account.name}: no answer within {TEST_DEADLINE_S} s.") from error
    else:
        raise AccountError("An OpenAI-compatible server has no list of voices: add its voices by their ids.")
    now = timezone.now()
    with transaction.atomic():
        for voice in found:
            theirs = {
                "name": (voice.name or voice.voice_id)[:120],
                "language": voice.language[:20],
                "description": voice.description[:300],
                "synced_at": now,
            }
            # Settings are the operator's once the voice is here.
            Voice.objects.update_or_create(
                account=account,
                external_id=voice.voice_id[:120],
                defaults=theirs,
                create_defaults=theirs | {"settings": voice.settings},
            )
    return len(found)


def _environment_key(account: ProviderAccount) -> str:
    # The installation's keys go to the installation's addresses only: else whoever may edit an account could have
    # them sent to a server of their own.
    if account.base_url:
        return ""
    keys = {"openai": settings.OPENAI_API_KEY, "elevenlabs": settings.ELEVENLABS_API_KEY}
    return keys.get(account.provider, "")


def _config(account: ProviderAccount, *, model: str, voice_id: str = "") -> ProviderConfig:
    stage = StageSpec(account_id=str(account.pk), provider=account.provider, model=model)
    return stage_config(stage, language="en-US", voice_id=voice_id)


def _test(account: ProviderAccount) -> Finding:
    offered: list[Stage] = sorted(registry.stages(account.provider))
    try:
        asked = {stage: _asked_for(account, stage) for stage in offered}
        # A server of one's own may serve a stage without being used for it: only its models are asked for then.
        configs = {
            stage: _config(account, **wanted) for stage, wanted in asked.items() if stage == "llm" or wanted["model"]
        }
    except AccountError as error:
        return Finding(False, str(error)[:500])
    findings = asyncio.run(_check_all(configs))
    parts = [f"{STAGE_NAMES[stage]}: {text}" for stage, (_, text) in findings.items()]
    # What is wrong comes first, in case the row has no room for all of it.
    parts = sorted(parts, key=lambda part: findings[_stage_of(part)].ok)
    return Finding(all(finding.ok for finding in findings.values()), " ".join(parts)[:500])


def _stage_of(part: str) -> Stage:
    return next(stage for stage, name in STAGE_NAMES.items() if part.startswith(name))


def _asked_for(account: ProviderAccount, stage: Stage) -> dict[str, str]:
    """Model (and voice) to test a stage with: an agent's that uses this account, else a usual one."""
    using = Agent.objects.filter(**{f"{stage}_account": account}).order_by("-updated_at")
    behind = FurtherChoice.objects.filter(stage=stage, account=account).order_by("-agent__updated_at")
    found = (
        using.values_list(f"{stage}_model", "voice__external_id").first()
        or behind.values_list("model", "voice__external_id").first()
    )
    model = found[0] if found else TEST_MODELS.get((account.provider, stage), "")
    if stage != "tts":
        return {"model": model}
    voice = (found and found[1]) or account.voices.values_list("external_id", flat=True).first() or ""
    return {"model": model, "voice_id": voice}


async def _check_all(configs: dict[Stage, ProviderConfig]) -> dict[Stage, Finding]:
    """One finding per stage; the stages are checked side by side, so that the slowest decides how long it takes."""
    clocks = Clocks().scaled(settings.PROVIDER_CLOCK_SCALE)
    async with Pools() as pools:
        found = await asyncio.gather(*(_check(stage, config, pools, clocks) for stage, config in configs.items()))
    return dict(zip(configs, found, strict=True))


async def _check(stage: Stage, config: ProviderConfig, pools: Pools, clocks: Clocks) -> Finding:
    try:
        async with asyncio.timeout(TEST_DEADLINE_S):
            if stage == "llm":
                return Finding(True, await registry.language_model(config, pools=pools, clocks=clocks).check())
            make = registry.speech_to_text if stage == "stt" else registry.text_to_speech
            return Finding(True, await make(config, pools=pools, clocks=clocks, codec=MULAW_8K).check())
    except ProviderError as error:
        return Finding(False, _in_words(error))
    except TimeoutError:
        return Finding(False, f"No answer from {config.base_url} within {TEST_DEADLINE_S} s.")


async def _list_voices(config: ProviderConfig) -> list[CatalogueVoice]:
    clocks = Clocks().scaled(settings.PROVIDER_CLOCK_SCALE)
    async with Pools() as pools, asyncio.timeout(TEST_DEADLINE_S):
        return await registry.voices(config, pools=pools, clocks=clocks)


def _in_words(error: ProviderError) -> str:
    return f"{error.remedy} ({error.detail})" if error.detail else error.remedy

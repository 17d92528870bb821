"""Publishing: an agent's draft becomes an immutable version, or goes back to an old one.

Called by the admin and the starters; ``calls`` takes ``build_spec``, ``stage_configs`` and ``sandboxed`` from here.
"""

from typing import Any, cast

import msgspec
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.db import transaction
from django.db.models import Max, QuerySet

from agents import turn_presets
from agents.accounts import (
    AccountError,
    choice_config,
    sandboxed,
    stage_config,
    stage_configs,
    sync_voices,
    test_account,
)
from agents.drafts import STAGES, Problems, build_spec
from agents.models import Agent, AgentVersion, FurtherChoice, ProviderAccount, Voice
from agents.spec import AgentSpec, FurtherSpec, StageSpec

__all__ = [
    "AccountError", "build_spec", "choice_config", "publish", "published_spec", "restore", "sandboxed", "stage_config",
    "stage_configs", "sync_voices", "test_account", "with_accounts",
]  # fmt: skip


def with_accounts(agents: QuerySet[Agent]) -> QuerySet[Agent]:
    """The agents with all that ``build_spec`` reads, in two queries, without decrypting a key."""
    related = ("stt_account", "llm_account", "tts_account", "voice", "published_version")
    joined = agents.select_related(*related).defer(*(f"{name}__api_key" for name in related[:3]))
    return joined.prefetch_related("further_choices")


def published_spec(agent: Agent) -> AgentSpec | None:
    """What callers of the agent get today; None when it was never published."""
    return agent.published_version.spec if agent.published_version else None


def publish(*, agent: Agent, user: AbstractBaseUser | AnonymousUser | None, note: str = "") -> AgentVersion:
    """Freezes the draft as the next version, which calls use from now on.

    Raises:
        ValidationError: the draft cannot be published; nothing was changed.
    """
    with transaction.atomic():
        # Two operators who publish at once get two numbers, one after the other.
        locked = with_accounts(Agent.objects.select_for_update(of=("self",))).get(pk=agent.pk)
        version = _new_version(locked, build_spec(locked), user=user, note=note)
    agent.published_version = version
    return version


def restore(*, version: AgentVersion, user: AbstractBaseUser | AnonymousUser | None) -> AgentVersion:
    """Publishes an old version's content again as a new version and puts the draft back to it.

    Raises:
        ValidationError: an account of that version no longer exists; nothing was changed.
    """
    spec = version.spec
    with transaction.atomic():
        agent = Agent.objects.select_for_update(of=("self",)).get(pk=version.agent_id)
        _fill_draft(agent, spec)
        _fill_further(agent, spec)
        agent._change_reason = f"Back to version {version.number}"  # type: ignore[attr-defined]  # simple_history's
        agent.save()
        return _new_version(agent, spec, user=user, note=f"Back to version {version.number}")


def _new_version(
    agent: Agent, spec: AgentSpec, *, user: AbstractBaseUser | AnonymousUser | None, note: str
) -> AgentVersion:
    last = agent.versions.aggregate(last=Max("number"))["last"] or 0
    version = AgentVersion.objects.create(
        agent=agent,
        number=last + 1,
        config=msgspec.to_builtins(spec),
        note=note[:200],
        published_by=cast("Any", user),
    )
    agent.published_version = version
    agent._change_reason = f"Published version {version.number}"  # type: ignore[attr-defined]  # simple_history's
    agent.save(update_fields=["published_version", "updated_at"])
    return version


def _fill_draft(agent: Agent, spec: AgentSpec) -> None:
    """Writes a version's content into the unsaved draft; the inverse of ``build_spec``, save for the name."""
    same = (
        "purpose", "mode", "language", "codec", "system_prompt", "greeting", "speaks_first", "disclosure", "record",
        "recording_notice", "plivo_record", "interruptible", "greeting_interruptible", "wrap_up", "goodbye", "apology",
        "fallback_number", "variables", "filler",
    )  # fmt: skip
    for field in same:
        setattr(agent, field, getattr(spec, field))
    problems = Problems()
    for stage, label in STAGES.items():
        frozen: StageSpec = getattr(spec, stage)
        account = ProviderAccount.objects.filter(pk=frozen.account_id).first()
        if account is None:
            problems.add(f"{stage}_account", f"The {label} account of that version was deleted.")
            continue
        setattr(agent, f"{stage}_account", account)
        setattr(agent, f"{stage}_model", frozen.model)
        setattr(agent, f"{stage}_options", dict(frozen.options))
    problems.raise_if_any()
    agent.voice = _voice(spec.choices("tts")[0])
    agent.turn_preset, agent.turn_overrides = turn_presets.nearest(spec.turn_taking)
    agent.reprompts = list(spec.reprompt.texts)
    agent.reprompt_after_s = spec.reprompt.after_ms // 1000
    agent.max_call_s = spec.max_call_ms // 1000
    agent.can_end_call = "end_call" in spec.tools
    agent.can_press_keys = "press_keys" in spec.tools
    agent.transfers = msgspec.to_builtins(spec.transfers)
    agent.backchannels, agent.stop_words = list(spec.backchannels), list(spec.stop_words)
    agent.extraction = msgspec.to_builtins(spec.extraction)


def _fill_further(agent: Agent, spec: AgentSpec) -> None:
    """Puts the draft's further choices back to a version's; those whose account was deleted are left out."""
    for choice in agent.further_choices.all():
        choice.delete()
    for stage in STAGES:
        for position, frozen in enumerate(spec.choices(stage)[1:]):
            if ProviderAccount.objects.filter(pk=frozen.account_id).exists():
                FurtherChoice.objects.create(
                    agent=agent,
                    position=position,
                    stage=stage,
                    account_id=frozen.account_id,
                    model=frozen.model,
                    voice=_voice(frozen),
                    options=dict(frozen.options),
                )


def _voice(frozen: FurtherSpec) -> Voice | None:
    """The voice of a choice; one that was deleted comes back by its id."""
    if not frozen.voice_id:
        return None
    account = ProviderAccount.objects.get(pk=frozen.account_id)
    defaults = {"name": frozen.voice_id, "settings": dict(frozen.voice_settings)}
    return Voice.objects.get_or_create(account=account, external_id=frozen.voice_id, defaults=defaults)[0]

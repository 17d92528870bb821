"""What a draft is as frozen data, and what is wrong with it.

Called by ``agents.services`` when it publishes, by the admin for its warnings, and by ``calls`` for a draft that
is talked to in the browser.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

from django.core.exceptions import ValidationError

from agents import extraction, prompts, transfers, turn_presets
from agents.accounts import has_key
from agents.models import Agent, FurtherChoice, ProviderAccount, Voice
from agents.providers import registry
from agents.providers.errors import Stage
from agents.providers.notices import notice
from agents.providers.options import unknown_option
from agents.spec import (
    AgentSpec,
    Codec,
    ExtractionField,
    FurtherSpec,
    Mode,
    Reprompt,
    SpeaksFirst,
    StageSpec,
    TransferTarget,
    TurnTaking,
)

MAX_REPROMPTS = 5
STAGES: dict[Stage, str] = {"stt": "speech-to-text", "llm": "language model", "tts": "text-to-speech"}
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
MAX_PHRASES = 100
MAX_FURTHER = 4  # of one stage: a caller does not wait for more


UNFINISHED = "unfinished"
FURTHER = "further_choices"
WRONG = "wrong"  # code of a problem that not even a draft may have; all others only stand in the way of publishing


class Problems:
    """Gathers field errors, so that an operator sees all of them at once."""

    def __init__(self) -> None:
        self.by_field: dict[str, list[ValidationError]] = {}

    def add(self, field: str, message: str, *, code: str = UNFINISHED) -> None:
        """Notes one sentence about a field of ``Agent``, or about its further choices."""
        self.by_field.setdefault(field, []).append(ValidationError(message, code=code))

    def raise_if_any(self) -> None:
        """Raises ValidationError with all that was noted."""
        if self.by_field:
            raise ValidationError(cast("dict[str, Any]", self.by_field))


def texts_of(agent: Agent) -> dict[str, str]:
    """Every text of the agent that may hold variables, by what the admin calls it."""
    reprompts = agent.reprompts if isinstance(agent.reprompts, list) else []
    return {
        "Instructions": agent.system_prompt,
        "AI disclosure": agent.disclosure,
        "Recording notice": agent.recording_notice,
        "Greeting": agent.greeting,
        "Reprompts": "\n".join(str(text) for text in reprompts),
        "Said at the longest call": agent.wrap_up,
        "Said while something takes long": agent.filler,
        "Goodbye": agent.goodbye,
        "Apology": agent.apology,
    }


def warnings(agent: Agent) -> list[str]:
    """What an operator should look at, though it does not stand in the way of publishing; one sentence each."""
    found = [
        f"{problem.where}: {problem.message}" if problem.where else problem.message
        for problem in prompts.lint(texts_of(agent), _variables(agent))
        if problem.level == "warning"
    ]
    accounts: dict[str, ProviderAccount] = {}
    first: set[str] = set()
    for stage in _stages_used(agent):
        begins = getattr(agent, f"{stage}_account"), getattr(agent, f"{stage}_model")
        first.add(begins[0].name)
        further = [(choice.account, choice.model) for choice in further_choices(agent, stage)]
        for account, model in [begins, *further]:
            accounts[account.name] = account
            if text := notice(account.provider, stage, model):
                found.append(text)
    for account in accounts.values():
        if not has_key(account) and account.provider != ProviderAccount.Provider.OPENAI_COMPATIBLE:
            what = "calls to this agent would fail" if account.name in first else "no call could move on to it"
            found.append(f"{account.name} has no API key yet: {what}.")
        elif account.test_ok is False:
            found.append(f"{account.name} did not work when it was last tested: {account.test_message}")
    if not agent.disclosure and agent.mode == Agent.Mode.CONVERSATION:
        found.append("Nothing tells callers that they talk to an AI; many countries require it.")
    if agent.record and not agent.recording_notice:
        found.append("Calls are recorded without saying so; many countries require a notice.")
    return found


def build_spec(agent: Agent) -> AgentSpec:
    """The draft as frozen data.

    Raises:
        ValidationError: everything that stands in the way, by field.
    """
    problems = Problems()
    variables = _variables(agent)
    _check_texts(agent, variables, problems)
    _check_stages(agent, problems)
    _check_further(agent, problems)
    if not _LANGUAGE.fullmatch(agent.language):
        problems.add("language", "Write a language tag such as en-US, en-IN or de-DE.", code=WRONG)
    if agent.fallback_number and not transfers.E164.fullmatch(agent.fallback_number):
        problems.add("fallback_number", "Write the number as +15551234567.", code=WRONG)
    turn_taking, fields = TurnTaking(), cast("tuple[ExtractionField, ...]", ())
    try:
        turn_taking = turn_presets.turn_taking(agent.turn_preset, agent.turn_overrides or {})
    except ValueError as error:
        problems.add("turn_overrides", str(error), code=WRONG)
    try:
        fields = extraction.from_json(agent.extraction or [])
    except ValueError as error:
        problems.add("extraction", str(error), code=WRONG)
    targets: tuple[TransferTarget, ...] = ()
    try:
        targets = transfers.from_json(agent.transfers or [])
    except ValueError as error:
        problems.add("transfers", str(error), code=WRONG)
    reprompts = _reprompts(agent, problems)
    backchannels = _phrases(agent, "backchannels", problems)
    stop_words = _phrases(agent, "stop_words", problems)
    problems.raise_if_any()
    return AgentSpec(
        name=agent.name,
        purpose=agent.purpose,
        mode=cast("Mode", agent.mode),
        language=agent.language,
        codec=cast("Codec", agent.codec),
        system_prompt=agent.system_prompt,
        greeting=agent.greeting,
        speaks_first=cast("SpeaksFirst", agent.speaks_first),
        disclosure=agent.disclosure,
        record=agent.record,
        recording_notice=agent.recording_notice,
        plivo_record=agent.plivo_record,
        interruptible=agent.interruptible,
        greeting_interruptible=agent.greeting_interruptible,
        stt=_stage_spec(agent, "stt"),
        llm=_stage_spec(agent, "llm"),
        tts=_stage_spec(agent, "tts"),
        voice_id=agent.voice.external_id if agent.voice else "",
        voice_settings=agent.voice.settings if agent.voice else {},
        tts_further=_further_specs(agent, "tts"),
        stt_further=_further_specs(agent, "stt"),
        llm_further=_further_specs(agent, "llm"),
        turn_taking=turn_taking,
        reprompt=Reprompt(texts=reprompts, after_ms=agent.reprompt_after_s * 1000),
        max_call_ms=agent.max_call_s * 1000,
        wrap_up=agent.wrap_up,
        goodbye=agent.goodbye,
        apology=agent.apology,
        tools=_tools(agent, targets),
        transfers=targets,
        filler=agent.filler,
        backchannels=backchannels,
        stop_words=stop_words,
        extraction=fields,
        fallback_number=agent.fallback_number,
        variables=variables,
    )


def _tools(agent: Agent, targets: tuple[TransferTarget, ...]) -> tuple[str, ...]:
    allowed = {"end_call": agent.can_end_call, "transfer_call": bool(targets), "press_keys": agent.can_press_keys}
    return tuple(name for name, given in allowed.items() if given)


def _variables(agent: Agent) -> dict[str, str]:
    raw = agent.variables if isinstance(agent.variables, dict) else {}
    return {str(name): str(value) for name, value in raw.items()}


def _stages_used(agent: Agent) -> tuple[Stage, ...]:
    return ("stt",) if agent.mode == Agent.Mode.LISTEN_ONLY else ("stt", "llm", "tts")


def _stage_spec(agent: Agent, stage: Stage) -> StageSpec:
    account: ProviderAccount = getattr(agent, f"{stage}_account")
    return StageSpec(
        account_id=str(account.pk),
        provider=account.provider,
        model=getattr(agent, f"{stage}_model"),
        options=getattr(agent, f"{stage}_options"),
    )


def further_choices(agent: Agent, stage: Stage) -> list[FurtherChoice]:
    """The choices behind the first of a stage, in order; an agent that is not saved yet has none."""
    if agent._state.adding:
        return []
    return [choice for choice in agent.further_choices.all() if choice.stage == stage]


def _further_specs(agent: Agent, stage: Stage) -> tuple[FurtherSpec, ...]:
    return tuple(
        FurtherSpec(
            account_id=str(choice.account_id),
            provider=choice.account.provider,
            model=choice.model,
            options=choice.options,
            voice_id=choice.voice.external_id if choice.voice else "",
            voice_settings=choice.voice.settings if choice.voice else {},
        )
        for choice in further_choices(agent, stage)
    )


def _check_texts(agent: Agent, variables: dict[str, str], problems: Problems) -> None:
    fields = {
        "Instructions": "system_prompt", "AI disclosure": "disclosure", "Recording notice": "recording_notice",
        "Greeting": "greeting", "Reprompts": "reprompts", "Said at the longest call": "wrap_up",
        "Said while something takes long": "filler", "Goodbye": "goodbye",
        "Apology": "apology", "": "variables",
    }  # fmt: skip
    if not isinstance(agent.variables, dict) or not all(isinstance(value, str) for value in agent.variables.values()):
        problems.add("variables", "Variables have a name and a text each.")
    for problem in prompts.lint(texts_of(agent), variables):
        if problem.level == "error":
            problems.add(fields[problem.where], problem.message)
    if agent.mode == Agent.Mode.LISTEN_ONLY:
        return
    if not agent.system_prompt.strip():
        problems.add("system_prompt", "Write who the agent is and what it does.")
    if agent.speaks_first == Agent.SpeaksFirst.AGENT and not agent.greeting.strip():
        problems.add("greeting", "Write the first words, or let the agent wait for the caller.")


class Wrong(NamedTuple):
    """What is wrong with one choice of a stage: in which of account, options and voice, in a sentence."""

    field: str
    message: str
    code: str


def wrong_with(
    stage: Stage, *, account: ProviderAccount, options: Any, voice: Voice | None, needs_voice: bool
) -> Iterator[Wrong]:
    """What stands against an account, options and a voice as a choice for a stage."""
    if stage not in registry.stages(account.provider):
        kind = account.get_provider_display()
        yield Wrong("account", f"{account.name} is an {kind} account, which offers no {STAGES[stage]}.", WRONG)
    if account.provider == ProviderAccount.Provider.OPENAI_COMPATIBLE and not account.base_url:
        yield Wrong("account", f"{account.name} has no base URL: enter the server's address there.", UNFINISHED)
    if not isinstance(options, dict) or not all(
        isinstance(value, str | int | float | bool) for value in options.values()
    ):
        yield Wrong("options", "Options have a name and a text, number or true/false each.", WRONG)
    elif wrong := unknown_option(account.provider, stage, options):
        yield Wrong("options", f"{wrong[0].upper()}{wrong[1:]}.", WRONG)
    if needs_voice and voice is None:
        yield Wrong("voice", "Choose a voice.", UNFINISHED)
    if voice and voice.account_id != account.pk:
        yield Wrong("voice", f"{voice.name} is no voice of {account.name}.", WRONG)


def _check_stages(agent: Agent, problems: Problems) -> None:
    talks = agent.mode == Agent.Mode.CONVERSATION
    for stage in STAGES:
        found = wrong_with(
            stage,
            account=getattr(agent, f"{stage}_account"),
            options=getattr(agent, f"{stage}_options"),
            voice=agent.voice if stage == "tts" else None,
            needs_voice=talks and stage == "tts",
        )
        for field, message, code in found:
            problems.add(field if field == "voice" else f"{stage}_{field}", message, code=code)


def _check_further(agent: Agent, problems: Problems) -> None:
    """What the form of a further choice refuses may still come to be: its account changes, or its voice."""
    for stage, label in STAGES.items():
        choices = further_choices(agent, stage)
        if len(choices) > MAX_FURTHER:
            problems.add(FURTHER, f"At most {MAX_FURTHER} for the {label}.")
        for number, choice in enumerate(choices, start=2):
            found = wrong_with(
                stage,
                account=choice.account,
                options=choice.options,
                voice=choice.voice,
                needs_voice=stage == "tts",
            )
            for wrong in found:
                problems.add(FURTHER, f"Choice {number} for the {label}: {wrong.message}")


def _reprompts(agent: Agent, problems: Problems) -> tuple[str, ...]:
    raw = agent.reprompts or []
    if not isinstance(raw, list) or not all(isinstance(text, str) and text.strip() for text in raw):
        problems.add("reprompts", "Reprompts are one sentence per line.", code=WRONG)
        return ()
    if len(raw) > MAX_REPROMPTS:
        problems.add("reprompts", f"At most {MAX_REPROMPTS} reprompts.", code=WRONG)
    return tuple(raw)


def _phrases(agent: Agent, field: str, problems: Problems) -> tuple[str, ...]:
    raw = getattr(agent, field) or []
    if not isinstance(raw, list) or not all(isinstance(text, str) and text.strip() for text in raw):
        problems.add(field, "Write one word or phrase per line.", code=WRONG)
        return ()
    if len(raw) > MAX_PHRASES or max(map(len, raw), default=0) > 60:
        problems.add(field, f"At most {MAX_PHRASES} phrases of up to 60 characters.", code=WRONG)
    return tuple(raw)

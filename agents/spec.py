"""What one published agent is, as plain frozen data: the content of ``AgentVersion.config``.

Written by ``agents.services.publish``, read by the live call and by the post-call tasks; imports no framework, so the
conversation core can be handed one in a test. Texts may hold ``{{variables}}``; ``agents.prompts`` fills them.
"""

from typing import Literal

import msgspec

from agents.providers.errors import Stage

Codec = Literal["audio/x-mulaw;rate=8000", "audio/x-l16;rate=8000", "audio/x-l16;rate=16000"]
Mode = Literal["conversation", "listen_only"]
SpeaksFirst = Literal["agent", "caller"]
FieldType = Literal["text", "number", "boolean", "date", "choice"]


class StageSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One of the three provider stages of an agent.

    Attributes:
        account_id: id (UUID text) of the ``ProviderAccount`` whose key pays.
        provider: adapter name in ``agents.providers.registry``, such as "openai" or "elevenlabs".
        model: the provider's own model id; never checked against a list of ours.
        options: adapter-specific settings, such as ``{"reasoning_effort": "none"}``.
    """

    account_id: str
    provider: str
    model: str
    options: dict[str, str | int | float | bool] = {}


class FurtherSpec(StageSpec, frozen=True, kw_only=True):
    """A choice that a stage moves on to when the ones before it fail.

    Attributes:
        voice_id, voice_settings: text-to-speech only.
    """

    voice_id: str = ""
    voice_settings: dict[str, str | int | float | bool] = {}


class TurnTaking(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers behind the presets relaxed, balanced and quick; all times in ms.

    Attributes:
        speech_threshold: VAD probability (0-1) from which a 32 ms window counts as speech.
        start_windows: consecutive speech windows that start an utterance (and pause the agent's voice).
        commit_ms: silence after which the STT is told to finish (design: 200).
        speculate_ms: silence after which a reply is begun on trust (design: 100); 0 switches speculation off.
        min_wait_ms: least silence before a turn can end when the text is complete.
        max_wait_ms: silence that ends any turn, whatever the text.
        patience_ms: added to the waits while a number, an e-mail address or a spelling is being given.
        interrupt_min_words: words that make speech over the agent's voice a real interruption.
        interrupt_min_ms: speech of this length is a real interruption whatever its words.
        resume_ms: a pause of the agent's voice that proved no interruption ends within this time (design: 700).
        stt_final_ms: how long a commit waits for its final text before the last partial is taken.
    """

    speech_threshold: float = 0.5
    start_windows: int = 3
    commit_ms: int = 200
    speculate_ms: int = 100
    min_wait_ms: int = 250
    max_wait_ms: int = 1600
    patience_ms: int = 1200
    interrupt_min_words: int = 2
    interrupt_min_ms: int = 900
    resume_ms: int = 700
    stt_final_ms: int = 700


class Reprompt(msgspec.Struct, frozen=True, kw_only=True):
    """What is said when the caller stays silent: each text once, in order, then a polite end.

    Attributes:
        texts: spoken in turn, one after each ``after_ms`` of silence.
        after_ms: silence after the agent's last word, in ms.
    """

    texts: tuple[str, ...] = ()
    after_ms: int = 8000


class ExtractionField(msgspec.Struct, frozen=True, kw_only=True):
    """One field to fill from the transcript after the call.

    Attributes:
        name: identifier, ``[a-z][a-z0-9_]*``.
        description: what it means, in words for the model.
        choices: allowed values, for ``type="choice"``.
    """

    name: str
    type: FieldType
    description: str = ""
    choices: tuple[str, ...] = ()


class TransferTarget(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whom the agent may put callers through to.

    Attributes:
        name: by which the model asks for it, and which callers may hear.
        number: E.164.
        description: when, in words for the model.
    """

    name: str
    number: str
    description: str = ""


class AgentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a call needs to know of its agent, frozen at publication.

    Attributes:
        language: BCP 47 tag such as "en-US".
        codec: content type of the Plivo stream.
        stt_further, llm_further, tts_further: what is asked next, in order, where ``stt``, ``llm`` or ``tts`` fails.
        greeting: first words; empty means that none are spoken.
        disclosure: says that an AI speaks; spoken before the greeting, empty when switched off.
        recording_notice: spoken before the greeting when ``record`` is on; may be empty.
        goodbye: said before any hang-up of ours when the model brings no words of its own.
        max_call_ms: longest call; at its end ``wrap_up`` and ``goodbye`` are spoken and the call ends.
        tools: names from ``agents.tools`` that the model may call.
        transfers: whom the model may put callers through to, in the operator's order.
        filler: said while a tool or an answer takes long; empty: what is usual in the language.
        backchannels: phrases that only show listening, beside the usual ones of the language.
        stop_words: phrases that stop the agent at once, beside the usual ones.
        fallback_number: E.164 number dialled when the agent cannot go on; empty: apology and hang-up.
        variables: default values of prompt variables; a call's own values override them.
    """

    name: str
    purpose: str = ""
    mode: Mode = "conversation"
    language: str = "en-US"
    codec: Codec = "audio/x-mulaw;rate=8000"
    system_prompt: str = ""
    greeting: str = ""
    speaks_first: SpeaksFirst = "agent"
    disclosure: str = ""
    record: bool = True
    recording_notice: str = ""
    plivo_record: bool = False
    interruptible: bool = True
    greeting_interruptible: bool = True
    stt: StageSpec
    llm: StageSpec
    tts: StageSpec
    voice_id: str = ""
    voice_settings: dict[str, str | int | float | bool] = {}
    tts_further: tuple[FurtherSpec, ...] = ()
    stt_further: tuple[FurtherSpec, ...] = ()
    llm_further: tuple[FurtherSpec, ...] = ()
    turn_taking: TurnTaking = TurnTaking()
    reprompt: Reprompt = Reprompt()
    max_call_ms: int = 600_000
    wrap_up: str = ""
    goodbye: str = "Goodbye."
    apology: str = "I am sorry, I am having technical trouble. Please call again later."
    tools: tuple[str, ...] = ("end_call",)
    transfers: tuple[TransferTarget, ...] = ()
    filler: str = ""
    backchannels: tuple[str, ...] = ()
    stop_words: tuple[str, ...] = ()
    extraction: tuple[ExtractionField, ...] = ()
    fallback_number: str = ""
    variables: dict[str, str] = {}

    def choices(self, stage: Stage) -> tuple[FurtherSpec, ...]:
        """All choices of a stage, the first one first."""
        first: StageSpec = getattr(self, stage)
        further: tuple[FurtherSpec, ...] = getattr(self, f"{stage}_further")
        speaks = stage == "tts"
        choice = FurtherSpec(
            **msgspec.structs.asdict(first),
            voice_id=self.voice_id if speaks else "",
            voice_settings=self.voice_settings if speaks else {},
        )
        return (choice, *further)

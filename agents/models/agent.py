"""The agent as an operator edits it: a draft until it is published."""

import uuid

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from agents.models.provider_account import ProviderAccount
from agents.models.voice import Voice


class Agent(models.Model):
    """A phone agent. Calls run on its published version, never on this draft."""

    class Mode(models.TextChoices):
        CONVERSATION = "conversation", "Conversation"
        LISTEN_ONLY = "listen_only", "Listen only (live transcript, no reply)"

    class Codec(models.TextChoices):
        MULAW_8K = "audio/x-mulaw;rate=8000", "mu-law 8 kHz (recommended)"
        L16_8K = "audio/x-l16;rate=8000", "linear 16 bit, 8 kHz"
        L16_16K = "audio/x-l16;rate=16000", "linear 16 bit, 16 kHz"

    class SpeaksFirst(models.TextChoices):
        AGENT = "agent", "The agent greets"
        CALLER = "caller", "The agent waits for the caller"

    class Preset(models.TextChoices):
        RELAXED = "relaxed", "Relaxed: gives people time"
        BALANCED = "balanced", "Balanced"
        QUICK = "quick", "Quick: answers at once"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    purpose = models.CharField(max_length=200, blank=True, help_text="One line for colleagues.")
    mode = models.CharField(max_length=20, choices=Mode, default=Mode.CONVERSATION)
    language = models.CharField(max_length=20, default="en-US", help_text="A language tag such as en-US, en-IN, de-DE.")

    system_prompt = models.TextField(
        "instructions", blank=True, help_text="Who the agent is and what it does. {{name}} inserts a variable."
    )
    variables = models.JSONField(
        default=dict,
        blank=True,
        help_text='Variables of the texts with their default values, such as {"business": "Acme"}.',
    )
    speaks_first = models.CharField(max_length=10, choices=SpeaksFirst, default=SpeaksFirst.AGENT)
    disclosure = models.CharField(
        "AI disclosure",
        max_length=300,
        blank=True,
        default="You are talking to an automated assistant.",
        help_text="Spoken first. Many countries require it; leave it empty only where the law allows.",
    )
    greeting = models.TextField(blank=True, help_text="The first words. Kept ready as audio where it has no variables.")
    greeting_interruptible = models.BooleanField("greeting can be interrupted", default=True)
    interruptible = models.BooleanField("can be interrupted", default=True)

    codec = models.CharField(max_length=30, choices=Codec, default=Codec.MULAW_8K)
    stt_account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="+", verbose_name="speech-to-text account"
    )
    stt_model = models.CharField("speech-to-text model", max_length=80, default="scribe_v2_realtime")
    stt_options = models.JSONField("speech-to-text options", default=dict, blank=True)
    llm_account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="+", verbose_name="language model account"
    )
    llm_model = models.CharField("language model", max_length=80, default="gpt-6-luna")
    llm_options = models.JSONField("language model options", default=dict, blank=True)
    tts_account = models.ForeignKey(
        ProviderAccount, on_delete=models.PROTECT, related_name="+", verbose_name="text-to-speech account"
    )
    tts_model = models.CharField("text-to-speech model", max_length=80, default="eleven_flash_v2_5")
    tts_options = models.JSONField("text-to-speech options", default=dict, blank=True)
    voice = models.ForeignKey(Voice, null=True, blank=True, on_delete=models.PROTECT, related_name="+")

    turn_preset = models.CharField("turn-taking", max_length=10, choices=Preset, default=Preset.BALANCED)
    turn_overrides = models.JSONField(
        "advanced turn-taking",
        default=dict,
        blank=True,
        help_text='Numbers that differ from the preset, such as {"max_wait_ms": 2000}.',
    )
    reprompts = models.JSONField(
        "reprompts on silence",
        default=list,
        blank=True,
        help_text="Said one after the other while the caller is silent; then the call ends politely.",
    )
    reprompt_after_s = models.PositiveSmallIntegerField(
        "silence before a reprompt (s)", default=8, validators=[MinValueValidator(2), MaxValueValidator(60)]
    )
    max_call_s = models.PositiveIntegerField(
        "longest call (s)", default=600, validators=[MinValueValidator(30), MaxValueValidator(14_400)]
    )
    wrap_up = models.CharField(
        "said at the longest call", max_length=300, blank=True, default="We have come to the end of our time."
    )
    filler = models.CharField(
        "said while something takes long",
        max_length=300,
        blank=True,
        help_text="Said when a tool or an answer takes long; empty: “One moment, please.” in the agent's language.",
    )
    backchannels = models.JSONField(
        "words that only show listening",
        default=list,
        blank=True,
        help_text="They never stop the agent; beside the usual ones of its language.",
    )
    stop_words = models.JSONField(
        "words that stop the agent at once", default=list, blank=True, help_text="Beside the usual ones."
    )
    transfers = models.JSONField(
        "may put callers through to",
        default=list,
        blank=True,
        help_text='Such as [{"name": "billing", "number": "+15551234567", "description": "questions about bills"}].',
    )
    can_press_keys = models.BooleanField(
        "may press keys", default=False, help_text="For agents that meet another machine's menu."
    )
    can_end_call = models.BooleanField("may end the call", default=True)
    goodbye = models.CharField(max_length=300, default="Thank you for calling. Goodbye.")
    apology = models.CharField(
        max_length=300,
        default="I am sorry, I am having technical trouble. Please call again later.",
        help_text="Said when nothing else works; kept ready as audio.",
    )
    fallback_number = models.CharField(
        max_length=16, blank=True, help_text="Dialled when the agent cannot go on, as +15551234567; empty: hang up."
    )

    record = models.BooleanField("record calls", default=True)
    recording_notice = models.CharField(
        max_length=300, blank=True, default="This call is recorded.", help_text="Spoken before the greeting."
    )
    plivo_record = models.BooleanField(
        "also record at Plivo", default=False, help_text="Plivo's own recording of the whole call; costs extra there."
    )
    extraction = models.JSONField(
        "fields to extract",
        default=list,
        blank=True,
        help_text='After the call, such as [{"name": "reason", "type": "text", "description": "why they called"}].',
    )

    published_version = models.ForeignKey(
        "agents.AgentVersion", null=True, blank=True, editable=False, on_delete=models.PROTECT, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]
        permissions = [("publish_agent", "Can publish an agent"), ("talk_to_agent", "Can talk to an agent")]

    def __str__(self) -> str:
        return self.name

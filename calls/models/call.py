"""The call: one row per attempt to talk, inbound, outbound or from the browser."""

import uuid

import msgspec
from django.db import models
from django.db.models import Q
from django.utils import timezone

from agents.models import Agent, AgentVersion
from agents.spec import AgentSpec
from calls.models.phone_number import PhoneNumber
from calls.models.plivo_account import PlivoAccount

# Statuses of a call that is on its way or going on; calls.states.FINAL are the others.
ACTIVE = ("claimed", "sending", "unknown", "queued", "ringing", "answered", "live")


class Call(models.Model):
    """One call. ``status`` is written by ``calls.lifecycle`` alone."""

    class Direction(models.TextChoices):
        INBOUND = "inbound", "Inbound"
        OUTBOUND = "outbound", "Outbound"
        BROWSER = "browser", "Browser test"

    class Status(models.TextChoices):
        CLAIMED = "claimed", "Claimed"
        SENDING = "sending", "Sending"
        UNKNOWN = "unknown", "Unknown"
        QUEUED = "queued", "Queued"
        RINGING = "ringing", "Ringing"
        ANSWERED = "answered", "Answered"
        LIVE = "live", "Live"
        ENDED = "ended", "Ended"
        REJECTED = "rejected", "Rejected"
        CANCELLED = "cancelled", "Cancelled"
        NOT_FOUND = "not_found", "Not found"

    class Outcome(models.TextChoices):
        COMPLETED = "completed", "Completed"
        NO_ANSWER = "no_answer", "No answer"
        BUSY = "busy", "Busy"
        DECLINED = "declined", "Declined"
        CANCELLED = "cancelled", "Cancelled"
        MACHINE = "machine", "Machine"
        FAILED = "failed", "Failed"

    class AnsweredBy(models.TextChoices):
        HUMAN = "human", "A person"
        MACHINE = "machine", "A machine"
        SCREENING = "screening", "A call screener, and nobody came"

    class EndReason(models.TextChoices):
        CALLER_HUNG_UP = "caller_hung_up", "Caller hung up"
        AGENT_ENDED = "agent_ended", "Agent ended the call"
        TRANSFERRED = "transferred", "Agent put the caller through"
        MACHINE = "machine", "A machine answered"
        MESSAGE_LEFT = "message_left", "Left a message"
        OPTED_OUT = "opted_out", "Asked not to be called again"
        SILENCE = "silence", "Caller stayed silent"
        MAX_LENGTH = "max_length", "Longest call reached"
        PROVIDER_FAILURE = "provider_failure", "An AI provider failed"
        STREAM_LOST = "stream_lost", "Stream lost"
        REFUSED = "refused", "Refused: no capacity or no agent"
        OPERATOR = "operator", "Ended by an operator"
        SWEPT = "swept", "Its end was never reported; closed by the sweeper"

    id = models.BigAutoField(primary_key=True)
    public_id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    direction = models.CharField(max_length=10, choices=Direction)
    status = models.CharField(max_length=10, choices=Status, default=Status.CLAIMED)
    outcome = models.CharField(max_length=12, choices=Outcome, blank=True)
    end_reason = models.CharField(max_length=20, choices=EndReason, blank=True)
    answered_by = models.CharField(
        max_length=9, choices=AnsweredBy, blank=True, help_text="Of a call that we placed, where that is known."
    )
    corrected_outcome = models.CharField(
        max_length=12,
        choices=Outcome,
        blank=True,
        help_text="What an operator says of it; beats ``outcome``, which stays.",
    )
    corrected_why = models.CharField(max_length=200, blank=True)
    corrected_by = models.ForeignKey("auth.User", null=True, on_delete=models.SET_NULL, related_name="+")
    corrected_at = models.DateTimeField(null=True)
    agent = models.ForeignKey(Agent, null=True, on_delete=models.PROTECT, related_name="calls")
    agent_version = models.ForeignKey(AgentVersion, null=True, on_delete=models.PROTECT, related_name="calls")
    draft_config = models.JSONField(
        null=True,
        editable=False,
        help_text="Of a test without a version: the draft as it was, as agents.spec.AgentSpec.",
    )
    phone_number = models.ForeignKey(PhoneNumber, null=True, on_delete=models.SET_NULL, related_name="calls")
    # Those without an index of their own lead one of several columns below.
    plivo_account = models.ForeignKey(
        PlivoAccount, null=True, db_index=False, on_delete=models.PROTECT, related_name="calls"
    )
    campaign = models.ForeignKey(
        "calls.Campaign", null=True, blank=True, editable=False, db_index=False, on_delete=models.SET_NULL,
        related_name="calls",
    )  # fmt: skip
    campaign_person = models.ForeignKey(
        "calls.CampaignContact", null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="calls"
    )
    attempt = models.PositiveSmallIntegerField(default=0, editable=False, help_text="Of the campaign at this person.")
    zones = models.JSONField(
        default=list,
        editable=False,
        help_text="Of a campaign's call: time zones in which the person might be, as they were known at the claim.",
    )
    longest_s = models.PositiveSmallIntegerField(
        null=True, editable=False, help_text="How long it may last, if not as long as the agent's calls."
    )
    started_by = models.ForeignKey("auth.User", null=True, on_delete=models.SET_NULL, related_name="+")
    from_number = models.CharField("from", max_length=120, blank=True)
    to_number = models.CharField("to", max_length=120, blank=True)
    caller_name = models.CharField(max_length=120, blank=True)
    variables = models.JSONField(default=dict, blank=True)
    is_sandbox = models.BooleanField(default=False)

    plivo_call_uuid = models.CharField(max_length=64, null=True, unique=True)  # noqa: DJ001  (unique: NULL is "none")
    plivo_request_uuid = models.CharField(max_length=64, blank=True)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    queued_at = models.DateTimeField(null=True)
    ringing_at = models.DateTimeField(null=True)
    answered_at = models.DateTimeField(null=True)
    live_at = models.DateTimeField(null=True, help_text="First stream start: the zero of every offset_ms.")
    ended_at = models.DateTimeField(null=True)
    stream_ended_at = models.DateTimeField(null=True, help_text="Set when a session ended the conversation on purpose.")
    last_seen_at = models.DateTimeField(null=True, help_text="Last sign of life of its session.")
    carried_by = models.CharField(
        max_length=32, blank=True, editable=False, help_text="Session that carries it, one at a time; empty: none."
    )
    ring_by = models.DateTimeField(
        null=True, editable=False, help_text="Of a call that we place: later it would ring when its hours are over."
    )
    deadline_at = models.DateTimeField(null=True, help_text="When the sweeper asks what became of it.")
    transfer_to = models.CharField(
        max_length=40, blank=True, help_text="Name of the destination that the caller is being put through to."
    )
    transfers = models.PositiveSmallIntegerField(default=0, help_text="How often the caller was put through.")
    streams = models.PositiveSmallIntegerField(default=0, help_text="Stream elements answered so far.")

    hangup_cause = models.CharField(max_length=60, blank=True)
    hangup_code = models.PositiveIntegerField(null=True)
    hangup_source = models.CharField(max_length=40, blank=True)
    duration_s = models.PositiveIntegerField("duration (s)", null=True)
    bill_duration_s = models.PositiveIntegerField("billed (s)", null=True)
    carrier_cost = models.DecimalField(max_digits=10, decimal_places=5, null=True)

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="call_newest"),
            models.Index(fields=["agent", "-created_at"], name="call_by_agent"),
            models.Index(fields=["status", "-created_at"], name="call_by_status"),
            models.Index(fields=["from_number"], name="call_by_from"),
            models.Index(fields=["to_number"], name="call_by_to"),
            # Not partial ones of calls that go on: SQLite could not use them for a status that is given as a parameter.
            models.Index(fields=["campaign", "status"], name="call_of_campaign"),
            models.Index(fields=["plivo_account", "status"], name="call_of_account"),
            models.Index(fields=["plivo_account", "-created_at"], name="call_by_account"),
            models.Index(
                fields=["campaign", "ended_at"], name="call_ended_of_campaign", condition=Q(campaign__isnull=False)
            ),
            models.Index(fields=["deadline_at"], name="call_deadline", condition=Q(deadline_at__isnull=False)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["campaign_person", "attempt"],
                condition=Q(campaign_person__isnull=False),
                name="one_call_for_an_attempt",
            ),
            # An attempt of which nobody knows whether it rang counts: nobody is rung twice at once, by any campaign.
            models.UniqueConstraint(
                fields=["to_number"],
                condition=Q(direction="outbound", status__in=ACTIVE),
                name="one_outbound_call_to_a_number",
            ),
        ]
        permissions = [
            ("listen_call", "Can listen to and download recordings"),
            ("hang_up_call", "Can end a live call"),
            ("view_numbers", "Can see whole phone numbers"),
            ("correct_outcome", "Can correct the outcome of a call"),
        ]

    def __str__(self) -> str:
        return str(self.public_id)

    @property
    def spec(self) -> AgentSpec | None:
        """What the call runs on: its version, or the draft as it was when the test began; None: nobody answers it."""
        if self.agent_version is not None:
            spec = self.agent_version.spec
            return spec if self.longest_s is None else msgspec.structs.replace(spec, max_call_ms=self.longest_s * 1000)
        return None if self.draft_config is None else msgspec.convert(self.draft_config, AgentSpec)

    @property
    def ran_on(self) -> str:
        """Whom the caller met, for a reader: "Front desk v3" or "Front desk (draft)"; "" for nobody."""
        if self.agent_version is not None:
            return str(self.agent_version)
        if self.agent is None:
            return ""
        return f"{self.agent.name} (draft)" if self.direction == self.Direction.BROWSER else self.agent.name

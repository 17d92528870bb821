"""Campaigns: whom an agent calls, when, and how far it has come; and the switch that stops all of them."""

import uuid
from decimal import Decimal

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from simple_history.models import HistoricalRecords

from agents.models import Agent, AgentVersion
from calls.models.contact import Contact, ContactList
from calls.models.phone_number import PhoneNumber

OFFICE_HOURS = [[[540, 1080]]] * 5 + [[], []]  # minutes of each weekday, Monday first
# Calls to a person in 24 hours, by all campaigns and programs together: as the Telephone Solicitation Acts of Florida
# and Oklahoma allow on one subject.
MOST_A_DAY = 3
MOST_A_WEEK = 7 * MOST_A_DAY
LONGEST_GAP_H = 7 * 24
RETRIES = {"busy": [15, 60], "no_answer": [240, 1440], "machine": [1440], "failed": [60]}


def office_hours() -> list[list[list[int]]]:
    """Monday to Friday, nine to six."""
    return [[list(span) for span in day] for day in OFFICE_HOURS]


def usual_retries() -> dict[str, list[int]]:
    """Minutes until the second, third ... attempt, by what came of the one before."""
    return {outcome: list(delays) for outcome, delays in RETRIES.items()}


class Campaign(models.Model):
    """Calls of one agent to the people of some lists. ``status`` is written by ``calls.campaigns.control`` alone."""

    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        RUNNING = "running", "Running"
        PAUSED = "paused", "Paused"
        STOPPED = "stopped", "Stopped"
        FINISHED = "finished", "Finished"

    class Purpose(models.TextChoices):
        PROMOTIONAL = "promotional", "Promotional: selling, advertising"
        SERVICE = "service", "Service: about something they have or asked for"
        TRANSACTIONAL = "transactional", "Transactional: about an order or appointment of theirs"

    class OnMachine(models.TextChoices):
        HANG_UP = "hang_up", "Hang up"
        LEAVE_MESSAGE = "leave_message", "Leave the message below, after its greeting"
        GO_ON = "go_on", "Go on: the agent talks to it"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    agent = models.ForeignKey(Agent, on_delete=models.PROTECT, related_name="campaigns")
    agent_version = models.ForeignKey(
        AgentVersion,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Empty: whichever is published when somebody is called.",
    )
    contact_lists = models.ManyToManyField(ContactList, related_name="campaigns")
    caller_numbers = models.ManyToManyField(PhoneNumber, related_name="campaigns")
    purpose = models.CharField(max_length=13, choices=Purpose)
    countries = models.JSONField(default=list, help_text="ISO 3166, of numbers that may be called; none by default.")
    week = models.JSONField(default=office_hours, help_text="In each person's own time: spans of minutes, by weekday.")
    on_holidays = models.BooleanField(
        "call on public holidays",
        default=False,
        help_text="Off: nobody is called on a holiday of their country or, where it is known, their state. On: "
        "only where the law lets them.",
    )
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    concurrency = models.PositiveSmallIntegerField("calls at once", default=5)
    calls_per_second = models.DecimalField(
        max_digits=5,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text="How many it starts at most: 0.1 is one in ten seconds. Empty: as many as its Plivo accounts may, "
        "over all campaigns.",
    )
    retries = models.JSONField(default=usual_retries)
    on_machine = models.CharField("when a machine answers", max_length=13, choices=OnMachine, default=OnMachine.HANG_UP)
    voicemail_message = models.TextField(
        "message to leave", blank=True, max_length=600, help_text="On a machine. May hold {{variables}}, as prompts do."
    )
    screening_answer = models.TextField(
        "answer to call screening",
        blank=True,
        max_length=300,
        help_text="Said to a phone that asks who is calling and why. Empty: the agent's disclosure and greeting.",
    )
    ring_s = models.PositiveSmallIntegerField(
        "rings for (s)", default=40, validators=[MinValueValidator(5), MaxValueValidator(120)]
    )
    longest_call_s = models.PositiveSmallIntegerField(
        "longest call (s)",
        null=True,
        blank=True,
        validators=[MinValueValidator(30), MaxValueValidator(14_400)],
        help_text="Then the agent closes with its sentence for it and hangs up. Empty: as long as the agent's.",
    )
    gap_hours = models.PositiveSmallIntegerField(
        "hours between calls to a person",
        default=4,
        validators=[MaxValueValidator(LONGEST_GAP_H)],
        help_text=f"0 to {LONGEST_GAP_H}.",
    )
    most_a_day = models.PositiveSmallIntegerField(
        "calls to a person a day",
        default=2,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_A_DAY)],
        help_text=f"1 to {MOST_A_DAY} within 24 hours, by all campaigns and programs together.",
    )
    most_a_week = models.PositiveSmallIntegerField(
        "calls to a person a week",
        default=5,
        validators=[MinValueValidator(1), MaxValueValidator(MOST_A_WEEK)],
        help_text=f"1 to {MOST_A_WEEK}, by all campaigns and programs together.",
    )
    budget = models.DecimalField(
        "budget (USD)",
        max_digits=10,
        decimal_places=2,
        null=True,
        blank=True,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text="The campaign pauses when it is spent, calls under way included. Needs prices. Empty: none.",
    )
    breaker_percent = models.PositiveSmallIntegerField(
        "pauses when so many % fail",
        default=50,
        validators=[MinValueValidator(1), MaxValueValidator(100)],
        help_text="Of the calls that ended within the time below, once there are five.",
    )
    breaker_window_s = models.PositiveSmallIntegerField(
        "over the last (s)", default=120, validators=[MinValueValidator(10), MaxValueValidator(3600)]
    )
    status = models.CharField(max_length=8, choices=Status, default=Status.DRAFT, editable=False)
    paused_why = models.CharField(max_length=300, blank=True, editable=False)
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        editable=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Nobody: its guards.",
    )
    resumed_at = models.DateTimeField(null=True, editable=False, help_text="What was before does not pause it again.")
    launched_at = models.DateTimeField(null=True, editable=False)
    enrolled_at = models.DateTimeField(null=True, editable=False, help_text="When all people of its lists were in it.")
    finished_at = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    history = HistoricalRecords()

    class Meta:
        ordering = ["-created_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    gap_hours__lte=LONGEST_GAP_H,
                    most_a_day__range=(1, MOST_A_DAY),
                    most_a_week__range=(1, MOST_A_WEEK),
                ),
                name="caps_are_never_wider",
            )
        ]
        permissions = [
            ("approve_campaign", "Can approve campaigns of others"),
            ("launch_campaign", "Can launch, resume and stop campaigns"),
            ("export_campaign", "Can download what came of campaigns"),
            ("pause_campaign", "Can pause campaigns, and stop all dialling"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def version(self) -> AgentVersion | None:
        """What people talk to: the version that it is pinned to, else the published one; None: there is none."""
        return self.agent_version or self.agent.published_version


class CampaignContact(models.Model):
    """One person of one campaign: where they stand, and when they are due."""

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        CALLING = "calling", "Being called"
        DONE = "done", "Done"
        HELD = "held", "Held"
        SKIPPED = "skipped", "Skipped"

    id = models.BigAutoField(primary_key=True)
    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE, related_name="people")
    contact = models.ForeignKey(Contact, null=True, on_delete=models.SET_NULL, related_name="campaigns_of")
    number = models.CharField(max_length=16)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    attempts = models.PositiveSmallIntegerField(default=0)
    next_due = models.DateTimeField(null=True, help_text="When the next attempt may be made; only while waiting.")
    why = models.CharField(max_length=200, blank=True, help_text="Why they wait, are held or were skipped.")
    outcome = models.CharField(max_length=12, blank=True, help_text="Of the latest attempt.")
    changed_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["campaign", "number"], name="person_once_in_a_campaign"),
            models.CheckConstraint(
                condition=models.Q(state="waiting", next_due__isnull=False)
                | (~models.Q(state="waiting") & models.Q(next_due__isnull=True)),
                name="only_who_waits_is_due",
            ),
        ]
        indexes = [
            models.Index(fields=["campaign", "next_due"], name="person_due", condition=models.Q(state="waiting")),
            models.Index(fields=["campaign", "state"], name="person_by_state"),
            models.Index(fields=["id"], name="person_being_called", condition=models.Q(state="calling")),
            models.Index(fields=["number"], name="person_by_number"),
        ]

    def __str__(self) -> str:
        return f"{self.number[:5]}…"


class PersonMove(models.Model):
    """That somebody who was due was not called: until when, or for good, and why."""

    id = models.BigAutoField(primary_key=True)
    person = models.ForeignKey(CampaignContact, on_delete=models.CASCADE, related_name="moves")
    at = models.DateTimeField()
    state = models.CharField(max_length=8, choices=CampaignContact.State)
    next_due = models.DateTimeField(null=True)
    why = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.state}: {self.why}"


class CampaignEvent(models.Model):
    """What was done to a campaign after its launch, by whom; without a campaign: to all of them, by the switch."""

    class Kind(models.TextChoices):
        PAUSED = "paused", "The campaign was paused"
        RESUMED = "resumed", "The campaign was resumed"
        STOPPED = "stopped", "The campaign was stopped for good"
        LOOKED_AGAIN = "looked_again", "Whoever was held was to be looked at again"
        SWITCH_THROWN = "switch_thrown", "All dialling was stopped"
        SWITCH_BACK = "switch_back", "Dialling was let go on"

    id = models.BigAutoField(primary_key=True)
    campaign = models.ForeignKey(Campaign, null=True, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=13, choices=Kind)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="Nobody: its guards, or somebody who was deleted.",
    )
    why = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["at", "id"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(campaign=None, kind__in=["switch_thrown", "switch_back"])
                | (models.Q(campaign__isnull=False) & ~models.Q(kind__in=["switch_thrown", "switch_back"])),
                name="the_switch_is_of_all_campaigns",
            )
        ]

    def __str__(self) -> str:
        return self.get_kind_display()


class Switch(models.Model):
    """The kill switch: while its one row stands, nothing is dialled."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    thrown_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    thrown_at = models.DateTimeField()
    why = models.CharField(max_length=200, blank=True)

    class Meta:
        verbose_name = "kill switch"
        verbose_name_plural = "kill switch"
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="one_switch")]

    def __str__(self) -> str:
        return "dialling is stopped"

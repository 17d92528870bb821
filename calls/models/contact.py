"""People who may be called, in lists."""

import uuid

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from simple_history.models import HistoricalRecords

from calls.models.phone_number import E164
from calls.models.table_import import RejectedTableRow, TableImport


class ContactList(models.Model):
    """People from one source, for one or several campaigns."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=80, unique=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, editable=False, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    history = HistoricalRecords()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Contact(models.Model):
    """One person of one list. Whether and when they may be called is asked at every claim anew."""

    class Consent(models.TextChoices):
        NONE = "", "None known"
        EXPRESS = "express", "Express"
        WRITTEN = "written", "Written"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    contact_list = models.ForeignKey(ContactList, on_delete=models.CASCADE, related_name="contacts")
    number = models.CharField(max_length=16, validators=[RegexValidator(E164, "As +15551234567.")])
    country = models.CharField(max_length=3, editable=False, help_text="ISO 3166, of the number.")
    zones = models.JSONField(
        default=list, editable=False, help_text="Time zones in which the number's owner may be; empty: unknown."
    )
    name = models.CharField(max_length=120, blank=True)
    time_zone = models.CharField(max_length=40, blank=True, help_text="Such as America/New_York; beats the number's.")
    region = models.CharField("state or region", max_length=60, blank=True)
    language = models.CharField(max_length=12, blank=True)
    consent = models.CharField(max_length=8, blank=True, choices=Consent)
    consent_at = models.DateField("date of consent", null=True, blank=True)
    consent_source = models.CharField("where consent was given", max_length=200, blank=True)
    variables = models.JSONField(default=dict, blank=True, help_text="For the agent's texts: name and value.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["contact_list", "created_at", "id"]
        constraints = [
            models.UniqueConstraint(fields=["contact_list", "number"], name="contact_once_in_a_list"),
            models.CheckConstraint(condition=models.Q(number__regex=E164), name="contact_number_is_e164"),
        ]
        indexes = [
            models.Index(fields=["number"], name="contact_by_number"),
            models.Index(fields=["contact_list", "id"], name="contact_of_a_list"),
        ]

    def __str__(self) -> str:
        return self.name or self.number[:5] + "…"


class ContactImport(TableImport):
    """A table of people on its way into a list, and what its columns mean."""

    contact_list = models.ForeignKey(ContactList, on_delete=models.CASCADE, related_name="imports")
    meanings = models.JSONField(default=list, help_text="Of each column: [field, variable].")
    suppressed = models.PositiveIntegerField("not to be called", default=0)


class RejectedRow(RejectedTableRow):
    """A row of an import that is nobody who can be called, and why."""

    contact_import = models.ForeignKey(ContactImport, on_delete=models.CASCADE, related_name="rejected_rows")

    class Meta(RejectedTableRow.Meta):
        constraints = [models.UniqueConstraint(fields=["contact_import", "row"], name="rejected_once_in_an_import")]


class ContactCopy(models.Model):
    """People of campaigns on their way into a new list: who they were when it began, and how far it has come."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    contact_list = models.OneToOneField(ContactList, on_delete=models.CASCADE, related_name="copy")
    people = models.JSONField(default=list, help_text="Ids of CampaignContact, in order; empty once all are done.")
    said = models.CharField(max_length=300, help_text="Who they are, in words.")
    total = models.PositiveIntegerField()
    done = models.PositiveIntegerField(default=0)
    added = models.PositiveIntegerField(default=0)
    suppressed = models.PositiveIntegerField("not to be called", default=0)
    erased = models.PositiveIntegerField("data were erased", default=0)
    doubles = models.PositiveIntegerField("the same number again", default=0)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    moved_at = models.DateTimeField(help_text="Last progress; without any for long the sweep starts it again.")
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name_plural = "contact copies"
        indexes = [
            models.Index(fields=["moved_at"], name="copy_going_on", condition=models.Q(finished_at__isnull=True))
        ]

    def __str__(self) -> str:
        return f"{self.done} of {self.total}"

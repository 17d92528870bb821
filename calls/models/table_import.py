"""What the imports of all tables have in common; each kind says what its rows become."""

import uuid

from django.conf import settings
from django.db import models


class TableImport(models.Model):
    """A table on its way in: the file, how it is written, and how far it has come."""

    class Status(models.TextChoices):
        UPLOADED = "uploaded", "Columns to be chosen"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    status = models.CharField(max_length=8, choices=Status, default=Status.UPLOADED)
    file = models.FileField(upload_to="imports/%Y/%m/")
    file_name = models.CharField(max_length=200)
    kind = models.CharField(max_length=4)
    encoding = models.CharField(max_length=12, blank=True)
    delimiter = models.CharField(max_length=1, blank=True)
    country = models.CharField(max_length=2, blank=True, help_text="Of numbers without a country code.")
    headers = models.JSONField(default=list)
    total = models.PositiveIntegerField("rows", default=0)
    done = models.PositiveIntegerField("rows read", default=0)
    added = models.PositiveIntegerField(default=0)
    known = models.PositiveIntegerField("in the list already", default=0)
    rejected = models.PositiveIntegerField(default=0)
    error = models.CharField(max_length=300, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    moved_at = models.DateTimeField(
        null=True, help_text="Last progress; without any for long the sweep starts it again."
    )
    finished_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True
        ordering = ["-created_at"]

    def __str__(self) -> str:
        return self.file_name


class RejectedTableRow(models.Model):
    """A row of an import that became nothing, and why."""

    id = models.BigAutoField(primary_key=True)
    row = models.PositiveIntegerField(help_text="Its number in the file.")
    cells = models.JSONField()
    why = models.CharField(max_length=600)
    reason = models.CharField(max_length=600, help_text="Why, in the same words for all rows of its kind.")

    class Meta:
        abstract = True
        ordering = ["id"]

    def __str__(self) -> str:
        return f"row {self.row}"

"""Numbers that are never called again."""

import uuid

from django.conf import settings
from django.db import models

from calls.models.call import Call
from calls.models.table_import import RejectedTableRow, TableImport


class DoNotCall(models.Model):
    """One number, as a hash: the list outlives the person's data. Written and read by ``calls.suppression`` alone."""

    class Source(models.TextChoices):
        SPOKEN = "spoken", "Said on a call"
        KEY = "key", "Pressed a key on a call"
        OPERATOR = "operator", "An operator"
        IMPORT = "import", "Imported"
        API = "api", "API"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number_hash = models.CharField(max_length=64, unique=True, editable=False)
    key_mark = models.CharField(
        max_length=16, editable=False, db_index=True, help_text="Tells under which SUPPRESSION_KEY the hash was made."
    )
    masked = models.CharField("number", max_length=20, editable=False)
    source = models.CharField(max_length=10, choices=Source)
    since = models.DateTimeField(help_text="When the person asked for it.")
    evidence = models.TextField(
        blank=True, max_length=1000, help_text="The words, the key, or where the entry comes from."
    )
    call = models.ForeignKey(Call, null=True, blank=True, on_delete=models.SET_NULL, related_name="opt_outs")
    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-created_at"]
        verbose_name = "do-not-call number"

    def __str__(self) -> str:
        return self.masked


class DoNotCallImport(TableImport):
    """A table of numbers on its way onto the list, and which of its columns counts."""

    evidence = models.CharField("where it comes from", max_length=300)
    since = models.DateField(null=True, help_text="Of rows without a date; empty: when it was uploaded.")
    has_header = models.BooleanField(default=True)
    number_column = models.PositiveSmallIntegerField(default=0)
    date_column = models.PositiveSmallIntegerField(null=True)

    class Meta(TableImport.Meta):
        verbose_name = "import of do-not-call numbers"
        verbose_name_plural = "imports of do-not-call numbers"


class RejectedNumber(RejectedTableRow):
    """A row of such an import that holds no number, or no date."""

    do_not_call_import = models.ForeignKey(DoNotCallImport, on_delete=models.CASCADE, related_name="rejected_rows")

    class Meta(RejectedTableRow.Meta):
        constraints = [
            models.UniqueConstraint(fields=["do_not_call_import", "row"], name="number_rejected_once_in_an_import")
        ]

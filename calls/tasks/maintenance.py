"""What beat asks for: the sweep every few seconds, SQLite's checkpoint every half minute, the pruning every hour."""

import datetime

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from calls import retention, sweeper
from calls.campaigns import control, copies, imports
from calls.tasks import campaigns, post_call


@shared_task
def sweep_calls() -> None:
    """Repairs what was lost, and hints again at whatever is due."""
    now = timezone.now()
    for import_id in imports.due(now):
        campaigns.import_contacts.delay(import_id)
    for copy_id in copies.due(now):
        campaigns.copy_people.delay(copy_id)
    for campaign_id in control.due_enrolments(now):
        campaigns.enrol.delay(campaign_id)
    due = sweeper.sweep(now=now)
    for call_id in due.summaries:
        post_call.after_call.delay(call_id)
    for recording_id in due.recordings:
        post_call.fetch_recording.delay(recording_id)


@shared_task
def checkpoint() -> None:
    """Moves what SQLite has written ahead into its database file; nothing to do on PostgreSQL."""
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA wal_checkpoint(PASSIVE)")


@shared_task
def prune() -> None:
    """Deletes what is no longer needed."""
    kept = datetime.timedelta(days=settings.WEBHOOK_RETENTION_DAYS)
    retention.prune(now=timezone.now(), webhooks_kept=kept)

"""What beat asks for: the sweep every few seconds, SQLite's checkpoint every half minute, the pruning every hour."""

import datetime

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone

from calls import one_off, retention, sweeper
from calls.campaigns import copies, rounds, table_imports
from calls.hooks import deliveries
from calls.models import ContactImport, DoNotCallImport
from calls.tasks import campaigns, hooks, post_call

HINT_GOOD_FOR_S = 30  # there will be others, and they must not pile up while nobody listens


@shared_task
def sweep_calls() -> None:
    """Repairs what was lost, and hints again at whatever is due."""
    now = timezone.now()
    for endpoint_id in deliveries.due(now):
        hooks.deliver.apply_async((endpoint_id,), expires=HINT_GOOD_FOR_S)
    for import_id in table_imports.due(ContactImport, now):
        campaigns.import_contacts.delay(import_id)
    for import_id in table_imports.due(DoNotCallImport, now):
        campaigns.import_do_not_call.delay(import_id)
    for copy_id in copies.due(now):
        campaigns.copy_people.delay(copy_id)
    for campaign_id in rounds.due(now):
        campaigns.go_round.apply_async((campaign_id,), expires=HINT_GOOD_FOR_S)
    one_off.let_go(now=now)
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

"""What campaigns have done in the background. Hints only: each looks at its row and decides."""

from celery import shared_task
from django.utils import timezone

from calls.campaigns import imports


@shared_task
def import_contacts(import_id: str) -> None:
    """Reads a table's rows on; a long one in several tasks."""
    if imports.run(import_id, clock=timezone.now):
        import_contacts.delay(import_id)

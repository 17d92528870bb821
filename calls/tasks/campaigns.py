"""What campaigns have done in the background. Hints only: each looks at its row and decides."""

from celery import shared_task
from django.utils import timezone

from calls.campaigns import control, copies, dialler, do_not_call_imports, imports

DIAL_S = 5.0


@shared_task
def import_contacts(import_id: str) -> None:
    """Reads a table's rows on; a long one in several tasks."""
    if imports.run(import_id, clock=timezone.now):
        import_contacts.delay(import_id)


@shared_task
def import_do_not_call(import_id: str) -> None:
    """Reads a list of numbers that are not to be called on."""
    if do_not_call_imports.run(import_id, clock=timezone.now):
        import_do_not_call.delay(import_id)


@shared_task
def copy_people(copy_id: str) -> None:
    """Copies people into a new list; many in several tasks."""
    if copies.run(copy_id, clock=timezone.now):
        copy_people.delay(copy_id)


@shared_task
def enrol(campaign_id: str) -> None:
    """A campaign was launched: puts its people into it."""
    control.enrol(campaign_id, now=timezone.now())


@shared_task
def dial() -> None:
    """Somebody may be due: calls people for as long as until beat says so again."""
    dialler.work(clock=timezone.now, seconds=DIAL_S)

"""What campaigns have done in the background. Hints only: each looks at its row and decides."""

from celery import shared_task
from django.utils import timezone

from calls.campaigns import control, copies, dialler, imports, outcomes

DIAL_S = 5.0


@shared_task
def import_contacts(import_id: str) -> None:
    """Reads a table's rows on; a long one in several tasks."""
    if imports.run(import_id, clock=timezone.now):
        import_contacts.delay(import_id)


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


@shared_task
def machine_answered(call_id: int) -> None:
    """Plivo believes that a machine has answered a call: the campaign says what is done then."""
    outcomes.machine_answered(call_id=call_id, now=timezone.now())

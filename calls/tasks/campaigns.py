"""What campaigns have done in the background. Hints only: each looks at its row and decides."""

from typing import Any

from celery import shared_task
from celery.signals import worker_shutting_down
from django.utils import timezone

from calls.campaigns import copies, dialler, do_not_call_imports, imports, rounds

DIAL_S = 8.0  # longer than from one of beat's ticks to the next
_shift = dialler.Shift()


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
def go_round(campaign_id: str) -> None:
    """Goes through a campaign's people: puts them in, or looks at them again; many in several tasks."""
    if rounds.run(campaign_id, clock=timezone.now):
        go_round.delay(campaign_id)


@shared_task(acks_late=False)
def dial() -> None:
    """Beat's tick: somebody may be due. A process that calls people already goes on."""
    if _shift.tick(DIAL_S):
        try:
            dialler.work(clock=timezone.now, shift=_shift)
        finally:
            _shift.end()


@worker_shutting_down.connect
def stop_dialling(**_: Any) -> None:
    """Calls on their way to Plivo are waited for; no other is begun."""
    _shift.close()

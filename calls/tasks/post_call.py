"""What is done after a call: its summary, and Plivo's recording of it."""

from celery import shared_task
from django.utils import timezone

from calls import recordings, summaries


@shared_task
def after_call(call_id: int) -> None:
    """A call has ended: makes its summary."""
    summaries.summarise(call_id=call_id, now=timezone.now())


@shared_task
def fetch_recording(recording_id: str) -> None:
    """A recording waits at Plivo: fetches it."""
    recordings.fetch_plivo_recording(recording_id=recording_id, now=timezone.now())

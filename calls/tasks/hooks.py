"""Webhooks out: something may be due at an endpoint. Their worker is their own: waiting harms nobody else."""

from celery import shared_task
from django.utils import timezone

from calls.hooks import deliveries


@shared_task
def deliver(endpoint_id: str) -> None:
    """Sends for a while; then others have their turn."""
    if deliveries.work(endpoint_id, clock=timezone.now):
        deliver.delay(endpoint_id)

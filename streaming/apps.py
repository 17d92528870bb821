"""The app of how a live call sounds. It has no models."""

from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_save


class StreamingConfig(AppConfig):
    name = "streaming"
    verbose_name = "Live calls"

    def ready(self) -> None:
        """Listens for published versions: their fixed phrases are spoken before anybody rings."""
        from agents.models import AgentVersion  # noqa: PLC0415  (models are loaded only now)

        post_save.connect(_published, sender=AgentVersion, dispatch_uid="streaming.prepare_phrases")


def _published(*, instance: Any, created: bool, **_: Any) -> None:
    from calls.hints import hint  # noqa: PLC0415

    if created:
        transaction.on_commit(lambda: hint("streaming.tasks.prepare_phrases", str(instance.pk)))

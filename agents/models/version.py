"""Published versions of agents: frozen, numbered, kept for ever."""

import uuid
from functools import cached_property
from typing import NoReturn

import msgspec
from django.conf import settings
from django.db import models

from agents.spec import AgentSpec


class ImmutableVersionError(Exception):
    """Somebody tried to change or delete a published version."""


class VersionQuerySet(models.QuerySet["AgentVersion"]):
    """Refuses whatever would change or delete rows that exist."""

    def update(self, **_kwargs: object) -> NoReturn:
        """Raises ImmutableVersionError."""
        raise ImmutableVersionError("published versions cannot be changed: publish a new one")

    def bulk_update(self, *_args: object, **_kwargs: object) -> NoReturn:
        """Raises ImmutableVersionError."""
        raise ImmutableVersionError("published versions cannot be changed: publish a new one")

    def delete(self) -> NoReturn:
        """Raises ImmutableVersionError."""
        raise ImmutableVersionError("published versions cannot be deleted: calls point at them")


class AgentVersion(models.Model):
    """What an agent was at one publication. Calls point here, so that "which prompt said that" has an answer."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    agent = models.ForeignKey("agents.Agent", on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    config = models.JSONField(help_text="The agent as agents.spec.AgentSpec.")
    note = models.CharField(max_length=200, blank=True, help_text="What changed, for colleagues.")
    published_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    published_at = models.DateTimeField(auto_now_add=True)

    objects = VersionQuerySet.as_manager()

    class Meta:
        ordering = ["agent", "-number"]
        constraints = [models.UniqueConstraint(fields=["agent", "number"], name="version_number_once_per_agent")]

    def __str__(self) -> str:
        return f"{self.agent.name} v{self.number}"

    def save(self, *args: object, **kwargs: object) -> None:
        """Inserts; raises ImmutableVersionError for a row that exists."""
        if not self._state.adding:
            raise ImmutableVersionError(f"{self} is published and cannot be changed: publish a new version")
        super().save(*args, **kwargs)  # type: ignore[arg-type]

    def delete(self, *_args: object, **_kwargs: object) -> tuple[int, dict[str, int]]:
        """Raises ImmutableVersionError: calls point at versions."""
        raise ImmutableVersionError(f"{self} is published and cannot be deleted")

    @cached_property
    def spec(self) -> AgentSpec:
        """The frozen agent."""

        return msgspec.convert(self.config, AgentSpec)

"""Celery tasks: hints to look at a row. Each may be lost, doubled or late without harm."""

from calls.tasks import campaigns, hooks, maintenance, post_call

__all__ = ["campaigns", "hooks", "maintenance", "post_call"]

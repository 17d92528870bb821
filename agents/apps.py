"""The app of who speaks: agents, their published versions, voices and AI provider accounts."""

from django.apps import AppConfig


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = "Agents"

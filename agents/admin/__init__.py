"""The admin of who speaks. Django's autodiscovery imports it; nobody else does."""

from agents.admin import accounts, agents, users, versions, voices

__all__ = ["accounts", "agents", "users", "versions", "voices"]

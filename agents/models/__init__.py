"""Models of who speaks."""

from agents.models.agent import Agent
from agents.models.further_choice import FurtherChoice
from agents.models.provider_account import ProviderAccount
from agents.models.version import AgentVersion
from agents.models.voice import Voice

__all__ = ["Agent", "AgentVersion", "FurtherChoice", "ProviderAccount", "Voice"]

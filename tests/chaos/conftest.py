"""Chaos breaks what the stream journeys run on, in the same places."""

from tests.integration.stream.conftest import build, install, place, postgres_url

__all__ = ["build", "install", "place", "postgres_url"]

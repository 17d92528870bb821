"""The app of how a live call sounds. It has no models."""

from django.apps import AppConfig


class StreamingConfig(AppConfig):
    name = "streaming"
    verbose_name = "Live calls"

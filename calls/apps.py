"""The app of what happens: calls, transcripts, recordings, phone numbers and the Plivo edge."""

from django.apps import AppConfig


class CallsConfig(AppConfig):
    name = "calls"
    verbose_name = "Calls"

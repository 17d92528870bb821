"""The Celery application; ``celery -A config`` finds it."""

import logging.config
import os

from celery import Celery
from celery.signals import setup_logging
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
app = Celery("parley")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["calls", "streaming"])


@setup_logging.connect
def _log_as_all_processes_do(*, loglevel: int, **_: object) -> None:
    """Celery's own handlers would take the place of the root logger's, whose lines are masked."""
    logging.config.dictConfig(settings.LOGGING)
    logging.getLogger().setLevel(loglevel)

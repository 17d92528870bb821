"""Composition: settings, URLs, ASGI, Celery and the processes. The only place that knows concrete choices."""

from config.celery import app as celery_app

__all__ = ["celery_app"]

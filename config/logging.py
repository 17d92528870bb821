"""Logging: one JSON object a line in production, readable lines otherwise. Messages are static; values are named.

Whoever writes a line, a library included, its phone numbers are masked.
"""

import logging
from typing import Any

import structlog

from config.env import env
from config.masking import masked

structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    wrapper_class=structlog.stdlib.BoundLogger,
    cache_logger_on_first_use=True,
)

# Plain tracebacks: structlog's own prettier ones print every local variable, and with them keys and numbers.
_renderers: list[Any] = (
    [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    if env("PRODUCTION")
    else [structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)]
)


class Formatter(structlog.stdlib.ProcessorFormatter):
    """The last to have a line in hand: message, values and traceback alike."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, masked."""
        return masked(super().format(record))


LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structlog": {
            "()": Formatter,
            "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers],
            "foreign_pre_chain": [
                structlog.stdlib.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
            ],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structlog"}},
    "root": {"handlers": ["stderr"], "level": env("LOG_LEVEL")},
    "loggers": {
        # It and its children would keep Django's own handlers beside ours: plain lines, and mails to administrators.
        "django": {"handlers": []},
        # Their lines hold URLs with stream tokens, or bodies with what people said.
        "uvicorn.access": {"level": "CRITICAL", "propagate": False},
        "uvicorn.error": {"level": "WARNING"},
        "django.channels.server": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "httpcore": {"level": "WARNING"},
        "openai": {"level": "WARNING"},
        "websockets": {"level": "WARNING"},
        "axes": {"level": "WARNING"},
    },
}

"""Hints to the workers: "look now". The rows tell what there is to do, so any hint may be lost, doubled or late.

Given by ``lifecycle``, the webhooks and ``streaming``; a task is named, not imported, since it may live above us.
"""

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)

OPTIONS = {"max_retries": 0, "socket_connect_timeout": 1, "socket_timeout": 2, "retry_on_timeout": False}


def hint(task: str, *args: int | str) -> None:
    """Asks a worker to run ``task`` now; without a broker only a warning is logged, within milliseconds."""
    try:
        # Of its own, and gone after the message: celery's pooled connection tries again for 6 s before it gives up,
        # which a webhook has not got.
        with current_app.connection_for_write(transport_options=OPTIONS) as connection:
            current_app.send_task(task, args=args, connection=connection, retry=False)
    except OperationalError as error:
        log.warning("task_hint_lost", task=task, error=type(error).__name__)

"""Hints to the workers: "look now". The rows tell what there is to do, so any hint may be lost, doubled or late.

Given by ``lifecycle``, the webhooks and ``streaming``; a task is named, not imported, since it may live above us.
"""

import os
from functools import lru_cache

import structlog
from celery import current_app
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import ProducerPool

log = structlog.get_logger(__name__)

# Beside those of the settings, under which a broker that hangs is waited for 20 s: a webhook has not got them.
OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 2, "retry_on_timeout": False}
MOST = 8  # connections of a process; who finds them all in use waits so many seconds, and loses the hint
WAIT_S = 1


def hint(task: str, *args: int | str) -> None:
    """Asks a worker to run ``task`` now. Without a broker a warning is logged: at once, or after 2 s where it hangs."""
    try:
        with _producers(os.getpid()).acquire(block=True, timeout=WAIT_S) as producer:
            current_app.send_task(task, args=args, producer=producer, retry=False)
    except (OperationalError, LimitExceeded) as error:
        log.warning("task_hint_lost", task=task, error=type(error).__name__)


@lru_cache(maxsize=1)
def _producers(_process: int) -> ProducerPool:
    """As celery's own, but for OPTIONS."""
    connection = current_app.connection_for_write(transport_options=OPTIONS)
    return ProducerPool(connections=connection.Pool(MOST), limit=MOST)

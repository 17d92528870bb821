"""Celery's settings and its beat schedule. The broker carries hints only: every task looks at a row and decides."""

from typing import Any

from kombu import Exchange, Queue
from kombu.common import Broadcast

from config.env import broker_url

DIALLERS = Exchange("dialler", type="fanout")

CELERY: dict[str, Any] = {
    "CELERY_BROKER_URL": broker_url(),
    "CELERY_TASK_IGNORE_RESULT": True,
    "CELERY_TASK_SERIALIZER": "json",
    "CELERY_ACCEPT_CONTENT": ["json"],
    "CELERY_TASK_ACKS_LATE": True,
    "CELERY_TASK_REJECT_ON_WORKER_LOST": True,
    "CELERY_WORKER_PREFETCH_MULTIPLIER": 1,
    "CELERY_TASK_SOFT_TIME_LIMIT": 240,
    "CELERY_TASK_TIME_LIMIT": 270,
    "CELERY_TASK_DEFAULT_QUEUE": "maintenance",
    # Every dialler is told to look, and each does its part; a queue would wake one of them. The routing key is part of
    # the channel's name in Redis; who sends must have declared the exchange, or puts it where nobody listens.
    "CELERY_TASK_QUEUES": [
        Broadcast("dialler", exchange=DIALLERS, routing_key="dialler"),
        *map(Queue, ("maintenance", "post_call", "dial", "hooks")),
    ],
    "CELERY_TASK_ROUTES": {
        "calls.tasks.post_call.*": {"queue": "post_call"},
        "calls.tasks.campaigns.dial": {"queue": "dialler", "routing_key": "dialler"},
        "calls.tasks.hooks.*": {"queue": "hooks"},
        "streaming.tasks.prepare_opening": {"queue": "dial"},  # it must be there before the call is picked up
    },
    "CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP": True,
    # kombu's defaults look for a dead worker's messages about every 100 s, after an hour.
    "CELERY_BROKER_TRANSPORT_OPTIONS": {
        "visibility_timeout": 600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "retry_on_timeout": True,
        "max_retries": 0,  # a hint that cannot be given now is found by the sweep; nobody waits for the broker
        "health_check_interval": 25,
    },
    "CELERY_BEAT_SCHEDULE": {
        "sweep-calls": {
            "task": "calls.tasks.maintenance.sweep_calls",
            "schedule": 10.0,
            "options": {"expires": 9},
        },
        "dial": {
            "task": "calls.tasks.campaigns.dial",
            "schedule": 5.0,
            "options": {"expires": 4, "declare": [DIALLERS]},
        },
        "checkpoint": {
            "task": "calls.tasks.maintenance.checkpoint",
            "schedule": 30.0,
            "options": {"expires": 29},
        },
        "prune": {
            "task": "calls.tasks.maintenance.prune",
            "schedule": 3600.0,
            "options": {"expires": 3600},
        },
    },
}

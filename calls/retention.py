"""What is no longer needed goes: stream tokens, refusals, webhooks that were sent, and of those that came first
what they said, then the rows.

Run every hour by ``calls.tasks.maintenance``. A row goes only for a reason that can never cease to hold, a chunk at a
time, so that rounds may overlap or be cut off anywhere.
"""

import datetime
from collections import Counter
from collections.abc import Iterator
from typing import Any

import structlog
from django.core.files.storage import default_storage
from django.db.models import Q, QuerySet

from calls.intake import SETTLED_AFTER
from calls.models import ContactImport, DoNotCallImport, EdgeRefusal, StreamToken, WebhookDelivery, WebhookEvent
from calls.states import FINAL

log = structlog.get_logger(__name__)

CHUNK = 500  # rows of one transaction
CHUNKS = 200  # of each kind in one round; the next round goes on
TOKENS_KEPT = datetime.timedelta(days=1)
FILES_KEPT = datetime.timedelta(hours=1)
REFUSALS_KEPT = datetime.timedelta(days=30)


def prune(*, now: datetime.datetime, webhooks_kept: datetime.timedelta) -> Counter[str]:
    """One round; returns how many rows of each kind were deleted or erased.

    Args:
        webhooks_kept: how long the numbers, names and ids in a webhook can be looked up, whether it came or was sent.
    """
    done: Counter[str] = Counter()
    done["stream_tokens"] = _delete(_dead_tokens(now))
    done["refusals"] = _delete(EdgeRefusal.objects.filter(minute__lt=now - REFUSALS_KEPT))
    old = WebhookEvent.objects.filter(received_at__lt=now - webhooks_kept)
    done["webhooks"] = _delete(_needless_nonces(old, now))
    done["webhook_bodies"] = _erase(old)
    done["webhook_deliveries"] = _delete(_old_deliveries(now - webhooks_kept))
    done["import_files"] = _orphaned_files(now)
    done = +done  # without the zeros
    if done:
        log.info("pruned", **done)
    return done


def _orphaned_files(now: datetime.datetime) -> int:
    """Uploaded tables whose import is gone, with its list or by its end; a new one may lack its row yet."""
    deleted = 0
    storage = default_storage
    for name in _files("imports"):
        if storage.get_modified_time(name) < now - FILES_KEPT and not _is_imported(name):
            storage.delete(name)
            deleted += 1
    return deleted


def _is_imported(name: str) -> bool:
    return any(kind._default_manager.filter(file=name).exists() for kind in (ContactImport, DoNotCallImport))


def _files(folder: str) -> Iterator[str]:
    try:
        folders, files = default_storage.listdir(folder)
    except FileNotFoundError:
        return
    yield from (f"{folder}/{name}" for name in files)
    for each in folders:
        yield from _files(f"{folder}/{each}")


def _dead_tokens(now: datetime.datetime) -> QuerySet[StreamToken]:
    """Tokens that open nothing any more: of calls that are over, or never used in time."""
    cut = now - TOKENS_KEPT
    over = Q(call__status__in=FINAL) & (Q(call__ended_at__lt=cut) | Q(call__ended_at=None))
    return StreamToken.objects.filter(over | Q(uses=0), expires_at__lt=cut)


def _needless_nonces(old: QuerySet[WebhookEvent], now: datetime.datetime) -> QuerySet[WebhookEvent]:
    """Webhooks whose replay is refused without their nonce, since ``intake`` refuses all that is said of their call.

    One that belongs to no call keeps its nonce for ever: a signature bears no date, and nothing else tells its replay.
    Those are few: requests whose handling failed, and some that name no call.
    """
    return old.filter(call__status__in=FINAL, call__created_at__lt=now - SETTLED_AFTER)


def _old_deliveries(cut: datetime.datetime) -> QuerySet[WebhookDelivery]:
    """Those that are over, and those that wait for an endpoint that nobody has enabled for as long."""
    over = Q(state__in=[WebhookDelivery.State.DELIVERED, WebhookDelivery.State.FAILED])
    return WebhookDelivery.objects.filter(over | Q(endpoint__enabled=False), created_at__lt=cut)


def _delete(rows: QuerySet[Any]) -> int:
    return sum(rows.model.objects.filter(pk__in=chunk).delete()[0] for chunk in _chunks(rows))


def _erase(rows: QuerySet[WebhookEvent]) -> int:
    rows = rows.exclude(params={})
    return sum(rows.filter(pk__in=chunk).update(params={}) for chunk in _chunks(rows))


def _chunks(rows: QuerySet[Any]) -> Iterator[list[int]]:
    """Ids of rows, CHUNK at a time; each chunk must be dealt with before the next is asked for."""
    for _ in range(CHUNKS):
        chunk = list(rows.order_by("pk").values_list("pk", flat=True)[:CHUNK])
        if not chunk:
            return
        yield chunk

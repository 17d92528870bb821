"""Sends what is due: at least once, in no promised order, for days if need be.

The rows tell what is due: ``next_try_at`` of one that waits is its next try, of one that is being sent the moment from
which its worker counts as gone. Each endpoint is worked on by itself, a few deliveries at once, and only one while it
fails: whoever is slow or gone keeps nobody else waiting.
"""

import datetime
import random
import time
from collections.abc import Callable

import structlog
from django.db import transaction
from django.db.models import F

from agents.crypto import UndecryptableError
from calls.hooks import destinations, endpoints, events, posting
from calls.hooks.posting import Answer
from calls.models import WebhookDelivery, WebhookEndpoint

log = structlog.get_logger(__name__)

# Until the second, third ... try, as the Standard Webhooks advise: ten tries in a little over three days.
_M, _H = 60, 3600
DELAYS_S = (5, 5 * _M, 30 * _M, 2 * _H, 5 * _H, 10 * _H, 14 * _H, 20 * _H, 24 * _H)
JITTER = 0.1  # of a delay, so that those who failed together do not come back together
AT_ONCE = 4
AT_ONCE_FAILING = 1
LEASE = datetime.timedelta(seconds=60)  # a request and its look-up take 13 s at most
SECONDS = 10.0  # of one task, then others have their turn
GIVEN_UP_AFTER = datetime.timedelta(days=5)
_State = WebhookDelivery.State


def due(now: datetime.datetime) -> list[str]:
    """Ids of endpoints for which something is to be sent now."""
    late = WebhookDelivery.objects.filter(next_try_at__lte=now, endpoint__enabled=True).order_by()
    return [str(pk) for pk in late.values_list("endpoint_id", flat=True).distinct()]


def work(endpoint_id: str, *, clock: Callable[[], datetime.datetime], seconds: float = SECONDS) -> bool:
    """Sends what is due to one endpoint, one after the other, until something fails or the time is over.

    Returns:
        whether it stopped for the time alone.
    """
    until = time.monotonic() + seconds
    while (delivery := claim(endpoint_id, now=clock())) is not None:
        answer = _send(delivery, now=clock())
        settle(delivery, answer, now=clock())
        if not answer.delivered:
            return False
        if time.monotonic() > until:
            return True
    return False


def claim(endpoint_id: str, *, now: datetime.datetime) -> WebhookDelivery | None:
    """The delivery that waits longest, marked as being sent; None when there is none, or enough are on their way."""
    with transaction.atomic():
        # The endpoint's lock makes counting and marking one step; SQLite has but one writer.
        endpoint = WebhookEndpoint.objects.select_for_update().filter(pk=endpoint_id, enabled=True).first()
        if endpoint is None:
            return None
        on_their_way = endpoint.deliveries.filter(state=_State.SENDING, next_try_at__gt=now).count()
        if on_their_way >= (AT_ONCE_FAILING if endpoint.failing_since else AT_ONCE):
            return None
        delivery = endpoint.deliveries.filter(next_try_at__lte=now).order_by("next_try_at", "pk").first()
        if delivery is None:
            return None
        waiting = WebhookDelivery.objects.filter(
            pk=delivery.pk, state=delivery.state, tries=delivery.tries, next_try_at=delivery.next_try_at
        )
        if not waiting.update(state=_State.SENDING, tries=F("tries") + 1, next_try_at=now + LEASE):
            return None
    delivery.state, delivery.tries, delivery.endpoint = _State.SENDING, delivery.tries + 1, endpoint
    return delivery


def _send(delivery: WebhookDelivery, *, now: datetime.datetime) -> Answer:
    message_id = str(delivery.event_id)
    try:
        destination = destinations.parse(delivery.endpoint.url)
        addresses = destinations.addresses(destination)
        signed = endpoints.signatures(delivery.endpoint, message_id=message_id, at=now, body=delivery.body)
    except destinations.Refused as refused:
        return Answer(0, str(refused))
    except UndecryptableError as error:
        return Answer(0, f"Its secret cannot be read. {error}.")
    headers = {
        "Content-Type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": signed,
    }
    return posting.post(destination, addresses, body=delivery.body.encode(), headers=headers)


def settle(delivery: WebhookDelivery, answer: Answer, *, now: datetime.datetime) -> None:
    """Writes down what came of a try, and when the next is made.

    A late failure does not undo what another worker has begun since; a late success ends it for both.
    """
    row = WebhookDelivery.objects.filter(pk=delivery.pk, state=_State.SENDING)
    found = {"last_status": answer.status or None, "last_error": answer.detail[:300], "last_took_ms": answer.took_ms}
    endpoint = WebhookEndpoint.objects.filter(pk=delivery.endpoint_id)
    if answer.delivered:
        row.update(state=_State.DELIVERED, delivered_at=now, next_try_at=None, **found)
        endpoint.exclude(failing_since=None).update(failing_since=None)
        return
    mine = row.filter(tries=delivery.tries)
    gone = answer.status == 410
    if gone or delivery.tries > len(DELAYS_S):
        mine.update(state=_State.FAILED, next_try_at=None, **found)
    else:
        later = now + datetime.timedelta(seconds=delay_s(delivery.tries, answer.retry_after_s))
        mine.update(state=_State.WAITING, next_try_at=later, **found)
    endpoint.filter(failing_since=None).update(failing_since=now)
    log.warning("webhook_not_delivered", delivery=delivery.pk, attempt=delivery.tries, status=answer.status)
    _give_up(delivery, gone=gone, now=now)


def _give_up(delivery: WebhookDelivery, *, gone: bool, now: datetime.datetime) -> None:
    reason = ""
    if gone:
        reason = "It answered 410 Gone: webhooks are not wanted there any more."
    elif delivery.endpoint.failing_since and delivery.endpoint.failing_since < now - GIVEN_UP_AFTER:
        reason = f"Nothing was delivered for {GIVEN_UP_AFTER.days} days: look at its deliveries, mend it, enable it."
    if reason and endpoints.disable(delivery.endpoint_id, reason=reason):
        log.error("webhook_endpoint_disabled", endpoint=str(delivery.endpoint_id), gone=gone)


def delay_s(tries: int, retry_after: float | None, *, chance: Callable[[], float] = random.random) -> float:
    """Seconds from a failed try to the next: as the schedule says, longer if the other side asks for it.

    Args:
        tries: how many were made, from 1.
        retry_after: at most a day.
    """
    delay = DELAYS_S[tries - 1] * (1 + JITTER * chance())
    return max(delay, retry_after or 0.0)


def again(delivery: WebhookDelivery, *, now: datetime.datetime) -> bool:
    """Sends one that is over once more, under its webhook-id; False when it is not over."""
    over = WebhookDelivery.objects.filter(pk=delivery.pk, state__in=[_State.DELIVERED, _State.FAILED])
    if not over.update(state=_State.WAITING, tries=0, next_try_at=now, delivered_at=None):
        return False
    transaction.on_commit(lambda: events.wake(delivery.endpoint_id))
    return True

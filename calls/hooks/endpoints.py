"""An endpoint's secrets and whether it is used.

A secret is shown once, when it is made. After it was rolled the old one signs beside the new one for a day, so that
the other side can change it without losing anything.
"""

import base64
import datetime
import secrets
import uuid

from django.db import transaction
from standardwebhooks import Webhook

from calls.hooks import events
from calls.models import WebhookEndpoint

OLD_SECRET_SIGNS = datetime.timedelta(hours=24)
_SECRET_BYTES = 32  # Standard Webhooks: 24 to 64


def new_secret() -> str:
    """As the other side enters it: whsec_ and base64."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode("ascii")


def roll(endpoint: WebhookEndpoint, *, now: datetime.datetime) -> str:
    """Gives it a new secret, and returns that: the only time that it is seen. Of older ones the last still signs.

    Raises:
        agents.crypto.UndecryptableError: no listed key decrypts the old one; disable and delete the endpoint then.
    """
    made = new_secret()
    with transaction.atomic():
        row = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        row.old_secret, row.old_secret_until, row.secret = row.secret, now + OLD_SECRET_SIGNS, made
        row.save(update_fields=["secret", "old_secret", "old_secret_until"])
    return made


def signatures(endpoint: WebhookEndpoint, *, message_id: str, at: datetime.datetime, body: str) -> str:
    """What webhook-signature holds: one signature, or two while an old secret is still good.

    Raises:
        agents.crypto.UndecryptableError: no listed key decrypts a secret.
    """
    keys = [str(endpoint.secret)]
    if endpoint.old_secret_until is not None and at < endpoint.old_secret_until:
        keys.append(str(endpoint.old_secret))
    return " ".join(Webhook(key).sign(msg_id=message_id, timestamp=at, data=body) for key in keys)


def disable(endpoint_id: uuid.UUID, *, reason: str) -> bool:
    """Nothing is sent there, and nothing is written down for it, until somebody enables it. False: it was disabled."""
    used = WebhookEndpoint.objects.filter(pk=endpoint_id, enabled=True)
    return bool(used.update(enabled=False, disabled_reason=reason[:300]))


def enable(endpoint: WebhookEndpoint) -> None:
    """What waits for it is sent at once."""
    unused = WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=False)
    if unused.update(enabled=True, disabled_reason="", failing_since=None):
        transaction.on_commit(lambda: events.wake(endpoint.pk))

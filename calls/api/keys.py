"""Bearer keys of the API: made once, kept as a hash, found by it, revoked for good."""

import datetime
import hashlib
import re
import secrets

from django.db.models import Q

from calls.models import ApiKey

BYTES = 32
MARK = "parley_"  # by which scanners of code and logs know a key that leaked
SHOWN = len(MARK) + 5
_KEY = re.compile(rf"{MARK}[A-Za-z0-9_-]{{43}}", re.ASCII)
USE_NOTED = datetime.timedelta(minutes=1)


def give(row: ApiKey) -> str:
    """Gives an unsaved row its key, and returns it: it is not to be had again."""
    key = MARK + secrets.token_urlsafe(BYTES)
    row.prefix, row.key_hash = key[:SHOWN], _hash(key)
    return key


def find(key: str, *, now: datetime.datetime) -> ApiKey | None:
    """The row of a key that holds; its use is noted once a minute at most.

    Looked up by its hash, so that the time it takes says nothing of how much of a guess is right.
    """
    if not _KEY.fullmatch(key):
        return None
    row = ApiKey.objects.select_related("created_by").filter(key_hash=_hash(key), revoked_at=None).first()
    if row is None or not secrets.compare_digest(row.key_hash, _hash(key)):
        return None
    if row.last_used_at is None or row.last_used_at <= now - USE_NOTED:
        unnoted = Q(last_used_at=None) | Q(last_used_at__lte=now - USE_NOTED)
        ApiKey.objects.filter(unnoted, pk=row.pk).update(last_used_at=now)
    return row


def revoke(row: ApiKey, *, now: datetime.datetime) -> bool:
    """From now on the key opens nothing, and calls that it started and that do not ring yet are let go."""
    held = ApiKey.objects.filter(pk=row.pk, revoked_at=None).first()
    if held is None:
        return False
    held.revoked_at = now
    held.save(update_fields=["revoked_at"])  # not by update(): it makes history
    return True


def _hash(key: str) -> str:
    """Without salt: 32 random bytes are in no table."""
    return hashlib.sha256(key.encode()).hexdigest()

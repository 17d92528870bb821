"""One-call tokens for the stream's WebSocket address.

Made in an answer-type reply, so none exists before a genuine webhook; stored hashed; peeked at during the handshake,
redeemed at ``start``. Used by ``calls.answers`` and by ``streaming``.
"""

import datetime
import hashlib
import re
import secrets
from typing import Literal

import msgspec
from django.db.models import F

from agents.crypto import UndecryptableError
from calls.models import Call, StreamToken
from calls.states import is_over
from calls.telephony.accounts import tokens_for

FIRST_USE = datetime.timedelta(seconds=60)
MAX_USES = 3  # Plivo tries a broken connection twice more
_FORMAT = re.compile(r"[0-9a-f]{32}")

Refused = Literal["malformed", "unknown", "expired", "used_up", "call_over", "wrong_call"]


class TokenRefusal(msgspec.Struct, frozen=True):
    """A token that opens nothing, and why."""

    reason: Refused


class Ticket(msgspec.Struct, frozen=True, kw_only=True):
    """What a token stands for.

    Attributes:
        plivo_call_uuid: the callId that its ``start`` must carry; empty if no webhook has told it yet.
    """

    call_id: int
    public_id: str
    plivo_call_uuid: str


def issue(*, call: Call, now: datetime.datetime) -> str:
    """A new token for the call: 32 hex digits, 128 bits; earlier ones stay valid."""
    token = secrets.token_hex(16)
    StreamToken.objects.create(call=call, token_sha256=_digest(token), expires_at=now + FIRST_USE)
    return token


def peek(*, token: str, now: datetime.datetime) -> Ticket | TokenRefusal:
    """Looks at a token without using it, for the handshake."""
    row = _find(token)
    if isinstance(row, TokenRefusal):
        return row
    if refusal := _refused(row, now):
        return refusal
    return _ticket(row)


def redeem(*, token: str, plivo_call_uuid: str, now: datetime.datetime) -> Ticket | TokenRefusal:
    """Uses a token for the stream of ``plivo_call_uuid`` (``callId`` of its ``start``).

    The first use binds the token to that callId. The guarded UPDATE lets two sockets of one instant use two uses, or
    one of them none.
    """
    row = _find(token)
    if isinstance(row, TokenRefusal):
        return row
    for _ in range(MAX_USES + 1):  # each lost race has used up one use
        if refusal := _refused(row, now):
            return refusal
        expected = row.plivo_call_uuid or row.call.plivo_call_uuid or ""
        if not plivo_call_uuid or (expected and expected != plivo_call_uuid):
            return TokenRefusal("wrong_call")
        won = StreamToken.objects.filter(pk=row.pk, uses=row.uses).update(
            uses=F("uses") + 1, first_used_at=row.first_used_at or now, plivo_call_uuid=plivo_call_uuid
        )
        if won:
            return _ticket(row)
        row = _find(token)
        if isinstance(row, TokenRefusal):
            return row
    return TokenRefusal("used_up")


def handshake_tokens(ticket: Ticket) -> list[str]:
    """The auth tokens that may have signed the handshake of the ticket's call; none when its account is unreadable."""
    try:
        call = Call.objects.select_related("plivo_account").get(pk=ticket.call_id)
    except UndecryptableError:
        return []
    return tokens_for(call.plivo_account)


def _find(token: str) -> StreamToken | TokenRefusal:
    if not _FORMAT.fullmatch(token):
        return TokenRefusal("malformed")
    row = StreamToken.objects.select_related("call").filter(token_sha256=_digest(token)).first()
    return row or TokenRefusal("unknown")


def _refused(row: StreamToken, now: datetime.datetime) -> TokenRefusal | None:
    if is_over(row.call.status) or row.call.stream_ended_at is not None:
        return TokenRefusal("call_over")
    if not row.uses and row.expires_at <= now:
        return TokenRefusal("expired")
    return TokenRefusal("used_up") if row.uses >= MAX_USES else None


def _ticket(row: StreamToken) -> Ticket:
    return Ticket(
        call_id=row.call.pk,
        public_id=str(row.call.public_id),
        plivo_call_uuid=row.call.plivo_call_uuid or "",
    )


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("ascii")).hexdigest()

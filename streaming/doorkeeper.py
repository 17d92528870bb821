"""Who may open a stream: token, signature and call, asked of the database in a thread of its own.

Called by ``consumers``; all functions block and none leaves a trace in the call before ``enter``. Each refusal is a
``Refusal``, whose remedy the admin shows.
"""

import datetime
import uuid
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls import edge, live_calls
from calls.context import CallContext
from calls.telephony import signatures, stream_tokens
from calls.telephony.stream_tokens import Ticket, TokenRefusal
from streaming.spoken.lexicon import tongue

log = structlog.get_logger(__name__)

REMEDIES = {
    "origin": "A web page tried to open a stream. Plivo sends no Origin header: nothing to do.",
    "path": "Somebody asked for an address that is no stream: nothing to do.",
    "token_malformed": "Somebody guessed at stream addresses: nothing to do.",
    "token_unknown": "A stranger, or two installations that share a STREAM_URL but not a database.",
    "token_expired": "Plivo took over 60 s to connect: look at the server's clock and at Plivo's status page.",
    "token_used_up": "The connection broke three times: look at the network and at the proxy's time limits.",
    "token_call_over": "The stream came after the end of its call: nothing to do.",
    "token_wrong_call": "A stream address was used for another call: nothing to do, it was refused.",
    "signature_missing_headers": (
        "The handshake was not signed. If a proxy removes the X-Plivo-Signature headers, let them through."
    ),
    "provider_account": "A provider account of the agent cannot be used: test its connection in the admin.",
    "signature_no_token": "The call's Plivo account has no readable auth token: enter it again in the admin.",
    "signature_bad_signature": (
        "The signature does not fit: STREAM_URL must be the address that Plivo dials, and the account's auth token "
        "must be current. STREAM_SIGNATURE=token rests on the token alone."
    ),
    "draining": "The stream process was about to stop; Plivo was sent on to another one.",
    "full": "All stream processes are busy: start more of them, or raise MAX_LIVE_CALLS.",
    "busy": "The edge was flooded with connections: look at where they come from.",
    "database": "The database did not answer in time.",
    "no_start": "The peer connected but sent no start message: it is not Plivo.",
    "codec": "Plivo announced a codec that was not asked for.",
    "second_stream": "The call has a stream already, and that one is alive.",
    "call_over": "The call had ended when its stream began.",
}
_forms_seen: set[str] = set()  # ways of writing the address that Plivo has signed; each is logged once
DEFAULT_REMEDY = "Look at the server's log at this time."


class Refusal(msgspec.Struct, frozen=True):
    """Why a stream was not taken; ``sample`` holds nothing secret."""

    reason: str
    sample: dict[str, Any] = {}


SECOND_STREAM = Refusal("second_stream")


class Handshake(msgspec.Struct, frozen=True):
    """What a WebSocket's opening request says; header names in lower case."""

    token: str
    path_and_query: str
    headers: Mapping[str, str]


def inspect(handshake: Handshake) -> Ticket | Refusal:
    """Judges a handshake; changes nothing."""
    ticket = stream_tokens.peek(token=handshake.token, now=timezone.now())
    if isinstance(ticket, TokenRefusal):
        return Refusal(f"token_{ticket.reason}")
    if settings.STREAM_SIGNATURE != "required":
        return ticket
    verdict = signatures.verify_handshake(
        stream_url_with_path=settings.STREAM_URL + handshake.path_and_query,
        headers=handshake.headers,
        tokens=stream_tokens.handshake_tokens(ticket),
    )
    if verdict.ok and verdict.form not in _forms_seen:
        _forms_seen.add(verdict.form)
        log.info("handshake_signed_over", form=verdict.form)  # Plivo does not document which it is
    if verdict.ok or (settings.ALLOW_UNSIGNED and verdict.reason == "missing_headers"):
        return ticket
    return Refusal(
        f"signature_{verdict.reason}", {"forms_tried": list(verdict.forms_tried), "stream_url": settings.STREAM_URL}
    )


def enter(*, token: str, call_id: int, plivo_call_uuid: str, stream_id: str) -> CallContext | Refusal:
    """Uses the token, claims the call for a session of this stream and begins it.

    A call that another session carries is refused as ``second_stream`` and its token not used: it may be asked for
    again.

    Raises:
        agents.services.AccountError: a provider account cannot be used.
    """
    now = timezone.now()
    session = uuid.uuid4().hex
    with transaction.atomic():
        ticket = stream_tokens.redeem(token=token, plivo_call_uuid=plivo_call_uuid, now=now)
        if isinstance(ticket, TokenRefusal):
            return Refusal(f"token_{ticket.reason}")
        if not live_calls.claim(call_id=call_id, session=session):
            transaction.set_rollback(True)
            return SECOND_STREAM
    context = None
    try:
        context = live_calls.stream_started(call_id=call_id, stream_id=stream_id, session=session, now=now)
    finally:
        if context is None:  # whoever comes next need not wait for a session that never was
            live_calls.release(call_id=call_id, session=session)
    if context is None:
        return Refusal("call_over")
    tongue(context.spec.language)  # reads its tables here, in a thread, once in a process
    return context


def record(refusal: Refusal, now: datetime.datetime) -> None:
    """Counts a refusal for the admin."""
    edge.record_refusal(
        edge="stream",
        reason=refusal.reason,
        sample=refusal.sample,
        remedy=REMEDIES.get(refusal.reason, DEFAULT_REMEDY),
        now=now,
    )

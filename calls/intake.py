"""How a webhook comes in: read, verified, stored, told from its replays. Nothing of it is believed before.

``calls.webhooks`` puts ``webhook`` around its handlers. What is refused changes no state and is counted for the admin.
"""

import datetime
import functools
import hashlib
import json
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, cast
from urllib.parse import parse_qsl

from django.conf import settings
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseForbidden
from django.http.request import UnreadablePostError
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from agents.crypto import UndecryptableError
from calls.edge import printable, record_refusal
from calls.models import Call, PhoneNumber, PlivoAccount, WebhookEvent
from calls.states import is_over
from calls.telephony import signatures
from calls.telephony.accounts import environment_account, tokens_for
from calls.telephony.numbers import normalise

MAX_BODY = 128 * 1024  # bytes; Plivo's own are below 4 KB
MAX_FIELDS = 500
MAX_VALUE = 2000  # characters; addresses of recordings are long
MAX_NONCE = 64
# A signature bears no date: a captured request stays as believable as on its first day. Its nonce tells the replay, and
# is deleted by ``calls.retention`` only when every request about its call is refused.
SETTLED_AFTER = datetime.timedelta(days=7)  # from a call's beginning; calls last 24 h at most, recordings hours more
RETRIES_END = datetime.timedelta(minutes=10)  # Plivo's own end after 55 s
_CLAIMS = ("CallUUID", "To", "ParentAuthID", "AuthID")
_STREAM_TOKEN = re.compile(r"(/stream/)[0-9a-f]{32}")

REMEDIES = {
    "missing_headers": "Not signed, hence not from Plivo, or a proxy removes the X-Plivo-Signature-V3 headers.",
    "no_token": "No Plivo account with a readable token is known here: enter it under Plivo accounts.",
    "bad_signature": "If these are Plivo's: PUBLIC_URL must be exactly the address entered at Plivo (scheme, host, "
    "port), and the account's auth token the current one.",
    "wrong_call": "The address belongs to another call than the one that the request names.",
    "late": "Signed by Plivo, but about a call that ended long ago, or long after its first try: somebody may be "
    "sending captured requests again.",
    "replayed": "A request was sent again with another content: somebody may be tampering.",
    "undecryptable": "The Plivo account's token cannot be decrypted: put the old key back into ENCRYPTION_KEYS.",
    "malformed": "Not a form as Plivo sends it.",
}
Kind = Literal[
    "answer", "after-stream", "ring", "hangup", "machine", "recording", "stream-status", "dial", "digits", "fallback"
]


@dataclass(frozen=True)
class Webhook:
    """A verified and stored request of Plivo.

    Attributes:
        params: fields of the query and the form; of a repeated field the last value.
        call: whose address it came to, or which its CallUUID names; None for a call that is new to us.
        number: ours, that was rung, for requests without a call.
        account: who sent it, as far as known.
        replay: it was received and applied before; it must change nothing. Settled only as it is handled.
    """

    kind: Kind
    params: dict[str, str]
    call: Call | None
    number: PhoneNumber | None
    account: PlivoAccount | None
    event: WebhookEvent
    now: datetime.datetime
    replay: bool = False

    def get(self, *names: str) -> str:
        """The first of these fields that has a value, without characters that cannot be stored; else ""."""
        value = next((self.params[name] for name in names if self.params.get(name)), "")
        return cast("str", printable(value, MAX_VALUE))


class Refused(Exception):  # noqa: N818  (an answer, not an error)
    """The request is not to be believed; ``reason`` is a key of REMEDIES."""

    def __init__(self, reason: str, status: Literal[400, 403] = 403) -> None:
        self.reason = reason
        self.status = status
        super().__init__(reason)


Handler = Callable[[Webhook], HttpResponse]


def webhook(kind: Kind) -> Callable[[Handler], Callable[..., HttpResponse]]:
    """Makes a Django view of a handler: 403 or 400 for what is refused, else the handler's answer.

    The request is stored in a transaction of its own; the handler runs in a second one, together with the mark that it
    was applied. A request whose handler failed is not marked: Plivo's next try, though a replay, applies it.
    """

    def decorate(handler: Handler) -> Callable[..., HttpResponse]:
        @csrf_exempt
        @require_http_methods(["GET", "POST"])
        @functools.wraps(handler)
        def view(request: HttpRequest, public_id: uuid.UUID | None = None) -> HttpResponse:
            now = timezone.now()
            try:
                received = receive(request, kind=kind, public_id=public_id, now=now)
            except Refused as refusal:
                _record(request, kind, refusal.reason, now)
                return HttpResponseForbidden() if refusal.status == 403 else HttpResponseBadRequest()
            return _handle(handler, received)

        return cast("Callable[..., HttpResponse]", view)

    return decorate


def _handle(handler: Handler, received: Webhook) -> HttpResponse:
    stored_for = received.event.call_id
    try:
        with transaction.atomic():
            # First, and guarded: a try that comes while another is handled waits here for it, and is then a replay.
            unapplied = WebhookEvent.objects.filter(pk=received.event.pk, applied_at=None)
            received = replace(received, replay=not unapplied.update(applied_at=received.now))
            answer = handler(received)
            if not received.replay and received.event.call_id != stored_for:
                received.event.save(update_fields=["call"])
    except Exception as error:
        WebhookEvent.objects.filter(pk=received.event.pk).update(error=type(error).__name__)
        raise
    return answer


def receive(request: HttpRequest, *, kind: Kind, public_id: uuid.UUID | None, now: datetime.datetime) -> Webhook:
    """Reads, verifies and stores a request; of one that bears no signature nothing is read.

    Raises:
        Refused: it is malformed, not signed by an account of ours, not about the call of its address, or too late to
            be Plivo's.
    """
    if not (signatures.is_signed(request.headers) or settings.ALLOW_UNSIGNED):
        raise Refused("missing_headers")
    body, form = read_form(request)
    params = dict([*_query(request), *form])
    # What is looked up, even before it is verified, must not hold what a database refuses.
    claims = {name: printable(params[name], 64) for name in _CLAIMS if name in params}
    params |= claims
    call, number, account = _owner(claims, public_id)
    # Plivo's pages print stream events as JSON; they go to the timeline and change nothing.
    verify(request, form=form, account=account, address_alone=kind == "stream-status")
    call_uuid = claims.get("CallUUID", "")
    if public_id is not None and (call is None or (call_uuid and not _is_of(call, call_uuid))):
        raise Refused("wrong_call")
    if call is not None and is_over(call.status) and call.created_at < now - SETTLED_AFTER:
        raise Refused("late")
    account = account or _environment_account(claims)
    event = _store(request, kind=kind, body=body, params=params, call=call, now=now)
    return Webhook(kind, params, call, number, account, event, now)


def read_form(request: HttpRequest) -> tuple[bytes, list[tuple[str, str]]]:
    """The raw body and its fields, blanks and repetitions included.

    Raises:
        Refused: (400) too large, or not a form.
    """
    if request.method != "POST":
        return b"", []
    try:
        # Not ``body``, which has no bound when the request comes in chunks.
        body = request.read(MAX_BODY + 1)
    except UnreadablePostError as error:
        raise Refused("malformed", 400) from error
    if len(body) > MAX_BODY:
        raise Refused("malformed", 400)
    try:
        if request.content_type == "application/json":  # how Plivo sends stream events is not settled
            return body, _flat_json(body)
        text = body.decode("utf-8")
        return body, parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as error:
        raise Refused("malformed", 400) from error


def verify(
    request: HttpRequest,
    *,
    form: list[tuple[str, str]],
    account: PlivoAccount | None,
    address_alone: bool = False,
) -> None:
    """Checks the signature with the tokens of ``account``, or of every account when it is None.

    The address is PUBLIC_URL with path and query as they came: behind a proxy the request itself cannot know it.

    Args:
        address_alone: take a JSON body, which is no form, under a signature of the address alone. Then anybody may
            have written it.

    Raises:
        Refused: the signature is missing or fits no token.
    """
    check = functools.partial(
        signatures.verify_webhook,
        method=request.method or "",
        url=settings.PUBLIC_URL + _target(request),
        headers=request.headers,
        tokens=tokens_for(account),
    )
    verdict = check(params=form)
    if address_alone and verdict.reason == "bad_signature" and request.content_type == "application/json":
        verdict = check(params=())
    if verdict.ok or (settings.ALLOW_UNSIGNED and verdict.reason in {"missing_headers", "no_token"}):
        return
    raise Refused(verdict.reason)


def _owner(
    params: dict[str, str], public_id: uuid.UUID | None
) -> tuple[Call | None, PhoneNumber | None, PlivoAccount | None]:
    """Whose request this claims to be: a claim, on which only the choice of tokens rests until it is verified."""
    calls = Call.objects.select_related("plivo_account", "agent", "agent_version")
    try:
        if public_id is not None:
            call = calls.filter(public_id=public_id).first()
            return call, None, call.plivo_account if call else _named_account(params)
        if params.get("CallUUID"):
            call = calls.filter(plivo_call_uuid=params["CallUUID"]).first()
            if call is not None:
                return call, None, call.plivo_account or _named_account(params)
        number = (
            PhoneNumber.objects.select_related("plivo_account", "agent__published_version")
            .filter(number=normalise(params.get("To", ""))[:16])
            .first()
        )
        return None, number, number.plivo_account if number else _named_account(params)
    except UndecryptableError as error:
        raise Refused("undecryptable") from error


def _is_of(call: Call, call_uuid: str) -> bool:
    """Whether the CallUUID is this call's, or can be: nobody has told it yet, and no other call has it.

    Another report of the same call may tell it at this very moment, and the row at hand be older than that.
    """
    if call.plivo_call_uuid:
        return call.plivo_call_uuid == call_uuid
    return not Call.objects.filter(plivo_call_uuid=call_uuid).exclude(pk=call.pk).exists()


def _named_account(params: dict[str, str]) -> PlivoAccount | None:
    auth_id = params.get("ParentAuthID") or params.get("AuthID")
    return PlivoAccount.objects.defer(None).filter(auth_id=auth_id[:20]).first() if auth_id else None


def _environment_account(params: dict[str, str]) -> PlivoAccount | None:
    """Makes the environment's account a row at its first genuine request, so that the call can point at it."""
    named = params.get("ParentAuthID", settings.PLIVO_AUTH_ID)
    return environment_account() if named == settings.PLIVO_AUTH_ID else None


def _store(
    request: HttpRequest,
    *,
    kind: Kind,
    body: bytes,
    params: dict[str, str],
    call: Call | None,
    now: datetime.datetime,
) -> WebhookEvent:
    """Stores the request, or finds it stored by an earlier try.

    Raises:
        Refused: its nonce was used for another request, or for this one so long ago that Plivo tries it no more.
    """
    nonce = request.headers.get(signatures.NONCE, "").strip()
    if not nonce:
        nonce = f"unsigned-{uuid.uuid4().hex}"  # admitted by ALLOW_UNSIGNED alone
    if len(nonce) > MAX_NONCE:
        nonce = hashlib.sha256(nonce.encode("utf-8", "surrogateescape")).hexdigest()
    digest = hashlib.sha256(f"{request.method} {_target(request)}\n".encode("utf-8", "surrogateescape") + body)
    if kind == "digits":  # a code is kept nowhere
        params = {name: value for name, value in params.items() if name != "Digits"}
    stored = {name: _STREAM_TOKEN.sub(r"\1…", value) for name, value in printable(params, MAX_VALUE).items()}
    try:
        with transaction.atomic():
            event = WebhookEvent.objects.create(
                kind=kind,
                call=call,
                nonce=printable(nonce),
                body_sha256=digest.hexdigest(),
                params=stored,
                received_at=now,
            )
    except IntegrityError:
        event = WebhookEvent.objects.get(nonce=printable(nonce))
        if event.body_sha256 != digest.hexdigest():
            raise Refused("replayed") from None
        if event.applied_at is None and event.received_at < now - RETRIES_END:
            raise Refused("late") from None
    return event


def _record(request: HttpRequest, kind: Kind, reason: str, now: datetime.datetime) -> None:
    present = [name for name in (signatures.SIGNATURE, signatures.MAIN_SIGNATURE, signatures.NONCE)
               if name in request.headers]  # fmt: skip
    sample: dict[str, Any] = {
        "kind": kind,
        "method": request.method,
        "signed_as": settings.PUBLIC_URL + request.path,
        "headers": present,
        "host": request.META.get("HTTP_HOST", ""),
    }
    record_refusal(edge="webhook", reason=reason, sample=sample, remedy=REMEDIES[reason], now=now)


def _target(request: HttpRequest) -> str:
    """Path and query as they came over the wire, not decoded and encoded again."""
    scope = getattr(request, "scope", None)
    if scope is None or not scope.get("raw_path"):
        return request.get_full_path()
    query = scope.get("query_string", b"").decode("latin-1")
    path = scope["raw_path"].partition(b"?")[0].decode("latin-1")
    return f"{path}?{query}" if query else path


def _query(request: HttpRequest) -> list[tuple[str, str]]:
    _, _, query = _target(request).partition("?")
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise Refused("malformed", 400) from error


def _flat_json(body: bytes) -> list[tuple[str, str]]:
    """Raises ValueError (of which JSONDecodeError and UnicodeDecodeError are kinds) for anything but a flat object."""
    try:
        found = json.loads(body)
        if not isinstance(found, dict) or len(found) > MAX_FIELDS:
            raise ValueError("not an object")
        return [(name, value if isinstance(value, str) else json.dumps(value)) for name, value in found.items()]
    except RecursionError as error:
        raise ValueError("too deep") from error

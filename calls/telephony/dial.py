"""The one POST that makes Plivo ring somebody: sent once, on a connection of its own, and classified.

Plivo takes no key by which a repeated request could be told from a new one, and its SDK sends a voice POST that met a
5xx to two more hosts. So nothing here is ever tried again: what is not certain is UNKNOWN, and stays so until a
webhook, Plivo's lists or its call records tell. Called by ``calls.campaigns.dialling``, in a thread.
"""

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import msgspec

from calls.numbers import E164

CONNECT_S = 3.0
READ_S = 20.0  # longer than the SDK's 5 s: a slow answer is better than none
TOTAL_S = 30.0  # whatever trickles in
MAX_BODY = 64 * 1024
MAX_ID = 64
_DETAIL = 300


class Sent(StrEnum):
    """What is certain after the request."""

    QUEUED = "queued"  # Plivo has it
    REJECTED = "rejected"  # it said no: nobody is rung
    NOT_SENT = "not_sent"  # it never had it, or wants it later: nobody is rung
    WITHDRAWN = "withdrawn"  # it was not to be sent any more, and was not: nobody is rung
    UNKNOWN = "unknown"  # somebody may be rung


class Dialled(msgspec.Struct, frozen=True):
    """What became of the request.

    Attributes:
        request_uuid: Plivo's name of it; empty unless QUEUED.
        status: of the HTTP answer; 0 without one.
        detail: for an operator, in Plivo's words or ours; holds no key.
        retry_after_s: how long Plivo asks to be left alone, when it does.
    """

    sent: Sent
    request_uuid: str = ""
    status: int = 0
    detail: str = ""
    retry_after_s: float | None = None


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """Whom to ring, and where Plivo reports: the addresses hold our own name of the call.

    Attributes:
        to: E.164, as +14155550100; one number.
        caller: E.164, a number of the account.
        urls: ``answer_url`` and the others, with their methods, under Plivo's names.
        ring_s: how long it rings at most.
        longest_s: how long the call lasts at most (Plivo's own default is four hours).
        detect_machine: have Plivo find out, beside the call, whether a machine has answered.
    """

    to: str
    caller: str
    urls: dict[str, str]
    ring_s: int
    longest_s: int
    detect_machine: bool = False


def dial(order: Order, *, still: Callable[[], str], api_url: str, auth_id: str, auth_token: str) -> Dialled:
    """Has Plivo ring one number, at most once whatever happens; blocks for at most about 35 s.

    Args:
        still: asked once there is a connection, which may take seconds, and right before the first byte: why nobody
            may be rung after all; empty when somebody may. What it raises is raised, and nothing was sent.

    Raises:
        ValueError: a number is not E.164, or the address of the API is none; nothing was sent.
    """
    for number in (order.to, order.caller):
        if not E164.fullmatch(number):
            raise ValueError("not one number in E.164")
    body = json.dumps(_fields(order)).encode()
    address = urlsplit(api_url)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise ValueError("the API's address is not an HTTP address")
    connection = _connection(address.scheme, address.hostname, address.port)
    try:
        try:
            connection.connect()
        except (OSError, http.client.HTTPException, ValueError) as error:
            return Dialled(Sent.NOT_SENT, detail=f"no connection to Plivo: {type(error).__name__}")
        if why := still():
            return Dialled(Sent.WITHDRAWN, detail=why)
        credentials = base64.b64encode(f"{auth_id}:{auth_token}".encode()).decode("ascii")
        headers = {
            "Authorization": f"Basic {credentials}",
            "Content-Type": "application/json",
            "Accept": "application/json",
            "Connection": "close",
        }
        path = f"{address.path.rstrip('/')}/v1/Account/{auth_id}/Call/"
        return _ask(connection, path, body, headers)
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    """Not from any pool, by no proxy: what it is used for cannot happen twice."""
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=CONNECT_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=CONNECT_S)


def _ask(connection: http.client.HTTPConnection, path: str, body: bytes, headers: dict[str, str]) -> Dialled:
    """From the first byte on the call may exist."""
    line = connection.sock
    line.settimeout(READ_S)
    connection.auto_open = 0  # a library that connects again would send again
    cut = threading.Timer(TOTAL_S, _cut, [line])
    cut.daemon = True
    cut.start()
    try:
        connection.request("POST", path, body=body, headers=headers)
        answer = connection.getresponse()
        text = answer.read(MAX_BODY)
        return _classified(answer.status, text, answer.getheader("Retry-After"))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Dialled(Sent.UNKNOWN, detail=f"no answer of Plivo: {type(error).__name__}")
    finally:
        cut.cancel()


def _cut(line: socket.socket) -> None:
    try:
        line.shutdown(socket.SHUT_RDWR)
    except OSError:
        line.close()  # it is no longer connected: whoever reads is told


def _classified(status: int, text: bytes, retry_after: str | None) -> Dialled:
    """What an answer says for certain."""
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    fields = found if isinstance(found, dict) else {}
    error = fields.get("error")
    detail = f"HTTP {status}" + (f": {error}" if isinstance(error, str) and error else "")
    detail = detail[:_DETAIL]
    if status == http.HTTPStatus.TOO_MANY_REQUESTS:
        return Dialled(Sent.NOT_SENT, status=status, detail=detail, retry_after_s=_seconds(retry_after))
    if status == http.HTTPStatus.REQUEST_TIMEOUT:  # of something in between, which may have passed it on
        return Dialled(Sent.UNKNOWN, status=status, detail=detail)
    if 300 <= status < 500:
        return Dialled(Sent.REJECTED, status=status, detail=detail)
    request_uuid = fields.get("request_uuid")
    if 200 <= status < 300 and isinstance(request_uuid, str) and 0 < len(request_uuid) <= MAX_ID:
        return Dialled(Sent.QUEUED, request_uuid=request_uuid, status=status)
    return Dialled(Sent.UNKNOWN, status=status, detail=detail)


def _seconds(text: str | None) -> float | None:
    """Of a Retry-After header that counts seconds; a date is no use to a pacer."""
    return float(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 6 else None


def _fields(order: Order) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "from": order.caller.removeprefix("+"),
        "to": order.to.removeprefix("+"),
        "ring_timeout": order.ring_s,
        "time_limit": order.longest_s,
        **order.urls,
    }
    if order.detect_machine:
        fields["machine_detection"] = "true"
    return fields

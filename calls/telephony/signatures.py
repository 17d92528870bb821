"""Plivo's V3 signatures: was this webhook, this WebSocket handshake, sent by somebody who holds the account's token?

``calls.intake`` checks webhooks with it, ``streaming`` handshakes. Own code, because the SDK's helper raises where a
header is missing, does not strip blanks in lists, refuses wss addresses and does not compare in constant time.
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

SIGNATURE = "x-plivo-signature-v3"
MAIN_SIGNATURE = "x-plivo-signature-ma-v3"
NONCE = "x-plivo-signature-v3-nonce"
MAX_LISTED = 10  # signatures that one header may list: one for each active token of an account

Params = Sequence[tuple[str, str]]


class Verdict(msgspec.Struct, frozen=True):
    """Whether a request is genuine; ``reason`` is empty when it is."""

    reason: Literal["", "missing_headers", "no_token", "bad_signature"] = ""

    @property
    def ok(self) -> bool:
        """Whether some token fits."""
        return not self.reason


class HandshakeVerdict(msgspec.Struct, frozen=True):
    """Whether a WebSocket handshake is genuine.

    Attributes:
        form: the way of writing the address that was signed; empty when none fits.
        forms_tried: all that were tried, for the admin; they hold no token.
    """

    ok: bool
    form: str = ""
    forms_tried: tuple[str, ...] = ()
    reason: str = ""


def base_string(*, method: str, url: str, params: Params) -> str:
    """What Plivo signs, before the nonce.

    Args:
        method: "GET" or "POST"; any other is treated as GET.
        url: as Plivo dialled it, with its port and its raw query; a fragment is not signed.
        params: every field of the form, blanks and repetitions included; empty for GET.
    """
    parts = urlsplit(url)
    address = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    query = _sorted(parse_qsl(parts.query, keep_blank_values=True))
    if method.upper() != "POST" or not params:
        query = _sorted([*query, *params])
        return f"{address}?{_joined(query)}" if query else address
    form = "".join(f"{key}{value}" for key, value in _sorted(params))
    # Without a query Plivo still writes the question mark, but no dot.
    return f"{address}?{_joined(query)}.{form}" if query else f"{address}?{form}"


def sign(*, base: str, nonce: str, token: str) -> str:
    """The signature of a base string, as Plivo writes it into the header."""
    message = f"{base}.{nonce}".encode("utf-8", "surrogatepass")
    return base64.b64encode(hmac.new(token.encode(), message, hashlib.sha256).digest()).decode("ascii")


def is_signed(headers: Mapping[str, str]) -> bool:
    """Whether the headers hold a nonce and a signature at all, genuine or not; keys in lower case."""
    return bool(headers.get(NONCE, "").strip()) and bool(_signatures(headers))


def verify_webhook(
    *, method: str, url: str, params: Params, headers: Mapping[str, str], tokens: Iterable[str]
) -> Verdict:
    """Checks a webhook.

    Args:
        url: PUBLIC_URL with the path and query as they came, undecoded.
        headers: keys in lower case.
        tokens: of the account(s) that the request can belong to, a subaccount's main account included.
    """
    known = [token for token in tokens if token]
    if not is_signed(headers):
        return Verdict("missing_headers")
    if not known:
        return Verdict("no_token")
    base = base_string(method=method, url=url, params=params)
    nonce = headers[NONCE].strip()
    fits = False
    for token in known:
        expected = sign(base=base, nonce=nonce, token=token).encode()
        for signature in _signatures(headers):
            fits |= hmac.compare_digest(expected, signature)
    return Verdict("") if fits else Verdict("bad_signature")


def verify_handshake(
    *, stream_url_with_path: str, headers: Mapping[str, str], tokens: Iterable[str]
) -> HandshakeVerdict:
    """Checks a WebSocket handshake in every form that Plivo is known to sign.

    Plivo signs it as a GET of the address with another scheme: http:// on live calls, while its documents and its own
    libraries also have https:// and a ``/websocket`` at the end.

    Args:
        stream_url_with_path: STREAM_URL with path and query, as Plivo was told to dial it.
        headers: keys in lower case.
    """
    forms = _handshake_forms(stream_url_with_path)
    known = tuple(tokens)
    reason = ""
    for name, url in forms.items():
        verdict = verify_webhook(method="GET", url=url, params=(), headers=headers, tokens=known)
        if verdict.ok:
            return HandshakeVerdict(ok=True, form=name, forms_tried=(name,))
        reason = verdict.reason
        if reason != "bad_signature":
            break
    return HandshakeVerdict(ok=False, forms_tried=tuple(forms), reason=reason)


def _handshake_forms(stream_url: str) -> dict[str, str]:
    parts = urlsplit(stream_url)
    suffixed = parts.path.rstrip("/") + "/websocket"
    return {
        "http://": urlunsplit(("http", parts.netloc, parts.path, parts.query, "")),
        "https://": urlunsplit(("https", parts.netloc, parts.path, parts.query, "")),
        "http://…/websocket": urlunsplit(("http", parts.netloc, suffixed, parts.query, "")),
        "http://…//websocket": urlunsplit(("http", parts.netloc, parts.path + "/websocket", parts.query, "")),
    }


def _signatures(headers: Mapping[str, str]) -> list[bytes]:
    return [*_listed(headers.get(SIGNATURE, "")), *_listed(headers.get(MAIN_SIGNATURE, ""))]


def _listed(header: str) -> list[bytes]:
    parts = [part.strip().encode("utf-8", "surrogateescape") for part in header.split(",")]
    return [part for part in parts if part][:MAX_LISTED]


def _sorted(params: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted(params)


def _joined(params: Params) -> str:
    return "&".join(f"{key}={value}" for key, value in params)

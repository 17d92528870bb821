"""Plivo's V3 signature, computed independently of Plivo's SDK: on every webhook and on the stream's handshake.

Source of the rule: the official CLI's verifier and SDK, with two published vectors (in the tests). Base string: for GET
the URL with its decoded, sorted query; for POST the URL, `?`, that query, `.`, and the sorted fields run together (with
fields and no query the `?` stays and the `.` does not come).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlsplit

from sandbox.plivo.faults import Signature

HEADER = "X-Plivo-Signature-V3"
HEADER_MAIN = "X-Plivo-Signature-Ma-V3"
HEADER_NONCE = "X-Plivo-Signature-V3-Nonce"


def new_nonce() -> str:
    """20 random digits, as Plivo sends."""
    return "".join(secrets.choice("0123456789") for _ in range(20))


def base_string(method: str, url: str, fields: Mapping[str, str]) -> str:
    """What is signed, without the nonce. The fragment is not part of it; port and path are as dialled."""
    parts = urlsplit(url)
    target = f"{parts.scheme}://{parts.netloc}{parts.path}"
    query = sorted(parse_qsl(parts.query, keep_blank_values=True))
    if method.upper() == "GET":
        query = sorted([*query, *fields.items()])
        fields = {}
    joined = "&".join(f"{name}={value}" for name, value in query)
    if not fields:
        return f"{target}?{joined}" if joined else target
    run_together = "".join(f"{name}{value}" for name, value in sorted(fields.items()))
    return f"{target}?{joined}.{run_together}" if joined else f"{target}?{run_together}"


def sign(method: str, url: str, nonce: str, token: str, fields: Mapping[str, str]) -> str:
    """The signature in base64."""
    message = f"{base_string(method, url, fields)}.{nonce}"
    return base64.b64encode(hmac.new(token.encode(), message.encode(), hashlib.sha256).digest()).decode()


def signature_headers(
    method: str,
    url: str,
    fields: Mapping[str, str],
    *,
    tokens: Iterable[str],
    main_tokens: Iterable[str],
    fault: Signature = "good",
) -> dict[str, str]:
    """The three headers: one signature per active token, of the owner and of the main account.

    `fault` makes them wrong or leaves them out, on purpose; `list` puts a stranger's signature in front.
    """
    if fault == "missing":
        return {}
    nonce = new_nonce()

    def signed(keys: Iterable[str]) -> str:
        if fault == "wrong":
            keys = [f"not-{key}" for key in keys]
        elif fault in ("list", "list_spaced"):
            keys = ["a-token-that-was-rotated-out", *keys]
        separator = ", " if fault == "list_spaced" else ","
        return separator.join(sign(method, url, nonce, key, fields) for key in keys)

    headers = {HEADER: signed(tokens), HEADER_MAIN: signed(main_tokens), HEADER_NONCE: nonce}
    if fault == "no_nonce":
        del headers[HEADER_NONCE]
    return headers


def handshake_url(url: str, form: str) -> str:
    """The form of a stream URL that is signed: `http` as seen live, or one of the others that are reported."""
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    scheme = {"http": "http", "websocket": "http", "https": "https", "wss": "wss" if secure else "ws"}[form]
    path = parts.path + ("/websocket" if form == "websocket" else "")
    return parts._replace(scheme=scheme, path=path, fragment="").geturl()

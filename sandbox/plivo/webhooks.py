"""Sends Plivo's webhooks: signed, form-encoded, retried as the URL's fragment asks; every one goes in the ledger.

Used by the call engine, the XML interpreter, the streams and the recordings. Nothing here raises for a bad reply: the
outcome is returned, and what it means for the call is the sender's business.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from sandbox.plivo.callback_url import CallbackUrl, parse_callback_url
from sandbox.plivo.faults import Faults, for_event
from sandbox.plivo.ledger import Ledger
from sandbox.plivo.signatures import signature_headers

MAX_REPLY = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Reply:
    """What came back: `status` 0 when nothing did, then `error` says why."""

    status: int
    content_type: str = ""
    body: bytes = b""
    error: str = ""

    @property
    def ok(self) -> bool:
        """A status of 200 to 299."""
        return 200 <= self.status < 300


@dataclasses.dataclass(frozen=True)
class Signers:
    """The tokens that sign: of the owner of the number (account or subaccount) and of its main account."""

    tokens: tuple[str, ...]
    main_tokens: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Webhook:
    """One webhook to send.

    `event` names it for the ledger and the faults (Ring, StartApp, Hangup, Record, stream ...); `read_ms` is the read
    timeout unless the URL's fragment has one.
    """

    url: str
    method: str
    params: Mapping[str, str]
    event: str
    call_uuid: str
    signers: Signers
    faults: Faults
    read_ms: int = 40000
    as_json: bool = False


class WebhookSender:
    """One per sandbox; keeps no state of a call."""

    def __init__(self, session: aiohttp.ClientSession, ledger: Ledger, time_scale: float) -> None:
        """`session` must add no User-Agent; `time_scale` shortens the delays that faults ask for."""
        self._session = session
        self._ledger = ledger
        self._time_scale = time_scale

    async def send(self, webhook: Webhook) -> Reply:
        """Send it, retries and duplicates included, and return the reply to the first copy."""
        faults = webhook.faults
        if webhook.event in faults.webhook_lost or "all" in faults.webhook_lost:
            self._ledger.webhook(
                {"event": webhook.event, "call_uuid": webhook.call_uuid, "url": webhook.url, "lost": True}
            )
            return Reply(status=0, error="lost")
        delay = for_event(faults.webhook_delay_ms, webhook.event)
        if delay:
            await asyncio.sleep(delay * self._time_scale / 1000)
        reply = await self._with_retries(webhook)
        for _ in range(for_event(faults.webhook_duplicates, webhook.event)):
            await self._with_retries(webhook)
        return reply

    async def _with_retries(self, webhook: Webhook) -> Reply:
        callback = parse_callback_url(webhook.url, read_ms=webhook.read_ms)
        started = time.monotonic()
        reply = Reply(status=0, error="not sent")
        for attempt in range(callback.retries + 1):
            left = callback.total_ms / 1000 - (time.monotonic() - started)
            if left <= 0:
                break
            entry = self._ledger.webhook(
                {
                    "event": webhook.event,
                    "call_uuid": webhook.call_uuid,
                    "url": callback.url,
                    "method": webhook.method,
                    "params": dict(webhook.params),
                    "attempt": attempt + 1,
                    "status": None,
                }
            )
            before = time.monotonic()
            reply, outcome = await self._once(webhook, callback, left)
            entry.update(status=reply.status or None, ms=round((time.monotonic() - before) * 1000, 1))
            if reply.error:
                entry["error"] = reply.error
            if not callback.retried(outcome):
                break
        return reply

    async def _once(self, webhook: Webhook, callback: CallbackUrl, left: float) -> tuple[Reply, str]:
        url, data, headers = _written(webhook, callback.url)
        timeout = aiohttp.ClientTimeout(
            total=left, sock_connect=callback.connect_ms / 1000, sock_read=callback.read_ms / 1000
        )
        try:
            async with self._session.request(
                webhook.method,
                URL(url, encoded=True),
                data=data,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                body = await _read_up_to(answer.content, MAX_REPLY)
                outcome = f"{answer.status // 100}xx"
                return Reply(status=answer.status, content_type=answer.content_type, body=body), outcome
        except aiohttp.ConnectionTimeoutError as error:
            return Reply(status=0, error=f"connect timeout: {error}"), "ct"
        except TimeoutError as error:
            return Reply(status=0, error=f"read timeout: {error}"), "rt"
        except aiohttp.ClientConnectorError as error:
            return Reply(status=0, error=f"connection refused: {error}"), "ct"
        except (aiohttp.ClientError, ValueError) as error:
            return Reply(status=0, error=f"{type(error).__name__}: {error}"), "partial"


def _written(webhook: Webhook, url: str) -> tuple[str, str | None, dict[str, str]]:
    """URL, body and signed headers of a webhook."""
    data, fields = None, dict(webhook.params)
    headers: dict[str, str] = {}
    if webhook.method == "GET":
        url += ("&" if "?" in url else "?") + urlencode(webhook.params)
        fields = {}
    elif webhook.as_json:
        data, fields = json.dumps(webhook.params), {}
        headers["Content-Type"] = "application/json"
    else:
        data = urlencode(webhook.params)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
    headers |= signature_headers(
        webhook.method,
        url,
        fields,
        tokens=webhook.signers.tokens,
        main_tokens=webhook.signers.main_tokens,
        fault=webhook.faults.webhook_signature,
    )
    return url, data, headers


async def _read_up_to(content: aiohttp.StreamReader, limit: int) -> bytes:
    """The body, or its first `limit` bytes and a little more."""
    body = bytearray()
    async for chunk in content.iter_chunked(65536):
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


def text_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Parameters as Plivo writes them: booleans in lower case, nothing for None."""
    written = {}
    for name, value in params.items():
        if value is None:
            continue
        written[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return written

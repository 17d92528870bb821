"""The pooled OpenAI SDK client of an account, and what the SDK's errors mean.

Used by the other openai_* adapters. The SDK's own retries are switched off: whether a reply may be tried again depends
on what the caller has heard, which only the live call knows.
"""

import contextlib
import json
import logging
from urllib.parse import quote

import httpx2
import openai
from websockets.exceptions import WebSocketException

from agents.providers.base import Clocks, ProviderConfig
from agents.providers.classify import kind_of_event, kind_of_status, make_error, message_of, retry_after
from agents.providers.clocks import Watch
from agents.providers.errors import ErrorKind, ProviderError, Stage
from agents.providers.pools import KEEPALIVE_S, MAX_CONNECTIONS, MAX_KEEPALIVE, Closer, Pools
from agents.providers.sockets import socket_error
from agents.providers.trial import usable

# A server without keys still needs a well-formed Authorization header.
NO_KEY = "none"

# Below WARNING they log every request: at DEBUG with body and headers, what callers say and perhaps the key.
for _chatty in ("openai", "httpx2", "httpcore2"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)


def openai_client(config: ProviderConfig, pools: Pools, stage: Stage) -> openai.AsyncOpenAI:
    """The client for that account; raises ProviderError when OpenAI itself is to be asked without a key."""
    if not config.api_key and config.provider == "openai":
        raise make_error(ErrorKind.UNAUTHORISED, config, stage, "no key is set")

    usable(config, stage)

    def make() -> tuple[openai.AsyncOpenAI, Closer]:
        limits = httpx2.Limits(
            max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEEPALIVE, keepalive_expiry=KEEPALIVE_S
        )
        client = openai.AsyncOpenAI(
            api_key=config.api_key or NO_KEY,
            base_url=config.base_url or None,
            max_retries=0,
            http_client=openai.DefaultAsyncHttpx2Client(limits=limits, verify=pools.tls),
        )
        return client, client.close

    return pools.client(config, stage, make)


def http_timeout(clocks: Clocks) -> httpx2.Timeout:
    """The clocks that only the transport can watch; the others are ``clocks.Watch``."""
    return httpx2.Timeout(None, connect=clocks.connect, write=clocks.first, pool=clocks.connect)


async def warm_openai(config: ProviderConfig, *, pools: Pools, clocks: Clocks, stage: Stage) -> None:
    """Makes a small request: it takes an idle connection if there is one, else leaves one behind; never raises."""
    with contextlib.suppress(ProviderError, *OPENAI_ERRORS):
        client = openai_client(config, pools, stage).with_options(timeout=http_timeout(clocks))
        async with Watch(clocks, provider=config.provider, stage=stage).within("first"):
            await client.get(f"/models/{quote(config.model, safe='')}", cast_to=httpx2.Response)


def openai_error(error: BaseException, config: ProviderConfig, stage: Stage) -> ProviderError:
    """What an exception of the SDK, its HTTP client or its socket means."""
    if isinstance(error, ProviderError):
        return error
    if isinstance(error, WebSocketException | OSError | EOFError):
        return socket_error(error, config, stage)
    kind, words, wait_s = ErrorKind.BAD_REQUEST, f"{type(error).__name__}: {error}", None
    if isinstance(error, openai.APIStatusError):
        wait_s = retry_after(error.response.headers)
        # The SDK hands over what is in the body's "error"; other servers say it elsewhere, or in plain text.
        body = error.body if error.body is None or isinstance(error.body, dict) else str(error.body)
        if isinstance(body, dict) and not body.keys() & {"error", "detail"}:
            body = {"error": body}
        kind = kind_of_status(error.status_code, body)
        words = f"HTTP {error.status_code}: {message_of(body)}"
    elif isinstance(error, openai.APIConnectionError | httpx2.TransportError):
        root = _root(error)
        kind, words = _connection_kind(error), f"{type(root).__name__}: {root}"
    elif isinstance(error, openai.APIResponseValidationError | json.JSONDecodeError | UnicodeDecodeError):
        kind, words = ErrorKind.GARBAGE, "the answer is not JSON"
    elif isinstance(error, openai.APIError):  # sent by the provider inside a stream
        fields = error.body if isinstance(error.body, dict) else {"message": error.message, "code": error.code}
        kind, words = kind_of_event(fields), error.message
    return make_error(kind, config, stage, words, retry_after=wait_s)


# What an SDK call may raise for reasons outside this process; anything else is a bug and must be seen as one.
OPENAI_ERRORS = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    httpx2.StreamError,
    WebSocketException,
    OSError,
    EOFError,
    json.JSONDecodeError,
    UnicodeDecodeError,
)


def _root(error: BaseException) -> BaseException:
    return error.__cause__ or error


def _connection_kind(error: BaseException) -> ErrorKind:
    root = _root(error)
    if isinstance(root, httpx2.ConnectError | httpx2.UnsupportedProtocol):
        return ErrorKind.REFUSED
    if isinstance(root, httpx2.TimeoutException | openai.APITimeoutError):
        return ErrorKind.TIMEOUT
    return ErrorKind.DROPPED

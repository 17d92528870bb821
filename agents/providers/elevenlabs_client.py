"""The pooled ElevenLabs SDK client of an account, what the SDK's errors mean, and what its adapters share.

The SDK serves HTTP (speech without a socket, voices, models); its sockets are our own clients: it has none for
multi-context speech, and its transcription client swallows errors.
"""

import logging

import httpx
import pydantic
from elevenlabs.client import AsyncElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.core.request_options import RequestOptions

from agents.providers.base import L16_8K, L16_16K, MULAW_8K, AudioFormat, Clocks, ProviderConfig
from agents.providers.classify import kind_of_status, make_error, message_of, retry_after
from agents.providers.errors import ErrorKind, ProviderError, Stage
from agents.providers.pools import KEEPALIVE_S, MAX_CONNECTIONS, MAX_KEEPALIVE, Closer, Pools
from agents.providers.trial import usable

DEFAULT_URL = "https://api.elevenlabs.io"

# The provider's name of each format that a phone line speaks; all are synthesised and recognised as they are.
FORMAT_NAMES: dict[AudioFormat, str] = {MULAW_8K: "ulaw_8000", L16_8K: "pcm_8000", L16_16K: "pcm_16000"}

# Below WARNING they log every request: at DEBUG with its headers, and perhaps the key.
for _chatty in ("httpx", "httpcore"):
    logging.getLogger(_chatty).setLevel(logging.WARNING)

# What an SDK call may raise for reasons outside this process.
ELEVENLABS_ERRORS = (ApiError, httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, pydantic.ValidationError, OSError)


def elevenlabs_key(config: ProviderConfig, stage: Stage) -> str:
    """The account's key; raises ProviderError when there is none, or when it or the address cannot be one."""
    if not config.api_key:
        raise make_error(ErrorKind.UNAUTHORISED, config, stage, "no key is set")
    usable(config, stage)
    return config.api_key


def elevenlabs_client(config: ProviderConfig, pools: Pools, stage: Stage) -> AsyncElevenLabs:
    """The client for that account; raises ProviderError when it has no key."""
    key = elevenlabs_key(config, stage)

    def make() -> tuple[AsyncElevenLabs, Closer]:
        http = httpx.AsyncClient(
            limits=httpx.Limits(
                max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_KEEPALIVE, keepalive_expiry=KEEPALIVE_S
            ),
            verify=pools.tls,
            timeout=30,
            follow_redirects=False,  # a redirect would take the key elsewhere
        )
        return AsyncElevenLabs(api_key=key, base_url=config.base_url or DEFAULT_URL, httpx_client=http), http.aclose

    return pools.client(config, stage, make)


def request_options(clocks: Clocks, *, chunk_size: int = 1024) -> RequestOptions:
    """No retries, and a coarse limit; the four clocks are watched by ``clocks.Watch``."""
    return {"timeout_in_seconds": max(1, round(clocks.total)), "max_retries": 0, "chunk_size": chunk_size}


def elevenlabs_error(error: BaseException, config: ProviderConfig, stage: Stage) -> ProviderError:
    """What an exception of the SDK or its HTTP client means."""
    if isinstance(error, ProviderError):
        return error
    kind, words, wait_s = ErrorKind.DROPPED, f"{type(error).__name__}: {error}", None
    if isinstance(error, ApiError):
        wait_s = retry_after(error.headers)
        status = error.status_code or 0
        kind, words = kind_of_status(status, error.body), f"HTTP {status}: {message_of(error.body)}"
    elif isinstance(error, pydantic.ValidationError):
        kind, words = ErrorKind.GARBAGE, "the answer is not in ElevenLabs' form"
    elif isinstance(error, httpx.TimeoutException | TimeoutError):
        kind = ErrorKind.TIMEOUT
    elif isinstance(error, httpx.ConnectError):
        kind = ErrorKind.REFUSED
    elif isinstance(error, httpx.UnsupportedProtocol | httpx.InvalidURL):
        kind, words = ErrorKind.BAD_REQUEST, "the base URL is not an HTTP address"
    return make_error(kind, config, stage, words, retry_after=wait_s)


def language_code(config: ProviderConfig) -> str:
    """The two-letter code, for those models that take one: multilingual_v2 refuses it, the later ones use it."""
    if "language_code" in config.options:
        return str(config.options["language_code"])
    return "" if config.model.endswith(("_v2", "_v1")) else config.language.split("-")[0].lower()


def query_value(value: str | float | bool) -> str:
    """An option as the query string wants it."""
    return str(value).lower() if isinstance(value, bool) else str(value)

"""WebSockets to providers: opening them under the connect clock, and what their failures mean.

Used by the ElevenLabs adapters, and by the OpenAI one for its options and errors (its SDK opens the socket itself).
"""

import asyncio
import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidMessage,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)
from websockets.frames import apply_mask
from websockets.protocol import State

from agents.providers.base import Clocks, ProviderConfig
from agents.providers.classify import kind_of_close, kind_of_status, make_error, message_of, retry_after
from agents.providers.errors import ErrorKind, ProviderError, Stage

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 1.0
MAX_UNSENT_BYTES = 16 * 1024  # a second and a half of audio; from 32 KB on the library has its senders wait
FINAL_TEXT, MASKED = 0x81, 0x80  # RFC 6455 §5.2
ONE_BYTE, TWO_BYTES = 125, 0xFFFF  # the longest payloads whose length takes so much to say

# At DEBUG the library writes the request headers, and with them the key.
quiet_logger = logging.getLogger("agents.providers.sockets.wire")
quiet_logger.setLevel(logging.INFO)


def socket_address(base_url: str, path: str, query: Sequence[tuple[str, str]]) -> str:
    """The WebSocket address of ``path`` at an HTTP base URL (http becomes ws, https wss)."""
    parts = urlsplit(base_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + path, urlencode(query), ""))


async def open_socket(
    url: str, *, headers: Mapping[str, str], config: ProviderConfig, stage: Stage, clocks: Clocks, tls: ssl.SSLContext
) -> ClientConnection:
    """Opens a WebSocket within the connect clock; raises ProviderError."""
    try:
        return await connect(
            url,
            additional_headers=headers,
            open_timeout=clocks.connect,
            close_timeout=CLOSE_TIMEOUT_S,
            ping_interval=20,
            ping_timeout=20,
            max_size=MAX_MESSAGE_BYTES,
            compression=None,
            logger=quiet_logger,
            ssl=tls if url.startswith("wss:") else None,
        )
    except (WebSocketException, OSError, ValueError) as error:
        raise socket_error(error, config, stage) from None


def socket_error(error: BaseException, config: ProviderConfig, stage: Stage) -> ProviderError:
    """What a failed handshake or a broken socket means."""
    if isinstance(error, ProviderError):
        return error
    kind, words, wait_s = ErrorKind.REFUSED, f"{type(error).__name__}: {error}", None
    if isinstance(error, InvalidStatus):
        wait_s = retry_after(error.response.headers)
        status, body = error.response.status_code, error.response.body
        kind, words = kind_of_status(status, body), f"HTTP {status} {message_of(body) if body else ''}"
    elif isinstance(error, ConnectionClosed):
        code, reason = (error.rcvd.code, error.rcvd.reason) if error.rcvd else (1006, "")
        kind, words = kind_of_close(code, reason), f"the provider closed the connection ({code}) {reason}"
    elif isinstance(error, TimeoutError):
        kind, words = ErrorKind.TIMEOUT, "the connection made no progress in time"
    elif isinstance(error, EOFError | InvalidMessage):
        kind, words = ErrorKind.DROPPED, "the connection broke during the handshake"
    elif isinstance(error, InvalidURI | ValueError):
        kind, words = ErrorKind.BAD_REQUEST, "the base URL is not an HTTP address"
    elif isinstance(error, InvalidHandshake | WebSocketException):
        kind, words = ErrorKind.GARBAGE, str(error)
    return make_error(kind, config, stage, words, retry_after=wait_s)


async def close_quietly(socket: ClientConnection, *, seconds: float = CLOSE_TIMEOUT_S) -> None:
    """Closes a socket within ``seconds``, whatever state it is in; only a cancellation comes through."""
    try:
        async with asyncio.timeout(seconds):
            await socket.close()
    except (TimeoutError, OSError, WebSocketException):
        socket.transport.abort()


def write_text(socket: ClientConnection, text: bytes) -> bool:
    """Writes a text of up to 64 KB to an open socket, between two of the library's own; does not wait.

    The library's way takes a lock, a turn of the loop and a system call for each mask.

    Returns:
        False when the socket is not open or much is still unsent; nothing was done then.

    Raises:
        ValueError: the text is longer.
    """
    transport = socket.transport
    if socket.state is not State.OPEN or transport.is_closing():
        return False
    if transport.get_write_buffer_size() > MAX_UNSENT_BYTES:
        return False
    size = len(text)
    if size <= ONE_BYTE:
        head = bytes((FINAL_TEXT, MASKED | size))
    elif size <= TWO_BYTES:
        head = bytes((FINAL_TEXT, MASKED | 126, size >> 8, size & 0xFF))
    else:
        raise ValueError(f"a text of {size} bytes")
    mask = _masks.next()
    transport.write(b"".join((head, mask, apply_mask(text, mask))))
    return True


class _Masks:
    """Masks that nobody can foresee (RFC 6455 §10.3), a thousand from one system call."""

    def __init__(self) -> None:
        self._left = b""
        self._at = 0

    def next(self) -> bytes:
        """Four bytes."""
        if self._at >= len(self._left):
            self._left, self._at = os.urandom(4096), 0
        self._at += 4
        return self._left[self._at - 4 : self._at]


_masks = _Masks()

"""One POST of a webhook: to an address that was looked at, within a deadline, by no proxy and following nothing."""

import datetime
import email.utils
import http
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable

import msgspec

from calls.hooks.destinations import Destination

CONNECT_S = 3.0
TOTAL_S = 10.0  # whatever trickles in
MAX_ANSWER = 64 * 1024  # bytes that are read and thrown away, so that the other side may finish
LONGEST_WAIT_S = 24 * 3600.0  # of what a Retry-After is believed


class Answer(msgspec.Struct, frozen=True):
    """What came of the request.

    Attributes:
        status: of the HTTP answer; 0 without one.
        detail: why it counts as not delivered, for an operator; empty when it is.
        took_ms: from the first attempt to connect.
        retry_after_s: how long the other side asks to be left alone, when it does; at most a day.
    """

    status: int
    detail: str = ""
    took_ms: int = 0
    retry_after_s: float | None = None

    @property
    def delivered(self) -> bool:
        """Any 2xx says so."""
        return 200 <= self.status < 300


def tls_context() -> ssl.SSLContext:
    """Certificates are looked at, against the authorities that the machine trusts."""
    return ssl.create_default_context()


def post(
    destination: Destination, addresses: list[str], *, body: bytes, headers: dict[str, str], total_s: float = TOTAL_S
) -> Answer:
    """Sends it once to the first of the addresses that can be connected to; blocks for ``total_s`` at most.

    Args:
        addresses: as ``destinations.addresses`` gave them; the host's name is not looked up again.
    """
    began = time.monotonic()
    line = _Line()
    cut = threading.Timer(total_s, line.cut)
    cut.daemon = True
    cut.start()
    try:
        answer = _sent(line, destination, addresses, body, headers, until=began + total_s)
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer = Answer(0, _why(error, in_time=not line.was_cut))
    finally:
        cut.cancel()
        line.close()
    return msgspec.structs.replace(answer, took_ms=round((time.monotonic() - began) * 1000))


class _Line:
    """The socket of the moment, which a timer may cut from its own thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.was_cut = False

    def hold(self, line: socket.socket) -> None:
        """From now on it is this one that is cut. Raises TimeoutError when it is too late."""
        with self._lock:
            self._socket = line
            if self.was_cut:
                raise TimeoutError

    def cut(self) -> None:
        """Wakes whoever reads or writes; they find an error."""
        with self._lock:
            self.was_cut = True
            if self._socket is not None:
                try:
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)  # past TLS, which would wait for a goodbye
                except OSError:
                    self._socket.close()  # it is no longer connected: whoever reads is told

    def close(self) -> None:
        with self._lock:
            if self._socket is not None:
                self._socket.close()


def _sent(
    line: _Line,
    destination: Destination,
    addresses: list[str],
    body: bytes,
    headers: dict[str, str],
    *,
    until: float,
) -> Answer:
    connected = _connected(line, destination, addresses, until=until)
    connection = http.client.HTTPConnection(destination.host, destination.port)
    connection.sock, connection.auto_open = connected, 0  # it never connects by itself, by name
    own = {"Host": destination.host_header, "Connection": "close", "User-Agent": "Parley"}
    connection.request("POST", destination.target, body=body, headers={**headers, **own})
    with connection.getresponse() as answer:
        _throw_away(answer)
        if 200 <= answer.status < 300:
            return Answer(answer.status)
        wait = retry_after_s(answer.getheader("Retry-After"), clock=time.time)
        return Answer(answer.status, _refusal(answer.status), retry_after_s=wait)


def _connected(line: _Line, destination: Destination, addresses: list[str], *, until: float) -> socket.socket:
    """To the first address that answers; each gets its share of the time. Raises OSError."""
    failure: OSError = TimeoutError()
    connect_until = min(until, time.monotonic() + CONNECT_S)
    for at, address in enumerate(addresses):
        share = max((connect_until - time.monotonic()) / (len(addresses) - at), 0.001)
        try:
            found = socket.create_connection((address, destination.port), timeout=share)
        except OSError as error:
            failure = error
            continue
        line.hold(found)
        found.settimeout(max(until - time.monotonic(), 0.001))
        return found if destination.scheme == "http" else _secured(line, destination, found)
    raise failure


def _secured(line: _Line, destination: Destination, plain: socket.socket) -> socket.socket:
    """The certificate must be that of the name, not of the address."""
    secure = tls_context().wrap_socket(plain, server_hostname=destination.host, do_handshake_on_connect=False)
    line.hold(secure)
    secure.do_handshake()
    return secure


def _throw_away(answer: http.client.HTTPResponse) -> None:
    """Its status is known by now, and counts whatever becomes of the rest."""
    try:
        answer.read(MAX_ANSWER)
    except (OSError, http.client.HTTPException, ValueError):
        return


def _refusal(status: int) -> str:
    known = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else ""
    said = f"HTTP {status} {known}".strip()
    if 300 <= status < 400:
        return f"{said}: redirects are not followed, enter the address to which it leads."
    return f"{said}: anything but 2xx counts as not delivered."


def _why(error: Exception, *, in_time: bool) -> str:
    """Without what an answer may hold: nothing of it is repeated here."""
    if not in_time or isinstance(error, TimeoutError):
        return "No answer in time."
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"Its certificate is not accepted: {error.verify_message}."
    if isinstance(error, ssl.SSLError):
        return "TLS could not be agreed on."
    if isinstance(error, ConnectionRefusedError):
        return "Nothing listens there: the connection was refused."
    if isinstance(error, http.client.HTTPException):
        return "What answered does not speak HTTP, or stopped in the middle."
    return f"The connection failed: {type(error).__name__}."


def retry_after_s(text: str | None, *, clock: Callable[[], float]) -> float | None:
    """Seconds of a Retry-After header, which counts seconds or gives a date (RFC 9110); None for anything else."""
    if text is None or not text.isascii():
        return None
    if text.strip(" \t").isdigit():
        return min(float(text), LONGEST_WAIT_S)
    try:
        at = email.utils.parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    at = at if at.tzinfo else at.replace(tzinfo=datetime.UTC)
    return min(max(at.timestamp() - clock(), 0.0), LONGEST_WAIT_S)

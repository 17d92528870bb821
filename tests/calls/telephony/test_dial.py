"""The one POST that rings somebody: sent once whatever happens, and what is certain after each way to fail."""

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.telephony import dial as dialling
from calls.telephony.dial import Order, Sent, dial

pytestmark = pytest.mark.pure

ACCOUNT = "MA" + "X" * 18
URLS = {"answer_url": "https://parley.example/plivo/calls/1/answer/#rc=2", "answer_method": "POST"}
ORDER = Order(to="+14155552671", caller="+14155550100", urls=URLS, ring_s=45, longest_s=600)
FIRED = json.dumps({"message": "call fired", "request_uuid": "9834029e-58b6-11e1-b8b7-a5bd0e4e126f"}).encode()

Act = Callable[[socket.socket], None]


@dataclass
class Line:
    """A server that does one thing with each connection and keeps the requests that came whole."""

    act: Act
    url: str = ""
    connections: int = 0
    requests: list[bytes] = field(default_factory=list)

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            with connection:
                try:
                    self.act(connection)
                except OSError:
                    continue


@contextmanager
def serving(act: Callable[[Line], Act]) -> Iterator[Line]:
    listener = socket.create_server(("127.0.0.1", 0))
    line = Line(lambda connection: None)
    line.act = act(line)
    line.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=line.serve, args=[listener], daemon=True)
    thread.start()
    try:
        yield line
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def read_request(line: Line, connection: socket.socket) -> None:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(each.split(b":")[1]) for each in head.split(b"\r\n") if each.lower().startswith(b"content-length")
    )
    while len(body) < length:
        body += connection.recv(65536)
    line.requests.append(head + b"\r\n\r\n" + body)


def answering(status: str, body: bytes = b"{}", *headers: str) -> Callable[[Line], Act]:
    def make(line: Line) -> Act:
        def act(connection: socket.socket) -> None:
            read_request(line, connection)
            head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
            connection.sendall(head.encode() + b"\r\n\r\n" + body)

        return act

    return make


def placed(line: Line, order: Order = ORDER) -> dialling.Dialled:
    return dial(order, still=str, api_url=line.url, auth_id=ACCOUNT, auth_token="secret-token")


def test_one_request_in_plivos_form_rings_one_number() -> None:
    with serving(answering("201 CREATED", FIRED)) as line:
        found = placed(line)
    assert (found.sent, found.request_uuid) == (Sent.QUEUED, "9834029e-58b6-11e1-b8b7-a5bd0e4e126f")
    ((head, _, body),) = [request.partition(b"\r\n\r\n") for request in line.requests]
    assert head.startswith(f"POST /v1/Account/{ACCOUNT}/Call/ HTTP/1.1".encode())
    assert json.loads(body) == {
        "from": "14155550100",
        "to": "14155552671",
        "ring_timeout": 45,
        "time_limit": 600,
        "answer_url": "https://parley.example/plivo/calls/1/answer/#rc=2",
        "answer_method": "POST",
    }


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        ("200 OK", Sent.QUEUED),
        ("202 ACCEPTED", Sent.QUEUED),
        ("301 Moved Permanently", Sent.REJECTED),
        ("307 Temporary Redirect", Sent.REJECTED),
        ("400 Bad Request", Sent.REJECTED),
        ("401 Unauthorized", Sent.REJECTED),
        ("402 Payment Required", Sent.REJECTED),
        ("403 Forbidden", Sent.REJECTED),
        ("404 Not Found", Sent.REJECTED),
        ("405 Method Not Allowed", Sent.REJECTED),
        ("408 Request Timeout", Sent.UNKNOWN),
        ("429 Too Many Requests", Sent.NOT_SENT),
        ("500 Internal Server Error", Sent.UNKNOWN),
        ("502 Bad Gateway", Sent.UNKNOWN),
        ("503 Service Unavailable", Sent.UNKNOWN),
        ("504 Gateway Timeout", Sent.UNKNOWN),
    ],
)
def test_every_status_is_classified_and_none_sent_again(status: str, sent: Sent) -> None:
    with serving(answering(status, FIRED, "Location: /elsewhere")) as line:
        assert placed(line).sent is sent
    assert (line.connections, len(line.requests)) == (1, 1)


@pytest.mark.parametrize(
    "body",
    [b"", b"call fired", b"[]", b"null", b'{"message": "call fired"}', b'{"request_uuid": ["a", "b"]}',
     b'{"request_uuid": ""}', json.dumps({"request_uuid": "x" * 65}).encode(), b"\xff\xfe", b"[" * 50_000],
)  # fmt: skip
def test_a_yes_without_plivos_name_for_it_is_not_certain(body: bytes) -> None:
    with serving(answering("201 CREATED", body)) as line:
        assert placed(line).sent is Sent.UNKNOWN


def test_plivos_reason_for_a_no_is_kept_and_the_token_is_not() -> None:
    with serving(answering("403 Forbidden", b'{"api_id": "1", "error": "geo permission denied"}')) as line:
        found = placed(line)
    assert found.detail == "HTTP 403: geo permission denied"
    assert "secret-token" not in repr(found)


@pytest.mark.parametrize(("header", "wait_s"), [("7", 7.0), ("soon", None), ("-1", None), ("9" * 9, None)])
def test_how_long_to_wait_is_believed_within_reason(header: str, wait_s: float | None) -> None:
    with serving(answering("429 Too Many Requests", b"{}", f"Retry-After: {header}")) as line:
        assert placed(line).retry_after_s == wait_s


def test_what_is_withdrawn_while_plivo_is_connected_to_is_not_sent() -> None:
    asked: list[int] = []

    def still() -> str:
        asked.append(line.connections)
        return "an opt-out"

    with serving(answering("201 CREATED", FIRED)) as line:
        found = dial(ORDER, still=still, api_url=line.url, auth_id=ACCOUNT, auth_token="t")
    assert (found.sent, found.detail, line.requests) == (Sent.WITHDRAWN, "an opt-out", [])
    assert len(asked) == 1


def test_a_look_that_fails_sends_nothing() -> None:
    with serving(answering("201 CREATED", FIRED)) as line, pytest.raises(ZeroDivisionError):
        dial(ORDER, still=lambda: str(1 / 0), api_url=line.url, auth_id=ACCOUNT, auth_token="t")
    assert line.requests == []


# --- cut at every phase ----------------------------------------------------------------------------------------------


def test_a_refused_connection_has_rung_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    found = dial(ORDER, still=str, api_url=f"http://127.0.0.1:{port}", auth_id=ACCOUNT, auth_token="t")
    assert found.sent is Sent.NOT_SENT


def test_a_name_that_nobody_knows_has_rung_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert dial(ORDER, still=str, api_url="https://api.invalid", auth_id=ACCOUNT, auth_token="t").sent is Sent.NOT_SENT


def test_a_connection_that_is_never_taken_has_rung_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "CONNECT_S", 0.2)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}"
        assert dial(ORDER, still=str, api_url=url, auth_id=ACCOUNT, auth_token="t").sent is Sent.NOT_SENT
        for each in waiting:
            each.close()


def test_a_tls_handshake_that_fails_has_rung_nobody() -> None:
    with serving(lambda _: lambda connection: connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as line:
        found = dial(ORDER, still=str, api_url=line.url.replace("http", "https"), auth_id=ACCOUNT, auth_token="t")
    assert found.sent is Sent.NOT_SENT
    assert "SSL" in found.detail


def test_a_stranger_s_certificate_is_shown_no_token(tmp_path) -> None:
    assert ssl.create_default_context().verify_mode is ssl.CERT_REQUIRED
    connection = dialling._connection("https", "localhost", 1)
    context = connection._context  # type: ignore[attr-defined]
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


CUTS: dict[str, Callable[[Line, socket.socket], None]] = {
    "before it is read": lambda line, connection: None,
    "reset before it is read": lambda line, connection: reset(connection),
    "after it is read": read_request,
    "reset after it is read": lambda line, connection: (read_request(line, connection), reset(connection))[0],
    "in the status line": lambda line, connection: begin(line, connection, b"HTTP/1.1 2"),
    "in the headers": lambda line, connection: begin(line, connection, b"HTTP/1.1 201 CREATED\r\nContent-Le"),
    "in the body": lambda line, connection: begin(
        line, connection, b"HTTP/1.1 201 CREATED\r\nContent-Length: 90\r\n\r\n" + FIRED[:40]
    ),
    "another protocol": lambda line, connection: begin(line, connection, b"SSH-2.0-OpenSSH_9.2\r\n"),
    "nonsense": lambda line, connection: begin(line, connection, b"\x00" * 100 + b"\r\n\r\n"),
    "a line without end": lambda line, connection: begin(line, connection, b"HTTP/1.1 201 " + b"x" * 70_000),
}


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def begin(line: Line, connection: socket.socket, answer: bytes) -> None:
    read_request(line, connection)
    connection.sendall(answer)


@pytest.mark.parametrize("name", CUTS)
def test_whatever_breaks_after_the_first_byte_leaves_it_unknown_and_is_not_sent_again(name: str) -> None:
    with serving(lambda line: lambda connection: CUTS[name](line, connection)) as line:
        sent = placed(line).sent
    # A reset may be seen before the first byte has left: then it is certain that nobody was rung.
    assert sent is Sent.UNKNOWN or (sent is Sent.NOT_SENT and name == "reset before it is read")
    assert line.connections == 1
    assert len(line.requests) <= 1


def test_an_answer_that_does_not_come_leaves_it_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialling, "READ_S", 0.2)
    over = threading.Event()

    def silent(line: Line) -> Act:
        return lambda connection: (read_request(line, connection), over.wait(5))[0]

    with serving(silent) as line:
        assert placed(line).sent is Sent.UNKNOWN
        over.set()
    assert len(line.requests) == 1


def test_an_answer_that_trickles_in_is_waited_for_no_longer_than_the_whole_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dialling, "TOTAL_S", 0.5)
    over = threading.Event()

    def trickling(line: Line) -> Act:
        def act(connection: socket.socket) -> None:
            begin(line, connection, b"HTTP/1.1 201 CREATED\r\n")
            while not over.wait(0.05):
                connection.sendall(b"X: y\r\n")

        return act

    with serving(trickling) as line:
        assert placed(line).sent is Sent.UNKNOWN
        over.set()


# --- what is refused before anything is sent -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "number",
    ["14155552671", "+14155552671<19005550100", "+1415555,2671", "sip:a@b", "+0123456789", "", "+1 415 555 2671",
     "+١٤١٥٥٥٥٢٦٧١", "+14155552671\n"],
)  # fmt: skip
def test_what_is_not_exactly_one_number_is_never_sent(number: str) -> None:
    with serving(answering("201 CREATED", FIRED)) as line:
        for order in (
            Order(to=number, caller=ORDER.caller, urls=URLS, ring_s=1, longest_s=1),
            Order(to=ORDER.to, caller=number, urls=URLS, ring_s=1, longest_s=1),
        ):
            with pytest.raises(ValueError, match=r"E\.164"):
                placed(line, order)
    assert line.connections == 0


@pytest.mark.parametrize("url", ["", "api.plivo.com", "ftp://api.plivo.com", "https://"])
def test_an_address_that_is_none_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="HTTP address"):
        dial(ORDER, still=str, api_url=url, auth_id=ACCOUNT, auth_token="t")


@given(st.integers(100, 999), st.binary(max_size=200))
def test_nothing_but_plivos_own_yes_is_taken_for_one(status: int, body: bytes) -> None:
    assert dialling._classified(status, body, None).sent is not Sent.QUEUED


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serving(answering("201 CREATED", FIRED)) as line:
        assert placed(line).sent is Sent.QUEUED

"""The one request: to the address that was looked at, in time, and nothing else whatever the other side does."""

import datetime
import email.utils
import socket
import ssl
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from calls.hooks import posting
from calls.hooks.destinations import Destination, parse
from calls.hooks.posting import post, retry_after_s
from tests.calls.hooks.conftest import receiving

pytestmark = pytest.mark.pure

NAME = "hooks.example.com"
HEADERS = {"Content-Type": "application/json", "webhook-id": "1"}


def sent(url: str, *, total_s: float = 5.0, addresses: list[str] | None = None) -> posting.Answer:
    return post(parse(url), addresses or ["127.0.0.1"], body=b'{"a": 1}', headers=HEADERS, total_s=total_s)


def test_a_request_holds_what_it_was_given_and_its_answer_is_told(receiver) -> None:
    answer = sent(receiver.url)
    assert (answer.status, answer.delivered, answer.detail) == (204, True, "")
    (request,) = receiver.requests
    assert (request.path, request.body) == ("/hooks?of=parley", b'{"a": 1}')
    assert request.headers["Host"] == f"127.0.0.1:{receiver.port}"
    assert request.headers["webhook-id"] == "1"
    assert request.headers["User-Agent"] == "Parley"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver, status) -> None:
    with receiving() as other:
        receiver.answers = [(status, {"Location": other.url})]
        answer = sent(receiver.url)
    assert (answer.status, answer.delivered) == (status, False)
    assert "redirects are not followed" in answer.detail
    assert (len(receiver.requests), other.requests) == (1, [])


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503, 599])
def test_anything_but_2xx_counts_as_not_delivered(receiver, status) -> None:
    receiver.answers = [status]
    answer = sent(receiver.url)
    assert (answer.status, answer.delivered) == (status, False)
    assert f"HTTP {status}" in answer.detail


def test_a_proxy_of_the_environment_is_not_asked(receiver, monkeypatch) -> None:
    with receiving() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert sent(receiver.url).delivered
    assert proxy.requests == []


def dripping(handler) -> None:
    """A status line that never ends, a byte at a time."""
    try:
        handler.wfile.write(b"HTTP/1.1 2")
        for _ in range(200):
            handler.wfile.write(b"0")
            time.sleep(0.02)
    except OSError:
        return


def endless(handler) -> None:
    """A head in time, and a body that does not end."""
    try:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(200):
            handler.wfile.write(b"x")
            time.sleep(0.02)
    except OSError:
        return


def test_who_answers_a_byte_at_a_time_is_cut_off_at_the_deadline(receiver) -> None:
    receiver.answers = [dripping]
    answer = sent(receiver.url, total_s=0.3)
    assert (answer.status, answer.detail) == (0, "No answer in time.")
    assert 250 <= answer.took_ms < 1500


def test_who_says_yes_and_never_ends_has_said_yes(receiver) -> None:
    receiver.answers = [endless]
    answer = sent(receiver.url, total_s=0.3)
    assert answer.delivered
    assert answer.took_ms < 1500


def test_of_a_large_answer_no_more_than_64_kb_is_read(receiver) -> None:
    taken = []

    def flood(handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            for _ in range(200):
                handler.wfile.write(b"x" * 65536)
                taken.append(65536)
        except OSError:
            return

    receiver.answers = [flood]
    assert sent(receiver.url).delivered
    assert sum(taken) < 12_000_000  # what the kernel's buffers held, not what was offered


def test_who_hangs_up_or_speaks_no_http_is_not_delivered_to(receiver) -> None:
    receiver.answers = [lambda handler: handler.connection.shutdown(socket.SHUT_RDWR)]
    assert (sent(receiver.url).status, sent(receiver.url).delivered) == (0, True)
    receiver.answers = [lambda handler: handler.wfile.write(b"220 mail.example.com ESMTP\r\n")]
    assert "does not speak HTTP" in sent(receiver.url).detail
    receiver.answers = [lambda handler: handler.wfile.write(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n")]
    assert not sent(receiver.url).delivered


def test_nobody_listening_is_said_so_and_the_next_address_is_tried(receiver) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "connection was refused" in sent(f"http://127.0.0.1:{port}/").detail
    assert sent(receiver.url, addresses=["::1", "127.0.0.1"]).delivered


def test_a_body_that_is_not_taken_ends_at_the_deadline_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, by its backlog, and reads nothing
        target = Destination("http", "127.0.0.1", listener.getsockname()[1], "/")
        began = time.monotonic()
        answer = post(target, ["127.0.0.1"], body=b"x" * 20_000_000, headers={}, total_s=0.3)
    assert answer.detail == "No answer in time."
    assert time.monotonic() - began < 2


# --- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Of NAME alone, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(private + made.public_bytes(pem))
    return path


@pytest.fixture
def secure(certificate):
    """A receiver by TLS, with the names that were asked for."""
    names: list[str | None] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)

    def wrap(server) -> None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)

    with receiving(wrap) as receiver:
        yield receiver, names


def test_tls_is_spoken_for_the_name_while_the_connection_goes_to_the_address(secure, certificate, monkeypatch) -> None:
    receiver, names = secure
    monkeypatch.setattr(posting, "tls_context", lambda: ssl.create_default_context(cafile=str(certificate)))
    answer = sent(f"https://{NAME}:{receiver.port}/hooks")
    assert (answer.status, answer.detail) == (204, "")
    assert names == [NAME]
    assert receiver.requests[0].headers["Host"] == f"{NAME}:{receiver.port}"
    refused = sent(f"https://other.example.com:{receiver.port}/hooks")
    assert refused.status == 0
    assert "certificate is not accepted" in refused.detail
    assert len(receiver.requests) == 1


def test_a_certificate_that_nobody_vouches_for_is_not_accepted(secure) -> None:
    receiver, _ = secure
    assert "certificate is not accepted" in sent(f"https://{NAME}:{receiver.port}/hooks").detail
    assert receiver.requests == []


def test_a_handshake_that_never_ends_is_cut_off_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    for byte in b"\x16\x03\x03\x40\x00" + b"\x02" * 200:
                        connection.sendall(bytes([byte]))
                        time.sleep(0.02)
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        answer = sent(f"https://{NAME}:{listener.getsockname()[1]}/", total_s=0.3)
    assert answer.detail == "No answer in time."
    assert answer.took_ms < 1500


# --- Retry-After -----------------------------------------------------------------------------------------------------

NOON = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)


def waits(text: str | None) -> float | None:
    return retry_after_s(text, clock=NOON.timestamp)


def test_a_retry_after_counts_seconds_or_gives_a_date_and_a_day_is_the_longest() -> None:
    assert (waits("120"), waits("0"), waits(" 7 "), waits("9" * 40)) == (120, 0, 7, 86400)
    assert waits(email.utils.format_datetime(NOON + datetime.timedelta(minutes=5), usegmt=True)) == 300
    assert waits("Thu, 26 Nov 2026 11:00:00 GMT") == 0
    assert waits("Sat, 26 Dec 2026 12:00:00 GMT") == 86400
    assert [waits(text) for text in (None, "", "-1", "1.5", "soon", "٣", "Fri, 99 Nov 2026 12:00:00 GMT")] == [None] * 7


@given(st.text(max_size=60))
def test_whatever_a_retry_after_holds_the_wait_is_between_nothing_and_a_day(text: str) -> None:
    found = waits(text)
    assert found is None or 0 <= found <= 86400

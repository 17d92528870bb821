"""A receiver of webhooks on this machine, which does as it is told and remembers what came."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from django.utils import timezone

from calls.hooks import endpoints
from calls.models import WebhookEndpoint


@dataclass
class Request:
    """What came, once."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """``answers`` are given in turn, then 204; a callable gets the handler and does what it likes."""

    port: int = 0
    answers: list[int | tuple[int, dict[str, str]] | Callable[[BaseHTTPRequestHandler], None]] = field(
        default_factory=list
    )
    requests: list[Request] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hooks?of=parley"


@contextmanager
def receiving(wrap=lambda server: None) -> Iterator[Receiver]:
    """``wrap`` may change the server, such as to TLS, before it begins."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append(Request(self.path, dict(self.headers), body))
            answer = receiver.answers.pop(0) if receiver.answers else 204
            if callable(answer):
                answer(self)
                self.close_connection = True
                return
            status, headers = answer if isinstance(answer, tuple) else (answer, {})
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that hung up is what some tests are about
    wrap(server)
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=[0.01], daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture(scope="package")
def shared_receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(shared_receiver: Receiver) -> Receiver:
    shared_receiver.answers, shared_receiver.requests = [], []
    return shared_receiver


@pytest.fixture
def hints(monkeypatch) -> list[tuple]:
    """What workers were asked for."""
    sent: list[tuple] = []
    monkeypatch.setattr("celery.current_app.send_task", lambda task, args, **_: sent.append((task, *args)))
    return sent


@pytest.fixture
def endpoint(db, hints, receiver: Receiver) -> WebhookEndpoint:
    return made(receiver.url)


def made(url: str, **fields) -> WebhookEndpoint:
    defaults = {"name": f"CRM {WebhookEndpoint.objects.count()}", "events": list(WebhookEndpoint.Event.values)}
    defaults |= {"secret": endpoints.new_secret(), "created_at": timezone.now()}
    return WebhookEndpoint.objects.create(url=url, **(defaults | fields))

"""Behind a trusted proxy its caller counts as the caller; without one nobody may say who he is."""

import os
import subprocess
import sys

import pytest
import uvicorn

from config.env import BASE_DIR
from config.server import serve_uvicorn

pytestmark = pytest.mark.pure

PROXY, CALLER, CLAIMED = "192.0.2.1", "203.0.113.7", "198.51.100.9"

SEEN_BY_AXES = """
import sys
import django
django.setup()
from axes.helpers import get_client_ip_address
from django.test import RequestFactory
proxy, *forwarded = sys.argv[1:]
for header in forwarded:
    login = RequestFactory().post("/admin/login/", REMOTE_ADDR=proxy, HTTP_X_FORWARDED_FOR=header)
    print(get_client_ip_address(login))
"""


def seen_by_axes(tmp_path, *forwarded_for: str, trust_proxy: str) -> list[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "VAR_DIR": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "TRUST_PROXY": trust_proxy,
    }
    command = [sys.executable, "-c", SEEN_BY_AXES, PROXY, *forwarded_for]
    done = subprocess.run(command, cwd=BASE_DIR, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_failed_login_counts_against_the_address_that_the_proxy_saw(tmp_path):
    alone, appended, private = CALLER, f"{CLAIMED}, {CALLER}", "8.8.8.8, 10.0.0.7"
    seen = seen_by_axes(tmp_path, alone, appended, private, trust_proxy="true")
    assert seen == [CALLER, CALLER, "10.0.0.7"]


def test_without_a_proxy_a_failed_login_counts_against_who_connected(tmp_path):
    assert seen_by_axes(tmp_path, CLAIMED, trust_proxy="false") == [PROXY]


@pytest.mark.parametrize(
    ("trust_proxy", "peer", "seen"),
    [
        (True, PROXY, (CALLER, "https")),
        (False, PROXY, (PROXY, "http")),
        (False, "127.0.0.1", ("127.0.0.1", "http")),
    ],
)
def test_the_server_believes_forwarding_headers_of_a_trusted_proxy_alone(
    trust_proxy, peer, seen, settings, monkeypatch
):
    settings.TRUST_PROXY = trust_proxy
    scopes = []

    async def application(scope, _receive, _send):
        scopes.append(scope)

    async def one_request(server: uvicorn.Server, **_: object) -> None:
        server.config.load()
        server.started = True
        headers = [(b"x-forwarded-for", CALLER.encode()), (b"x-forwarded-proto", b"https")]
        scope = {"type": "http", "scheme": "http", "client": (peer, 50_000), "headers": headers}
        await server.config.loaded_app(scope, None, None)

    monkeypatch.setattr(uvicorn.Server, "serve", one_request)
    serve_uvicorn(application, host="127.0.0.1", port=0, streams=False)
    assert (scopes[0]["client"][0], scopes[0]["scheme"]) == seen

"""The health addresses answer a probe that knows neither our name nor TLS; nothing else does."""

import pytest
from django.test import AsyncClient, Client

pytestmark = [pytest.mark.db, pytest.mark.django_db]

POD = "10.20.30.40:8000"  # how a probe names a process: by its address, which is in no ALLOWED_HOSTS


@pytest.fixture
def _production(settings):
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["voice.example.com"]
    settings.METRICS_TOKEN = "token-of-the-scraper"


@pytest.mark.usefixtures("_production")
@pytest.mark.parametrize(
    ("path", "says"), [("/healthz", "ok"), ("/readyz", '"ready": true'), ("/metrics", "python_info")]
)
def test_a_probe_by_address_and_without_tls_is_answered(path, says):
    response = Client().get(path, headers={"host": POD, "authorization": "Bearer token-of-the-scraper"})
    assert response.status_code == 200
    assert says in response.content.decode()


@pytest.mark.usefixtures("_production")
async def test_the_asynchronous_handler_answers_it_too():
    response = await AsyncClient().get("/healthz", headers={"host": POD})
    assert (response.status_code, response.content) == (200, b"ok\n")


@pytest.mark.usefixtures("_production")
@pytest.mark.parametrize("path", ["/admin/login/", "/healthz/", "/plivo/answer/", "/admin/healthz"])
def test_no_other_address_answers_to_a_foreign_name_or_without_tls(path):
    assert Client().get(path, headers={"host": POD}).status_code == 400
    assert Client().get(path, headers={"host": "voice.example.com"}).status_code == 301


@pytest.mark.usefixtures("_production")
def test_metrics_are_for_loopback_or_the_bearer_of_the_token():
    stranger = {"REMOTE_ADDR": "192.0.2.1", "HTTP_HOST": POD}
    assert Client().get("/metrics", **stranger).status_code == 403
    assert Client().get("/metrics", **stranger, HTTP_AUTHORIZATION="Bearer guessed").status_code == 403
    assert Client().get("/metrics", HTTP_HOST=POD, HTTP_X_FORWARDED_FOR="127.0.0.1").status_code == 403
    assert Client().get("/metrics", HTTP_HOST=POD).status_code == 200


@pytest.mark.parametrize("state", ["opening", "draining"])
def test_a_process_that_opens_or_drains_asks_for_no_work(monkeypatch, state):
    monkeypatch.setattr(f"streaming.live.{state}", lambda: True)
    response = Client().get("/readyz")
    assert response.status_code == 503
    assert (response.json()["ready"], response.json()[state]) == (False, True)


def test_metrics_show_what_the_sweep_has_repaired(monkeypatch):
    monkeypatch.setattr("config.health.repaired_totals", lambda: {"ended_unseen": 3})
    assert 'parley_sweep_repairs_total{kind="ended_unseen"} 3.0' in Client().get("/metrics").content.decode()

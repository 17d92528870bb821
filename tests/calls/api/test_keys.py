"""Who gets in: a key that was made here, may do it, was not revoked, and does not ask too often or too much."""

import datetime
import json
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client

from calls.api import auth, document, keys
from calls.models import ApiKey
from tests.calls.api.conftest import Program, problem
from tests.calls.campaigns.conftest import NOON

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOBODY = "calls/00000000-0000-0000-0000-000000000000"
POSTS = ("contacts", "calls", "do-not-call")


def test_a_key_is_kept_as_a_hash_and_found_by_it():
    row = ApiKey(name="CRM")
    key = keys.give(row)
    row.save()
    assert len(key) == len("parley_") + 43
    assert key.startswith(row.prefix)
    assert key not in str(ApiKey.objects.values().get()) + str(ApiKey.history.values().get())
    assert "key_hash" not in ApiKey.history.values().get()
    assert keys.find(key, now=NOON) == row
    for other in (key[:-1], key + "x", "", "parley_" + "x" * 43, row.key_hash):
        assert keys.find(other, now=NOON) is None


def test_its_use_is_noted_once_a_minute(django_assert_num_queries):
    row = ApiKey(name="CRM")
    key = keys.give(row)
    row.save()
    with django_assert_num_queries(2):
        keys.find(key, now=NOON)
    with django_assert_num_queries(1):
        keys.find(key, now=NOON + datetime.timedelta(seconds=59))
    keys.find(key, now=NOON + datetime.timedelta(seconds=60))
    assert ApiKey.objects.get().last_used_at == NOON + datetime.timedelta(seconds=60)
    assert ApiKey.history.count() == 1


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Bearer parley_x", "Basic eDp5", "Bearer \x00", "parley_"])
def test_without_a_key_nothing_opens(program, header):
    program.key = ""
    for path in POSTS:
        response = program.post(path, {}, Authorization=header)
        assert problem(response) == (401, "unauthorized")
        assert response["WWW-Authenticate"] == "Bearer"
    assert problem(program.get(NOBODY, Authorization=header)) == (401, "unauthorized")


def test_a_session_opens_nothing_here(program, superuser):
    client = Client(enforce_csrf_checks=True)
    client.force_login(superuser)
    assert problem(client.get(f"/api/v1/{NOBODY}")) == (401, "unauthorized")
    assert problem(client.post("/api/v1/do-not-call", "{}", content_type="application/json")) == (401, "unauthorized")
    client.logout()
    key = {"Authorization": f"Bearer {program.key}"}
    response = client.post("/api/v1/do-not-call", "{}", content_type="application/json", headers=key)
    assert problem(response) == (422, "invalid"), "a key needs no CSRF token"


def test_a_revoked_key_opens_nothing_any_more(program):
    assert problem(program.get(NOBODY)) == (404, "not_found")
    assert keys.revoke(program.row, now=NOON)
    assert problem(program.get(NOBODY)) == (401, "unauthorized")
    assert not keys.revoke(program.row, now=NOON)
    assert ApiKey.history.count() == 2


def test_each_request_needs_its_own_permission(program):
    stranger = Program(name="Stranger", scopes=())
    for path in POSTS:
        assert problem(stranger.post(path, {})) == (403, "forbidden")
    assert problem(stranger.get(NOBODY)) == (403, "forbidden")
    for scope, path in zip(("can_add_contacts", "can_call", "can_opt_out"), POSTS, strict=True):
        assert problem(Program(name=scope, scopes=(scope,)).post(path, {})) == (422, "invalid")


def test_more_than_so_many_requests_in_a_minute_are_turned_away(program, monkeypatch):
    monkeypatch.setattr(auth, "OTHERS_A_MINUTE", 2)
    monkeypatch.setattr(auth, "CALLS_A_MINUTE", 1)
    assert [program.get(NOBODY).status_code for _ in range(3)] == [404, 404, 429]
    assert program.get(NOBODY)["Retry-After"] == "60"
    assert [program.post("calls", {}).status_code for _ in range(2)] == [422, 429], "calls are counted apart"
    assert Program(name="Another").get(NOBODY).status_code == 404
    later = NOON + datetime.timedelta(minutes=1)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    assert program.get(NOBODY).status_code == 404


def test_without_redis_no_call_is_started_and_the_rest_goes_on(program, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert problem(program.post("calls", {})) == (503, "unavailable")
    assert problem(program.get(NOBODY)) == (404, "not_found")
    entry = {"number": "+14155552671", "evidence": "asked by mail"}
    assert program.post("do-not-call", entry).status_code == 201


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("", (422, "invalid")),
        ("{", (400, "malformed")),
        ("[" * 100_000, (400, "malformed")),
        (b"\xff", (400, "malformed")),
        ("[]", (422, "invalid")),
        ('{"number": 5, "evidence": "x"}', (422, "invalid")),
        ('{"number": "+14155552671", "evidence": "x", "reason": "y"}', (422, "invalid")),
        (" " * (auth.MAX_BODY + 1), (413, "too_large")),
        (" " * (3 * auth.MAX_BODY), (413, "too_large")),
    ],
)
def test_a_body_that_is_none_is_told_so_and_nothing_of_it_is_repeated(program, body, found):
    response = program.post("do-not-call", body)
    assert problem(response) == found
    assert "+14155552671" not in response.content.decode()


def test_what_is_not_there_is_told_in_json_too(program):
    assert problem(program.get("nothing")) == (404, "not_found")
    assert problem(program.get("calls/5")) == (404, "not_found")
    assert problem(program.get("docs")) == (404, "not_found")
    assert problem(program.get("contacts")) == (405, "method_not_allowed")
    assert program.get("contacts")["Allow"] == "POST"


def test_a_fault_of_ours_is_answered_in_json_and_says_nothing(program, monkeypatch):
    def breaks(*_args, **_kwargs):
        raise RuntimeError("a secret")

    monkeypatch.setattr("calls.api.endpoints.shown", breaks)
    monkeypatch.setattr("calls.api.endpoints.Call.objects.select_related", breaks)
    response = program.get(NOBODY)
    assert problem(response) == (500, "internal")
    assert "secret" not in response.content.decode()


def test_the_document_that_is_committed_is_what_the_code_makes():
    """After a change: manage.py write_openapi."""
    assert (Path(django_settings.BASE_DIR) / "docs/openapi.json").read_text() == document.written()


def test_the_document_is_served_to_everybody():
    served = Client().get("/api/v1/openapi.json")
    assert served.json() == json.loads(document.written())

"""A program with a key, at a moment when everybody may be called."""

import json

import pytest
from django.test import Client
from django.utils import timezone

from calls.api import keys
from calls.models import ApiKey
from tests import factories
from tests.calls.campaigns.conftest import NOON

SCOPES = ("can_add_contacts", "can_call", "can_read", "can_opt_out")


class Program:
    """Sends requests with its key."""

    def __init__(self, *, name: str = "CRM", scopes=SCOPES, **fields) -> None:
        self.row = ApiKey(name=name, created_by=factories.UserFactory(), **({"countries": ["US"]} | fields))
        for scope in scopes:
            setattr(self.row, scope, True)
        self.key = keys.give(self.row)
        self.row.save()
        self.http = Client(raise_request_exception=False)

    def get(self, path: str, **headers):
        return self.http.get(f"/api/v1/{path}", headers=self._headers(headers))

    def post(self, path: str, body, **headers):
        text = body if isinstance(body, str | bytes) else json.dumps(body)
        headers = self._headers(headers)
        return self.http.post(f"/api/v1/{path}", text, content_type="application/json", headers=headers)

    def _headers(self, headers):
        return {"Authorization": f"Bearer {self.key}"} | headers


def problem(response) -> tuple[int, str]:
    """Status and code of an answer that is no success."""
    assert response["Content-Type"].startswith("application/json"), response.content
    assert response.json()["error"]["message"]
    return response.status_code, response.json()["error"]["code"]


@pytest.fixture
def program(db, private_redis, monkeypatch) -> Program:
    monkeypatch.setattr(timezone, "now", lambda: NOON)
    return Program()

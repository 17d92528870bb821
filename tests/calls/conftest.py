"""A faithful Plivo beside the tests that need one, with a number of its that an agent of ours answers."""

import time

import pytest
from django.db import connection

from calls import edge, phone
from calls.models import Call
from tests import factories
from tests.calls.sandbox_thread import DEMO_AUTH_ID, DEMO_AUTH_TOKEN, DEMO_NUMBER, sandbox_in_a_thread

SILENT = {"steps": ["wait_hangup"]}


@pytest.fixture(scope="module")
def network():
    with sandbox_in_a_thread(parts=frozenset({"plivo"}), time_scale=0.02) as box:
        yield box


@pytest.fixture
def box(network, live_server, settings, monkeypatch):
    network.reset()
    settings.PUBLIC_URL = live_server.url
    settings.STREAM_URL = "ws://127.0.0.1:1"
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    monkeypatch.setattr(edge, "_counter", edge._Counter())
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    return network


@pytest.fixture
def rented(box):
    account = factories.PlivoAccountFactory(auth_id=DEMO_AUTH_ID, auth_token=DEMO_AUTH_TOKEN, api_url=box.url)
    agent = factories.AgentFactory(apology="Sorry.")  # it takes its time to be spoken
    agent = factories.AgentVersionFactory(agent=agent).agent
    agent.refresh_from_db()
    number = factories.PhoneNumberFactory(number=f"+{DEMO_NUMBER}", plivo_account=account, agent=agent)
    phone.connect_number(number)
    return number


def ended(call_uuid):
    """The call's row once its end was reported."""
    for _ in range(100):
        call = Call.objects.filter(plivo_call_uuid=call_uuid).first()
        if call and call.status == "ended":
            return call
        connection.close()
        time.sleep(0.05)
    raise AssertionError(f"not ended: {call and call.status}")

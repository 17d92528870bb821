"""What must not stop the sweeper: an unreadable account, a slow Plivo, a record of nonsense, another sweep at once."""

import datetime
import json
import time
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from calls import sweeper
from calls.models import Call, CallSummary
from calls.telephony.base import Failure
from tests import factories
from tests.calls.test_sweeper import MINUTE, NOW, Plivo, overdue, record_of

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture
def plivo(monkeypatch):
    fake = Plivo()
    monkeypatch.setattr(sweeper, "client_for", lambda _account: fake)
    return fake


def test_an_account_that_cannot_be_decrypted_holds_up_no_other_calls(settings, monkeypatch):
    new, old = settings.ENCRYPTION_KEYS
    settings.ENCRYPTION_KEYS = [old]
    locked = overdue()
    settings.ENCRYPTION_KEYS = [new]
    fine = overdue()
    plivo = Plivo()
    plivo.records[fine.plivo_call_uuid] = record_of(fine)
    real = sweeper.client_for
    monkeypatch.setattr(
        sweeper, "client_for", lambda account: plivo if account.pk == fine.plivo_account_id else real(account)
    )
    assert sweeper.sweep(now=NOW).repaired == {"asked_in_vain": 1, "ended_unreported": 1}
    assert Call.objects.only("status").get(pk=fine.pk).status == "ended"
    assert Call.objects.only("status").get(pk=locked.pk).status == "live"
    Call.objects.filter(pk=locked.pk).update(created_at=NOW - datetime.timedelta(hours=25))
    sweeper.sweep(now=NOW + 2 * MINUTE)
    assert Call.objects.only("status").get(pk=locked.pk).status == "ended"


def test_a_slow_plivo_takes_a_round_no_longer_than_its_time_and_the_rest_is_still_done(plivo, monkeypatch):
    calls = [overdue() for _ in range(3)]
    plivo.records = {call.plivo_call_uuid: record_of(call) for call in calls}
    clock = iter([0.0, 0.0, sweeper.ASKING_S + 1.0])
    monkeypatch.setattr(sweeper, "time", SimpleNamespace(monotonic=lambda: next(clock), time=time.time))
    CallSummary.objects.create(call=overdue(status="ended"))
    due = sweeper.sweep(now=NOW)
    assert plivo.asked == [calls[0].plivo_call_uuid]
    assert len(due.summaries) == 2


def test_calls_that_cannot_be_asked_about_keep_no_others_waiting(plivo, monkeypatch):
    monkeypatch.setattr(sweeper, "BATCH", 2)
    plivo.failure = Failure.UNREACHABLE
    first, second, third = (overdue(deadline_at=NOW - minutes * MINUTE) for minutes in (9, 8, 7))
    sweeper.sweep(now=NOW)
    sweeper.sweep(now=NOW + 2 * MINUTE)
    uuids = [call.plivo_call_uuid for call in (first, second, third)]
    assert plivo.asked == [*uuids[:2], uuids[2], uuids[0]]


def test_of_two_sweeps_at_once_one_asks(plivo, monkeypatch):
    overdue()
    found = sweeper._overdue(NOW)
    sweeper.sweep(now=NOW)
    monkeypatch.setattr(sweeper, "_overdue", lambda _: found)
    assert sweeper.sweep(now=NOW).repaired == {}
    assert len(plivo.asked) == 1


def test_a_call_that_showed_a_sign_of_life_meanwhile_is_not_asked_about(plivo, monkeypatch):
    call = overdue()
    found = sweeper._overdue(NOW)
    Call.objects.filter(pk=call.pk).update(deadline_at=NOW + MINUTE)
    monkeypatch.setattr(sweeper, "_overdue", lambda _: found)
    assert sweeper.sweep(now=NOW).repaired == {}
    assert plivo.asked == []


def test_a_live_call_without_any_sign_of_life_is_looked_into(plivo):
    overdue(last_seen_at=None)
    assert sweeper.sweep(now=NOW).repaired == {"record_awaited": 1}


RECORD = {
    "api_id": "a",
    "call_uuid": "u",
    "call_direction": "inbound",
    "answer_time": "2026-03-01 11:57:00+00:00",
    "end_time": "2026-03-01 11:59:30+00:00",
    "call_duration": 150,
    "billed_duration": 180,
    "total_amount": "0.00600",
    "hangup_cause_code": 4000,
    "hangup_cause_name": "Normal Hangup",
    "hangup_source": "Callee",
}


class Records(BaseHTTPRequestHandler):
    """Plivo's REST API: no call is live, and of each there is ``server.record``."""

    def do_GET(self):
        live = "status=" in self.path
        body = json.dumps({"api_id": "a", "error": "not found"} if live else self.server.record).encode()
        self.send_response(404 if live else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def api():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Records)
    server.record = RECORD
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def on(api, **changes):
    account = factories.PlivoAccountFactory(api_url=f"http://127.0.0.1:{api.server_port}")
    return overdue(phone_number__plivo_account=account, **changes)


def test_plivos_record_knows_better_than_we_when_the_call_ended(api):
    call = on(api, last_seen_at=NOW - 2 * MINUTE)
    sweeper.sweep(now=NOW)
    call.refresh_from_db()
    assert call.ended_at == NOW - datetime.timedelta(seconds=30)
    assert (call.duration_s, call.bill_duration_s, call.carrier_cost) == (150, 180, Decimal("0.006"))
    assert (call.end_reason, call.hangup_source) == ("swept", "Callee")


@pytest.mark.parametrize(
    ("name", "value", "column", "kept"),
    [
        ("call_duration", 10**12, "duration_s", None),
        ("billed_duration", -1, "bill_duration_s", None),
        ("total_amount", "1e30", "carrier_cost", None),
        ("total_amount", "NaN", "carrier_cost", None),
        ("hangup_cause_code", "x", "hangup_code", None),
        ("hangup_cause_name", "N" * 500, "hangup_cause", "N" * 60),
        ("hangup_source", "S" * 500, "hangup_source", "S" * 40),
        ("end_time", "yesterday", "ended_at", NOW - 2 * MINUTE),
        ("answer_time", None, "answered_at", NOW - 3 * MINUTE),
    ],
)
def test_a_record_of_nonsense_still_ends_the_call(api, name, value, column, kept):
    api.record = RECORD | {name: value}
    call = on(api, last_seen_at=NOW - 2 * MINUTE, answered_at=NOW - 3 * MINUTE)
    assert sweeper.sweep(now=NOW).repaired == {"ended_unreported": 1}
    call.refresh_from_db()
    assert (call.status, getattr(call, column)) == ("ended", kept)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's plans")
def test_a_round_reads_no_table_from_end_to_end(plivo):
    with CaptureQueriesContext(connection) as queries:
        sweeper.sweep(now=NOW)
    statements = [query["sql"] for query in queries if query["sql"].startswith(("SELECT", "UPDATE"))]
    assert len(statements) == 7
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(f"EXPLAIN QUERY PLAN {statement}")
            steps = [step for *_, step in cursor.fetchall()]
            assert not [step for step in steps if step.startswith("SCAN")], (statement, steps)


@pytest.mark.skipif(connection.vendor != "sqlite", reason="reads SQLite's plans")
def test_calls_that_wait_for_their_facts_are_found_by_their_deadline_and_not_among_all_that_ended(plivo):
    with CaptureQueriesContext(connection) as queries:
        sweeper._without_facts(NOW)
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {queries[0]['sql']}")
        assert "USING INDEX call_deadline" in cursor.fetchall()[0][3]

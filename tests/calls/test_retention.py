"""What is deleted when, to the second; and that a captured webhook is not believed after its nonce is gone."""

import datetime
import uuid

import pytest
from django.db.models import F
from django.utils import timezone

from calls import edge, intake, retention
from calls.models import (
    Call,
    CallEvent,
    EdgeRefusal,
    StreamToken,
    WebhookDelivery,
    WebhookEndpoint,
    WebhookEvent,
)
from calls.tasks import maintenance
from config.celery_schedule import CELERY
from tests import factories
from tests.calls.carrier import Carrier, tags

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 3, 1, 12, tzinfo=datetime.UTC)
SECOND, DAY = datetime.timedelta(seconds=1), datetime.timedelta(days=1)
KEPT = 30 * DAY


@pytest.fixture(autouse=True)
def _no_outside(settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    settings.PUBLIC_URL = "https://parley.example.com"
    settings.ALLOWED_HOSTS = ["*"]
    settings.SECURE_SSL_REDIRECT = False
    monkeypatch.setattr(edge, "_counter", edge._Counter())


@pytest.fixture
def call():
    return factories.CallFactory()


def aged(call, age, **changes):
    """The call as if it had begun that long before NOW."""
    Call.objects.filter(pk=call.pk).update(created_at=NOW - age, **changes)


def prune(now=NOW, kept=KEPT):
    return dict(retention.prune(now=now, webhooks_kept=kept))


def token(call, **fields):
    return StreamToken.objects.create(
        call=call, token_sha256=f"hash-{StreamToken.objects.count()}", **({"expires_at": NOW - DAY - SECOND} | fields)
    )


def event(call, **fields):
    fields = {"kind": "ring", "body_sha256": "x", "params": {"From": "+14155550123"}, "received_at": NOW} | fields
    return WebhookEvent.objects.create(call=call, nonce=f"nonce-{WebhookEvent.objects.count()}", **fields)


# --- tokens ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["ended", "rejected", "cancelled", "not_found"])
def test_a_token_goes_a_day_after_its_call_is_over_and_no_second_earlier(call, status):
    token(call, uses=1)
    Call.objects.filter(pk=call.pk).update(status=status, ended_at=NOW - DAY)
    assert prune() == {}
    assert prune(NOW + SECOND) == {"stream_tokens": 1}


def test_a_token_of_a_call_that_never_began_goes_with_its_expiry(call):
    token(call, uses=1, expires_at=NOW - DAY)
    Call.objects.filter(pk=call.pk).update(status="rejected", ended_at=None)
    assert prune() == {}
    assert prune(NOW + SECOND) == {"stream_tokens": 1}


def test_a_token_that_nobody_used_goes_a_day_after_its_expiry_whatever_its_call_does(call):
    token(call, expires_at=NOW - DAY)
    assert prune() == {}
    assert prune(NOW + SECOND) == {"stream_tokens": 1}


def test_a_token_in_use_stays_as_long_as_its_call(call):
    token(call, uses=1)
    assert prune(NOW + 300 * DAY) == {}


# --- refusals --------------------------------------------------------------------------------------------------------


def test_a_refusal_is_shown_for_thirty_days_and_no_second_longer():
    EdgeRefusal.objects.create(edge="webhook", reason="bad_signature", minute=NOW - 30 * DAY)
    assert prune() == {}
    assert prune(NOW + SECOND) == {"refusals": 1}


# --- webhooks that were sent ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "enabled", "goes"),
    [
        ("delivered", True, True),
        ("failed", True, True),
        ("waiting", True, False),
        ("sending", True, False),
        ("waiting", False, True),
    ],
)
def test_a_webhook_that_was_sent_goes_when_it_need_not_be_looked_up_any_more(state, enabled, goes):
    endpoint = WebhookEndpoint.objects.create(name="CRM", url="https://crm.example", enabled=enabled)
    of = {"endpoint": endpoint, "event_id": uuid.uuid4(), "kind": "call.ended", "body": "{}", "state": state}
    WebhookDelivery.objects.create(event_key="call.ended:1", created_at=NOW - KEPT, **of)
    assert prune() == {}
    assert prune(NOW + SECOND) == ({"webhook_deliveries": 1} if goes else {})


# --- webhooks --------------------------------------------------------------------------------------------------------


def test_a_webhook_of_a_call_long_over_goes_when_it_need_not_be_looked_up_any_more(call):
    event(call, received_at=NOW - KEPT)
    aged(call, KEPT, status="ended")
    assert prune() == {}
    assert prune(NOW + SECOND) == {"webhooks": 1}


def test_what_a_webhook_said_goes_before_its_nonce_where_its_call_is_not_settled_yet(call):
    row = event(call, received_at=NOW - DAY - SECOND)
    aged(call, intake.SETTLED_AFTER, status="ended")
    assert prune(kept=DAY) == {"webhook_bodies": 1}
    row.refresh_from_db()
    assert (row.params, row.nonce) == ({}, "nonce-0")
    assert prune(kept=DAY) == {}
    assert prune(NOW + SECOND, kept=DAY) == {"webhooks": 1}


def test_the_nonce_of_a_call_that_is_not_over_stays(call):
    event(call, received_at=NOW - KEPT - SECOND)
    aged(call, KEPT + DAY, status="live")
    assert prune() == {"webhook_bodies": 1}
    assert WebhookEvent.objects.exists()


def test_the_nonce_of_a_webhook_without_a_call_stays_for_ever():
    event(None, received_at=NOW - KEPT - SECOND)
    assert prune() == {"webhook_bodies": 1}
    assert prune(NOW + 3000 * DAY) == {}
    assert WebhookEvent.objects.exists()


# --- and afterwards --------------------------------------------------------------------------------------------------


def state():
    calls = list(Call.objects.order_by("pk").values())
    return calls, CallEvent.objects.count(), StreamToken.objects.count(), WebhookEvent.objects.count()


@pytest.fixture
def captured():
    """A whole call of long ago, all of whose webhooks somebody has kept, and whose rows were pruned."""
    number = factories.PhoneNumberFactory()
    plivo = Carrier(number.plivo_account)
    kept = []
    plivo.ring(number.number)
    kept.append(plivo.last)
    call = Call.objects.get()
    for name in ("after-stream", "machine", "stream-status", "dial", "recording", "fallback"):
        plivo.send(
            f"/plivo/calls/{call.public_id}/{name}/",
            CallUUID=call.plivo_call_uuid,
            Machine="true",
            RecordingID="r",
            RecordUrl="https://media.plivo.com/r.mp3",
        )
        kept.append(plivo.last)
    plivo.send("/plivo/fallback/", CallUUID=call.plivo_call_uuid)
    kept.append(plivo.last)
    plivo.hang_up()
    kept.append(plivo.last)
    assert WebhookEvent.objects.filter(applied_at=None).count() == 0
    for model, column in ((Call, "created_at"), (Call, "ended_at"), (WebhookEvent, "received_at")):
        model.objects.update(**{column: F(column) - KEPT - SECOND})
    StreamToken.objects.update(expires_at=F("expires_at") - KEPT)
    assert prune(timezone.now()) == {"stream_tokens": 2, "webhooks": len(kept)}
    return plivo, kept


def test_a_captured_webhook_is_not_believed_after_its_nonce_was_deleted(captured):
    plivo, kept = captured
    before = state()
    for plivo.last in kept:
        assert plivo.again().status_code == 403
    assert state() == before
    assert set(EdgeRefusal.objects.values_list("reason", flat=True)) == {"late"}


def test_a_captured_webhook_that_never_arrived_is_not_believed_either_once_its_call_is_settled(captured):
    plivo, _ = captured
    before = state()
    call = Call.objects.get()
    assert plivo.hang_up(Duration="80000", TotalCost="999").status_code == 403
    assert plivo.send(f"/plivo/calls/{call.public_id}/machine/", Machine="true").status_code == 403
    assert state() == before


@pytest.mark.parametrize(("age", "status"), [(-SECOND * 60, 200), (SECOND, 403)])
def test_reports_about_a_call_that_is_over_are_taken_for_a_week_from_its_beginning(call, age, status):
    plivo = Carrier(call.plivo_account)
    Call.objects.update(status="ended", created_at=timezone.now() - intake.SETTLED_AFTER - age)
    assert plivo.hang_up(call_uuid=call.plivo_call_uuid).status_code == status


def test_reports_about_a_call_that_is_not_over_are_taken_however_long_it_lasts(call):
    plivo = Carrier(call.plivo_account)
    Call.objects.update(status="live", created_at=timezone.now() - 30 * DAY)
    assert plivo.hang_up(call_uuid=call.plivo_call_uuid).status_code == 200
    assert Call.objects.get().status == "ended"


@pytest.mark.parametrize(("age", "status"), [(-SECOND * 60, 200), (SECOND, 403)])
def test_a_request_that_failed_is_applied_while_plivo_may_try_again_and_not_later(monkeypatch, age, status):
    number = factories.PhoneNumberFactory()
    plivo = Carrier(number.plivo_account)
    with monkeypatch.context() as patch:
        patch.setattr("calls.inbound.answer", lambda _: 1 / 0)
        assert plivo.ring(number.number).status_code == 500
    WebhookEvent.objects.update(received_at=timezone.now() - intake.RETRIES_END - age)
    response = plivo.again()
    assert response.status_code == status
    assert Call.objects.count() == (status == 200)
    if status == 200:
        assert tags(response) == ["Stream", "Redirect"]


# --- how ------------------------------------------------------------------------------------------------------------


def test_no_transaction_deletes_more_than_a_chunk_and_a_round_ends(monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(retention, "CHUNK", 3)
    monkeypatch.setattr(retention, "CHUNKS", 2)
    rows = [EdgeRefusal(edge="webhook", reason=f"r{n}", minute=NOW - 40 * DAY) for n in range(10)]
    EdgeRefusal.objects.bulk_create(rows)
    assert prune() == {"refusals": 6}
    assert prune() == {"refusals": 4}
    assert prune() == {}


def test_two_rounds_at_once_count_each_row_once(call, monkeypatch):
    event(call, received_at=NOW - KEPT - SECOND)
    EdgeRefusal.objects.create(edge="webhook", reason="x", minute=NOW - 31 * DAY)
    counts = []
    real = retention._chunks

    def beaten(rows):
        for chunk in real(rows):
            if not counts:
                counts.append({})
                counts[0] = prune()
            yield chunk

    monkeypatch.setattr(retention, "_chunks", beaten)
    assert prune() == {}
    assert counts == [{"refusals": 1, "webhook_bodies": 1}]


def test_beat_prunes_by_the_configured_days(call, settings):
    (entry,) = [entry for entry in CELERY["CELERY_BEAT_SCHEDULE"].values() if entry["task"].endswith("prune")]
    assert entry["task"] == maintenance.prune.name
    settings.WEBHOOK_RETENTION_DAYS = 2
    now = timezone.now()
    event(call, received_at=now - 2 * DAY + 60 * SECOND)
    old = event(call, received_at=now - 2 * DAY - SECOND)
    maintenance.prune()
    assert list(WebhookEvent.objects.filter(params={})) == [old]

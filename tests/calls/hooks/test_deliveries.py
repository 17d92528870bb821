"""Deliveries: signed, repeated on schedule, given up in the end; and no endpoint in the way of another."""

import datetime
import json
import logging
import re
import socket
import threading
import time

import pytest
from django.conf import settings
from django.db import connection, connections
from standardwebhooks import Webhook, WebhookVerificationError

from calls import suppression
from calls.hooks import deliveries, endpoints, events, posting
from calls.hooks.deliveries import DELAYS_S, claim, delay_s, due, work
from calls.models import DoNotCall, WebhookDelivery, WebhookEndpoint
from calls.suppression import Entry
from calls.tasks import hooks as tasks
from calls.tasks import maintenance
from config.celery_schedule import CELERY
from config.supervisor import role_processes
from tests.calls.hooks.conftest import made

pytestmark = [pytest.mark.db, pytest.mark.django_db]

ANNA = "+14155552671"
SECOND, DAY = datetime.timedelta(seconds=1), datetime.timedelta(days=1)


class Clock:
    """Begins now, as the signatures' receivers do, and stands still."""

    def __init__(self) -> None:
        self.now = datetime.datetime.now(datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def told(endpoint, clock, count: int = 1) -> WebhookDelivery:
    for _ in range(count):
        events.test(endpoint, now=clock.now)
    return endpoint.deliveries.order_by("pk").last()


def ran(endpoint, clock) -> bool:
    return work(str(endpoint.pk), clock=clock)


def secret_of(endpoint) -> str:
    return str(WebhookEndpoint.objects.get(pk=endpoint.pk).secret)


# --- what arrives ----------------------------------------------------------------------------------------------------


def test_what_arrives_bears_a_signature_that_the_standards_library_verifies(endpoint, receiver, clock) -> None:
    suppression.add(Entry("+49301234567", clock.now, "nö ☎"), source=DoNotCall.Source.SPOKEN)
    clock.now += SECOND
    ran(endpoint, clock)
    (request,) = receiver.requests
    body = Webhook(secret_of(endpoint)).verify(request.body, request.headers)
    assert body["data"]["people"][0]["number"] == "+4930•••••67"
    assert request.headers["Content-Type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Webhook(endpoints.new_secret()).verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret_of(endpoint)).verify(request.body.replace(b"30", b"31"), request.headers)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.last_status, delivery.next_try_at) == ("delivered", 204, None)
    assert (delivery.delivered_at, delivery.tries, request.body.decode()) == (clock.now, 1, delivery.body)


def test_the_guides_own_verification_takes_what_is_sent_and_nothing_else(endpoint, receiver, clock) -> None:
    guide = (settings.BASE_DIR / "docs" / "webhooks.md").read_text()
    (code,) = [each for each in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "def verified" in each]
    names: dict = {}
    exec(code, names)  # noqa: S102  (our own guide)
    old = secret_of(endpoint)
    new = endpoints.roll(endpoint, now=clock.now)
    told(endpoint, clock)
    ran(endpoint, clock)
    (request,) = receiver.requests
    for secret in (old, new):
        assert names["verified"](secret, request.body, request.headers)
    assert not names["verified"](endpoints.new_secret(), request.body, request.headers)
    assert not names["verified"](new, request.body + b" ", request.headers)
    assert not names["verified"](new, request.body, request.headers | {"webhook-timestamp": "1"})


def test_for_a_day_after_a_roll_the_old_secret_signs_beside_the_new_one(endpoint, receiver, clock) -> None:
    old = secret_of(endpoint)
    new = endpoints.roll(endpoint, now=clock.now)
    assert (old != new, secret_of(endpoint)) == (True, new)
    told(endpoint, clock)
    ran(endpoint, clock)
    for key in (old, new):
        Webhook(key).verify(receiver.requests[0].body, receiver.requests[0].headers)
    row = WebhookEndpoint.objects.get()
    signed = {"message_id": "1", "body": "{}"}
    assert len(endpoints.signatures(row, at=clock.now + DAY - SECOND, **signed).split()) == 2
    assert len(endpoints.signatures(row, at=clock.now + DAY, **signed).split()) == 1


def test_a_secret_that_cannot_be_decrypted_is_said_so_and_sends_nothing(endpoint, receiver, clock) -> None:
    told(endpoint, clock)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_webhookendpoint SET secret = 'gAAAAA-lost'")
    ran(endpoint, clock)
    assert "secret cannot be read" in WebhookDelivery.objects.get().last_error
    assert receiver.requests == []


# --- again and again -------------------------------------------------------------------------------------------------


def test_a_failure_is_repeated_on_schedule_under_the_same_id_and_given_up_after_the_last_try(
    endpoint, receiver, clock, monkeypatch
) -> None:
    monkeypatch.setattr(deliveries, "JITTER", 0)
    delivery = told(endpoint, clock)
    receiver.answers = [500] * 20
    waits = []
    while True:
        ran(endpoint, clock)
        delivery.refresh_from_db()
        if delivery.next_try_at is None:
            break
        waits.append((delivery.next_try_at - clock.now).total_seconds())
        clock.now = delivery.next_try_at - SECOND
        assert (due(clock.now), ran(endpoint, clock)) == ([], False)
        clock.now += SECOND
        assert due(clock.now) == [str(endpoint.pk)]
    assert waits == [5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]
    assert (delivery.state, delivery.tries, delivery.last_status) == ("failed", 10, 500)
    assert "HTTP 500" in delivery.last_error
    assert len(receiver.requests) == 10
    assert {request.headers["webhook-id"] for request in receiver.requests} == {str(delivery.event_id)}
    assert len({request.headers["webhook-timestamp"] for request in receiver.requests}) == 10
    endpoint.refresh_from_db()
    assert endpoint.enabled  # three days of failures only


def test_a_delay_is_longer_by_chance_up_to_a_tenth_and_when_the_other_side_asks_for_it() -> None:
    assert [delay_s(tries, None, chance=lambda: 0.0) for tries in (1, 9)] == [5, 86400]
    assert delay_s(1, None, chance=lambda: 1.0) == pytest.approx(5.5)
    assert delay_s(1, 600.0) == 600
    assert delay_s(2, 1.0, chance=lambda: 0.0) == 300
    assert len(DELAYS_S) == 9


def test_a_retry_after_is_honoured(endpoint, receiver, clock) -> None:
    delivery = told(endpoint, clock)
    receiver.answers = [(429, {"Retry-After": "3600"})]
    ran(endpoint, clock)
    delivery.refresh_from_db()
    assert delivery.next_try_at == clock.now + datetime.timedelta(hours=1)


def test_410_disables_the_endpoint_with_the_reason(endpoint, receiver, clock) -> None:
    delivery = told(endpoint, clock, count=2)
    receiver.answers = [410]
    ran(endpoint, clock)
    endpoint.refresh_from_db()
    assert (endpoint.enabled, "410 Gone" in endpoint.disabled_reason) == (False, True)
    assert sorted(WebhookDelivery.objects.values_list("state", flat=True)) == ["failed", "waiting"]
    assert (due(clock.now), ran(endpoint, clock), len(receiver.requests)) == ([], False, 1)
    endpoints.enable(endpoint)
    ran(endpoint, clock)
    endpoint.refresh_from_db()
    delivery.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason, delivery.state) == (True, "", "delivered")


def test_five_days_of_failures_alone_disable_the_endpoint_and_one_success_begins_anew(
    endpoint, receiver, clock
) -> None:
    receiver.answers = [500]
    told(endpoint, clock)
    ran(endpoint, clock)
    begun = clock.now
    clock.now = begun + 3 * DAY
    ran(endpoint, clock)  # the second try is taken
    endpoint.refresh_from_db()
    assert endpoint.failing_since is None
    for days, enabled in ((0, True), (5, True), (6, False)):
        clock.now = begun + (10 + days) * DAY
        receiver.answers = [500]
        told(endpoint, clock)
        ran(endpoint, clock)
        endpoint.refresh_from_db()
        assert endpoint.enabled is enabled, days
    assert endpoint.failing_since == begun + 10 * DAY
    assert "5 days" in endpoint.disabled_reason


def test_one_that_is_over_is_delivered_again_under_its_id(endpoint, receiver, clock) -> None:
    delivery = told(endpoint, clock)
    assert not deliveries.again(delivery, now=clock.now)
    ran(endpoint, clock)
    clock.now += SECOND
    assert deliveries.again(delivery, now=clock.now)
    assert not deliveries.again(delivery, now=clock.now)
    ran(endpoint, clock)
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("delivered", 1)


# --- workers that die, are doubled or are late -----------------------------------------------------------------------


def test_what_a_worker_that_was_killed_had_claimed_is_sent_by_another_after_its_lease(
    endpoint, receiver, clock, monkeypatch
) -> None:
    told(endpoint, clock)
    with monkeypatch.context() as patched:
        patched.setattr(posting, "post", lambda *_, **__: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            ran(endpoint, clock)
    assert WebhookDelivery.objects.get().state == "sending"
    clock.now += deliveries.LEASE - SECOND
    assert (due(clock.now), ran(endpoint, clock), receiver.requests) == ([], False, [])
    clock.now += SECOND
    assert due(clock.now) == [str(endpoint.pk)]
    ran(endpoint, clock)
    delivery = WebhookDelivery.objects.get()
    assert (delivery.state, delivery.tries, len(receiver.requests)) == ("delivered", 2, 1)


def test_of_two_workers_one_gets_a_delivery(endpoint, clock) -> None:
    told(endpoint, clock)
    assert claim(str(endpoint.pk), now=clock.now) is not None
    assert claim(str(endpoint.pk), now=clock.now) is None


def test_a_late_failure_undoes_nothing_and_a_late_success_ends_it(endpoint, clock) -> None:
    delivery = told(endpoint, clock)
    late = claim(str(endpoint.pk), now=clock.now)
    clock.now += deliveries.LEASE
    assert claim(str(endpoint.pk), now=clock.now).tries == 2
    deliveries.settle(late, posting.Answer(500, "HTTP 500"), now=clock.now)
    delivery.refresh_from_db()
    assert (delivery.state, delivery.tries) == ("sending", 2)
    deliveries.settle(late, posting.Answer(200), now=clock.now)
    delivery.refresh_from_db()
    assert delivery.state == "delivered"


def test_no_more_than_four_are_on_their_way_to_an_endpoint_and_one_while_it_fails(endpoint, clock) -> None:
    other = made("https://other.example/")
    told(endpoint, clock, count=6)
    told(other, clock)
    claimed = [claim(str(endpoint.pk), now=clock.now) for _ in range(6)]
    assert sum(each is not None for each in claimed) == deliveries.AT_ONCE
    assert claim(str(other.pk), now=clock.now) is not None
    for each in claimed[:2]:
        deliveries.settle(each, posting.Answer(500, "HTTP 500"), now=clock.now)
    assert claim(str(endpoint.pk), now=clock.now) is None
    for each in claimed[2:4]:
        deliveries.settle(each, posting.Answer(500, "HTTP 500"), now=clock.now)
    assert claim(str(endpoint.pk), now=clock.now) is not None
    assert claim(str(endpoint.pk), now=clock.now) is None


def test_a_task_stops_at_a_failure_and_when_its_time_is_over(endpoint, receiver, clock) -> None:
    told(endpoint, clock, count=4)
    assert work(str(endpoint.pk), clock=clock, seconds=0)
    assert len(receiver.requests) == 1
    receiver.answers = [503]
    assert not ran(endpoint, clock)
    assert len(receiver.requests) == 2
    assert not ran(endpoint, clock)
    assert len(receiver.requests) == 4


@pytest.mark.django_db(transaction=True)
def test_an_endpoint_that_does_not_answer_keeps_nobody_else_waiting(endpoint, receiver, clock, monkeypatch) -> None:
    monkeypatch.setattr(posting, "TOTAL_S", 5)
    answered = threading.Event()
    receiver.answers = [lambda _handler: answered.wait(5)]
    other = made(receiver.url)
    told(endpoint, clock)
    told(other, clock)

    def slow() -> None:
        ran(endpoint, clock)
        connections.close_all()

    stuck = threading.Thread(target=slow)
    stuck.start()
    while not receiver.requests:
        time.sleep(0.005)
    ran(other, clock)
    assert other.deliveries.get().state == "delivered"
    assert endpoint.deliveries.get().state == "sending"
    answered.set()
    stuck.join(5)
    assert endpoint.deliveries.get().state == "waiting"


def test_the_sweep_finds_what_no_hint_told_of(endpoint, receiver, clock, monkeypatch) -> None:
    sent = []
    monkeypatch.setattr(tasks.deliver, "apply_async", lambda args, **options: sent.append((args, options["expires"])))
    monkeypatch.setattr("calls.sweeper.sweep", lambda **_: maintenance.sweeper.Due())
    told(endpoint, clock)
    maintenance.sweep_calls()
    assert sent == [((str(endpoint.pk),), 30)]
    tasks.deliver(str(endpoint.pk))
    assert len(receiver.requests) == 1
    maintenance.sweep_calls()
    assert len(sent) == 1


def test_deliveries_have_a_worker_of_their_own() -> None:
    queue = CELERY["CELERY_TASK_ROUTES"]["calls.tasks.hooks.*"]["queue"]
    roles = role_processes(web_port=1, stream_port=2, combined=False, environment={})
    serving = [each for each in roles if "-Q" in each.command and queue in each.command[each.command.index("-Q") + 1]]
    assert [each.name for each in serving] == ["hooks"]


# --- where to --------------------------------------------------------------------------------------------------------


def test_a_name_that_leads_elsewhere_a_moment_later_is_connected_to_where_it_was_looked_at(
    hints, clock, monkeypatch
) -> None:
    answers = ["93.184.215.14", "127.0.0.1"]
    asked, connected = [], []

    def look_up(host, port, *_, **__):
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers.pop(0), port))]

    def connect(address, **_):
        connected.append(address)
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr(socket, "create_connection", connect)
    endpoint = made("https://rebinding.example.com/")
    told(endpoint, clock)
    ran(endpoint, clock)
    assert (asked, connected) == (["rebinding.example.com"], [("93.184.215.14", 443)])
    clock.now += DAY
    ran(endpoint, clock)
    assert (len(asked), len(connected)) == (2, 1)
    assert "not public" in WebhookDelivery.objects.get().last_error


def test_an_endpoint_from_before_production_is_not_sent_to_in_production(endpoint, receiver, clock, settings) -> None:
    told(endpoint, clock)
    settings.PRODUCTION = True
    ran(endpoint, clock)
    assert receiver.requests == []
    assert "machine on which Parley runs" in WebhookDelivery.objects.get().last_error


def test_nothing_personal_and_no_secret_is_in_the_log(endpoint, receiver, clock, caplog, capfd) -> None:
    caplog.set_level(logging.DEBUG)
    WebhookEndpoint.objects.update(whole_numbers=True)
    suppression.add(Entry(ANNA, clock.now, "never again"), source=DoNotCall.Source.SPOKEN)
    clock.now += SECOND
    receiver.answers = [500, 410]
    ran(endpoint, clock)
    clock.now += DAY
    ran(endpoint, clock)
    assert json.loads(receiver.requests[1].body)["data"]["people"][0]["number"] == ANNA
    out = capfd.readouterr()
    said = caplog.text + out.out + out.err
    assert "webhook_not_delivered" in said
    assert "webhook_endpoint_disabled" in said
    for canary in (ANNA, ANNA[2:], secret_of(endpoint), secret_of(endpoint)[6:], "never again", receiver.url):
        assert canary not in said

"""Webhooks out in the admin: a secret seen once, a permission for each button, numbers for those alone who may see."""

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from calls import suppression
from calls.hooks import deliveries, destinations, endpoints, events
from calls.models import DoNotCall, WebhookDelivery, WebhookEndpoint
from calls.suppression import Entry
from tests import factories
from tests.calls.hooks.conftest import made

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LIST = "/admin/calls/webhookendpoint/"
LOG = "/admin/calls/webhookdelivery/"
URL = "https://crm.example.com/parley"
ANNA = "+14155552671"
SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")
ALL = ("view", "change", "add", "delete", "test", "roll")


@pytest.fixture(autouse=True)
def _names(monkeypatch):
    """Every name leads to a public address but those of the inside."""
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    monkeypatch.setattr(
        destinations, "_looked_up", lambda host, _: ["10.0.0.1" if host.startswith("inside") else "1.1.1.1"]
    )


@pytest.fixture
def endpoint() -> WebhookEndpoint:
    return made(URL, name="CRM")


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=[f"calls.{name}" for name in permissions]))
    return client


def operator(*but: str) -> Client:
    """Everything of endpoints, but not numbers."""
    return staff(*(f"{name}_webhookendpoint" for name in ALL if name not in but), "view_webhookdelivery")


def page(endpoint, button: str = "change") -> str:
    return reverse(f"admin:calls_webhookendpoint_{button}", args=[endpoint.pk])


def form(**changes):
    return {"name": "CRM", "url": URL, "events": ["call.ended", "opt_out.added"], **changes}


def opted_out(endpoint) -> WebhookDelivery:
    suppression.add(Entry(ANNA, timezone.now()), source=DoNotCall.Source.SPOKEN)
    return endpoint.deliveries.get(kind="opt_out.added")


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_a_secret_is_seen_once_and_then_on_no_page_and_in_no_history(admin_page) -> None:
    answer = admin_page.post(f"{LIST}add/", form())
    (secret,) = set(SECRET.findall(answer.content.decode()))
    assert "no-store" in answer["Cache-Control"]
    endpoint = WebhookEndpoint.objects.get()
    assert (str(endpoint.secret), endpoint.events) == (secret, ["call.ended", "opt_out.added"])
    rolled = admin_page.post(page(endpoint, "roll"))
    (new,) = set(SECRET.findall(rolled.content.decode()))
    assert (new != secret, "no-store" in rolled["Cache-Control"]) == (True, True)
    assert "24 hours" in rolled.content.decode()
    row = WebhookEndpoint.objects.get()
    assert (str(row.secret), str(row.old_secret)) == (new, secret)
    events.test(endpoint, now=timezone.now())
    delivery = endpoint.deliveries.get()
    older = reverse("admin:calls_webhookendpoint_simple_history", args=[endpoint.pk, endpoint.history.first().pk])
    pages = [page(endpoint), LIST, page(endpoint, "history"), page(endpoint, "latest"), page(endpoint, "delete"), older]
    pages += [LOG, f"{LOG}{delivery.pk}/change/", "/admin/"]
    for address in pages:
        answer = admin_page.get(address)
        assert answer.status_code == 200, address
        assert not SECRET.search(answer.content.decode()), address
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608  (the database's own name)
            assert not SECRET.search(str(cursor.fetchall())), table


def test_a_lost_key_breaks_no_page_but_the_roll_which_says_what_to_do(admin_page, endpoint) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_webhookendpoint SET secret = 'gAAAAA-lost'")
    for address in (LIST, page(endpoint), page(endpoint, "history")):
        assert admin_page.get(address).status_code == 200
    answer = admin_page.post(page(endpoint, "roll"), follow=True)
    assert "put the old key back; or delete this endpoint" in answer.content.decode()


# --- the form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://crm.example.com/", "https only"),
        ("https://inside.example.com/", "not public"),
        ("https://key:secret@crm.example.com/", "user name"),
        ("crm.example.com", "This is no address"),
    ],
)
def test_an_address_that_is_not_sent_to_is_refused_when_it_is_entered(admin_page, url, why) -> None:
    assert why in admin_page.post(f"{LIST}add/", form(url=url)).content.decode()
    assert not WebhookEndpoint.objects.exists()


def test_an_endpoint_needs_an_event(admin_page) -> None:
    assert "This field is required" in admin_page.post(f"{LIST}add/", form(events=[])).content.decode()


def test_whole_numbers_are_for_those_to_give_who_may_see_them(endpoint, admin_page) -> None:
    operator().post(page(endpoint), form(whole_numbers="on"))
    endpoint.refresh_from_db()
    assert not endpoint.whole_numbers
    admin_page.post(page(endpoint), form(whole_numbers="on"))
    endpoint.refresh_from_db()
    assert endpoint.whole_numbers


def test_who_may_not_see_whole_numbers_does_not_send_them_to_another_address(endpoint, admin_page) -> None:
    admin_page.post(page(endpoint), form(whole_numbers="on"))
    other = "https://elsewhere.example.com/"
    refused = operator().post(page(endpoint), form(url=other))
    assert "may see them may send them elsewhere" in refused.content.decode()
    opted_out(endpoint)
    admin_page.post(page(endpoint), form())  # no more whole numbers, but there is one in what waits
    assert "may send them elsewhere" in operator().post(page(endpoint), form(url=other)).content.decode()
    assert operator().post(page(endpoint), form(name="Renamed")).status_code == 302
    endpoint.refresh_from_db()
    assert (endpoint.url, endpoint.name, endpoint.whole_numbers) == (URL, "Renamed", False)


def test_saving_the_form_leaves_what_it_does_not_show(endpoint, admin_page) -> None:
    now = timezone.now()
    WebhookEndpoint.objects.update(enabled=False, disabled_reason="Gone.", failing_since=now)
    admin_page.post(page(endpoint), form(name="Renamed"))
    row = WebhookEndpoint.objects.get()
    assert (row.enabled, row.disabled_reason, row.failing_since) == (False, "Gone.", now)
    admin_page.post(page(endpoint), form(url="https://new.example.com/"))
    assert WebhookEndpoint.objects.get().failing_since is None


# --- buttons ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("button", "permission"), [("test", "test"), ("roll", "roll"), ("enable", "change"), ("disable", "change")]
)
def test_each_button_is_a_permission_and_a_post(endpoint, button, permission) -> None:
    WebhookEndpoint.objects.update(enabled=button != "enable")
    before = (WebhookEndpoint.objects.values().get(), WebhookDelivery.objects.count())
    lacking, having = operator(permission), operator()
    assert lacking.post(page(endpoint, button)).status_code == 403
    assert page(endpoint, button) not in lacking.get(page(endpoint)).content.decode()
    assert having.get(page(endpoint, button)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(factories.UserFactory(is_superuser=True))
    assert strict.post(page(endpoint, button)).status_code == 403
    assert (WebhookEndpoint.objects.values().get(), WebhookDelivery.objects.count()) == before
    assert page(endpoint, button) in having.get(page(endpoint)).content.decode()
    assert having.post(page(endpoint, button)).status_code in {200, 302}
    assert (WebhookEndpoint.objects.values().get(), WebhookDelivery.objects.count()) != before
    assert LogEntry.objects.filter(object_id=endpoint.pk).count() == 1


def test_why_an_endpoint_is_disabled_stands_on_its_page(endpoint, admin_page) -> None:
    endpoints.disable(endpoint.pk, reason="It answered 410 Gone.")
    html = admin_page.get(page(endpoint)).content.decode()
    assert "It answered 410 Gone." in html
    assert "parley-danger" in html
    assert "enable it first" in admin_page.post(page(endpoint, "test"), follow=True).content.decode()
    assert not WebhookDelivery.objects.exists()


def test_a_test_event_is_shown_with_what_came_of_it(endpoint, admin_page) -> None:
    admin_page.post(page(endpoint, "test"))
    assert 'data-status="running"' in admin_page.get(page(endpoint, "latest")).content.decode()
    delivery = deliveries.claim(str(endpoint.pk), now=timezone.now())
    deliveries.settle(delivery, deliveries.Answer(404, "HTTP 404 Not Found: no."), now=timezone.now())
    html = admin_page.get(page(endpoint, "latest")).content.decode()
    assert "HTTP 404 Not Found" in html
    assert reverse("admin:calls_webhookdelivery_change", args=[delivery.pk]) in html


def test_an_endpoint_is_deleted_with_its_deliveries_after_one_more_question(endpoint) -> None:
    events.test(endpoint, now=timezone.now())
    client = operator()
    assert "Deliveries: 1" in client.get(page(endpoint, "delete")).content.decode().replace("deliveries", "Deliveries")
    assert operator("delete").post(page(endpoint, "delete"), {"post": "yes"}).status_code == 403
    assert client.post(page(endpoint, "delete"), {"post": "yes"}).status_code == 302
    assert (WebhookEndpoint.objects.count(), WebhookDelivery.objects.count()) == (0, 0)


# --- the log ---------------------------------------------------------------------------------------------------------


def test_a_body_is_shown_with_whole_numbers_to_those_alone_who_may_see_them(endpoint, admin_page) -> None:
    WebhookEndpoint.objects.update(whole_numbers=True)
    delivery = opted_out(endpoint)
    address = f"{LOG}{delivery.pk}/change/"
    assert ANNA in admin_page.get(address).content.decode()
    seen = staff("view_webhookdelivery").get(address).content.decode()
    assert (ANNA in seen, "+1415•••••71" in seen) == (False, True)
    assert ANNA not in staff("view_webhookdelivery").get(LOG).content.decode()


def test_what_a_body_holds_is_shown_as_text(endpoint, admin_page) -> None:
    events.test(endpoint, now=timezone.now())
    WebhookDelivery.objects.update(body='{"type": "parley.test", "data": {"message": "<script>alert(1)</script>"}}')
    html = admin_page.get(f"{LOG}{WebhookDelivery.objects.get().pk}/change/").content.decode()
    assert "&lt;script&gt;alert(1)" in html
    assert "<script>alert(1)" not in html


def test_what_is_over_is_delivered_again_by_those_who_may(endpoint) -> None:
    now = timezone.now()
    for _ in range(2):
        events.test(endpoint, now=now)
    over = endpoint.deliveries.first()
    WebhookDelivery.objects.filter(pk=over.pk).update(state="failed", tries=10, next_try_at=None)
    chosen = {"action": "deliver_again", "_selected_action": list(endpoint.deliveries.values_list("pk", flat=True))}
    staff("view_webhookdelivery").post(LOG, chosen)
    over.refresh_from_db()
    assert over.state == "failed"
    html = staff("view_webhookdelivery", "resend_webhookdelivery").post(LOG, chosen, follow=True).content.decode()
    assert "1 of 2 are delivered again" in html
    assert "1 are not delivered again" in html
    over.refresh_from_db()
    assert (over.state, over.tries) == ("waiting", 0)


def test_the_lists_cost_as_many_queries_for_many_rows_as_for_few(endpoint, admin_page) -> None:
    def cost(address: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert admin_page.get(address).status_code == 200
        return len(queries)

    events.test(endpoint, now=timezone.now())
    addresses = (LIST, LOG, page(endpoint))
    few = [cost(address) for address in addresses]
    for _ in range(6):
        events.test(made(URL), now=timezone.now())
        events.test(endpoint, now=timezone.now())
    assert [cost(address) for address in addresses] == few

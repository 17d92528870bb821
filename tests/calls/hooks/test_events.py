"""What is told of to others: written with the fact or not at all, once, and with no more digits than allowed."""

import datetime
import json

import pytest
from django.db import IntegrityError, transaction
from django.test import TestCase

from calls import lifecycle, summaries, suppression
from calls.campaigns import outcomes
from calls.hooks import events
from calls.models import Call, CallSummary, Campaign, DoNotCall, WebhookDelivery
from calls.states import Facts
from calls.suppression import Entry
from tests import factories
from tests.calls.campaigns.conftest import NOON, make  # noqa: F401  (a fixture)
from tests.calls.hooks.conftest import made

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
URL = "https://hooks.example.com/"
ANNA = "+14155552671"
SPOKEN = DoNotCall.Source.SPOKEN


@pytest.fixture
def endpoint(hints):
    return made(URL)


def only() -> tuple[WebhookDelivery, dict]:
    delivery = WebhookDelivery.objects.get()
    return delivery, json.loads(delivery.body)


def ended(**fields) -> Call:
    call = factories.CallFactory(status="ended", ended_at=NOW, outcome="completed", duration_s=65, **fields)
    CallSummary.objects.create(call=call, status="pending")
    return call


# --- calls -----------------------------------------------------------------------------------------------------------


def test_a_call_without_words_is_told_of_as_soon_as_it_is_known_that_nothing_was_said(endpoint, hints) -> None:
    call = ended()
    summaries.summarise(call_id=call.pk, now=NOW)
    delivery, body = only()
    assert (body["type"], body["timestamp"]) == ("call.ended", "2026-11-26T12:00:00Z")
    data = body["data"]
    assert data["id"] == str(call.public_id)
    assert (data["outcome"], data["duration_s"], data["ended_at"]) == ("completed", 65, "2026-11-26T12:00:00Z")
    assert (data["agent"], data["agent_version"], data["campaign"]) == (call.agent.name, 1, None)
    assert (data["from"], data["summary"]["status"]) == ("+1555•••••21", "skipped")
    assert (delivery.state, delivery.next_try_at, delivery.event_key) == (
        "waiting",
        NOW,
        f"call.ended:{call.public_id}",
    )


def test_a_call_that_nobody_picked_up_is_told_of_at_its_end_and_no_worker_is_woken_for_a_summary(
    endpoint, hints
) -> None:
    call = factories.CallFactory(status="ringing", live_at=None)
    with TestCase.captureOnCommitCallbacks(execute=True):
        lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", ended_at=NOW, hangup_code=3010))
    assert only()[1]["data"]["summary"]["status"] == call.summary.status == "skipped"
    assert hints == [("calls.tasks.hooks.deliver", str(endpoint.pk))]


def test_a_summary_that_is_tried_again_is_waited_for_and_one_that_failed_is_not(endpoint) -> None:
    row = ended().summary
    summaries._failed(row, "Busy.", NOW, retry=True)
    assert not WebhookDelivery.objects.exists()
    row.attempts = len(summaries.RETRY_DELAYS_S)
    summaries._failed(row, "Busy.", NOW, retry=True)
    assert only()[1]["data"]["summary"]["status"] == "failed"


def test_a_summary_and_its_fields_are_in_the_body_and_a_later_one_is_not_sent_again(endpoint) -> None:
    row = ended().summary
    found = {"summary": "Booked.", "outcome": "Booked", "success": True, "extracted": {"day": "Freitag, 9 Uhr ☎"}}
    for _ in range(2):
        summaries._save(row, NOW, status=CallSummary.Status.READY, **found)
    _, body = only()
    told = body["data"]["summary"]
    assert (told["status"], told["text"], told["success"]) == ("ready", "Booked.", True)
    assert told["extracted"] == {"day": "Freitag, 9 Uhr ☎"}


def test_what_cannot_be_written_down_for_others_is_not_a_fact_either(endpoint, monkeypatch) -> None:
    row = ended().summary
    monkeypatch.setattr(events, "call_data", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        summaries._save(row, NOW, status=CallSummary.Status.READY, summary="Booked.")
    row.refresh_from_db()
    assert (row.status, row.summary) == ("pending", "")


def test_a_call_whose_fields_are_too_long_for_a_webhook_goes_without_them(endpoint) -> None:
    extracted = {f"field_{n}": "☎" * 4000 for n in range(30)}
    summaries._save(ended().summary, NOW, status=CallSummary.Status.READY, summary="Long.", extracted=extracted)
    delivery, body = only()
    assert len(delivery.body.encode()) < events.MAX_BODY
    assert (body["data"]["summary"]["text"], body["data"]["summary"]["extracted"]) == ("Long.", None)


def test_a_call_of_a_campaign_names_it(endpoint, make) -> None:  # noqa: F811
    campaign = make.campaign()
    person = campaign.people.get()
    call = ended(campaign=campaign, campaign_person=person, attempt=2, direction="outbound")
    summaries.summarise(call_id=call.pk, now=NOW)
    data = only()[1]["data"]
    assert (data["campaign"], data["attempt"]) == ({"id": str(campaign.pk), "name": campaign.name}, 2)


# --- opt-outs --------------------------------------------------------------------------------------------------------


def test_an_opt_out_is_told_of_once_with_the_number_masked(endpoint) -> None:
    call = factories.CallFactory()
    for _ in range(2):
        row, _ = suppression.add(Entry(ANNA, NOW, "never again"), source=SPOKEN, call=call)
    delivery, body = only()
    assert body["data"] == {
        "source": "spoken",
        "call": str(call.public_id),
        "people": [{"id": str(row.pk), "number": "+1415•••••71", "since": "2026-11-26T12:00:00Z"}],
    }
    assert ANNA[2:] not in delivery.body


def test_whole_numbers_go_to_those_endpoints_alone_that_may_have_them(endpoint) -> None:
    whole = made("https://crm.example.com/", whole_numbers=True)
    suppression.add(Entry(ANNA, NOW), source=SPOKEN)
    masked_one, whole_one = endpoint.deliveries.get(), whole.deliveries.get()
    assert json.loads(whole_one.body)["data"]["people"][0]["number"] == ANNA
    assert ANNA not in masked_one.body
    assert (masked_one.whole_numbers, whole_one.whole_numbers) == (False, True)
    assert masked_one.event_id == whole_one.event_id
    assert events.without_numbers(json.loads(whole_one.body)) == json.loads(masked_one.body)


def test_many_opt_outs_are_told_of_five_hundred_at_a_time(endpoint) -> None:
    suppression.add(Entry("+14155550003", NOW), source=SPOKEN)
    entries = [Entry(f"+1415555{n:04}", NOW, "register") for n in range(1100)]
    assert suppression.add_all(entries, source=DoNotCall.Source.IMPORT) == 1099
    bodies = [json.loads(each.body)["data"] for each in WebhookDelivery.objects.order_by("pk")]
    assert [len(each["people"]) for each in bodies] == [1, 499, 500, 100]
    assert {each["source"] for each in bodies[1:]} == {"import"}
    assert suppression.add_all(entries, source=DoNotCall.Source.IMPORT) == 0
    assert WebhookDelivery.objects.count() == 4
    assert max(len(each.body) for each in WebhookDelivery.objects.all()) < events.MAX_BODY / 3


@pytest.mark.django_db(transaction=True)
def test_what_is_rolled_back_is_not_told_of_and_what_is_committed_wakes_a_worker(endpoint, hints) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        suppression.add(Entry(ANNA, NOW), source=SPOKEN)
        raise ZeroDivisionError
    assert (WebhookDelivery.objects.count(), hints) == (0, [])
    suppression.add(Entry(ANNA, NOW), source=SPOKEN)
    assert hints == [("calls.tasks.hooks.deliver", str(endpoint.pk))]


# --- campaigns, and all ----------------------------------------------------------------------------------------------


def test_a_finished_campaign_is_told_of_with_its_figures(endpoint, make) -> None:  # noqa: F811
    campaign = make.campaign(make.people(3))
    campaign.people.update(state="done", outcome="completed", next_due=None)
    campaign.people.filter(pk=campaign.people.first().pk).update(outcome="busy")
    for _ in range(2):
        outcomes.finish(now=NOON)
    data = only()[1]["data"]
    assert (data["id"], data["finished_at"]) == (str(campaign.pk), "2026-11-26T17:00:00Z")
    assert (data["people"], data["outcomes"]) == ({"done": 3}, {"completed": 2, "busy": 1})
    assert Campaign.objects.get().status == "finished"


def test_only_enabled_endpoints_that_want_an_event_get_it(hints) -> None:
    made("https://a.example/", events=["campaign.finished"])
    made("https://b.example/", enabled=False)
    wants = made("https://c.example/", events=["opt_out.added"])
    suppression.add(Entry(ANNA, NOW), source=SPOKEN)
    assert only()[0].endpoint == wants


def test_the_database_holds_an_event_once_for_an_endpoint(endpoint) -> None:
    suppression.add(Entry(ANNA, NOW), source=SPOKEN)
    columns = WebhookDelivery.objects.values().get()
    columns.pop("id")
    with pytest.raises(IntegrityError), transaction.atomic():
        WebhookDelivery.objects.create(**columns)

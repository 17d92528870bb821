"""Whole calls between a faithful Plivo and our edge over real HTTP, where nothing answers the stream's socket.

What a live stream does with a call is tested with the streams; here the edge must carry the call alone.
"""

import pytest

from calls import phone
from calls.models import Call, EdgeRefusal, WebhookEvent
from tests.calls.conftest import SILENT, ended
from tests.calls.sandbox_thread import DEMO_NUMBER

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]


def kinds():
    """Of the webhooks that were applied: a locked test database fails some, which Plivo then sends again."""
    return sorted(WebhookEvent.objects.exclude(applied_at=None).values_list("kind", flat=True))


def test_a_call_whose_stream_never_opens_is_tried_four_times_then_let_go_with_an_apology(box, rented):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=SILENT)
    box.report(call_uuid, wait="ended")
    call = ended(call_uuid)
    assert (call.streams, call.end_reason, call.agent_version) == (4, "stream_lost", rented.agent.published_version)
    assert call.stream_tokens.count() == 4
    assert kinds().count("after-stream") == 4
    assert not EdgeRefusal.objects.exists()


def test_a_running_call_is_found_hung_up_and_then_has_its_record(box, rented):
    box.settings(cdr_after_s=0)
    call_uuid = box.inbound_call(DEMO_NUMBER, script=SILENT, faults={"connect_delay_ms": 20_000})
    box.report(call_uuid, wait="answered")
    call = Call.objects.get(plivo_call_uuid=call_uuid)
    with phone.client_for(rented.plivo_account) as client:
        assert client.running_call(call_uuid).direction == "inbound"
        assert call_uuid in client.running_call_uuids()
        phone.hang_up(call)
        box.report(call_uuid, wait="ended")
        assert client.running_call(call_uuid) is None
        assert call_uuid not in client.running_call_uuids()
        record = client.call_record(call_uuid)
    assert (record.call_uuid, record.direction) == (call_uuid, "inbound")
    assert record.ended_at.tzinfo
    call = ended(call_uuid)
    assert (call.end_reason, call.streams) == ("operator", 1)


@pytest.mark.parametrize("signature", ["list", "list_spaced"])
def test_lists_of_signatures_are_believed(box, rented, signature):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=SILENT, faults={"webhook_signature": signature})
    box.report(call_uuid, wait="ended")
    assert ended(call_uuid).agent == rented.agent


@pytest.mark.parametrize("signature", ["missing", "wrong", "no_nonce"])
def test_calls_whose_webhooks_are_not_plivos_leave_no_trace_but_the_refusal(box, rented, signature):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=SILENT, faults={"webhook_signature": signature})
    box.report(call_uuid, wait="ended")
    assert not Call.objects.exists()
    assert not WebhookEvent.objects.exists()
    assert EdgeRefusal.objects.get().count >= 2


@pytest.mark.parametrize(
    "faults",
    [
        {"webhook_duplicates": {"StartApp": 1, "Hangup": 2}},
        {"hangup_before_answer_reply": True},
        {"webhook_delay_ms": {"StartApp": 200}},
        {"numbers_with_plus": True},
    ],
)
def test_doubled_late_and_disordered_webhooks_give_one_ended_call(box, rented, faults):
    call_uuid = box.inbound_call(DEMO_NUMBER, script=SILENT, faults=faults)
    box.report(call_uuid, wait="ended")
    call = ended(call_uuid)
    assert Call.objects.count() == 1
    assert (call.from_number[0], call.to_number) == ("+", rented.number)
    assert call.agent_version == rented.agent.published_version


def test_a_number_without_an_agent_apologises_and_hangs_up(box, rented):
    rented.agent = None
    rented.save()
    call_uuid = box.inbound_call(DEMO_NUMBER, script=SILENT)
    box.report(call_uuid, wait="ended")
    call = ended(call_uuid)
    assert (call.end_reason, call.outcome) == ("refused", "failed")

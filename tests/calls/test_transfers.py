"""A caller who is put through: dialled once, let go when somebody answered, back with the agent when nobody did."""

import pytest
from django.utils import timezone

from agents.providers.base import Message
from calls import live_calls
from calls.models import CallEvent, StreamToken, Turn
from tests import factories
from tests.calls.carrier import Carrier, tags, xml

pytestmark = [pytest.mark.db, pytest.mark.django_db]

BILLING = {"name": "billing", "number": "+15551230009", "description": "invoices"}


@pytest.fixture(autouse=True)
def _no_outside(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def call():
    agent = factories.AgentFactory(transfers=[BILLING])
    call = factories.CallFactory(agent=agent, agent_version=factories.AgentVersionFactory(agent=agent))
    begin(call)
    return call


@pytest.fixture
def plivo(call):
    return Carrier(call.plivo_account)


def begin(call, session="s"):
    live_calls.claim(call_id=call.pk, session=session)
    return live_calls.stream_started(call_id=call.pk, stream_id=session, session=session, now=timezone.now())


def leave(call, session="s", to="billing"):
    now = timezone.now()
    live_calls.stream_ended(
        call_id=call.pk, session=session, reason="transferred", normal=True, transfer_to=to, now=now
    )
    call.refresh_from_db()


def ask(plivo, call, name="after-stream", **fields):
    return plivo.send(f"/plivo/calls/{call.public_id}/{name}/", CallUUID=call.plivo_call_uuid, **fields)


def report(plivo, call, status, number=1):
    path = f"/plivo/calls/{call.public_id}/dial/?transfer={number}"
    response = plivo.send(path, CallUUID=call.plivo_call_uuid, DialStatus=status)
    call.refresh_from_db()
    return response


def test_the_document_after_the_stream_dials_the_agents_number_and_no_other(call, plivo):
    leave(call)
    response = ask(plivo, call)

    assert tags(response) == ["Dial"]
    dial = xml(response).find("Dial")
    assert dial.find("Number").text == "15551230009"
    assert dial.get("callerId") == call.to_number.lstrip("+")
    assert f"/plivo/calls/{call.public_id}/dial/?transfer=1" in dial.get("action")
    assert tags(plivo.again()) == ["Dial"]
    assert CallEvent.objects.filter(call=call, kind="transfer_dialled").count() == 1
    assert (call.status, call.stream_ended_at) == ("live", None)


def test_a_caller_whom_somebody_answered_is_let_go_afterwards(call, plivo):
    leave(call)
    ask(plivo, call)

    assert tags(report(plivo, call, "completed")) == ["Hangup"]
    assert call.end_reason == "transferred"
    assert tags(plivo.again()) == ["Hangup"]
    plivo.hang_up(path=f"/plivo/calls/{call.public_id}/hangup/", call_uuid=call.plivo_call_uuid)
    call.refresh_from_db()
    assert (call.status, call.outcome, call.end_reason) == ("ended", "completed", "transferred")


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("busy", "was busy"),
        ("no-answer", "was not answered"),
        ("timeout", "was not answered"),
        ("failed", "could not be reached"),
        ("", "was not answered"),
    ],
)
def test_a_caller_whom_nobody_answered_comes_back_to_an_agent_who_knows_why(call, plivo, status, why):
    leave(call)
    ask(plivo, call)

    assert tags(report(plivo, call, status)) == ["Stream", "Redirect"]
    assert (call.transfer_to, call.end_reason, call.streams) == ("", "", 1)
    context = begin(call, "again")
    assert context.resumed
    assert context.history[-1] == Message(
        role="user", content=f"[The transfer to billing {why}. You are talking to the caller again.]"
    )


def test_a_repeated_report_brings_the_caller_back_once(call, plivo):
    leave(call)
    report(plivo, call, "busy")

    assert tags(plivo.again()) == ["Stream", "Redirect"]
    assert Turn.objects.filter(call=call, kind=Turn.TRANSFER_FAILED).count() == 1
    assert StreamToken.objects.filter(call=call).count() == 2


def test_a_late_report_of_an_earlier_transfer_does_not_touch_the_next(call, plivo):
    leave(call)
    report(plivo, call, "busy")
    begin(call, "again")
    leave(call, "again")

    assert tags(report(plivo, call, "completed", number=1)) == ["Hangup"]
    assert (call.transfer_to, call.transfers, call.end_reason) == ("billing", 2, "")


def test_after_three_transfers_the_agent_has_none_to_offer(call, plivo):
    for number in (1, 2, 3):
        leave(call, f"s{number - 1}" if number > 1 else "s")
        report(plivo, call, "busy", number=number)
        context = begin(call, f"s{number}")

    assert context.spec.transfers == ()
    assert "transfer_call" not in context.spec.tools


def test_a_caller_who_hangs_up_while_it_rings_is_not_called_transferred(call, plivo):
    leave(call)
    ask(plivo, call)
    plivo.hang_up(path=f"/plivo/calls/{call.public_id}/hangup/", call_uuid=call.plivo_call_uuid)

    assert tags(report(plivo, call, "cancel")) == ["Hangup"]
    assert (call.status, call.end_reason) == ("ended", "caller_hung_up")


def test_a_destination_that_the_version_does_not_have_dials_nobody(call, plivo):
    leave(call, to="the moon")

    assert tags(ask(plivo, call)) == ["Stream", "Redirect"]


def test_a_session_that_lost_its_call_puts_nobody_through(call, plivo):
    begin_again = live_calls.claim(call_id=call.pk, session="other")
    leave(call, session="nobody")

    assert not begin_again
    assert call.transfer_to == ""


def test_a_browser_has_nobody_to_be_put_through_to():
    call = factories.CallFactory(direction="browser")
    begin(call)
    leave(call)

    assert (call.status, call.end_reason, call.transfer_to) == ("ended", "transferred", "")

"""After a stream: a normal end hangs up, a drop gives another stream, and a call that had them all is let go kindly."""

import datetime

import pytest
from django.utils import timezone

from agents import services
from agents.models import ProviderAccount
from calls import answers, live_calls
from calls.models import Call, CallEvent, StreamToken
from tests import factories
from tests.calls.carrier import Carrier, tags, xml

pytestmark = [pytest.mark.db, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def _no_outside(settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"


@pytest.fixture
def call():
    return factories.CallFactory()


@pytest.fixture
def ask(call):
    """Asks for the call's after-stream document."""
    plivo = Carrier(call.plivo_account)

    def ask(**fields):
        path = f"/plivo/calls/{call.public_id}/after-stream/"
        return plivo.send(path, CallUUID=call.plivo_call_uuid, CallStatus="in-progress", **fields)

    ask.again = plivo.again
    return ask


def publish(agent, **changes):
    """The agent, changed and published again."""
    for name, value in changes.items():
        setattr(agent, name, value)
    agent.save()
    return factories.AgentVersionFactory(agent=agent)


def test_after_a_normal_end_the_call_is_hung_up(call, ask):
    now = timezone.now()
    live_calls.claim(call_id=call.pk, session="s")
    live_calls.stream_started(call_id=call.pk, stream_id="1", session="s", now=now)
    live_calls.stream_ended(call_id=call.pk, session="s", reason="agent_ended", normal=True, now=now)
    assert tags(ask()) == ["Hangup"]
    assert not StreamToken.objects.exists()


def test_after_a_drop_the_conversation_gets_another_stream(call, ask):
    now = timezone.now()
    live_calls.claim(call_id=call.pk, session="s")
    live_calls.stream_started(call_id=call.pk, stream_id="1", session="s", now=now)
    live_calls.stream_ended(call_id=call.pk, session="s", reason=None, normal=False, now=now)
    assert tags(ask()) == ["Stream", "Redirect"]
    call.refresh_from_db()
    assert (call.status, call.streams) == ("live", 2)
    assert CallEvent.objects.filter(call=call, kind="stream_again").exists()


def test_a_stream_that_never_began_is_tried_again_at_once_then_after_ever_longer_waits(call, ask):
    at_once, later, last = (ask() for _ in range(3))
    assert tags(at_once) == ["Stream", "Redirect"]
    assert tags(later) == tags(last) == ["Wait", "Stream", "Redirect"]
    assert [int(xml(each).find("Wait").get("length")) for each in (later, last)] == [1, 5]
    call.refresh_from_db()
    assert call.streams == answers.MAX_STREAMS
    assert StreamToken.objects.count() == 3


def test_after_the_last_stream_the_call_ends_with_an_apology(call, ask):
    for _ in range(3):
        ask()
    assert tags(ask()) == ["Speak", "Hangup"]
    call.refresh_from_db()
    assert (call.end_reason, call.streams) == ("stream_lost", answers.MAX_STREAMS)
    assert tags(ask.again()) == ["Speak", "Hangup"]
    assert tags(ask()) == ["Speak", "Hangup"]


def test_after_the_last_stream_a_call_with_a_fallback_number_is_passed_on(call, ask):
    Call.objects.filter(pk=call.pk).update(
        agent_version=publish(call.agent, fallback_number="+15550008888", apology="Sorry."), streams=4
    )
    response = ask()
    assert tags(response) == ["Speak", "Dial"]
    dial = xml(response).find("Dial")
    assert (dial.find("Number").text, dial.get("callerId")) == ("15550008888", call.to_number.lstrip("+"))
    assert f"/plivo/calls/{call.public_id}/dial/" in dial.get("action")


def test_a_replay_gets_the_same_answer_and_counts_no_stream(call, ask):
    ask()
    assert tags(ask.again()) == ["Stream", "Redirect"]
    call.refresh_from_db()
    assert call.streams == 2


def test_a_caller_who_has_left_gets_no_stream(call, ask):
    plivo = Carrier(call.plivo_account)
    plivo.hang_up(path=f"/plivo/calls/{call.public_id}/hangup/", call_uuid=call.plivo_call_uuid)
    assert tags(ask()) == ["Hangup"]
    assert not StreamToken.objects.exists()
    call.refresh_from_db()
    assert (call.streams, call.end_reason) == (1, "caller_hung_up")


def test_a_hang_up_between_the_drop_and_the_next_stream_still_ends_the_call(call, ask):
    ask()
    plivo = Carrier(call.plivo_account)
    plivo.hang_up(path=f"/plivo/calls/{call.public_id}/hangup/", call_uuid=call.plivo_call_uuid)
    assert live_calls.stream_started(call_id=call.pk, stream_id="late", session="s", now=timezone.now()) is None
    call.refresh_from_db()
    assert (call.status, call.outcome) == ("ended", "completed")


def test_a_refused_call_is_not_given_a_stream_afterwards(call, ask):
    Call.objects.filter(pk=call.pk).update(end_reason="refused")
    assert tags(ask()) == ["Hangup"]


def test_a_call_beyond_its_longest_length_is_not_started_again(call, ask):
    begun = timezone.now() - datetime.timedelta(seconds=call.agent.max_call_s + 1)
    Call.objects.filter(pk=call.pk).update(live_at=begun, status="live")
    assert tags(ask()) == ["Hangup"]
    call.refresh_from_db()
    assert call.end_reason == "max_length"


@pytest.mark.parametrize(
    ("seen_before", "ended", "document"),
    [
        (datetime.timedelta(seconds=3), False, ["Wait", "Redirect"]),
        (datetime.timedelta(seconds=30), False, ["Stream", "Wait", "Redirect"]),
        (datetime.timedelta(seconds=3), True, ["Hangup"]),
    ],
)
def test_a_listening_call_is_kept_while_its_stream_lives(call, ask, seen_before, ended, document):
    version = publish(call.agent, mode="listen_only")
    now = timezone.now()
    Call.objects.filter(pk=call.pk).update(
        agent_version=version,
        status="live",
        live_at=now,
        last_seen_at=now - seen_before,
        stream_ended_at=now if ended else None,
    )
    assert tags(ask()) == document


def live(call, *turns):
    """A stream of the call that has written these turns: (kind, text, heard)."""
    now = timezone.now()
    live_calls.claim(call_id=call.pk, session="s")
    live_calls.stream_started(call_id=call.pk, stream_id="1", session="s", now=now)
    rows = [
        {"index": index, "role": "agent", "kind": kind, "text": text, "heard": heard, "started_ms": 1, "ended_ms": 2}
        for index, (kind, text, heard) in enumerate(turns)
    ]
    if rows:
        live_calls.write_turns({call.pk: rows})
    return now


def failed(call, *turns):
    now = live(call, *turns)
    live_calls.stream_ended(call_id=call.pk, session="s", reason="provider_failure", normal=True, now=now)


APOLOGY = "I am sorry, I am having technical trouble. Please call again later."


def test_after_providers_failed_and_the_apology_was_heard_the_call_is_hung_up(call, ask):
    failed(call, ("greeting", "Hello.", "Hello."), ("apology", APOLOGY, APOLOGY))
    assert tags(ask()) == ["Hangup"]
    assert tags(ask.again()) == ["Hangup"]


@pytest.mark.parametrize(
    "heard", [(), (("apology", APOLOGY, ""),), (("apology", "Could you say that again?", "Could"),)]
)
def test_an_apology_that_no_voice_could_say_is_said_by_plivo(call, ask, heard):
    failed(call, *heard)
    document = ask()
    assert tags(document) == ["Speak", "Hangup"]
    assert xml(document).find("Speak").text == APOLOGY
    assert tags(ask.again()) == ["Speak", "Hangup"]


@pytest.mark.parametrize(("heard", "expected"), [(APOLOGY, ["Dial"]), ("", ["Speak", "Dial"])])
def test_whose_providers_failed_is_put_through_to_the_fallback_number(call, ask, heard, expected):
    call.agent_version = publish(call.agent, fallback_number="+15551239999")
    call.save()
    failed(call, ("apology", APOLOGY, heard))
    document = ask()
    assert tags(document) == expected
    assert xml(document).find("Dial/Number").text == "15551239999"


def test_a_call_of_which_no_account_can_be_used_is_apologised_for_at_once(call, ask):
    ProviderAccount.objects.update(api_key="", key_hint="")
    with pytest.raises(services.AccountError):
        live(call)
    live_calls.release(call_id=call.pk, session="s")
    assert tags(ask()) == ["Speak", "Hangup"]
    event = CallEvent.objects.get(call=call, kind="no_provider")
    assert "has no API key" in event.data["problem"]

"""What programs can do: add people, start a call, read one, opt somebody out."""

import datetime
import uuid

import pytest
from django.contrib.admin.models import LogEntry

from agents.models import Agent
from calls import lifecycle, suppression
from calls.models import Call, CallSummary, Contact, ContactList, DoNotCall, OneOffCall, PhoneNumber, Turn
from calls.states import Facts
from tests import factories
from tests.calls.api.conftest import Program, problem
from tests.calls.campaigns.conftest import NOON

pytestmark = [pytest.mark.db, pytest.mark.django_db]

ANNA, BEN = "+14155552671", "+14155552672"


# --- contacts --------------------------------------------------------------------------------------------------------


@pytest.fixture
def people(db) -> ContactList:
    return ContactList.objects.create(name="Spring")


def results(response) -> list[str]:
    assert response.status_code == 200, response.content
    return [each["result"] for each in response.json()["people"]]


def test_people_are_added_under_the_rules_of_an_import_and_each_is_answered(program, people):
    suppression.add(suppression.Entry(BEN, NOON), source=DoNotCall.Source.SPOKEN)
    sent = [
        {"number": "(415) 555-2671", "name": " Anna  Lee ", "time_zone": "america/los_angeles", "consent": "yes",
         "consent_at": "2026-05-03", "variables": {"order_no": 17, "empty": ""}},
        {"number": BEN},
        {"number": "415 555 2671"},
        {"number": "12", "time_zone": "EST"},
        {"number": "+14155552673", "variables": {"Order No": "x"}},
    ]  # fmt: skip
    body = {"contact_list": "Spring", "country": "US", "people": sent}
    response = program.post("contacts", body)
    assert results(response) == ["added", "added", "rejected", "rejected", "rejected"]
    found = response.json()
    assert (found["added"], found["in_list"], found["rejected"], found["do_not_call"]) == (2, 0, 3, 1)
    anna = Contact.objects.get(pk=found["people"][0]["contact"])
    assert (anna.number, anna.name, anna.time_zone, anna.consent) == (
        ANNA,
        "Anna Lee",
        "America/Los_Angeles",
        "express",
    )
    assert (anna.variables, str(anna.consent_at)) == ({"order_no": "17"}, "2026-05-03")
    assert found["people"][1]["do_not_call"]
    whys = [each["why"] for each in found["people"]]
    assert whys[2] == "the number stands in entry 0 already"
    assert "Phone number: " in whys[3]
    assert "Time zone: not a time zone" in whys[3]
    assert "cannot name a variable" in whys[4]
    assert results(program.post("contacts", body | {"contact_list": str(people.pk)}))[:2] == ["in_list", "in_list"]
    assert Contact.objects.count() == 2
    entry = LogEntry.objects.get()
    assert (entry.user, entry.object_id) == (program.row.created_by, str(people.pk))
    assert entry.change_message == f"Added 2 people by the API key CRM ({program.row.prefix}…)."


def test_as_many_people_take_as_many_queries(program, people, django_assert_max_num_queries):
    sent = [{"number": f"+1415555{at:04}"} for at in range(2000, 2500)]
    with django_assert_max_num_queries(20):
        assert results(program.post("contacts", {"contact_list": "Spring", "people": sent})) == ["added"] * 500
    sent.append({"number": ANNA})
    assert problem(program.post("contacts", {"contact_list": "Spring", "people": sent})) == (422, "invalid")


@pytest.mark.parametrize("name", ["Autumn", str(uuid.UUID(int=0)), "\x00"])
def test_an_unknown_list_is_told_so_and_not_made(program, people, name):
    body = {"contact_list": name, "people": [{"number": ANNA}]}
    assert problem(program.post("contacts", body)) == (404, "list_not_found")
    assert ContactList.objects.count() == 1


# --- calls -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def call_body(program):
    caller = factories.PhoneNumberFactory()
    return {
        "agent": str(caller.agent.pk), "caller": caller.number, "number": "+1 415-555-2671", "purpose": "service",
        "region": "CA", "consent": "express", "variables": {"order_no": "A-17"},
    }  # fmt: skip


def start(program, body, key="order-17", **changes):
    return program.post("calls", body | changes, **{"Idempotency-Key": key})


def test_a_call_is_started_once_however_often_it_is_asked_for(program, call_body):
    first = start(program, call_body)
    assert (first.status_code, first.json()["status"]) == (201, "claimed")
    call = Call.objects.get(public_id=first.json()["id"])
    assert (call.to_number, call.variables, call.started_by) == (ANNA, {"order_no": "A-17"}, program.row.created_by)
    again = start(program, call_body)
    assert (again.status_code, again.json()) == (200, first.json())
    assert problem(start(program, call_body, region="NY")) == (422, "idempotency_key_reused")
    assert problem(start(program, call_body, key="order-18")) == (409, "number_busy")
    assert OneOffCall.objects.get().api_key == program.row


def test_a_call_is_given_again_when_what_it_was_started_with_is_gone(program, call_body):
    first = start(program, call_body)
    Call.objects.update(status="ended", outcome="completed")
    Agent.objects.update(published_version=None)
    PhoneNumber.objects.all().delete()
    again = start(program, call_body)
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert problem(start(program, call_body, region="NY")) == (422, "idempotency_key_reused")
    assert problem(start(program, call_body, key="order-18")) == (422, "agent_not_published")
    assert Call.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"agent": str(uuid.UUID(int=0))}, (404, "agent_not_found")),
        ({"caller": "+14155550000"}, (422, "caller_unknown")),
        ({"caller": "<x>"}, (422, "caller_unknown")),
        ({"number": "415"}, (422, "not_callable")),
        ({"on_machine": "leave_message", "voicemail_message": " "}, (422, "no_message")),
        ({"number": "+4930123456"}, (422, "not_callable")),
        ({"number": "+14155552671<+14155552672"}, (422, "not_callable")),
        ({"consent": ""}, (422, "not_callable")),
        ({"time_zone": "EST"}, (422, "not_callable")),
        ({"variables": {"date": "x"}}, (422, "not_callable")),
        ({"variables": {"a": ["x"]}}, (422, "invalid")),
        ({"purpose": "other"}, (422, "invalid")),
        ({"ring_s": 0}, (422, "invalid")),
        ({"timezone": "x"}, (422, "invalid")),
    ],
)
def test_what_is_wrong_with_a_call_is_said_and_uses_up_no_key(program, call_body, changes, found):
    assert problem(start(program, call_body, **changes)) == found
    assert not Call.objects.exists()
    assert start(program, call_body).status_code == 201


def test_an_agent_that_was_never_published_calls_nobody(program, call_body):
    agent = factories.AgentFactory()
    assert problem(start(program, call_body, agent=str(agent.pk))) == (422, "agent_not_published")


def test_outside_the_hours_the_next_allowed_moment_is_told(program, call_body, monkeypatch):
    monkeypatch.setattr("django.utils.timezone.now", lambda: NOON.replace(hour=3))
    response = start(program, call_body, time_zone="America/New_York", region="NY")
    assert problem(response) == (409, "not_now")
    assert response.json()["error"]["next_allowed"] == "2026-11-26T13:00:00Z"


def test_somebody_on_the_do_not_call_list_is_not_called(program, call_body):
    suppression.add(suppression.Entry(ANNA, NOON), source=DoNotCall.Source.SPOKEN)
    assert problem(start(program, call_body)) == (422, "do_not_call")


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "é"])
def test_a_call_without_a_usable_idempotency_key_is_refused(program, call_body, key):
    assert problem(start(program, call_body, key=key)) == (422, "invalid")
    assert problem(program.post("calls", call_body)) == (422, "invalid")


# --- reading ---------------------------------------------------------------------------------------------------------


def spoken(program, call_body) -> Call:
    call = Call.objects.get(public_id=start(program, call_body).json()["id"])
    times = dict.fromkeys(("queued_at", "ringing_at", "answered_at", "live_at"), NOON)
    lifecycle.apply(
        call_id=call.pk, facts=Facts(status="ended", ended_at=NOON, duration_s=12, hangup_code=4000, **times)
    )
    words = [("agent", "Hello, this is Rowan Dental.", "Hello, this"), ("caller", "Good morning.", "")]
    for at, (role, text, heard) in enumerate(words):
        Turn.objects.create(
            call=call, index=at, role=role, text=text, heard=heard, started_ms=at * 1000, ended_ms=at * 1000 + 500
        )
    CallSummary.objects.filter(call=call).update(
        status="ready", summary="They greeted.", success=True, extracted={"reason": "a check-up"}
    )
    return call


def test_a_call_is_read_with_all_that_is_known_of_it(program, call_body, django_assert_max_num_queries):
    call = spoken(program, call_body)
    with django_assert_max_num_queries(5):
        found = program.get(f"calls/{call.public_id}").json()
    assert (found["status"], found["outcome"], found["duration_s"]) == ("ended", "completed", 12)
    assert found["agent"] == {"id": str(call.agent_id), "name": call.agent.name, "version": 1}
    assert found["answered_at"] == "2026-11-26T17:00:00Z"
    assert found["variables"] == {"order_no": "A-17"}
    assert [(each["role"], each["text"], each["heard"]) for each in found["transcript"]] == [
        ("agent", "Hello, this is Rowan Dental.", "Hello, this"),
        ("caller", "Good morning.", ""),
    ]
    assert found["summary"]["extracted"] == {"reason": "a check-up"}


def test_numbers_are_masked_unless_the_key_may_see_them(program, call_body):
    call = spoken(program, call_body)
    assert program.get(f"calls/{call.public_id}").json()["to_number"] == "+1415•••••71"
    assert ANNA not in program.get(f"calls/{call.public_id}").content.decode()
    whole = Program(name="Whole", scopes=("can_read", "can_see_numbers"))
    assert whole.get(f"calls/{call.public_id}").json()["to_number"] == ANNA


def test_why_a_call_was_not_made_after_all_is_told(program, call_body):
    call = Call.objects.get(public_id=start(program, call_body).json()["id"])
    lifecycle.note(call=call, kind="dial_cancelled", now=NOON, data={"why": "the switch"})
    assert lifecycle.withdraw(call_id=call.pk)
    found = program.get(f"calls/{call.public_id}").json()
    assert (found["status"], found["outcome"], found["why"]) == ("cancelled", "cancelled", "the switch")
    assert (found["transcript"], found["summary"]) == ([], None)


def test_a_call_of_nobody_is_read_too(program):
    call = Call.objects.create(direction="inbound", status="ended", from_number="anonymous")
    assert program.get(f"calls/{call.public_id}").json()["agent"] is None


# --- do not call -----------------------------------------------------------------------------------------------------


def test_a_number_is_opted_out_with_what_shows_it(program):
    body = {"number": "+1 415 555 2671", "since": "2026-05-03T10:00:00+02:00", "evidence": "asked by mail\x00"}
    response = program.post("do-not-call", body)
    assert (response.status_code, response.json()) == (201, {"number": "+1415•••••71", "since": "2026-05-03T08:00:00Z"})
    row = DoNotCall.objects.get()
    assert (row.source, row.evidence, row.added_by) == ("api", "asked by mail", program.row.created_by)
    assert suppression.is_suppressed(ANNA)
    assert LogEntry.objects.get().object_id == str(row.pk)
    again = program.post("do-not-call", body | {"since": None})
    assert (again.status_code, again.json()["since"]) == (200, "2026-05-03T08:00:00Z"), "the first entry stays"
    assert LogEntry.objects.count() == 1


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"number": "12"}, (422, "not_a_number")),
        ({"since": str(NOON + datetime.timedelta(days=1))}, (422, "invalid")),
        ({"since": "2026-05-03T10:00:00"}, (422, "invalid")),
        ({"evidence": ""}, (422, "invalid")),
    ],
)
def test_an_entry_that_cannot_be_is_refused(program, changes, found):
    assert problem(program.post("do-not-call", {"number": ANNA, "evidence": "mail"} | changes)) == found
    assert not DoNotCall.objects.exists()


def test_nothing_is_written_onto_a_list_that_cannot_be_relied_on(program, settings):
    suppression.add(suppression.Entry(BEN, NOON), source=DoNotCall.Source.SPOKEN)
    settings.SUPPRESSION_KEY = "another"
    assert problem(program.post("do-not-call", {"number": ANNA, "evidence": "mail"})) == (503, "list_unreliable")

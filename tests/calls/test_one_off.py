"""Who may be called by a single call, and who is refused at once: the rules of campaigns, for one person."""

import datetime

import pytest
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from calls import lifecycle, one_off, suppression
from calls.api import keys
from calls.campaigns import control, gate, law, schedule
from calls.campaigns.people import Person
from calls.models import ApiKey, Call, DoNotCall, OneOffCall
from calls.states import Facts
from calls.tasks import maintenance
from tests import factories
from tests.calls.campaigns.conftest import NOON
from tests.calls.campaigns.test_duties import scrubbed

pytestmark = [pytest.mark.db, pytest.mark.django_db]

ANNA = "+14155552671"
MINUTE, HOUR = datetime.timedelta(minutes=1), datetime.timedelta(hours=1)


def person(**changes) -> Person:
    fields = {"number": ANNA, "country": "US", "zones": ("America/New_York",), "region": "NY", "consent": "express"}
    return Person(**(fields | changes))


def order(**changes) -> one_off.Order:
    caller = changes.pop("caller", None) or factories.PhoneNumberFactory()
    fields = {
        "origin": OneOffCall.Origin.API, "version": caller.agent.published_version, "caller": caller,
        "person": person(), "purpose": "service", "by": "a test",
    }  # fmt: skip
    return one_off.Order(**(fields | changes))


@pytest.fixture
def key() -> ApiKey:
    row = ApiKey(name="CRM", can_call=True, countries=["US", "IN"])
    keys.give(row)
    row.save()
    return row


@pytest.fixture
def once(key):
    return lambda name="a", body="b" * 64: one_off.Once(key, name, body)


def start(once, now=NOON, **changes) -> Call:
    return one_off.start(order(**changes), now=now, once=once)[0]


def refusal(once, now=NOON, **changes) -> one_off.Refused:
    with pytest.raises(one_off.Refused) as raised:
        one_off.start(order(**changes), now=now, once=once)
    assert not OneOffCall.objects.filter(call__status="claimed").exists()
    return raised.value


def end(call: Call, **facts) -> None:
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", ended_at=call.created_at, **facts))


def test_a_call_is_ordered_with_all_that_the_dialler_and_the_agent_need(once):
    asked = order(person=person(variables={"order_no": "A-17"}), ring_s=25, on_machine="go_on", longest_call_s=90)
    call, new = one_off.start(asked, now=NOON, once=once())
    assert new
    assert (call.direction, call.status, call.deadline_at, call.campaign) == ("outbound", "claimed", NOON, None)
    assert (call.to_number, call.from_number) == (ANNA, asked.caller.number)
    assert (call.plivo_account, call.agent_version) == (asked.caller.plivo_account, asked.version)
    assert call.variables == {"order_no": "A-17"}
    assert (call.one_off.ring_s, call.one_off.on_machine) == (25, "go_on")
    assert call.ring_by == NOON.replace(day=27, hour=2) - datetime.timedelta(seconds=25), "nine in New York"
    assert call.spec.max_call_ms == 90_000
    assert call.events.get().data == {"by": "a test"}


@pytest.mark.parametrize(
    ("changes", "code", "why"),
    [
        ({"person": person(consent="")}, "not_callable", "no express consent is known"),
        ({"purpose": "transactional", "person": person(consent="")}, "not_callable", "no express consent is known"),
        ({"person": person(zones=())}, "not_callable", "the time zone is not known"),
        ({"person": person(number="+4930123456", country="DE")}, "not_callable", "calls to DE are not allowed"),
        ({"person": person(number="+19005550123")}, "not_callable", "the number"),
        (
            {"person": person(number="+919876543210", country="IN")},
            "not_callable",
            "must come from a number that begins",
        ),
        ({"person": person(number="0044 20")}, None, "E.164"),
    ],
)
def test_whoever_may_not_be_called_is_refused_with_the_reason(once, changes, code, why):
    if code is None:
        with pytest.raises(ValueError, match=why):
            start(once(), **changes)
        return
    found = refusal(once(), **changes)
    assert found.code == code
    assert why in str(found)


def test_a_promotional_call_to_the_united_states_needs_written_consent_with_its_date_and_source_and_a_register(once):
    asked = {"purpose": "promotional", "person": person(consent="written")}
    found = refusal(once(), **asked)
    assert (found.code, "at most 31 days old" in str(found)) == ("no_fresh_register", True)
    scrubbed()
    assert "no written consent is known" in str(refusal(once(), purpose="promotional"))
    assert "no date and source of the written consent" in str(refusal(once(), **asked))
    proved = person(consent="written", consent_at=datetime.date(2026, 5, 3), consent_source="web form")
    friday = NOON + datetime.timedelta(days=1)
    call = start(once(), now=friday, **asked | {"person": proved})
    assert gate.obstacle(call, call.one_off, now=friday) == ""


def test_an_agent_that_does_not_say_that_an_ai_speaks_calls_nobody_for_a_program(once):
    version = factories.AgentVersionFactory(agent=factories.AgentFactory(disclosure=""))
    found = refusal(once(), version=version)
    assert (found.code, "does not say that an AI speaks" in str(found)) == ("no_disclosure", True)


def test_a_variable_without_a_default_must_be_given(once):
    agent = factories.AgentFactory(variables={"business": "Rowan", "order_no": ""}, greeting="Order {{order_no}}.")
    version = factories.AgentVersionFactory(agent=agent)
    found = refusal(once(), version=version)
    assert str(found) == "without a value for order_no"
    assert start(once(), version=version, person=person(variables={"order_no": "A-17"})).pk


def test_whoever_is_on_the_do_not_call_list_is_refused_and_so_is_everybody_while_it_cannot_be_read(once, settings):
    suppression.add(suppression.Entry(ANNA, NOON), source=DoNotCall.Source.SPOKEN)
    assert refusal(once()).code == "do_not_call"
    settings.SUPPRESSION_KEY = "another"
    assert refusal(once()).code == "dialling_stopped"


def test_nobody_is_called_while_the_switch_is_thrown(once):
    control.throw_switch(user_id=None, why="a complaint", now=NOON)
    assert refusal(once()).code == "dialling_stopped"


@pytest.mark.parametrize(
    ("region", "hour", "next_allowed"),
    [
        ("NY", 3, NOON.replace(hour=13)),  # eight in New York
        ("FL", 1, NOON.replace(hour=14)),  # eight in all of Florida, whose west is an hour behind
        ("", 13, NOON.replace(hour=15)),  # no state: the strictest of all, from ten
        ("RI", 23, (NOON + datetime.timedelta(days=1)).replace(hour=14)),
    ],
)
def test_outside_the_hours_of_the_law_the_next_allowed_moment_is_said(once, region, hour, next_allowed):
    found = refusal(once(), now=NOON.replace(hour=hour), person=person(region=region))
    assert (found.code, found.next_allowed) == ("not_now", next_allowed)
    assert f"{next_allowed:%Y-%m-%dT%H:%M:%SZ}" in str(found)
    assert start(once(), now=next_allowed, person=person(region=region)).pk


@given(st.integers(0, 2 * 365 * 24 * 60), st.sampled_from(["NY", "AL", ""]))
def test_whatever_the_moment_it_is_allowed_at_the_one_that_is_named(minutes, region):
    at = NOON + minutes * MINUTE
    row = OneOffCall(
        origin="test", purpose="transactional", country="US", zones=["America/New_York", "America/Los_Angeles"],
        region=region, consent="express",
    )  # fmt: skip
    plan = gate.as_campaign(row, number=ANNA)
    hours = schedule.hours_of(plan[0], own=law.Own())
    asked = {"callers": None, "suppressed": False, "history": schedule.History(), "hours": hours}
    found = schedule.answer(*plan, now=at, **asked)
    again = schedule.answer(*plan, now=found.at, **asked)
    assert again.at == found.at >= at


def test_a_person_is_called_three_times_in_a_day_by_whomever_and_not_once_more(once):
    for minutes in range(3):
        call = start(once(str(minutes)), now=NOON + minutes * MINUTE)
        end(call, answered_at=NOON, duration_s=5)
    found = refusal(once("4"), now=NOON + HOUR)
    assert (found.code, found.next_allowed) == ("not_now", NOON + datetime.timedelta(days=1))
    assert "called as often as allowed" in str(found)
    assert start(once("4"), now=NOON + datetime.timedelta(days=1)).pk


def test_a_number_has_one_outbound_call_at_a_time(once):
    start(once("1"))
    with pytest.raises(one_off.Refused) as raised:
        start(once("2"))
    assert raised.value.code == "number_busy"
    assert OneOffCall.objects.count() == 1


def test_the_same_name_gives_the_same_call_whatever_has_changed_since(once):
    call = start(once())
    end(call)
    control.throw_switch(user_id=None, why="", now=NOON)
    again, new = one_off.start(order(person=person(consent="")), now=NOON.replace(hour=3), once=once())
    assert (again, new) == (call, False)
    with pytest.raises(one_off.Refused) as raised:
        start(once(body="c" * 64))
    assert raised.value.code == "idempotency_key_reused"
    assert Call.objects.count() == 1


def test_of_two_requests_at_once_the_second_gets_the_call_of_the_first(once, monkeypatch):
    call = start(once())
    looks = iter([None, call])
    monkeypatch.setattr(one_off, "earlier", lambda _: next(looks))
    assert one_off.start(order(), now=NOON, once=once()) == (call, False)


def test_another_program_may_use_the_same_name(once, key):
    end(start(once()))
    other = ApiKey(name="Shop", countries=["US"])
    keys.give(other)
    other.save()
    assert one_off.start(order(), now=NOON, once=one_off.Once(other, "a", "b" * 64))[1]


def test_a_call_that_nobody_placed_in_time_is_let_go_and_never_placed(once):
    call = start(once())
    late = NOON + gate.PLACED_WITHIN
    assert one_off.let_go(now=late) == 0
    assert one_off.let_go(now=late + MINUTE) == 1
    call.refresh_from_db()
    assert (call.status, call.outcome, call.deadline_at) == ("cancelled", "cancelled", None)
    assert call.events.get(kind="dial_cancelled").data["why"] == gate.LATE
    assert not lifecycle.begin_sending(call_id=call.pk, deadline_at=late)


def test_the_sweep_lets_late_calls_go(once, settings, monkeypatch):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    call = start(once())
    monkeypatch.setattr(timezone, "now", lambda: NOON + HOUR)
    maintenance.sweep_calls()
    call.refresh_from_db()
    assert call.status == "cancelled"


def test_a_call_that_a_worker_has_begun_to_place_is_left_to_it(once):
    call = start(once())
    assert lifecycle.begin_sending(call_id=call.pk, deadline_at=NOON)
    assert one_off.let_go(now=NOON + HOUR) == 0
    assert not lifecycle.withdraw(call_id=call.pk)


def test_the_last_look_sees_what_changed_since_the_order(once, key):
    call = start(once())
    row = call.one_off
    assert gate.obstacle(call, row, now=NOON) == ""
    assert gate.obstacle(call, row, now=NOON + gate.PLACED_WITHIN + MINUTE) == gate.LATE
    assert gate.obstacle(call, row, now=NOON + gate.PLACED_WITHIN + MINUTE, rings=True) == ""
    assert gate.obstacle(call, row, now=NOON.replace(hour=3), rings=True) == "the hours for calls are over"
    assert keys.revoke(key, now=NOON)
    assert gate.obstacle(call, row, now=NOON) == "the API key that asked for it was revoked"
    assert gate.obstacle(call, row, now=NOON, rings=True) == ""
    ApiKey.objects.update(revoked_at=None, countries=[])
    assert "calls to US are not allowed" in gate.obstacle(call, row, now=NOON, rings=True)


def test_while_its_account_carries_as_many_calls_as_it_may_none_is_ordered(once):
    caller = factories.PhoneNumberFactory(plivo_account__max_calls=1)
    asked = order(person=person(), caller=caller)
    call, _ = one_off.start(order(person=person(number="+12125550188"), caller=caller), now=NOON)
    with pytest.raises(one_off.Refused, match="carries as many calls as it may") as refused:
        one_off.start(asked, now=NOON, once=once())
    assert (refused.value.code, refused.value.next_allowed) == ("not_now", NOON + MINUTE)
    assert Call.objects.count() == 1
    end(call)
    assert one_off.start(asked, now=NOON, once=once())[1]

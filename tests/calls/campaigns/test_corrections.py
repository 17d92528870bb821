"""An operator's word on what came of a call."""

import datetime

import pytest

from calls import lifecycle
from calls.campaigns import claims, corrections, outcomes
from calls.campaigns.control import Refused
from calls.models import Call
from calls.states import Facts
from tests import factories
from tests.calls.campaigns.conftest import NOON, only_person, rung

pytestmark = [pytest.mark.db, pytest.mark.django_db]

HOUR = datetime.timedelta(hours=1)


def correct(call: Call, outcome: str, why: str = "heard it", **more) -> str:
    return corrections.correct(call, outcome=outcome, why=why, now=NOON + HOUR, **({"by_id": None} | more))


def called(make, *, settled: bool = True, retries=None, **fields) -> Call:
    """The first call to the only person of a campaign, over an hour ago."""
    make.campaign(retries={"machine": [1440], "busy": [15]} if retries is None else retries)
    person = only_person()
    call = rung(person, **fields)
    person.state, person.attempts, person.next_due = "calling", 1, None
    person.save()
    if settled:
        outcomes.settle(now=NOON)
    return call


def test_the_machines_own_verdict_stays_beside_the_corrected_one(make):
    user = factories.UserFactory()
    call = called(make, hangup_cause="NORMAL_CLEARING", hangup_code=4000)
    correct(call, "machine", " it was a mailbox ", by_id=user.pk)
    call.refresh_from_db()
    assert (call.outcome, call.corrected_outcome, outcomes.outcome_of(call)) == ("completed", "machine", "machine")
    assert (call.corrected_why, call.corrected_by, call.corrected_at) == ("it was a mailbox", user, NOON + HOUR)
    assert call.hangup_cause == "NORMAL_CLEARING"
    event = call.events.get()
    assert (event.kind, event.data) == ("outcome_corrected", {"from": "completed", "to": "machine", "user": user.pk})


def test_somebody_who_is_done_is_not_called_again_by_a_correction(make):
    call = called(make)
    assert only_person().state == "done"
    assert correct(call, "machine") == "The person is done, and is not called again by this."
    person = only_person()
    assert (person.state, person.next_due, person.outcome) == ("done", None, "machine")
    assert claims.claim(person.campaign_id, now=NOON + 48 * HOUR) == claims.Claim()


def test_somebody_who_waits_for_another_attempt_is_done_if_they_were_talked_to(make):
    call = called(make, outcome="machine")
    assert only_person().state == "waiting"
    assert "is now done" in correct(call, "completed")
    person = only_person()
    assert (person.state, person.outcome, person.why) == ("done", "completed", "")


def test_somebody_who_waits_does_so_by_the_new_outcome(make):
    call = called(make, outcome="machine")
    assert only_person().next_due == NOON + 24 * HOUR
    correct(call, "busy")
    person = only_person()
    assert (person.state, person.next_due, person.outcome) == ("waiting", NOON + HOUR / 4, "busy")


def test_a_correction_before_the_person_was_moved_on_decides_how_they_are(make):
    call = called(make, settled=False)
    assert correct(call, "machine") == ""
    outcomes.settle(now=NOON)
    person = only_person()
    assert (person.state, person.next_due, person.outcome) == ("waiting", NOON + 24 * HOUR, "machine")


def test_attempts_are_counted_by_their_corrected_outcomes(make):
    first = called(make, outcome="busy")
    person = only_person()
    second = rung(person, attempt=2, outcome="busy")
    assert outcomes.next_attempt(person.campaign, second, now=NOON) is None
    correct(first, "machine")
    assert outcomes.next_attempt(person.campaign, second, now=NOON) == NOON + HOUR / 4


def test_a_correction_of_an_earlier_call_moves_nobody(make):
    first = called(make, outcome="machine")
    person = only_person()
    rung(person, attempt=2)
    person.attempts = 2
    person.save()
    assert correct(first, "completed") == ""
    assert (only_person().state, only_person().next_due) == ("waiting", NOON + 24 * HOUR)


def test_whoever_may_have_been_rung_is_not_rung_again_whatever_an_operator_believes(make):
    call = called(make, status="not_found", outcome="", retries={"no_answer": [1]})
    correct(call, "no_answer")
    assert (only_person().state, only_person().outcome) == ("done", "no_answer")
    assert outcomes.next_attempt(call.campaign, Call.objects.get(), now=NOON) is None


def test_later_facts_from_plivo_leave_the_correction_alone(make):
    call = called(make)
    correct(call, "machine")
    lifecycle.apply(call_id=call.pk, facts=Facts(hangup_code=3010, hangup_cause="USER_BUSY"))
    call.refresh_from_db()
    assert (call.outcome, call.corrected_outcome) == ("busy", "machine")


def test_a_correction_is_taken_back_by_the_machines_own_outcome(make):
    call = called(make)
    correct(call, "machine")
    correct(call, "completed", "I listened again")
    call.refresh_from_db()
    assert (call.corrected_outcome, call.corrected_why, outcomes.outcome_of(call)) == (
        "",
        "I listened again",
        "completed",
    )
    assert call.events.count() == 2


@pytest.mark.parametrize(
    ("fields", "outcome", "why", "said"),
    [
        ({}, "completed", "heard it", "is “Completed” already"),
        ({}, "", "heard it", "Choose an outcome"),
        ({}, "splendid", "heard it", "Choose an outcome"),
        ({}, "machine", "  ", "Say why"),
        ({}, "machine", "x" * 201, "at most 200 characters"),
        ({"status": "live", "outcome": ""}, "machine", "heard it", "Only a call that is over"),
        ({"status": "cancelled", "outcome": "cancelled"}, "machine", "heard it", "Only a call that is over"),
    ],
)
def test_what_cannot_be_corrected_is_refused_with_what_to_do(make, fields, outcome, why, said):
    call = called(make, settled=False, **fields)
    with pytest.raises(Refused, match=said):
        correct(call, outcome, why)
    call.refresh_from_db()
    assert (call.corrected_outcome, call.corrected_at, call.events.count()) == ("", None, 0)

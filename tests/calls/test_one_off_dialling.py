"""From an order to a ring: a single call goes the way of a campaign's. Plivo's ledger is the judge."""

import datetime
import threading
import time

import pytest
from django.db import connection
from django.utils import timezone

from calls import live_calls, one_off, suppression, verifying
from calls.api import keys
from calls.campaigns import control, dialler, dialling, gate, pacing, recall
from calls.campaigns.people import Person
from calls.context import Answering
from calls.models import ApiKey, Call, DoNotCall, OneOffCall, VerifiedNumber
from tests import factories
from tests.calls.campaigns.conftest import NOON, somebody_to_talk  # noqa: F401  (a fixture)
from tests.calls.conftest import SILENT

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("somebody_to_talk"),
]

ANNA = "+14155552671"
LISTENS = {"kind": "human", "ring_ms": 200, "answer_ms": 400, "script": SILENT}


def clock() -> datetime.datetime:
    return NOON


@pytest.fixture(autouse=True)
def _at_noon(monkeypatch, box):
    """Everybody may be called; everybody's turn is now."""
    monkeypatch.setattr(timezone, "now", clock)
    monkeypatch.setattr(pacing, "take", lambda account, **_: 0.0)
    yield
    if rung(box):  # what still rings would report to the next test's database
        box.reset()
        time.sleep(0.3)


def asked(rented, **changes) -> one_off.Order:
    return one_off.Order(
        origin=OneOffCall.Origin.API, version=rented.agent.published_version, caller=rented, purpose="service",
        person=Person(number=ANNA, country="US", zones=("America/New_York",), region="NY", consent="express"),
        by="a test", **changes,
    )  # fmt: skip


def named() -> one_off.Once:
    key = ApiKey(name="CRM", countries=["US"])
    keys.give(key)
    key.save()
    return one_off.Once(key, "a", "b" * 64)


def ordered(rented, **changes) -> Call:
    return one_off.start(asked(rented, **changes), now=NOON, once=named())[0]


def worked() -> None:
    """One round of the dialler's loop, in this thread."""
    for call_id in dialler._take(clock, [], room=5)[0]:
        dialling.place(call_id, clock=clock)


def fresh(call: Call) -> Call:
    connection.close()
    return Call.objects.get(pk=call.pk)


def until(condition, what: str) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def rung(box) -> list[str]:
    return [f"+{each['number']}" for each in box.ledger()["rings"]]


def test_an_ordered_call_rings_once_and_is_put_through_to_the_agent(box, rented):
    box.behaviour("*", LISTENS)
    call = ordered(rented)
    worked()
    worked()
    until(lambda: fresh(call).streams, "the stream")
    until(lambda: fresh(call).status == "ended", "the end")
    assert rung(box) == [ANNA]
    (post,) = box.ledger()["posts"]
    assert (post["body"]["from"], post["body"]["ring_timeout"]) == (rented.number.lstrip("+"), 40)
    assert fresh(call).plivo_request_uuid == post["request_uuid"]


STOPS = {
    "an opt-out": lambda: suppression.add(suppression.Entry(ANNA, NOON), source=DoNotCall.Source.SPOKEN),
    "the switch": lambda: control.throw_switch(user_id=None, why="", now=NOON),
    "a revoked key": lambda: keys.revoke(ApiKey.objects.get(), now=NOON),
    "no country": lambda: ApiKey.objects.update(countries=[]),
}


@pytest.mark.parametrize("name", STOPS)
def test_what_happens_between_the_order_and_the_request_still_counts(box, rented, monkeypatch, name):
    call = ordered(rented)

    def meanwhile(account, **_):
        STOPS[name]()
        return 0.0

    monkeypatch.setattr(pacing, "take", meanwhile)
    worked()
    assert fresh(call).status == "cancelled"
    assert (rung(box), box.ledger()["posts"]) == ([], [])


@pytest.mark.parametrize(("name", "why"), [("a revoked key", gate.REVOKED), ("an opt-out", recall.OPTED_OUT)])
def test_what_waits_at_plivo_is_taken_back_once_whoever_asked_may_not_call(box, rented, name, why):
    box.behaviour("*", {"kind": "no-answer", "ring_ms": 3000})
    call = ordered(rented)
    worked()
    Call.objects.filter(pk=call.pk).update(status="queued")  # as while the account's calls a second are used up
    assert recall.due(now=NOON) == {}
    STOPS[name]()
    assert recall.due(now=NOON) == {call.pk: why}
    assert recall.take_back(call.pk, now=NOON)
    until(lambda: fresh(call).status in {"cancelled", "ended"}, "the end")
    assert fresh(call).streams == 0


def test_an_opt_out_while_it_rings_counts_when_it_is_picked_up(box, rented):
    box.behaviour("*", LISTENS | {"ring_ms": 3000, "answer_ms": 20_000})
    call = ordered(rented)
    worked()
    until(lambda: fresh(call).ringing_at, "the ring")
    STOPS["an opt-out"]()
    until(lambda: fresh(call).status == "ended", "the end")
    assert (fresh(call).end_reason, fresh(call).streams) == ("refused", 0)


def test_what_is_done_with_a_machine_is_what_was_ordered(rented):
    texts = {"voicemail_message": "Please call back.", "screening_answer": "This is Anna."}
    call = ordered(rented, on_machine="leave_message", **texts)
    assert live_calls.answering(call) == Answering("leave_message", "Please call back.", "This is Anna.")


def test_an_order_that_no_dialler_took_is_not_rung_later(box, rented):
    call = ordered(rented)
    late = NOON + gate.PLACED_WITHIN + datetime.timedelta(seconds=1)
    assert dialling.place(call.pk, clock=lambda: late) == "cancelled"
    assert rung(box) == []


def test_a_request_that_comes_many_times_at_once_makes_one_call(rented):
    order, once, found = asked(rented), named(), []
    together = threading.Barrier(6)

    def ask() -> None:
        together.wait(10)
        found.append(one_off.start(order, now=NOON, once=once))
        connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 6
    assert {call.pk for call, _ in found} == {Call.objects.get().pk}
    assert sum(new for _, new in found) == 1


# --- a test number is confirmed --------------------------------------------------------------------------------------


def confirming(box, rented, *, press) -> tuple[VerifiedNumber, Call, str]:
    """Rings the number; whoever answers enters what ``press`` makes of the code, one entry after the other."""
    number = VerifiedNumber.objects.create(
        user=factories.UserFactory(), number=ANNA, country="US", zones=["America/New_York"], region="NY"
    )
    code = verifying.begin(number, caller=rented, now=NOON)
    steps = []
    for digits in press(code):
        steps += [{"silence": {"ms": 300}}, {"press": {"digits": digits, "gap_ms": 50}}]
    box.behaviour("*", LISTENS | {"script": {"steps": [*steps, "wait_hangup"]}})
    worked()
    number.refresh_from_db()
    call = number.call
    until(lambda: fresh(call).status == "ended", "the end")
    number.refresh_from_db()
    return number, fresh(call), code


def test_whoever_enters_the_code_of_the_screen_has_confirmed_the_number(box, rented):
    number, call, _ = confirming(box, rented, press=lambda code: [code])
    assert (number.verified_at, number.code_hash) == (NOON, "")
    assert (rung(box), call.outcome, call.agent) == ([ANNA], "completed", None)
    assert not [report for report in box.calls() if report.get("violations")]

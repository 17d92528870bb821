"""From a claim to a ring: one request at most, whatever breaks, and only while it may be.

Plivo's ledger is the judge.
"""

import datetime
import http.client
import json
import threading
import time

import pytest
from cryptography.fernet import Fernet
from django.conf import settings
from django.db import OperationalError, connection

from calls import answers, clocks, lifecycle, suppression, sweeper, whereabouts
from calls.answers import TIMEOUT_MARGIN_S
from calls.campaigns import claims, control, dialler, dialling, gate, outcomes, pacing, readiness, recall
from calls.campaigns.pacing import NoTurn
from calls.models import Call, Campaign, CampaignContact, Contact, DoNotCall, Switch
from calls.states import Facts
from calls.telephony import dial as dial_module
from calls.telephony.dial import Dialled, Sent
from tests.calls.campaigns.conftest import NOON, only_person
from tests.calls.conftest import SILENT

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("somebody_to_talk", "from_noon"),
]

LISTENS = {"kind": "human", "ring_ms": 200, "answer_ms": 400, "script": SILENT}
MINUTE = datetime.timedelta(minutes=1)
CLOSES = NOON.replace(hour=23)  # six in New York


@pytest.fixture(autouse=True)
def requests(monkeypatch):
    """Every request that is made; everybody's turn is now, unless a test says otherwise."""
    made: list[str] = []
    ask = dial_module._ask

    def counted(connection, path, body, headers):
        made.append(f"+{json.loads(body)['to']}")
        return ask(connection, path, body, headers)

    monkeypatch.setattr(dial_module, "_ask", counted)
    monkeypatch.setattr(pacing, "take", lambda account, **_: 0.0)
    return made


@pytest.fixture
def campaign(box, make, rented):
    yield make.campaign(caller=rented, retries={})
    box.reset()  # what still rings would report to the next test's database
    time.sleep(0.3)  # a report that is being answered


def clock() -> datetime.datetime:
    return NOON


def place(campaign, **options) -> Call:
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    assert call_id is not None
    dialling.place(call_id, clock=clock, **options)
    return Call.objects.get(pk=call_id)


def posts(box) -> list[dict]:
    return box.ledger()["posts"]


def rung(box) -> list[str]:
    return [each["number"] for each in box.ledger()["rings"]]


def until(condition, what="it"):
    for _ in range(200):
        if condition():
            return
        connection.close()
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def fresh(call: Call) -> Call:
    connection.close()
    return Call.objects.get(pk=call.pk)


# --- one request -----------------------------------------------------------------------------------------------------


def test_a_person_is_rung_once_and_the_call_goes_the_whole_way(box, campaign):
    box.behaviour("*", LISTENS)
    call = place(campaign)
    until(lambda: fresh(call).status == "ended", "the end")
    call = fresh(call)
    (post,) = posts(box)
    assert (post["status"], post["request_uuid"]) == (201, call.plivo_request_uuid)
    assert rung(box) == [call.to_number.lstrip("+")]
    assert None not in {call.queued_at, call.ringing_at, call.answered_at, call.plivo_call_uuid}
    outcomes.settle(now=NOON)
    assert only_person().state == "done"


def test_plivo_ends_a_call_that_we_cannot_end_a_little_after_its_longest(box, campaign):
    Campaign.objects.update(longest_call_s=45)
    place(campaign)
    (post,) = posts(box)
    assert post["body"]["time_limit"] == 45 + TIMEOUT_MARGIN_S


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [("busy", "busy"), ("no-answer", "no_answer"), ("rejected", "declined"), ("unreachable", "failed")],
)
def test_what_came_of_it_is_what_plivo_says(box, campaign, kind, outcome):
    box.behaviour("*", {"kind": kind, "ring_ms": 100, "answer_ms": 200})
    call = place(campaign)
    until(lambda: fresh(call).status == "ended", "the end")
    assert fresh(call).outcome == outcome


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        ({"rest_500": 1}, "unknown"),
        ({"rest_500": 1, "rest_500_call_proceeds": True}, "unknown"),
        ({"rest_429": 1}, "claimed"),
        ({"rest_403": 1}, "rejected"),
    ],
)
def test_after_each_answer_the_call_is_what_is_certain_and_there_was_one_request(
    box, campaign, requests, faults, status
):
    box.faults(**faults)
    call = place(campaign)
    assert (call.status, requests) == (status, [call.to_number])
    outcomes.settle(now=NOON)
    assert not claims.claim(campaign.pk, now=NOON).call_ids, "nobody is claimed again at once"


def test_a_call_that_was_not_sent_is_placed_later_as_the_same_attempt(box, campaign):
    box.behaviour("*", LISTENS)
    box.faults(rest_429=1)
    call = place(campaign)
    assert dialler._take(clock, [], room=5)[0] == []
    later = call.deadline_at
    assert dialler._take(lambda: later, [], room=5)[0] == [call.pk]
    dialling.place(call.pk, clock=clock)
    until(lambda: fresh(call).status == "ended", "the end")
    assert Call.objects.count() == 1
    assert len(rung(box)) == 1


def test_a_webhook_that_overtakes_the_answer_is_not_taken_back(box, campaign):
    box.behaviour("*", LISTENS)
    box.faults(answer_before_post_reply=True)
    call = place(campaign)
    until(lambda: fresh(call).answered_at, "the answer")
    until(lambda: fresh(call).status == "ended", "the end")


def test_an_answer_that_was_lost_is_told_by_the_webhooks(box, campaign):
    box.behaviour("*", LISTENS)
    box.faults(rest_500=1, rest_500_call_proceeds=True)
    call = place(campaign)
    until(lambda: fresh(call).status == "ended", "the end")
    assert fresh(call).outcome == "completed"
    assert len(rung(box)) == 1


def test_whose_token_cannot_be_read_is_not_rung_and_is_called_once_it_was_entered_anew(
    box, campaign, requests, monkeypatch
):
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    keys = settings.ENCRYPTION_KEYS
    monkeypatch.setattr(settings, "ENCRYPTION_KEYS", [Fernet.generate_key().decode()])
    assert claims.answer_for(campaign, only_person(), now=NOON)
    assert dialling.place(call_id, clock=clock) == "cancelled"
    assert requests == []
    monkeypatch.setattr(settings, "ENCRYPTION_KEYS", keys)
    outcomes.settle(now=NOON)
    assert only_person().state == "waiting"


@pytest.mark.parametrize("fails", [1, 3])
def test_a_database_that_starts_again_at_the_last_look_costs_nobody_their_call(
    box, campaign, requests, monkeypatch, fails
):
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    failing = iter([OperationalError("the server closed the connection")] * fails)

    def fail(what):
        def work(*args, **kwargs):
            for error in failing:
                raise error
            return what(*args, **kwargs)

        return work

    monkeypatch.setattr(dialling, "BETWEEN_TRIES_S", 0.0)
    monkeypatch.setattr(dialling, "close_old_connections", lambda: None)  # SQLite's in memory would be gone
    monkeypatch.setattr(gate, "obstacle", fail(gate.obstacle))
    monkeypatch.setattr(lifecycle, "take_back", fail(lifecycle.take_back))
    assert dialling.place(call_id, clock=clock) == "claimed"
    assert (Call.objects.get().status, requests) == ("claimed", [])
    assert Call.objects.get().deadline_at > NOON


def test_a_call_that_was_given_up_while_its_process_stood_still_is_not_placed_any_more(
    box, campaign, requests, monkeypatch
):
    def stands_still(*_, **__):
        for status in ("unknown", "not_found"):
            lifecycle.apply(call_id=call_id, facts=Facts(status=status))
        return 0.0

    monkeypatch.setattr(pacing, "take", stands_still)
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    dialling.place(call_id, clock=clock)
    assert requests == []


# --- a worker dies ---------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As by kill -9."""


def dies(*_args, **_kwargs):
    raise Killed


def test_a_worker_that_dies_before_it_marked_the_call_has_rung_nobody_and_another_goes_on(box, campaign, monkeypatch):
    box.behaviour("*", LISTENS)
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    with monkeypatch.context() as dying, pytest.raises(Killed):
        dying.setattr(lifecycle, "begin_sending", dies)
        dialling.place(call_id, clock=clock)
    assert dialler._take(clock, [], room=5)[0] == [], "it may still be alive"
    late = NOON + claims.LEASE
    assert dialler._take(lambda: late, [], room=5)[0] == [call_id]
    dialling.place(call_id, clock=clock)
    assert len(posts(box)) == 1


@pytest.mark.parametrize("where", ["turn", "look", "request", "answer"])
def test_a_worker_that_dies_after_it_marked_the_call_leaves_it_unknown_and_nobody_rings_it_again(
    box, campaign, monkeypatch, where
):
    box.behaviour("*", LISTENS)
    dial = dialling.dial
    if where == "turn":
        monkeypatch.setattr(pacing, "take", dies)
    elif where == "look":
        monkeypatch.setattr(dialling.gate, "obstacle", dies)
    elif where == "request":
        dial = dies
    else:
        monkeypatch.setattr(dialling, "_written", dies)
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    with pytest.raises(Killed):
        dialling.place(call_id, clock=clock, dial=dial)
    call = Call.objects.get(pk=call_id)
    rang = where == "answer"
    assert rang or call.status == "sending"
    late = NOON + datetime.timedelta(hours=1)
    for _ in range(3):
        assert dialling.place(call_id, clock=clock) == ""
        assert dialler._take(lambda: late, [], room=5)[0] == []
        outcomes.settle(now=late)
    assert len(posts(box)) == rang
    if not rang:
        sweeper.sweep(now=late)
        assert fresh(call).status == "unknown"


# --- finding out -----------------------------------------------------------------------------------------------------


def unknown(box, campaign, **faults) -> Call:
    """A call of which no webhook tells and whose answer was lost."""
    box.settings(cdr_after_s=0)
    box.faults(rest_500=1, **faults)
    return place(campaign)


WEBHOOKS = {"webhook_lost": ["Ring", "StartApp", "Hangup", "MachineDetection"]}


def test_a_call_that_goes_on_at_plivo_is_found_there(box, campaign):
    box.behaviour("*", {"kind": "human", "ring_ms": 60_000_000})
    call = unknown(box, campaign, rest_500_call_proceeds=True)
    assert whereabouts.look(call, now=NOON + MINUTE) == "found_running"
    call = fresh(call)
    assert (call.status, bool(call.plivo_call_uuid)) == ("queued", True)


def test_a_call_that_is_over_is_found_by_its_record(box, campaign):
    box.behaviour("*", {"kind": "busy", "ring_ms": 10, "answer_ms": 20})
    call = unknown(box, campaign, rest_500_call_proceeds=True, **WEBHOOKS)
    Call.objects.filter(pk=call.pk).update(created_at=datetime.datetime.now(datetime.UTC))
    box.report(box.calls()[0]["call_uuid"], wait="ended")
    assert whereabouts.look(fresh(call), now=NOON + MINUTE) == "found_ended"
    assert (fresh(call).status, fresh(call).outcome) == ("ended", "busy")


def test_a_call_that_never_was_is_given_up_after_some_looks_and_not_placed_again(box, campaign, requests):
    call = unknown(box, campaign)
    found = [whereabouts.look(fresh(call), now=NOON + minutes * MINUTE) for minutes in (1, 2, 3, 7, 8)]
    assert found == ["not_found_yet"] * 4 + ["never_found"]
    outcomes.settle(now=NOON)
    assert (fresh(call).status, only_person().state) == ("not_found", "done")
    assert requests == [call.to_number]


def test_a_call_that_lay_for_long_before_it_was_sent_is_asked_for_as_long_as_any(box, campaign):
    call = unknown(box, campaign)
    Call.objects.filter(pk=call.pk).update(created_at=NOON - 10 * MINUTE)
    found = [whereabouts.look(fresh(call), now=NOON + minutes * MINUTE) for minutes in (1, 2, 3, 6, 7)]
    assert found == ["not_found_yet"] * 4 + ["never_found"]


@pytest.mark.parametrize("again", [False, True])
def test_who_answers_a_call_that_was_given_up_is_talked_to_unless_another_rings_them(box, campaign, again):
    call = unknown(box, campaign)
    lifecycle.apply(call_id=call.pk, facts=Facts(status="not_found"))
    if again:
        lifecycle.create_outbound(now=NOON, deadline_at=NOON, to_number=call.to_number)
    document = answers.outbound(fresh(call), replay=False, now=NOON + MINUTE).render()
    assert (b"<Stream" in document) is not again
    assert fresh(call).status == ("not_found" if again else "answered")


def test_the_record_of_an_earlier_call_to_the_number_is_not_taken_for_this_one(box, campaign):
    box.settings(cdr_after_s=0)
    box.behaviour("*", {"kind": "busy", "ring_ms": 10, "answer_ms": 20})
    earlier = place(campaign)
    until(lambda: fresh(earlier).status == "ended", "the end")
    Call.objects.filter(pk=earlier.pk).update(campaign_person=None, queued_at=NOON, ringing_at=NOON)
    CampaignContact.objects.update(state="waiting", next_due=NOON)
    campaign.gap_hours = 0
    campaign.save()
    call = unknown(box, campaign)
    assert whereabouts.look(call, now=NOON + MINUTE) == "not_found_yet"


# --- the last look ---------------------------------------------------------------------------------------------------


def opt_out(campaign):
    suppression.add(suppression.Entry(only_person().number, NOON), source=DoNotCall.Source.SPOKEN)


STOPS = {
    "an opt-out": opt_out,
    "a pause": lambda campaign: control.pause(campaign, now=NOON),
    "a stop": lambda campaign: control.stop(campaign, now=NOON),
    "the switch": lambda campaign: control.throw_switch(user_id=None, why="", now=NOON),
    "another week": lambda campaign: type(campaign).objects.update(week=[[]] * 7),
    "no country": lambda campaign: type(campaign).objects.update(countries=[]),
    "an erasure": lambda campaign: Contact.objects.all().delete(),
}


@pytest.mark.parametrize("name", STOPS)
@pytest.mark.parametrize("moment", ["while its turn is waited for", "while Plivo is connected to"])
def test_what_happens_between_the_claim_and_the_request_still_counts(box, campaign, monkeypatch, name, moment):
    def meanwhile(account, **_):
        STOPS[name](campaign)
        return 0.0

    class Slow(http.client.HTTPConnection):
        def connect(self):
            STOPS[name](campaign)
            super().connect()

    if moment == "while its turn is waited for":
        monkeypatch.setattr(pacing, "take", meanwhile)
    else:
        monkeypatch.setattr(dial_module, "_connection", lambda scheme, host, port: Slow(host, port, timeout=3))
    call = place(campaign)
    assert call.status == "cancelled"
    assert posts(box) == []
    assert call.events.get(kind="dial_cancelled").data["why"]
    Switch.objects.all().delete()
    outcomes.settle(now=NOON)
    assert only_person().state == "waiting"


@pytest.mark.parametrize("name", ["a pause", "a stop"])
def test_who_picks_up_after_a_pause_is_talked_to_and_not_hung_up_on(box, campaign, name):
    box.behaviour("*", LISTENS | {"ring_ms": 3000, "answer_ms": 20_000})
    call = place(campaign)
    until(lambda: fresh(call).ringing_at, "the ring")
    STOPS[name](campaign)
    until(lambda: fresh(call).streams, "the stream")
    assert not fresh(call).events.filter(kind="not_answered").exists()


@pytest.mark.parametrize("name", [name for name in STOPS if name not in {"a pause", "a stop"}])
def test_what_happens_while_it_rings_counts_when_it_is_picked_up(box, campaign, name):
    box.behaviour("*", LISTENS | {"ring_ms": 3000, "answer_ms": 20_000})
    call = place(campaign)
    until(lambda: fresh(call).ringing_at, "the ring")
    STOPS[name](campaign)
    until(lambda: fresh(call).status == "ended", "the end")
    call = fresh(call)
    assert (call.end_reason, call.outcome, call.streams) == ("refused", "failed", 0)
    assert call.events.get(kind="not_answered").data["why"]


def test_after_the_hours_nobody_is_rung_any_more(box, campaign):
    (call_id,) = claims.claim(campaign.pk, now=NOON).call_ids
    night = NOON.replace(hour=23, minute=30)
    assert dialling.place(call_id, clock=lambda: night) == "cancelled"
    assert posts(box) == []


@pytest.mark.parametrize(("early_s", "placed"), [(1, False), (-1, True)])
def test_a_call_that_would_ring_beyond_its_hours_is_not_placed(box, campaign, early_s, placed):
    (call_id,) = claims.claim(campaign.pk, now=CLOSES - 5 * MINUTE).call_ids
    ring_by = Call.objects.get(pk=call_id).ring_by
    assert ring_by == CLOSES - datetime.timedelta(seconds=campaign.ring_s)
    at = ring_by + datetime.timedelta(seconds=early_s)
    assert dialling.place(call_id, clock=lambda: at) == ("queued" if placed else "cancelled")
    assert len(posts(box)) == placed


def test_whoever_picks_up_in_the_last_seconds_of_their_hours_is_talked_to(box, campaign):
    (call_id,) = claims.claim(campaign.pk, now=CLOSES - 5 * MINUTE).call_ids
    call = Call.objects.get(pk=call_id)
    last = CLOSES - datetime.timedelta(seconds=1)
    assert gate.obstacle(call, campaign, now=last, rings=True) == ""
    assert gate.obstacle(call, campaign, now=last) == gate.HOURS_OVER
    assert gate.obstacle(call, campaign, now=CLOSES, rings=True) == gate.HOURS_OVER


def test_what_waits_at_plivo_until_its_hours_are_almost_over_is_taken_back(box, crowd):
    call = queued_at_plivo(box, crowd)
    assert call.ring_by is not None
    assert recall.due(now=call.ring_by) == {}
    late = call.ring_by + datetime.timedelta(seconds=1)
    assert set(recall.due(now=late).values()) == {gate.HOURS_OVER}
    assert recall.take_back(call.pk, now=late)
    until(lambda: fresh(call).status == "ended", "Plivo's word")
    assert call.to_number not in rung(box)


def test_without_a_turn_nothing_is_sent_and_the_call_waits(box, campaign, monkeypatch):
    def none(account, **_):
        raise NoTurn(None)

    monkeypatch.setattr(pacing, "take", none)
    call = place(campaign)
    assert (call.status, posts(box)) == ("claimed", [])
    assert call.deadline_at == NOON + dialling.BACK_OFF


def test_a_campaign_waits_for_a_turn_of_its_own_pace_first_and_then_for_its_accounts(box, campaign, monkeypatch):
    turns: list[tuple[str, float]] = []

    def turn(whose, *, per_second, **_):
        turns.append((whose, per_second))
        return 0.0

    monkeypatch.setattr(pacing, "take", turn)
    Campaign.objects.update(calls_per_second="0.25")
    account = place(campaign).plivo_account
    assert turns == [(str(campaign.pk), 0.25), (account.auth_id, 2.0)]


def test_without_a_turn_of_its_campaign_a_call_takes_none_of_its_accounts_and_waits(box, campaign, monkeypatch):
    def turn(whose, **_):
        assert whose == str(campaign.pk)
        raise NoTurn(21.0)

    monkeypatch.setattr(pacing, "take", turn)
    Campaign.objects.update(calls_per_second="0.05")
    call = place(campaign)
    assert (call.status, call.deadline_at, posts(box)) == ("claimed", NOON + datetime.timedelta(seconds=20), [])


# --- the loop --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead_s", [-6.0, 6.0])
def test_a_machine_whose_clock_is_wrong_calls_nobody_until_it_is_right(box, crowd, monkeypatch, ahead_s):
    monkeypatch.setattr(clocks, "ahead_s", lambda: ahead_s)
    claims.claim(crowd.pk, now=NOON - datetime.timedelta(hours=1))  # lying there, of a worker that died
    assert dialler.work(clock=clock, shift=dialler.Shift(1)) == 0
    assert posts(box) == []
    assert "is 6 s" in readiness.trouble(crowd)
    monkeypatch.setattr(clocks, "ahead_s", lambda: 4.0)
    assert dialler.work(clock=clock, shift=dialler.Shift(1)) == 8


def test_several_workers_place_every_call_once(make, rented, monkeypatch):
    placed: list[int] = []
    lock = threading.Lock()

    def dial(order, **_):
        with lock:
            placed.append(order.to)
        return Dialled(Sent.QUEUED, request_uuid=order.to)

    campaign = make.campaign(make.people(40), caller=rented, concurrency=1000)

    def work() -> None:
        dialler.work(
            clock=clock, shift=dialler.Shift(4), place=lambda call_id: dialling.place(call_id, clock=clock, dial=dial)
        )
        connection.close()

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert sorted(placed) == sorted(set(placed))
    assert len(placed) == 40
    assert campaign.people.filter(state="calling", attempts=1).count() == 40


def test_a_call_that_cannot_be_placed_holds_up_no_other(make, rented):
    make.campaign(make.people(6), caller=rented, concurrency=100)
    tried: list[int] = []

    def place(call_id):
        tried.append(call_id)
        if len(tried) % 2:
            raise RuntimeError("a fault")

    assert dialler.work(clock=clock, shift=dialler.Shift(1.5), place=place) == 6
    assert len(set(tried)) == 6


# --- taking back -----------------------------------------------------------------------------------------------------

RINGS_LONG = {"kind": "no-answer", "ring_ms": 100}
CARRIERS_PACE = 2  # calls a second that the sandbox starts; the rest waits there


def queued_at_plivo(box, campaign, count=8) -> Call:
    """So many calls in one moment; the last one waits at Plivo for some seconds."""
    box.behaviour("*", RINGS_LONG)
    calls = [place(campaign) for _ in range(count)]
    assert fresh(calls[-1]).status == "queued"
    return calls[-1]


def take_all_back() -> dict[int, bool]:
    return {call_id: recall.take_back(call_id, now=NOON) for call_id in recall.due(now=NOON)}


@pytest.fixture
def crowd(box, make, rented):
    yield make.campaign(make.people(8), caller=rented, retries={}, concurrency=50)
    box.reset()
    time.sleep(0.3)


@pytest.mark.parametrize("how", ["pause", "stop", "switch"])
def test_what_waits_at_plivo_is_taken_back_when_dialling_stops(box, crowd, how):
    call = queued_at_plivo(box, crowd)
    assert recall.due(now=NOON) == {}
    if how == "pause":
        control.pause(crowd, now=NOON, user_id=None)
    elif how == "stop":
        control.stop(crowd, now=NOON)
    else:
        control.throw_switch(user_id=None, why="", now=NOON)
    ringing = set(Call.objects.filter(status="ringing").values_list("pk", flat=True))
    taken = take_all_back()
    assert taken[call.pk]
    assert ringing.isdisjoint(taken), "whoever is rung already is talked to"
    assert fresh(call).status in {"cancelled", "ended"}
    until(lambda: fresh(call).status == "ended", "Plivo's word")
    assert call.to_number not in rung(box)
    outcomes.settle(now=NOON)
    person = CampaignContact.objects.get(number=call.to_number)
    assert (person.state, person.why) == ("waiting", "was not called after all")


def test_the_phone_of_whoever_opts_out_stops_ringing(box, campaign):
    box.behaviour("*", RINGS_LONG)
    call = place(campaign)
    until(lambda: fresh(call).status == "ringing", "the ring")
    suppression.add(suppression.Entry(call.to_number, NOON), source=DoNotCall.Source.OPERATOR)
    assert take_all_back() == {call.pk: True}
    assert recall.due(now=NOON) == {}
    until(lambda: fresh(call).status == "ended", "Plivo's word")
    outcomes.settle(now=NOON)
    assert not claims.claim(campaign.pk, now=NOON + MINUTE).call_ids
    assert only_person().state == "skipped"


def test_what_was_picked_up_meanwhile_is_left_to_the_last_gate(box, campaign):
    box.behaviour("*", LISTENS)
    call = place(campaign)
    until(lambda: fresh(call).answered_at, "the answer")
    Call.objects.filter(pk=call.pk).update(status="ringing")
    assert not recall.take_back(call.pk, now=NOON)
    assert not fresh(call).events.filter(kind="taken_back").exists()


def test_a_plivo_that_does_not_answer_is_asked_again(box, crowd):
    call = queued_at_plivo(box, crowd)
    control.pause(crowd, now=NOON, user_id=None)
    box.faults(rest_scope="all", rest_500=3)
    assert not recall.take_back(call.pk, now=NOON)
    box.faults(rest_500=0)
    assert call.pk in recall.due(now=NOON)


def test_the_dialler_takes_back_by_itself_within_two_seconds(box, crowd):
    call = queued_at_plivo(box, crowd)
    control.pause(crowd, now=NOON, user_id=None)
    dialler.work(clock=clock, shift=dialler.Shift(1.5))
    assert fresh(call).status in {"cancelled", "ended"}


def test_what_began_to_ring_or_was_resumed_before_its_turn_is_left_alone(box, crowd):
    call = queued_at_plivo(box, crowd)
    control.pause(crowd, now=NOON, user_id=None)
    assert call.pk in recall.due(now=NOON)
    control.resume(crowd, now=NOON)
    assert not recall.take_back(call.pk, now=NOON)
    control.pause(crowd, now=NOON, user_id=None)
    Call.objects.filter(pk=call.pk).update(status="ringing")
    assert not recall.take_back(call.pk, now=NOON)
    assert not fresh(call).events.filter(kind="taken_back").exists()

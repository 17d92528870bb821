"""A campaign's people gone through in the background: put in, and looked at again after something was changed."""

import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from calls.campaigns import claims, control, enrolment, outcomes, rounds, second_look
from calls.campaigns.schedule import ENDS, LATELY, NO_HOUR, OUTSIDE
from calls.campaigns.trace import moments
from calls.models import Campaign, CampaignContact, CampaignRound, Contact, PersonMove
from calls.tasks import campaigns, maintenance
from tests.calls.campaigns.conftest import NOON, make, only_person, rung  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

MINUTE, HOUR, DAY = datetime.timedelta(minutes=1), datetime.timedelta(hours=1), datetime.timedelta(days=1)
MORNING, LONG = [[[540, 720]]] * 7, [[[540, 1080]]] * 7
AFTERNOON = NOON + HOUR
TOMORROW = NOON + 21 * HOUR  # 9:00 there


def gone_round(campaign, *, now=AFTERNOON) -> None:
    assert not rounds.run(str(campaign.pk), clock=lambda: now)


def change(campaign, *, now=AFTERNOON, **fields) -> None:
    Campaign.objects.filter(pk=campaign.pk).update(**fields)
    campaign.refresh_from_db()
    control.changed(campaign, now=now)


def standing(person=None):
    person = only_person() if person is None else person
    return person.state, person.next_due, person.why


@pytest.fixture
def by_tens(monkeypatch) -> None:
    monkeypatch.setattr(enrolment, "CHUNK", 10)
    monkeypatch.setattr(second_look, "CHUNK", 10)


def dies_at(monkeypatch, module, name: str, times: int) -> None:
    """A worker that is killed when it goes to look at the people after so many chunks."""
    real, looked = getattr(module, name), []

    def dies(*args, **kwargs):
        looked.append(1)
        if len(looked) > times:
            raise ConnectionError
        return real(*args, **kwargs)

    kind = {"chunk": "enrol", "changed": "changed", "held": "held"}[name]
    monkeypatch.setitem(rounds._CHUNK_OF, kind, dies)


# --- one at a time, from where it stands -----------------------------------------------------------------------------


def test_a_launch_that_broke_off_is_gone_on_with_where_it_was(make, monkeypatch, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(35), launched=False)
    control.launch(campaign, now=NOON)
    with monkeypatch.context() as patch:
        dies_at(patch, enrolment, "chunk", 2)
        with pytest.raises(ConnectionError):
            gone_round(campaign)
    assert campaign.people.count() == 20
    assert not outcomes.finish(now=NOON), "it has not begun yet"
    with CaptureQueriesContext(connection) as queries:
        gone_round(campaign, now=AFTERNOON + MINUTE)
    assert sum(' INTO "calls_campaigncontact"' in each["sql"] for each in queries) == 2, "15 people, by tens"
    assert (campaign.people.count(), campaign.rounds.count()) == (35, 0)


def test_people_of_several_lists_are_put_in_list_by_list(make, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(12), launched=False)
    campaign.contact_lists.add(make.people(13), make.people(1), make.people(10))
    control.launch(campaign, now=NOON)
    gone_round(campaign)
    assert campaign.people.count() == Contact.objects.count() == 36


def test_the_sweep_starts_a_round_that_lies_still_and_none_that_goes_on(make, monkeypatch, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(15), launched=False)
    control.launch(campaign, now=NOON)
    hinted = []
    monkeypatch.setattr(campaigns.go_round, "apply_async", lambda args, **_: hinted.append(args[0]))
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    now = NOON + MINUTE
    maintenance.sweep_calls()
    assert hinted == [], "it may still wait for a worker"
    now = NOON + 2 * MINUTE
    maintenance.sweep_calls()
    assert hinted == [str(campaign.pk)]
    dies_at(monkeypatch, enrolment, "chunk", 1)
    with pytest.raises(ConnectionError):
        gone_round(campaign, now=now)
    maintenance.sweep_calls()
    assert len(hinted) == 1, "it has just moved"


def test_a_round_takes_several_tasks_where_one_would_take_too_long(make, monkeypatch, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(15), launched=False)
    control.launch(campaign, now=NOON)
    assert rounds.run(str(campaign.pk), clock=lambda: NOON, seconds=-1)
    assert campaign.people.count() == 0
    sent, run = [], rounds.run
    monkeypatch.setattr(rounds, "run", lambda campaign_id, **_: run(campaign_id, clock=lambda: NOON, seconds=-1))
    monkeypatch.setattr(campaigns.go_round, "delay", sent.append)
    campaigns.go_round(str(campaign.pk))
    assert sent == [str(campaign.pk)]


@pytest.mark.parametrize("kind", ["enrol", "changed", "held"])
def test_of_two_workers_one_goes_on_and_nobody_is_passed_twice(make, monkeypatch, by_tens, kind):  # noqa: F811
    campaign = make.campaign(make.people(25), launched=False)
    control.launch(campaign, now=NOON)
    if kind != "enrol":
        gone_round(campaign, now=NOON)
        campaign.people.update(state="held", next_due=None, why=NO_HOUR)
        rounds.start(campaign, kind, now=NOON)
    chunk_of = rounds._CHUNK_OF[kind]

    def slow(*args, **kwargs):
        found = chunk_of(*args, **kwargs)
        monkeypatch.setitem(rounds._CHUNK_OF, kind, chunk_of)
        assert rounds._go_on(CampaignRound.objects.get(), now=NOON)  # the other worker
        return found

    monkeypatch.setitem(rounds._CHUNK_OF, kind, slow)
    gone_round(campaign, now=AFTERNOON)
    assert campaign.rounds.get().done == 10, "the slow one has stopped"
    assert not campaign.people.filter(changed_at=AFTERNOON).exists(), "and has written nothing"
    gone_round(campaign, now=AFTERNOON)
    assert (campaign.people.count(), campaign.rounds.count()) == (25, 0)


def test_a_change_while_a_round_goes_on_begins_it_anew(make, monkeypatch, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(25), week=MORNING)
    campaign.people.update(next_due=TOMORROW, why=OUTSIDE)
    change(campaign, week=[[[540, 840]]] * 7)
    changed = second_look.changed

    def changed_meanwhile(*args, **kwargs):
        found = changed(*args, **kwargs)
        monkeypatch.setitem(rounds._CHUNK_OF, "changed", changed)
        change(campaign, week=MORNING)
        return found

    monkeypatch.setitem(rounds._CHUNK_OF, "changed", changed_meanwhile)
    gone_round(campaign)
    assert campaign.rounds.get().done == 0, "what it knew was not true any more"
    gone_round(campaign)
    assert {each.next_due for each in campaign.people.all()} == {TOMORROW}


def test_what_was_changed_while_people_are_put_in_counts_for_all_of_them(make, monkeypatch, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(35), launched=False, week=MORNING)
    control.launch(campaign, now=AFTERNOON)
    assert rounds._go_on(CampaignRound.objects.get(), now=AFTERNOON)
    chunk, go_on = enrolment.chunk, rounds._go_on

    def once(*args, **kwargs):
        go_on(*args, **kwargs)
        return False

    def slow(*args, **kwargs):
        found = chunk(*args, **kwargs)
        monkeypatch.setitem(rounds._CHUNK_OF, "enrol", chunk)
        change(campaign, week=LONG)
        with monkeypatch.context() as patch:
            patch.setattr(rounds, "_go_on", once)
            for _ in range(2):
                gone_round(campaign)  # another worker, which begins with what was asked for first
        return found

    monkeypatch.setitem(rounds._CHUNK_OF, "enrol", slow)
    gone_round(campaign)
    gone_round(campaign)
    assert [standing(each) for each in campaign.people.all()] == [("waiting", AFTERNOON, "")] * 35


@pytest.mark.parametrize("status", ["stopped", "finished"])
def test_a_campaign_that_is_over_has_no_rounds(make, status):  # noqa: F811
    campaign = make.campaign(make.people(consent=""))
    control.look_again(campaign, now=NOON)
    Campaign.objects.update(status=status)
    gone_round(campaign)
    assert (only_person().state, campaign.rounds.count()) == ("held", 0)
    campaign.refresh_from_db()
    control.changed(campaign, now=NOON)
    control.law_changed(now=NOON)
    assert not campaign.rounds.exists()


# --- looked at again after a change ----------------------------------------------------------------------------------


def test_longer_hours_reach_whoever_waits_for_the_next_morning(make):  # noqa: F811
    campaign = make.campaign(week=MORNING, launched=False)
    control.launch(campaign, now=AFTERNOON)
    gone_round(campaign)
    assert standing() == ("waiting", TOMORROW, OUTSIDE)
    change(campaign, week=LONG)
    gone_round(campaign)
    assert standing() == ("waiting", AFTERNOON, "")
    assert claims.claim(campaign.pk, now=AFTERNOON).call_ids


def test_a_later_end_reaches_whoever_was_skipped_for_it_even_if_nobody_else_is_left(make):  # noqa: F811
    campaign = make.campaign(make.people(2), week=MORNING, launched=False, ends_at=NOON + 8 * HOUR)
    control.launch(campaign, now=AFTERNOON)
    gone_round(campaign)
    assert {standing(each) for each in campaign.people.all()} == {("skipped", None, ENDS)}
    change(campaign, ends_at=NOON + 5 * DAY)
    assert not outcomes.finish(now=AFTERNOON), "they are to be looked at again"
    gone_round(campaign)
    assert {standing(each) for each in campaign.people.all()} == {("waiting", TOMORROW, OUTSIDE)}
    change(campaign, ends_at=NOON + 2 * HOUR)
    gone_round(campaign, now=AFTERNOON + MINUTE)
    assert {standing(each) for each in campaign.people.all()} == {("skipped", None, ENDS)}
    assert outcomes.finish(now=AFTERNOON + MINUTE) == [campaign]


def test_a_shorter_gap_reaches_whoever_waits_for_it(make):  # noqa: F811
    campaign = make.campaign(make.people(), launched=False, gap_hours=8)
    other = make.campaign(campaign.contact_lists.get())
    rung(other.people.get(), at=NOON)
    control.launch(campaign, now=AFTERNOON)
    gone_round(campaign)
    assert standing(campaign.people.get()) == ("waiting", TOMORROW, OUTSIDE)  # 20:00 is too late
    change(campaign, gap_hours=3)
    gone_round(campaign)
    assert standing(campaign.people.get()) == ("waiting", NOON + 3 * HOUR, LATELY)
    change(campaign, gap_hours=0)
    gone_round(campaign)
    assert standing(campaign.people.get()) == ("waiting", AFTERNOON, "")


def test_whoever_no_hour_was_left_for_is_not_held_any_more(make):  # noqa: F811
    campaign = make.campaign(week=[[], [], [], [], [], [], [[0, 60]]])
    assert standing() == ("held", None, NO_HOUR)
    change(campaign, week=LONG)
    gone_round(campaign)
    assert standing() == ("waiting", AFTERNOON, "")


@pytest.mark.parametrize(
    ("why", "due"),
    [("to be called again", TOMORROW + DAY), ("was not called after all", NOON + 90 * MINUTE), (OUTSIDE, NOON)],
)
def test_the_delay_of_a_retry_stays_and_so_does_the_turn_of_whoever_is_due(make, why, due):  # noqa: F811
    campaign = make.campaign(week=MORNING)
    campaign.people.update(why=why, next_due=due, changed_at=NOON)
    change(campaign, week=LONG)
    gone_round(campaign)
    assert (standing(), only_person().changed_at) == (("waiting", due, why), NOON)


def test_whose_number_or_data_are_others_by_now_is_left_to_the_claim(make):  # noqa: F811
    campaign = make.campaign(make.people(2), week=MORNING)
    campaign.people.update(next_due=TOMORROW, why=OUTSIDE)
    other, gone = Contact.objects.all()
    Contact.objects.filter(pk=other.pk).update(number="+14155559876")
    gone.delete()
    change(campaign, week=LONG)
    gone_round(campaign)
    assert {standing(each) for each in campaign.people.all()} == {("waiting", TOMORROW, OUTSIDE)}


@pytest.mark.parametrize(
    "meanwhile",
    [
        {"state": "calling", "next_due": None, "why": "", "attempts": 1},
        {"next_due": NOON + 6 * HOUR, "why": "another call to this number is under way"},
        {"state": "done", "next_due": None, "why": ""},
    ],
    ids=["claimed", "moved on", "done"],
)
def test_whoever_a_dialler_has_moved_since_they_were_read_stays_so(make, monkeypatch, meanwhile):  # noqa: F811
    campaign = make.campaign(make.people(3), week=MORNING)
    campaign.people.update(next_due=TOMORROW, why=OUTSIDE)
    theirs, forecast = campaign.people.order_by("pk")[1], claims.forecast

    def claimed_meanwhile(*args, **kwargs):
        CampaignContact.objects.filter(pk=theirs.pk).update(**meanwhile)
        return forecast(*args, **kwargs)

    monkeypatch.setattr(claims, "forecast", claimed_meanwhile)
    change(campaign, week=LONG)
    gone_round(campaign)
    moved = ("waiting", AFTERNOON, "")
    after = CampaignContact.objects.get(pk=theirs.pk)
    assert standing(after) == (meanwhile.get("state", "waiting"), meanwhile["next_due"], meanwhile["why"])
    assert [standing(each) for each in campaign.people.exclude(pk=theirs.pk)] == [moved, moved]


def test_a_round_of_changes_goes_on_where_its_worker_died(make, monkeypatch, by_tens):  # noqa: F811
    campaign = make.campaign(make.people(25), week=MORNING)
    campaign.people.update(next_due=TOMORROW, why=OUTSIDE)
    change(campaign, week=LONG)
    with monkeypatch.context() as patch:
        dies_at(patch, second_look, "changed", 2)
        with pytest.raises(ConnectionError):
            gone_round(campaign)
    assert campaign.people.filter(next_due=AFTERNOON).count() == campaign.rounds.get().done == 20
    assert rounds.due(AFTERNOON + MINUTE) == []
    assert rounds.due(AFTERNOON + 2 * MINUTE) == [str(campaign.pk)]
    gone_round(campaign, now=AFTERNOON + 2 * MINUTE)
    dues = campaign.people.order_by("pk").values_list("next_due", flat=True)
    assert list(dues) == [AFTERNOON] * 20 + [AFTERNOON + 2 * MINUTE] * 5


def test_what_is_written_and_what_is_noted_of_it_are_one(make, monkeypatch):  # noqa: F811
    campaign = make.campaign(week=MORNING)
    campaign.people.update(next_due=TOMORROW, why=OUTSIDE)
    change(campaign, week=LONG)
    monkeypatch.setattr(second_look, "_write", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gone_round(campaign)
    assert (campaign.rounds.get().after, standing()) == ("", ("waiting", TOMORROW, OUTSIDE))


def test_as_many_statements_pass_many_whose_earlier_calls_differ_as_pass_two(make):  # noqa: F811
    def statements(count: int) -> int:
        campaign = make.campaign(make.people(count), week=LONG, gap_hours=8)
        for at, person in enumerate(campaign.people.all()):
            rung(person, at=NOON - at * MINUTE)
        campaign.people.update(next_due=NOON + 8 * HOUR, why=LATELY, attempts=1)
        change(campaign, gap_hours=4)
        with CaptureQueriesContext(connection) as queries:
            gone_round(campaign)
        dues = set(campaign.people.values_list("next_due", flat=True))
        assert dues == {NOON + 4 * HOUR - at * MINUTE for at in range(count)}
        return len(queries)

    assert statements(40) == statements(2) <= 20


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.tuples(st.integers(0, 12), st.integers(13, 24), st.integers(0, 9)),
    then=st.tuples(st.integers(0, 12), st.integers(13, 24), st.integers(0, 9)),
    ends=st.one_of(st.none(), st.integers(1, 60)),
    hours=st.integers(0, 20),
)
def test_after_a_round_everybody_stands_as_if_they_were_put_in_now(make, before, then, ends, hours):  # noqa: F811
    def fields(plan, ends=None):
        week = [[[plan[0] * 60, plan[1] * 60]]] * 7
        return {"week": week, "gap_hours": plan[2], "ends_at": NOON + ends * HOUR if ends else None}

    now = NOON + hours * HOUR
    campaign = make.campaign(make.people(2, consent="written"), **fields(before, ends))
    called = campaign.people.first()
    rung(called, at=NOON - HOUR)
    change(campaign, now=NOON, week=campaign.week)
    gone_round(campaign, now=NOON)
    due_already = {each.pk for each in campaign.people.filter(next_due__lte=now)}
    change(campaign, now=now, **fields(then))
    gone_round(campaign, now=now)
    people = [each for each in campaign.people.select_related("contact") if each.pk not in due_already]
    expected = [claims.standing(found) for _, found in claims.forecast(campaign, [p.contact for p in people], now=now)]
    assert [standing(each) for each in people] == expected


# --- looked at again because somebody pressed the button -------------------------------------------------------------


def test_the_button_asks_for_a_round_and_moves_nobody_by_itself(make, by_tens, monkeypatch):  # noqa: F811
    campaign = make.campaign(make.people(25, consent=""))
    with CaptureQueriesContext(connection) as queries:
        control.look_again(campaign, now=AFTERNOON)
    assert not any("campaigncontact" in each["sql"] for each in queries)
    control.look_again(campaign, now=AFTERNOON)  # pressed twice
    assert campaign.rounds.count() == 1
    with monkeypatch.context() as patch:
        dies_at(patch, second_look, "held", 1)
        with pytest.raises(ConnectionError):
            gone_round(campaign)
    assert campaign.people.filter(state="held").count() == 15
    assert not outcomes.finish(now=AFTERNOON)
    gone_round(campaign)
    assert {standing(each) for each in campaign.people.all()} == {("waiting", AFTERNOON, "to be looked at again")}


def test_a_chunk_of_whoever_is_held_takes_as_many_statements_however_many_they_are(make):  # noqa: F811
    def statements(count: int) -> int:
        campaign = make.campaign(make.people(count, consent=""))
        control.look_again(campaign, now=AFTERNOON)
        with CaptureQueriesContext(connection) as queries:
            gone_round(campaign)
        assert campaign.people.filter(state="waiting").count() == count
        return len(queries)

    assert statements(40) == statements(1) <= 18


# --- what the trace tells --------------------------------------------------------------------------------------------


def test_the_trace_tells_that_somebody_was_skipped_that_the_end_was_moved_and_since_when_they_wait(make):  # noqa: F811
    campaign = make.campaign(week=MORNING, launched=False, ends_at=NOON + 8 * HOUR)
    control.launch(campaign, now=AFTERNOON)
    gone_round(campaign)
    campaign.refresh_from_db()
    campaign.history.update(history_date=AFTERNOON)
    campaign.ends_at = NOON + 5 * DAY
    campaign.save()
    campaign.history.filter(pk=campaign.history.latest().pk).update(history_date=AFTERNOON + MINUTE)
    control.changed(campaign, now=AFTERNOON + MINUTE)
    gone_round(campaign, now=AFTERNOON + 2 * MINUTE)
    told = [(moment.what, moment.detail, (moment.at - AFTERNOON) // MINUTE) for moment in moments(only_person())]
    assert told == [
        ("The campaign was launched", "", 0),
        ("Not called: skipped", ENDS, 0),
        ("The campaign was changed", "ends at", 1),
        ("Since then: waiting", OUTSIDE, 2),
    ]


def test_whoever_was_not_due_leaves_no_trace_of_a_change_but_since_when_they_wait(make):  # noqa: F811
    campaign = make.campaign(week=MORNING, launched=False)
    control.launch(campaign, now=AFTERNOON)
    gone_round(campaign)
    change(campaign, week=[[[600, 720]]] * 7)
    gone_round(campaign, now=AFTERNOON + MINUTE)
    assert not PersonMove.objects.exists()
    assert [(moment.what, moment.at) for moment in moments(only_person())][-1] == (
        "Since then: waiting",
        AFTERNOON + MINUTE,
    )

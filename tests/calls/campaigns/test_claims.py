"""Who is claimed, and who is not: everything is looked at again, and the database holds the promises."""

import datetime

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction

from calls import lifecycle, suppression
from calls.api import keys
from calls.campaigns import account_lines, claims, control, corrections, dialler, measures, outcomes, rounds, schedule
from calls.models import (
    ApiKey,
    Call,
    Campaign,
    CampaignContact,
    CampaignRound,
    Contact,
    ContactCopy,
    DoNotCall,
    OneOffCall,
    Price,
    Turn,
)  # fmt: skip
from calls.models.call import ACTIVE
from calls.states import Facts
from tests import factories
from tests.calls.campaigns.conftest import NOON, ZONE, only_person, rung

pytestmark = [pytest.mark.db, pytest.mark.django_db]

MINUTE, HOUR, DAY = datetime.timedelta(minutes=1), datetime.timedelta(hours=1), datetime.timedelta(days=1)


def claimed(campaign, now=NOON) -> Call | None:
    while not (found := claims.claim(campaign.pk, now=now)).call_ids:
        if not found.more:
            return None
    return Call.objects.get(pk__in=found.call_ids)


def end(call: Call, now=NOON, **facts) -> None:
    lifecycle.apply(call_id=call.pk, facts=Facts(status="ended", ended_at=now, **facts))
    outcomes.settle(now=now)


BUSY = {"hangup_cause": "busy", "hangup_code": 3010}
ANSWERED = {"answered_at": NOON, "duration_s": 20, "hangup_code": 4000}


def test_the_person_who_is_due_gets_a_call_that_says_all_of_it(make):
    people = make.people(variables={"order_no": "A-17"})
    campaign = make.campaign(people)
    call = claimed(campaign)
    assert (call.direction, call.status, call.attempt) == ("outbound", "claimed", 1)
    assert (call.to_number, call.variables) == (Contact.objects.get().number, {"order_no": "A-17"})
    caller = campaign.caller_numbers.get()
    assert (call.from_number, call.plivo_account, call.agent_version) == (
        caller.number,
        caller.plivo_account,
        campaign.agent.published_version,
    )
    person = only_person()
    assert (person.state, person.next_due, person.attempts) == ("calling", None, 1)
    assert claimed(campaign) is None


def test_a_call_lasts_as_long_as_its_campaign_says_and_else_as_long_as_its_agents(make):
    campaign = make.campaign(make.people(2), concurrency=2)
    call = claimed(campaign)
    assert call.spec.max_call_ms == campaign.agent.max_call_s * 1000
    Campaign.objects.update(longest_call_s=45)
    assert claimed(campaign).spec.max_call_ms == 45_000
    call.refresh_from_db()
    assert call.longest_s is None, "what was claimed before stays as it was"


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL plans by the values, and by what the table holds")
def test_calls_that_are_over_cost_a_claim_and_the_breaker_nothing(make):
    campaign = make.campaign()
    under_way = Call.objects.order_by().filter(campaign=campaign, status__in=ACTIVE)
    assert "call_of_campaign (campaign_id=? AND status=?)" in under_way.explain()
    account = campaign.caller_numbers.get().plivo_account
    lines = Call.objects.order_by().filter(plivo_account=account, status__in=ACTIVE)
    assert "call_of_account (plivo_account_id=? AND status=?)" in lines.explain()
    window = measures.finished(campaign, NOON - MINUTE, NOON).explain()
    assert "call_ended_of_campaign (campaign_id=? AND ended_at>? AND ended_at<?)" in window
    assert "call_by_status (status=? AND created_at>? AND created_at<?)" in window
    month = Call.objects.order_by().filter(plivo_account=account, created_at__gte=NOON)
    assert "call_by_account (plivo_account_id=? AND created_at>?)" in month.explain()


def test_those_of_one_claim_are_taken_in_the_order_of_their_numbers(make):
    """So that of two campaigns to the same people neither waits for the other in turn."""
    campaign = make.campaign(make.people(3), concurrency=10)
    for person, minutes in zip(CampaignContact.objects.order_by("number"), (5, 9, 7), strict=True):
        CampaignContact.objects.filter(pk=person.pk).update(next_due=NOON - minutes * MINUTE)
    made = Call.objects.in_bulk(claims.claim(campaign.pk, now=NOON, most=3).call_ids)
    assert [made[pk].to_number for pk in sorted(made)] == [f"+1415555{n:04}" for n in (1, 2, 3)]


def test_with_a_pace_of_its_own_a_campaign_claims_no_more_than_may_soon_begin(make):
    campaign = make.campaign(make.people(9), concurrency=50, calls_per_second="1.5")
    assert len(claims.claim(campaign.pk, now=NOON, most=8).call_ids) == 3
    assert claims.claim(campaign.pk, now=NOON, most=8).call_ids == []
    lifecycle.begin_sending(call_id=Call.objects.earliest("pk").pk, deadline_at=NOON + HOUR)
    assert len(claims.claim(campaign.pk, now=NOON, most=8).call_ids) == 1


def test_a_campaign_whose_claim_fails_keeps_no_other_waiting(make, monkeypatch, somebody_to_talk):
    broken, sound = make.campaign(), make.campaign()
    claim = claims.claim

    def fails(campaign_id, **asked):
        if campaign_id == broken.pk:
            raise OperationalError("deadlock detected")
        return claim(campaign_id, **asked)

    monkeypatch.setattr(claims, "claim", fails)
    taken, _ = dialler._take(lambda: NOON, [broken, sound], room=5)
    assert Call.objects.get(pk__in=taken).campaign == sound


def test_whoever_is_due_longest_is_first(make):
    campaign = make.campaign(make.people(3), concurrency=10)
    for person, minutes in zip(CampaignContact.objects.order_by("number"), (5, 9, 7), strict=True):
        CampaignContact.objects.filter(pk=person.pk).update(next_due=NOON - minutes * MINUTE)
    numbers = [claimed(campaign).to_number for _ in range(3)]
    assert numbers == [f"+1415555{n:04}" for n in (2, 3, 1)]


def test_no_more_calls_go_on_at_once_than_the_campaign_allows(make):
    campaign = make.campaign(make.people(5), concurrency=2)
    first, second = claimed(campaign), claimed(campaign)
    assert claimed(campaign) is None
    lifecycle.apply(call_id=first.pk, facts=Facts(status="unknown"))
    assert claimed(campaign) is None, "one of which nobody knows may go on"
    end(second, **ANSWERED)
    assert claimed(campaign) is not None


@pytest.mark.parametrize("status", ["draft", "paused", "stopped", "finished"])
def test_a_campaign_that_does_not_run_calls_nobody(make, status):
    campaign = make.campaign()
    type(campaign).objects.filter(pk=campaign.pk).update(status=status)
    assert claimed(campaign) is None


def test_nobody_is_called_while_the_switch_is_thrown(make):
    campaign = make.campaign()
    control.throw_switch(user_id=None, why="a complaint", now=NOON)
    assert claimed(campaign) is None
    control.throw_back(now=NOON, user_id=None)
    assert claimed(campaign) is not None


def test_nobody_is_called_while_the_do_not_call_list_cannot_be_read(make, settings):
    campaign = make.campaign()
    suppression.add(suppression.Entry("+4930123456", NOON), source=DoNotCall.Source.OPERATOR)
    settings.SUPPRESSION_KEY = "another"
    assert claimed(campaign) is None


def test_whoever_opted_out_after_the_launch_is_skipped(make):
    campaign = make.campaign()
    suppression.add(suppression.Entry(only_person().number, NOON), source=DoNotCall.Source.SPOKEN)
    assert claimed(campaign) is None
    assert (only_person().state, only_person().why) == ("skipped", "on the do-not-call list")


def test_whoever_may_not_be_called_any_more_today_waits_for_tomorrow(make):
    campaign = make.campaign()
    late = NOON.replace(hour=23)  # six in the evening in New York, when the campaign's week ends
    assert claimed(campaign, late) is None
    person = only_person()
    assert (person.state, person.why) == ("waiting", "outside the hours for calls")
    assert person.next_due == datetime.datetime(2026, 11, 27, 14, tzinfo=datetime.UTC)


def test_whoever_lost_what_a_call_needs_is_held_with_the_reason(make):
    campaign = make.campaign()
    Contact.objects.update(time_zone="", zones=[])
    assert claimed(campaign) is None
    assert (only_person().state, only_person().why) == ("held", "the time zone is not known")
    Contact.objects.all().delete()
    CampaignContact.objects.update(state="waiting", next_due=NOON)
    assert claimed(campaign) is None
    assert (only_person().state, only_person().why) == ("skipped", "their data were erased")


def test_two_campaigns_never_call_a_person_at_once(make):
    people = make.people()
    first, second = make.campaign(people), make.campaign(people)
    call = claimed(first)
    assert claimed(second) is None
    waiting = CampaignContact.objects.get(campaign=second)
    assert (waiting.state, waiting.why) == ("waiting", "another call to this number is under way")
    end(call, **ANSWERED)
    assert claimed(second, NOON + 6 * MINUTE) is None, "nor a moment after the other"
    waiting.refresh_from_db()
    assert waiting.why == "called a short time ago"


def test_a_person_of_whose_call_nobody_knows_is_called_by_nobody(make):
    people = make.people()
    first, second = make.campaign(people), make.campaign(people)
    lifecycle.apply(call_id=claimed(first).pk, facts=Facts(status="unknown"))
    for hours in range(0, 200, 7):
        now = NOON + datetime.timedelta(hours=hours)
        outcomes.settle(now=now)
        assert claimed(first, now) is None
        assert claimed(second, now) is None


@pytest.mark.parametrize(("rang", "counted"), [({}, 0), ({"ringing_at": NOON}, 1), ({"answered_at": NOON}, 1)])
@pytest.mark.parametrize("status", ["rejected", "cancelled"])
def test_one_that_was_let_go_counts_against_the_caps_only_if_it_rang_all_the_same(status, rang, counted):
    Call.objects.create(direction="outbound", to_number="+14155550100", status=status, created_at=NOON, **rang)
    found = claims.histories(["+14155550100"], now=NOON + MINUTE)
    assert len(found.get("+14155550100", claims.NEVER).calls) == counted


def test_the_database_itself_refuses_a_second_call_to_a_number_and_for_an_attempt(make):
    campaign = make.campaign()
    call = claimed(campaign)
    again = {"direction": "outbound", "to_number": call.to_number, "status": "queued"}
    with pytest.raises(IntegrityError), transaction.atomic():
        Call.objects.create(**again)
    Call.objects.create(**again | {"direction": "inbound"})  # a person may always ring in
    Call.objects.create(**again | {"status": "ended"})
    with pytest.raises(IntegrityError), transaction.atomic():
        Call.objects.create(
            direction="outbound",
            to_number="+4930123456",
            campaign_person=call.campaign_person,
            attempt=1,
            status="ended",
        )


def test_a_person_sees_the_same_number_at_every_attempt(make):
    campaign = make.campaign(make.people(6), concurrency=10, gap_hours=0)
    for _ in range(3):
        campaign.caller_numbers.add(factories.PhoneNumberFactory())
    first = {}
    while call := claimed(campaign):
        first[call.to_number] = call.from_number
        end(call, **BUSY)
    assert len(set(first.values())) > 1
    later = NOON + 20 * MINUTE
    while call := claimed(campaign, later):
        assert call.from_number == first[call.to_number]
        end(call, later, **BUSY)


# --- after an attempt ------------------------------------------------------------------------------------------------


def test_who_was_spoken_to_is_done(make):
    campaign = make.campaign()
    end(claimed(campaign), **ANSWERED)
    assert (only_person().state, only_person().outcome) == ("done", "completed")
    assert outcomes.finish(now=NOON) == [campaign]
    campaign.refresh_from_db()
    assert campaign.status == "finished"


def test_who_was_busy_is_called_again_as_often_as_the_campaign_says(make):
    campaign = make.campaign(gap_hours=0, most_a_day=3, retries={"busy": [15, 60]})
    now, made = NOON, []
    for _ in range(5):
        call = claimed(campaign, now)
        if call is None:
            break
        made.append((call.attempt, now))
        end(call, now, **BUSY)
        now = only_person().next_due or now
        assert claimed(campaign, now - datetime.timedelta(seconds=1)) is None
    assert made == [(1, NOON), (2, NOON + 15 * MINUTE), (3, NOON + 75 * MINUTE)]
    assert (only_person().state, only_person().outcome) == ("done", "busy")


@pytest.mark.parametrize(("after_s", "state"), [(8, "waiting"), (11, "done")])
def test_who_hung_up_early_is_called_again_and_who_listened_is_not(make, after_s, state):
    campaign = make.campaign(gap_hours=0, retries={"hung_up": [30]})
    call = claimed(campaign)
    over = NOON + datetime.timedelta(seconds=after_s)
    end(call, over, answered_at=NOON, end_reason="caller_hung_up", hangup_code=4000)
    assert (only_person().state, only_person().outcome) == (state, "completed")
    if state == "waiting":
        assert only_person().next_due == over + 30 * MINUTE
        again = claimed(campaign, only_person().next_due)
        end(again, over + 30 * MINUTE, answered_at=over + 30 * MINUTE, end_reason="caller_hung_up", hangup_code=4000)
        assert only_person().state == "done"


def test_an_attempt_that_was_let_go_costs_the_person_none(make):
    campaign = make.campaign(retries={})
    call = claimed(campaign)
    lifecycle.apply(call_id=call.pk, facts=Facts(status="cancelled"))
    outcomes.settle(now=NOON)
    assert (only_person().state, only_person().next_due) == ("waiting", NOON + MINUTE)
    assert claimed(campaign, NOON + MINUTE).attempt == 2


def test_one_that_was_never_found_is_not_called_again(make):
    campaign = make.campaign(retries={"failed": [1], "unknown": [1]})
    call = claimed(campaign)
    for status in ("unknown", "not_found"):
        lifecycle.apply(call_id=call.pk, facts=Facts(status=status))
    outcomes.settle(now=NOON)
    assert (only_person().state, only_person().why) == ("done", outcomes.NOT_FOUND)


def test_settling_twice_changes_nothing(make):
    campaign = make.campaign(gap_hours=0)
    end(claimed(campaign), **BUSY)
    before = CampaignContact.objects.values().get()
    assert outcomes.settle(now=NOON + MINUTE) == 0
    assert CampaignContact.objects.values().get() == before


# --- how often ------------------------------------------------------------------------------------------------------


def rung_before(number: str, *hours: float, **fields) -> None:
    """Calls to a number that are over, so many hours before NOON, of nobody in particular."""
    for ago in hours:
        at = NOON - ago * 60 * MINUTE
        known = {"direction": "outbound", "status": "ended", "to_number": number, "created_at": at, "ended_at": at}
        Call.objects.create(**(known | fields))


@pytest.mark.parametrize("origin", OneOffCall.Origin.values)
def test_calls_that_programs_and_operators_had_made_count_like_those_of_campaigns(make, origin):
    campaign = make.campaign(gap_hours=0, most_a_day=3)
    rung_before(only_person().number, 20, 10, 5)
    key = ApiKey(name="CRM")
    keys.give(key)
    key.save()
    for at, call in enumerate(Call.objects.all()):
        named = {"api_key": key, "idempotency_key": str(at), "body_sha256": "b"} if origin == "api" else {}
        OneOffCall.objects.create(call=call, origin=origin, purpose="service", country="US", **named)
    assert claimed(campaign) is None
    assert (only_person().next_due, only_person().why) == (NOON + 4 * HOUR, "called as often as allowed this day")
    assert claimed(campaign, NOON + 4 * HOUR) is not None


def test_whatever_a_row_says_nobody_is_rung_a_fourth_time_within_a_day(make):
    campaign = make.campaign()
    campaign.gap_hours, campaign.most_a_day, campaign.most_a_week = 0, 20, 0  # what no row can hold any more
    rung_before(only_person().number, 20, 10, 5)
    assert claims.answer_for(campaign, only_person(), now=NOON).at == NOON + 4 * HOUR


def test_a_call_counts_from_when_it_rang_not_from_when_it_was_claimed(make):
    campaign = make.campaign(gap_hours=0, most_a_day=1)
    rung_before(only_person().number, 25, ringing_at=NOON - 23 * HOUR)
    assert claims.answer_for(campaign, only_person(), now=NOON).why == "called as often as allowed this day"
    Call.objects.update(ringing_at=None, queued_at=NOON - 23 * HOUR)
    assert claims.answer_for(campaign, only_person(), now=NOON).why == "called as often as allowed this day"
    Call.objects.update(queued_at=None)
    assert claims.answer_for(campaign, only_person(), now=NOON).at == NOON


@pytest.mark.parametrize(
    "caps", [{"most_a_day": 0}, {"most_a_day": 4}, {"most_a_week": 0}, {"most_a_week": 22}, {"gap_hours": 169}]
)
def test_the_database_holds_no_wider_caps(make, caps):
    campaign = make.campaign(gap_hours=168, most_a_day=3, most_a_week=21)
    with pytest.raises(IntegrityError, match="caps_are_never_wider"), transaction.atomic():
        Campaign.objects.filter(pk=campaign.pk).update(**caps)


BRITON = {"number": "+447400123456", "country": "GB", "time_zone": "Europe/London", "region": ""}


@pytest.mark.parametrize(
    ("fields", "heard_ms", "waits"),
    [
        ({}, None, True),
        ({}, 2500, True),
        ({}, 500, False),
        ({"end_reason": "refused", "live_at": None}, None, True),
        ({"outcome": "machine"}, None, False),
        ({"answered_at": None}, None, False),
    ],
)
def test_whoever_in_britain_was_met_by_silence_is_left_alone_for_three_days(make, fields, heard_ms, waits):
    campaign = make.campaign(make.people(**BRITON), countries=["GB"], week=[[[0, 1440]]] * 7, gap_hours=0)
    at = NOON - 26 * HOUR  # three days later is a Saturday, three in the afternoon
    known = {"answered_at": at, "live_at": at, "agent": campaign.agent, "outcome": "completed"}
    known |= {"agent_version": campaign.agent.published_version}
    rung_before(BRITON["number"], 26, **(known | fields))
    Call.objects.update(ended_at=at + MINUTE)
    if heard_ms is not None:
        Turn.objects.create(
            call=Call.objects.get(), index=0, role="agent", kind="greeting", started_ms=0, ended_ms=9000,
            first_heard_ms=heard_ms,
        )  # fmt: skip
    found = claims.answer_for(campaign, only_person(), now=NOON)
    if waits:
        assert found.at == at + 3 * DAY
        assert found.why == "met by silence on a call within 72 hours"
    else:
        assert found.at == NOON


def test_elsewhere_silence_keeps_nobody_waiting(make):
    campaign = make.campaign(gap_hours=0)
    version = campaign.agent.published_version
    rung_before(only_person().number, 20, answered_at=NOON - 20 * HOUR, agent_version=version)
    Call.objects.update(ended_at=NOON - 19 * HOUR)
    assert claims.answer_for(campaign, only_person(), now=NOON).at == NOON


# --- launching -------------------------------------------------------------------------------------------------------


def test_everybody_of_its_lists_is_in_a_campaign_once(make):
    people, more = make.people(3), make.people(2)
    Contact.objects.create(contact_list=more, number=people.contacts.first().number, country="US")
    Contact.objects.update(created_at=NOON)
    campaign = make.campaign(people, launched=False)
    campaign.contact_lists.add(more)
    control.launch(campaign, now=NOON)
    rounds.run(str(campaign.pk), clock=lambda: NOON)
    assert campaign.people.count() == 5
    campaign.refresh_from_db()
    assert campaign.enrolled_at == NOON


def test_whoever_comes_into_its_lists_after_the_launch_is_not_in_it(make):
    people = make.people(2)
    campaign = make.campaign(people, launched=False)
    control.launch(campaign, now=NOON)
    late = Contact.objects.create(contact_list=people, number="+14155559876", country="US", consent="written")
    Contact.objects.filter(pk=late.pk).update(created_at=NOON + MINUTE)
    rounds.run(str(campaign.pk), clock=lambda: NOON + 2 * MINUTE)
    assert campaign.people.count() == 2
    assert not campaign.people.filter(number=late.number).exists()


def test_a_campaign_is_not_launched_while_people_are_copied_into_its_lists(make):
    campaign = make.campaign(launched=False)
    ContactCopy.objects.create(contact_list=campaign.contact_lists.get(), total=1, moved_at=NOON)
    with pytest.raises(control.Refused, match="still being copied into its lists: wait"):
        control.launch(campaign, now=NOON)
    ContactCopy.objects.update(finished_at=NOON)
    control.launch(campaign, now=NOON)
    assert campaign.status == "running"


def test_who_is_held_or_skipped_is_so_from_the_beginning(make):
    people = make.people(3)
    held, skipped, _ = people.contacts.all()
    Contact.objects.filter(pk=held.pk).update(time_zone="")
    suppression.add(suppression.Entry(skipped.number, NOON), source=DoNotCall.Source.OPERATOR)
    campaign = make.campaign(people)
    assert {each.number: each.state for each in campaign.people.all()} == {
        held.number: "held",
        skipped.number: "skipped",
        people.contacts.all()[2].number: "waiting",
    }


@pytest.mark.parametrize(
    ("breaks", "why"),
    [
        (lambda campaign: campaign.caller_numbers.clear(), "Choose a number to call from."),
        (lambda campaign: campaign.contact_lists.clear(), "Nobody is in its lists"),
        (lambda campaign: setattr(campaign, "countries", []), "Choose the countries"),
        (lambda campaign: setattr(campaign, "week", [[]] * 7), "no hours"),
    ],
)
def test_a_campaign_in_which_something_is_missing_is_not_launched(make, breaks, why):
    campaign = make.campaign(launched=False)
    breaks(campaign)
    campaign.save()
    with pytest.raises(control.Refused, match=why):
        control.launch(campaign, now=NOON)
    assert type(campaign).objects.get().status == "draft"


def test_a_campaign_goes_only_where_it_can_go(make):
    campaign = make.campaign()
    for act in (lambda: control.launch(campaign, now=NOON), lambda: control.resume(campaign, now=NOON)):
        with pytest.raises(control.Refused, match="is running"):
            act()
    control.pause(campaign, now=NOON)
    control.resume(campaign, now=NOON)
    control.stop(campaign, now=NOON)
    for act in (
        lambda: control.pause(campaign, now=NOON),
        lambda: control.resume(campaign, now=NOON),
        lambda: control.stop(campaign, now=NOON),
    ):
        with pytest.raises(control.Refused, match="is stopped"):
            act()


def test_whose_number_was_changed_after_the_launch_is_held_since_the_hours_are_of_the_new_one(make):
    campaign = make.campaign()
    Contact.objects.update(number="+4930901820", country="DE", zones=["Europe/Berlin"], time_zone="")
    assert claims.claim(campaign.pk, now=NOON).call_ids == []
    assert (only_person().state, only_person().why) == ("held", "their number was changed after the launch")


# --- several at once -------------------------------------------------------------------------------------------------


def test_several_are_taken_in_one_look_and_who_may_not_be_called_is_moved_on(make):
    campaign = make.campaign(make.people(5), concurrency=10)
    second = campaign.people.order_by("next_due", "id")[1]
    Contact.objects.filter(pk=second.contact_id).update(consent="")
    found = claims.claim(campaign.pk, now=NOON, most=4)
    assert (len(found.call_ids), found.more) == (3, True)
    assert campaign.people.get(pk=second.pk).state == "held"
    last = claims.claim(campaign.pk, now=NOON, most=4)
    assert (len(last.call_ids), last.more) == (1, False)


def test_no_more_are_taken_than_may_be_called_at_once(make):
    campaign = make.campaign(make.people(5), concurrency=3)
    assert len(claims.claim(campaign.pk, now=NOON, most=16).call_ids) == 3
    assert claims.claim(campaign.pk, now=NOON, most=16) == claims.Claim()


def test_of_a_budget_one_call_at_a_time_takes_its_part(make):
    since = datetime.date(2026, 1, 1)
    Price.objects.create(provider="plivo", model="US", unit="minute", usd="0.01", valid_from=since, source="a list")
    campaign = make.campaign(make.people(5), concurrency=5, budget=10)
    assert len(claims.claim(campaign.pk, now=NOON, most=4).call_ids) == 1


def test_a_look_at_four_costs_little_more_than_a_look_at_one(make, django_assert_max_num_queries):
    campaign = make.campaign(make.people(8), concurrency=10)
    with django_assert_max_num_queries(32):
        assert len(claims.claim(campaign.pk, now=NOON, most=4).call_ids) == 4


def test_an_account_with_a_limit_carries_no_more_calls_than_that_those_that_came_in_counted(make):
    caller = factories.PhoneNumberFactory(plivo_account__max_calls=3)
    campaign = make.campaign(make.people(6), caller=caller, concurrency=10)
    Call.objects.create(direction="inbound", status="live", plivo_account=caller.plivo_account)
    Call.objects.create(direction="inbound", status="ended", plivo_account=caller.plivo_account)
    Call.objects.create(direction="inbound", status="live", plivo_account=factories.PlivoAccountFactory())
    first = claims.claim(campaign.pk, now=NOON, most=8)
    assert (len(first.call_ids), first.more) == (2, False)
    assert claims.claim(campaign.pk, now=NOON, most=8) == claims.Claim([], more=False)
    assert campaign.people.filter(state="waiting", next_due__lte=NOON, why="").count() == 4, "they stay due"
    Call.objects.filter(pk=first.call_ids[0]).update(status="ended", campaign_person=None)
    assert len(claims.claim(campaign.pk, now=NOON, most=8).call_ids) == 1


def test_while_one_account_is_full_others_are_called_from_another_but_nobody_from_a_number_new_to_them(make):
    full = factories.PhoneNumberFactory(plivo_account__max_calls=1)
    campaign = make.campaign(make.people(5), caller=full, concurrency=10, retries={"busy": [15]})
    other = factories.PhoneNumberFactory()
    campaign.caller_numbers.add(other)
    Call.objects.create(direction="inbound", status="live", plivo_account=full.plivo_account)
    again = campaign.people.first()
    rung(again, from_number=full.number, at=NOON - datetime.timedelta(hours=6), outcome="busy")
    CampaignContact.objects.filter(pk=again.pk).update(attempts=1)
    made = Call.objects.filter(pk__in=claims.claim(campaign.pk, now=NOON, most=8).call_ids)
    assert (len(made), {call.from_number for call in made}) == (4, {other.number})
    again.refresh_from_db()
    assert (again.state, again.next_due) == ("waiting", NOON)


@pytest.mark.usefixtures("make")
def test_without_a_limit_accounts_are_neither_counted_nor_locked(django_assert_num_queries):
    with django_assert_num_queries(0):
        assert account_lines.free([factories.PlivoAccountFactory.build()]) == {}


# --- what was taken out of the plan ----------------------------------------------------------------------------------


def waits_for_a_second(make, **fields) -> Campaign:
    """Somebody who was met by a machine, and is to be called again now."""
    campaign = make.campaign(retries={"machine": [60]}, gap_hours=0, **fields)
    rung(only_person(), at=NOON - 2 * HOUR, outcome="machine")
    CampaignContact.objects.update(attempts=1)
    return campaign


def test_who_waits_for_an_attempt_that_the_plan_makes_gets_it(make):
    assert claimed(waits_for_a_second(make)).attempt == 2


def test_who_waits_for_an_attempt_that_was_taken_out_of_the_plan_is_done(make):
    campaign = waits_for_a_second(make)
    Campaign.objects.update(retries={"busy": [15]})
    assert claimed(campaign) is None
    person = only_person()
    assert (person.state, person.next_due, person.attempts) == ("done", None, 1)


def test_an_attempt_that_we_took_back_uses_up_no_retry(make):
    campaign = make.campaign(retries={"failed": [60]}, gap_hours=0)
    person = only_person()
    rung(person, at=NOON - 3 * HOUR, outcome="failed", end_reason="refused")
    failed = rung(person, attempt=2, at=NOON - 2 * HOUR, outcome="failed")
    assert outcomes.next_attempt(campaign, failed, now=NOON) == NOON - HOUR
    again = rung(person, attempt=3, at=NOON - HOUR, outcome="failed")
    assert outcomes.next_attempt(campaign, again, now=NOON) is None, "of their own they had as many as there are"


def test_who_was_held_and_whose_call_was_corrected_is_not_called_again_by_another_look(make):
    campaign = waits_for_a_second(make)
    CampaignContact.objects.update(state="held", next_due=None)
    corrections.correct(Call.objects.get(), outcome="completed", why="they talked", now=NOON, by_id=None)
    rounds.start(campaign, CampaignRound.Kind.HELD, now=NOON)
    rounds.run(str(campaign.pk), clock=lambda: NOON)
    assert only_person().state == "waiting"
    assert claimed(campaign) is None
    assert only_person().state == "done"


# --- a state that cannot be read -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("region", "time_zone", "held"),
    [("California", "", False), ("ca", "", False), ("", "", False), ("Calif", "", True), ("Calif", ZONE, False)],
)
def test_whose_state_cannot_be_read_is_held_unless_their_time_zone_is_known(make, region, time_zone, held):
    people = make.people(number="+12125550123", region=region, time_zone=time_zone, zones=["America/New_York"])
    campaign = make.campaign(people)
    campaign_person = only_person()
    assert (campaign_person.state == "held") is held
    assert ("no state of the United States" in campaign_person.why) is held
    if region == "California":
        assert schedule.zones_of(campaign_person.contact) == ["America/Los_Angeles"]
    assert campaign.people.count() == 1

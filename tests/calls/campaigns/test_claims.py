"""Who is claimed, and who is not: everything is looked at again, and the database holds the promises."""

import datetime

import pytest
from django.db import IntegrityError, transaction

from calls import lifecycle, suppression
from calls.campaigns import claims, control, outcomes, rounds
from calls.models import Call, Campaign, CampaignContact, Contact, ContactCopy, DoNotCall, Price
from calls.states import Facts
from tests import factories
from tests.calls.campaigns.conftest import NOON, only_person

pytestmark = [pytest.mark.db, pytest.mark.django_db]

MINUTE = datetime.timedelta(minutes=1)


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
    campaign = make.campaign(make.people(6), concurrency=10, gap_hours=0, most_a_day=0, most_a_week=0)
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
    campaign = make.campaign(gap_hours=0, most_a_day=0, most_a_week=0, retries={"busy": [15, 60]})
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

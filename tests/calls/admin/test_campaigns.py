"""Campaigns in the admin: planned, rehearsed, launched, watched, paused; each by its own permission."""

import datetime
import re

import pytest
from django.contrib.admin.models import LogEntry
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from agents import services
from calls import suppression
from calls.admin.campaign_form import read_delays
from calls.admin.campaigns import CampaignAdmin
from calls.admin.week import read_day, written_day
from calls.campaigns import claims, control, counts, rounds
from calls.models import Call, Campaign, CampaignContact, CampaignEvent, Contact, DoNotCall, Switch
from calls.reports import masked
from tests import factories
from tests.calls.campaigns.conftest import NOON, from_noon, make, rung  # noqa: F401  (fixtures)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

TOO_SOON = ("2026-12-02", "10:00", "2026-12-01", "10:00")
LIST = "/admin/calls/campaign/"


def staff(*permissions: str) -> Client:
    client = Client()
    client.force_login(factories.UserFactory(permissions=[f"calls.{name}" for name in permissions]))
    return client


def page(campaign: Campaign, name: str = "change") -> str:
    return reverse(f"admin:calls_campaign_{name}", args=[campaign.pk])


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def form(people, caller, **changes):
    data = {
        "name": "Spring", "agent": str(caller.agent.pk), "agent_version": "", "purpose": "service",
        "contact_lists": [str(people.pk)], "caller_numbers": [str(caller.pk)], "countries": ["US"],
        "starts_at_0": "", "starts_at_1": "", "ends_at_0": "", "ends_at_1": "", "concurrency": "5", "ring_s": "40",
        "on_machine": "hang_up", "gap_hours": "4", "most_a_day": "2", "most_a_week": "5", "retry_busy": "15, 60",
        "breaker_percent": "50", "breaker_window_s": "120",
        "retry_no_answer": "", "retry_machine": "", "retry_failed": "",
        **{f"day_{at}": "9-18" for at in range(5)}, "day_5": "", "day_6": "",
    }  # fmt: skip
    return data | changes


@pytest.mark.parametrize(
    ("text", "spans"),
    [
        ("", []),
        ("9-18", [[540, 1080]]),
        ("13:30-18, 9:00-12:15", [[540, 735], [810, 1080]]),
        ("0-24", [[0, 1440]]),
    ],
)
def test_a_days_hours_are_read_as_people_write_them(text, spans):
    assert read_day(text) == spans
    assert read_day(written_day(spans)) == spans


@pytest.mark.parametrize("text", ["9", "nine to five", "18-9", "9-25", "9-12, 11-14", "9-12,12-14", "9:61-10", "-"])
def test_hours_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        read_day(text)


@pytest.mark.parametrize("text", ["soon", "0", "-5", "1.5", "99999999", ",".join(["1"] * 11)])
def test_delays_that_cannot_be_are_refused(text):
    with pytest.raises(ValueError, match=r"\w"):
        read_delays(text)
    assert read_delays(" 15,60 ,") == [15, 60]


def test_a_campaign_is_planned_with_the_hours_and_retries_that_were_written(admin_page, make):  # noqa: F811
    assert "No campaigns yet." in admin_page.get(LIST).content.decode()
    people, caller = make.people(), factories.PhoneNumberFactory()
    admin_page.post(f"{LIST}add/", form(people, caller, day_0="9:00-12:00, 13:00-18:00"))
    campaign = Campaign.objects.get()
    assert campaign.week == [[[540, 720], [780, 1080]], *[[[540, 1080]]] * 4, [], []]
    assert (campaign.retries, campaign.countries) == ({"busy": [15, 60]}, ["US"])
    assert list(campaign.contact_lists.all()) == [people]
    assert campaign.created_by is not None
    html = admin_page.get(page(campaign)).content.decode()
    assert 'value="9:00-12:00, 13:00-18:00"' in html
    assert "A draft: nobody is called yet." in html


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"day_0": "9 to 5"}, "Write it as 9:00-12:00, 13:00-18:00."),
        ({"retry_busy": "soon"}, "Write minutes, as 15, 60."),
        (dict(zip(("starts_at_0", "starts_at_1", "ends_at_0", "ends_at_1"), TOO_SOON, strict=True)), "ends before"),
        ({"countries": ["XX"]}, "Select a valid choice"),
        ({"concurrency": "-1"}, "greater than or equal to 0"),
        ({"ring_s": "0"}, "greater than or equal to 5"),
        ({"longest_call_s": "20"}, "greater than or equal to 30"),
        ({"gap_hours": "169"}, "less than or equal to 168"),
        ({"most_a_day": "0"}, "greater than or equal to 1"),
        ({"most_a_day": "4"}, "less than or equal to 3"),
        ({"most_a_week": "0"}, "greater than or equal to 1"),
        ({"most_a_week": "22"}, "less than or equal to 21"),
    ],
)
def test_what_is_wrong_with_a_plan_is_said_at_its_field(admin_page, make, changes, why):  # noqa: F811
    html = admin_page.post(
        f"{LIST}add/", form(make.people(), factories.PhoneNumberFactory(), **changes)
    ).content.decode()
    assert why in html
    assert not Campaign.objects.exists()


def test_the_rehearsal_says_that_the_register_is_too_old_and_offers_no_launch(admin_page, make):  # noqa: F811
    campaign = make.campaign(launched=False, purpose="promotional")
    shown = text_of(admin_page.get(page(campaign, "rehearsal")).content.decode())
    assert "a National Do Not Call Registry that is at most 31 days old: import its numbers under Do not call." in shown
    assert "Launch: call" not in shown


def test_the_rehearsal_says_what_would_happen_before_anything_does(admin_page, make):  # noqa: F811
    people = make.people(4, name="Jane", variables={})
    held, skipped, *_ = people.contacts.all()
    Contact.objects.filter(pk=held.pk).update(consent="")
    suppression.add(suppression.Entry(skipped.number, NOON), source=DoNotCall.Source.OPERATOR)
    campaign = make.campaign(people, launched=False)
    shown = text_of(admin_page.get(page(campaign, "rehearsal")).content.decode())
    assert "People 4 Will be called 2" in shown
    assert "1: no express consent is known, which service calls need" in shown
    assert "1: on the do-not-call list" in shown
    assert "Launch: call 2 people" in shown
    assert "Jane: “" in shown
    assert not CampaignContact.objects.exists()


def test_a_rehearsal_says_between_which_hours_when_it_is_through_and_who_is_left(admin_page, make, from_noon):  # noqa: F811
    campaign = make.campaign(make.people(4), launched=False, week=[[[540, 1080]]] * 7, concurrency=1)
    shown = text_of(admin_page.get(page(campaign, "rehearsal")).content.decode())
    assert "On their clocks between 12:00 and 17:58" in shown
    assert f"First attempts take at least 6 min And are through by about {NOON:%-d %b}, " in shown
    assert "would not be called" not in shown
    Campaign.objects.update(ends_at=NOON + datetime.timedelta(minutes=4))
    shown = text_of(admin_page.get(page(campaign, "rehearsal")).content.decode())
    assert "And are through by about - " in shown
    assert "About 2 people would not be called: the campaign ends first." in shown


def test_how_calls_begin_is_shown_to_those_who_may_see_people_and_numbers(make):  # noqa: F811
    caller = factories.PhoneNumberFactory()
    agent = factories.AgentFactory(
        greeting="Is this {{called_number}}?", system_prompt="You call {{called_number}} for {{plan}}.",
        variables={"plan": ""},
    )  # fmt: skip
    services.publish(agent=agent, user=None)
    people = make.people(1, name="Jane", variables={"plan": "Gold"})
    number = people.contacts.get().number
    campaign = make.campaign(people, caller=caller, launched=False, agent=agent)

    def shown(*permissions: str) -> str:
        return text_of(staff("view_campaign", *permissions).get(page(campaign, "rehearsal")).content.decode())

    for alone in (shown(), shown("view_numbers")):
        assert "You may not see people: ask for the permission “Can view contact”." in alone
        assert not [word for word in ("Jane", "Gold", number, masked(number)) if word in alone]
    seen = shown("view_contact")
    assert f"Jane: “Is this {masked(number)}?”" in seen
    assert "Gold" in seen
    assert number not in seen
    assert number.removeprefix("+") not in seen
    whole = shown("view_contact", "view_numbers")
    assert f"Jane: “Is this {number}?”" in whole
    assert "You may not see people" not in whole


def test_a_rehearsal_names_what_is_missing_and_offers_no_launch(admin_page, make):  # noqa: F811
    campaign = make.campaign(launched=False, countries=[])
    html = admin_page.get(page(campaign, "rehearsal")).content.decode()
    assert "Choose the countries that may be called." in html
    assert "Launch: call" not in html


def test_groups_of_the_rehearsal_are_downloaded_by_those_who_may(admin_page, make):  # noqa: F811
    people = make.people(2, name="=Jane")
    held = people.contacts.order_by("number").first()
    Contact.objects.filter(pk=held.pk).update(consent="")
    campaign = make.campaign(people, launched=False)
    html = admin_page.get(page(campaign, "rehearsal")).content.decode()
    links = re.findall(r'href="([^"]+\.csv[^"]*)"', html)
    assert len(links) == 2
    due, held_by_reason = (b"".join(admin_page.get(link).streaming_content).decode() for link in links)
    assert due.count("'=Jane") == held_by_reason.count("'=Jane") == 1
    assert held.number in held_by_reason
    exporter = staff("view_campaign", "export_campaign")
    assert held.number not in b"".join(exporter.get(links[1]).streaming_content).decode()
    assert LogEntry.objects.latest("pk").change_message.startswith(
        "Downloaded who is held in its rehearsal. no express"
    )
    assert exporter.get(links[0].replace("due", "everybody")).status_code == 404
    assert staff("view_campaign").get(links[0]).status_code == 403
    assert ".csv" not in staff("view_campaign").get(page(campaign, "rehearsal")).content.decode()


def test_a_campaign_is_launched_paused_resumed_and_stopped_by_its_buttons(admin_page, make):  # noqa: F811
    campaign = make.campaign(launched=False)
    for act, status, said in (
        ("launch", "running", "launched"),
        ("pause", "paused", "Paused: nobody more is rung."),
        ("resume", "running", "resumed"),
        ("stop", "stopped", "Stopped for good."),
    ):
        html = admin_page.post(page(campaign, act), follow=True).content.decode()
        campaign.refresh_from_db()
        assert campaign.status == status
        assert said in html
    shown = [text_of(html).index(f"The campaign was {done}, by") for done in ("stopped for good", "resumed", "paused")]
    assert shown == sorted(shown)
    assert "is stopped" in admin_page.post(page(campaign, "resume"), follow=True).content.decode()
    assert admin_page.get(page(campaign, "pause")).status_code == 405


def test_the_page_shows_how_it_stands_and_why_somebody_is_not_called(admin_page, make):  # noqa: F811
    people = make.people(3)
    Contact.objects.filter(pk=people.contacts.first().pk).update(time_zone="", zones=[])
    campaign = make.campaign(people)
    for address in (page(campaign), page(campaign, "standing")):
        shown = text_of(admin_page.get(address).content.decode())
        assert "Waiting 2" in shown
        assert "Held 1" in shown
        assert "1 held: the time zone is not known" in shown


def test_whoever_was_held_is_looked_at_again_once_something_was_mended(admin_page, make):  # noqa: F811
    campaign = make.campaign(make.people(time_zone="", zones=[]))
    assert "Look again at who is held" in admin_page.get(page(campaign)).content.decode()
    Contact.objects.update(time_zone="America/New_York")
    html = admin_page.post(page(campaign, "look_again"), follow=True).content.decode()
    assert "whoever is held is looked at again" in html
    assert "Whoever is held is looked at again: 0 so far." in html
    assert "Look again at who is held" not in html
    assert campaign.people.get().state == "held"
    rounds.run(str(campaign.pk), clock=lambda: NOON)
    assert "is looked at again" not in text_of(admin_page.get(page(campaign, "standing")).content.decode())
    assert campaign.people.get().state == "waiting"
    assert claims.claim(campaign.pk, now=NOON + datetime.timedelta(days=365)).more
    assert staff("view_campaign", "pause_campaign").post(page(campaign, "look_again")).status_code == 403
    Campaign.objects.update(status="stopped")
    assert "is stopped" in admin_page.post(page(campaign, "look_again"), follow=True).content.decode()


@pytest.mark.parametrize(
    ("changes", "looks"),
    [
        ({"day_0": "9-20"}, True),
        ({"gap_hours": "3"}, True),
        ({"most_a_day": "3"}, True),
        ({"most_a_week": "6"}, True),
        ({"ends_at_0": "2027-12-02", "ends_at_1": "10:00"}, True),
        ({"on_holidays": ""}, True),
        ({"concurrency": "2", "retry_busy": "5", "budget": ""}, False),
    ],
    ids=lambda changes: next(iter(changes)) if isinstance(changes, dict) else "",
)
@pytest.mark.parametrize("status", ["running", "paused"])
def test_what_decides_when_people_are_due_is_worked_out_anew_after_a_change(
    admin_page, make, status, changes, looks  # noqa: F811
):  # fmt: skip
    campaign = make.campaign()
    Campaign.objects.update(status=status)
    as_it_is = {f"day_{at}": "9:00-18:00" for at in range(5)} | {"on_holidays": "on"}
    admin_page.post(
        page(campaign), form(campaign.contact_lists.get(), campaign.caller_numbers.get(), **as_it_is) | changes
    )
    assert [each.kind for each in campaign.rounds.all()] == ["changed"] * looks
    html = admin_page.get(page(campaign, "standing")).content.decode()
    assert ("when people are due is worked out anew: 0 so far." in html) == looks
    assert ('data-status="running"' in html) == (looks or status == "running"), "the page goes on to look"
    rounds.run(str(campaign.pk), clock=lambda: NOON)
    assert "worked out anew" not in admin_page.get(page(campaign, "standing")).content.decode()


def test_a_draft_has_nobody_to_be_looked_at_again(admin_page, make):  # noqa: F811
    campaign = make.campaign(launched=False)
    admin_page.post(page(campaign), form(campaign.contact_lists.get(), campaign.caller_numbers.get(), day_0="9-20"))
    campaign.refresh_from_db()
    assert (campaign.week[0], campaign.rounds.count()) == ([[540, 1200]], 0)


def test_the_page_says_how_far_the_people_are_put_in(admin_page, make):  # noqa: F811
    campaign = make.campaign(make.people(3), launched=False)
    control.launch(campaign, now=NOON)
    campaign.rounds.update(done=1200)
    shown = text_of(admin_page.get(page(campaign, "standing")).content.decode())
    assert "People are being put in: 1200 so far." in shown


def test_people_of_a_large_campaign_are_counted_once_for_all_who_watch(admin_page, make, monkeypatch):  # noqa: F811
    campaign = make.campaign(make.people(3))
    for large in (False, True):
        if large:
            monkeypatch.setattr(counts, "A_SECOND", 1)
        admin_page.get(page(campaign, "standing"))
        CampaignContact.objects.filter(state="waiting").first().delete()
        with CaptureQueriesContext(connection) as queries:
            shown = text_of(staff("view_campaign").get(page(campaign, "standing")).content.decode())
        assert sum('FROM "calls_campaigncontact"' in each["sql"] and "GROUP BY" in each["sql"] for each in queries) == (
            0 if large else 3
        )
        assert "Waiting 2" in shown, "the second one is not seen yet" if large else "counted anew"
        assert ("so many people are not counted every second" in shown) == large
    cache.clear()
    assert "Waiting 1" in text_of(admin_page.get(page(campaign, "standing")).content.decode())


@pytest.mark.parametrize(("people", "seconds"), [(0, 0), (9_999, 0), (10_000, 1), (100_000, 10), (1_000_000, 100)])
def test_what_was_counted_is_remembered_the_longer_the_longer_it_took(people, seconds):
    assert counts.Counts(NOON, {"waiting": people}, {}, []).good_for_s == seconds


def test_after_the_launch_only_pace_and_hours_can_be_changed_and_nothing_of_its_standing(admin_page, make):  # noqa: F811
    campaign = make.campaign()
    caller, other = campaign.caller_numbers.get(), factories.PhoneNumberFactory()
    Campaign.objects.filter(pk=campaign.pk).update(status="paused")
    changes = form(make.people(), other, name="Renamed", concurrency="2", day_6="9-10")
    admin_page.post(page(campaign), changes)
    found = Campaign.objects.get(pk=campaign.pk)
    assert (found.concurrency, found.week[6], found.status) == (2, [[540, 600]], "paused")
    assert (found.name, list(found.caller_numbers.all())) == (campaign.name, [caller])
    assert admin_page.get(f"{LIST}{campaign.pk}/delete/").status_code == 403


def test_after_the_launch_countries_can_only_be_taken_out(admin_page, make):  # noqa: F811
    people, caller = make.people(), factories.PhoneNumberFactory()
    campaign = make.campaign(people, caller=caller, countries=["US", "CA"])
    address = reverse("admin:calls_campaign_change", args=[campaign.pk])
    html = admin_page.post(address, form(people, caller, countries=["US", "CA", "GB"])).content.decode()
    assert "After the launch countries can only be taken out" in html
    campaign.refresh_from_db()
    assert campaign.countries == ["US", "CA"]
    assert admin_page.post(address, form(people, caller, countries=["US"])).status_code == 302
    campaign.refresh_from_db()
    assert campaign.countries == ["US"]


def test_who_saves_a_page_that_is_old_takes_nothing_back(admin_page, make):  # noqa: F811
    people, caller = make.people(), factories.PhoneNumberFactory()
    campaign = make.campaign(people, caller=caller)
    seen = re.search(r'name="seen" value="(\d+)"', admin_page.get(page(campaign)).content.decode())[1]
    assert 'name="seen"' not in staff("view_campaign").get(page(campaign)).content.decode()
    stricter = form(people, caller, seen=seen, **{f"day_{at}": "10-12" for at in range(7)})
    assert admin_page.post(page(campaign), stricter).status_code == 302
    html = admin_page.post(page(campaign), form(people, caller, seen=seen, concurrency="9")).content.decode()
    assert "Somebody else has changed it while you did" in html
    campaign.refresh_from_db()
    assert campaign.week == [[[600, 720]]] * 7


def test_a_draft_that_is_launched_while_it_is_saved_stays_as_it_was_launched(admin_page, make, monkeypatch):  # noqa: F811
    campaign = make.campaign(launched=False)
    people, caller = campaign.contact_lists.get(), campaign.caller_numbers.get()
    get_form = CampaignAdmin.get_form

    def launched_since(*args, **kwargs):
        if campaign.status == "draft":
            control.launch(campaign, now=NOON)
        return get_form(*args, **kwargs)

    monkeypatch.setattr(CampaignAdmin, "get_form", launched_since)
    changes = form(make.people(), factories.PhoneNumberFactory(), name="Renamed", concurrency="2")
    html = admin_page.post(page(campaign), changes).content.decode()
    assert "Its status has changed while you saved, so nothing was saved" in html
    after = Campaign.objects.get(pk=campaign.pk)
    assert (after.status, after.name, after.concurrency) == ("running", campaign.name, campaign.concurrency)
    assert (after.contact_lists.get(), after.caller_numbers.get()) == (people, caller)


def test_each_act_is_for_those_who_may(make):  # noqa: F811
    campaign = make.campaign()
    viewer, pauser = staff("view_campaign"), staff("view_campaign", "pause_campaign")
    launcher = staff("view_campaign", "launch_campaign")
    for act in ("launch", "pause", "resume", "stop"):
        assert viewer.post(page(campaign, act)).status_code == 403
        assert Client().post(page(campaign, act)).status_code == 302
    assert viewer.post(f"{LIST}switch/", {"stop": "1"}).status_code == 403
    assert pauser.post(page(campaign, "stop")).status_code == 403
    assert pauser.post(page(campaign, "pause")).status_code == 302
    assert pauser.post(page(campaign, "resume")).status_code == 403
    assert launcher.post(page(campaign, "resume")).status_code == 302
    assert staff("view_call").get(page(campaign, "rehearsal")).status_code == 403
    assert "Launch: call" not in viewer.get(page(campaign, "rehearsal")).content.decode()


def test_the_switch_stops_everything_and_letting_go_on_takes_more(make):  # noqa: F811
    make.campaign()
    pauser = staff("view_campaign", "pause_campaign")
    assert "Stop all dialling" in pauser.get(LIST).content.decode()
    html = pauser.post(f"{LIST}switch/", {"stop": "1"}, follow=True).content.decode()
    assert "Nobody is called: all dialling is stopped by the kill switch." in html
    assert Switch.objects.get().thrown_by is not None
    assert pauser.post(f"{LIST}switch/", {}).status_code == 403
    assert Switch.objects.exists()
    staff("view_campaign", "pause_campaign", "launch_campaign").post(f"{LIST}switch/", {})
    assert not Switch.objects.exists()
    kinds = CampaignEvent.objects.filter(by__isnull=False).values_list("kind", flat=True)
    assert list(kinds) == ["switch_thrown", "switch_back"]


def test_the_page_of_a_running_campaign_shows_the_calls_that_go_on_and_the_pace(make):  # noqa: F811
    campaign = make.campaign(make.people(2))
    caller, (first, second) = campaign.caller_numbers.get(), campaign.people.all()
    now = timezone.now()
    going_on = rung(first, status="ringing", outcome="", ringing_at=now, ended_at=None, queued_at=now, at=now)
    rung(second, queued_at=now - datetime.timedelta(seconds=59), at=now)
    Call.objects.update(plivo_account=caller.plivo_account)
    html = staff("view_campaign").get(page(campaign, "standing")).content.decode()
    shown = text_of(html)
    assert f"{masked(first.number)} {campaign.agent.name} Ringing" in shown
    assert reverse("admin:calls_call_change", args=[going_on.pk]) in html
    assert masked(second.number) not in shown
    account = f"{caller.plivo_account.name}, over all campaigns"
    assert f"{account}: 2 calls started within the last minute; the limit is 120" in shown
    assert "This campaign:" not in shown
    whole = staff("view_campaign", "view_numbers").get(page(campaign, "standing")).content.decode()
    assert first.number in whole
    Campaign.objects.update(calls_per_second="0.1")
    Call.objects.filter(pk=going_on.pk).update(campaign=None)
    shown = text_of(staff("view_campaign").get(page(campaign, "standing")).content.decode())
    assert "This campaign: 1 call started within the last minute; the limit is 6" in shown
    assert f"{account}: 2 calls started" in shown


def test_however_many_calls_go_on_the_page_takes_as_many_queries(admin_page, make, django_assert_num_queries):  # noqa: F811
    campaign = make.campaign(make.people(30))
    admin_page.get(page(campaign, "standing"))  # which sums up what was spent
    with CaptureQueriesContext(connection) as few:
        admin_page.get(page(campaign, "standing"))
    for person in campaign.people.all():
        rung(person, status="live", outcome="", ended_at=None)
    with django_assert_num_queries(len(few)):
        assert "And more: the call log" in admin_page.get(page(campaign, "standing")).content.decode()


def test_lists_take_as_many_queries_however_long_they_are(admin_page, make, django_assert_max_num_queries):  # noqa: F811
    for _ in range(4):
        make.campaign(make.people(5))
    for address in (LIST, "/admin/calls/campaigncontact/"):
        with django_assert_max_num_queries(18):
            admin_page.get(address)


def test_a_stranger_to_a_campaign_is_told_so(admin_page):
    for wrong in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        assert "t exist" in admin_page.get(f"{LIST}{wrong}/change/", follow=True).content.decode()


def test_the_buttons_that_pause_and_stop_are_in_no_form_in_which_enter_would_press_them(admin_page, make):  # noqa: F811
    campaign = make.campaign()
    html = admin_page.get(page(campaign)).content.decode()
    plan = html.index('id="campaign_form"')
    buttons = html.index(page(campaign, "pause"))
    assert buttons < plan
    assert "</form>" in html[buttons:plan]

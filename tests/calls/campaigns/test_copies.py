"""People of campaigns into a new list."""

import datetime

import pytest

from calls import suppression
from calls.campaigns import copies
from calls.campaigns.control import Refused
from calls.models import CampaignContact, Contact, ContactCopy, ContactList, DoNotCall
from calls.tasks import maintenance
from tests.calls.campaigns.conftest import NOON

pytestmark = [pytest.mark.db, pytest.mark.django_db]

WELL_KNOWN = {
    "name": "Jane", "variables": {"order_no": "A-17"}, "language": "en-US", "consent_at": datetime.date(2026, 5, 3),
    "consent_source": "web form",
}  # fmt: skip


def started(people=None, **changes) -> ContactCopy:
    everybody = CampaignContact.objects.all() if people is None else people
    return copies.start(everybody, **({"name": "Again", "said": "all", "created_by_id": None, "now": NOON} | changes))


def test_people_keep_all_that_is_known_of_them_and_their_consent_its_date_and_source(make):
    campaign = make.campaign(make.people(2, **WELL_KNOWN))
    copy = started()
    new = copy.contact_list.contacts.order_by("number")
    old = campaign.contact_lists.get().contacts.order_by("number")
    assert list(new.values(*copies.COPIED)) == list(old.values(*copies.COPIED))
    assert new[0].consent_source == "web form"
    assert (copy.added, copy.done, copy.people, copy.finished_at) == (2, 2, [], NOON)
    columns = {field.name for field in Contact._meta.get_fields() if field.concrete}
    assert columns - set(copies.COPIED) == {"id", "contact_list", "created_at"}, "a new column is copied too"


def test_whoever_must_not_be_called_or_was_erased_or_is_there_already_is_left_out_and_counted(make):
    people = make.people(4)
    make.campaign(people)
    make.campaign(people)  # everybody a second time
    _, unwanted, gone, _ = people.contacts.order_by("number")
    suppression.add(suppression.Entry(unwanted.number, NOON), source=DoNotCall.Source.OPERATOR)
    gone.delete()
    copy = started()
    assert (copy.total, copy.added, copy.suppressed, copy.erased, copy.doubles) == (8, 2, 1, 2, 3)
    assert not copy.contact_list.contacts.filter(number=unwanted.number).exists()
    assert copies.report(copy) == (
        "2 of 8 people were copied (all); 1 left out: on the do-not-call list; 3 left out: in it already by the same "
        "number; 2 left out: without data, which were erased."
    )


def test_a_person_of_several_campaigns_is_copied_once_by_the_one_that_was_asked_for(make):
    people = make.people(1)
    make.campaign(people)
    copy = started(make.campaign(people).people.all())
    assert (copy.total, copy.added, copy.doubles) == (1, 1, 0)


def test_the_groups_are_last_outcomes_and_reasons_of_being_held(make):
    campaign = make.campaign(make.people(5))
    one, two, three, four, _ = campaign.people.all()
    busy = CampaignContact.objects.filter(pk__in=[one.pk, two.pk])
    busy.update(outcome="busy", state="done", next_due=None)
    CampaignContact.objects.filter(pk=three.pk).update(state="held", next_due=None, why="no consent")
    CampaignContact.objects.filter(pk=four.pk).update(state="skipped", next_due=None, why="on the list")
    found = copies.groups(campaign)
    assert [(group.key, group.people) for group in found] == [("outcome:busy", 2), ("why:no consent", 1)]
    assert [group.said for group in found] == ["last outcome: Busy", "held: no consent"]
    assert [list(copies.of_group(campaign, group)) for group in found] == [[one, two], [three]]


def test_the_new_lists_name_must_be_free_and_somebody_in_it(make):
    campaign = make.campaign()
    taken = campaign.contact_lists.get().name
    with pytest.raises(Refused, match="already: choose another name"):
        started(name=taken)
    with pytest.raises(Refused, match="Nobody"):
        started(CampaignContact.objects.none())
    assert (ContactList.objects.count(), ContactCopy.objects.count()) == (1, 0)


@pytest.fixture
def in_background(make, monkeypatch) -> ContactCopy:
    monkeypatch.setattr(copies, "CHUNK", 2)
    monkeypatch.setattr(copies, "IN_BACKGROUND", 4)
    make.campaign(make.people(5))
    return started()


def test_many_are_copied_in_the_background_and_the_page_says_how_far_it_is(in_background):
    copy = in_background
    assert (copy.done, copy.total) == (0, 5)
    assert copies.report(copy) == "0 of 5 people were looked at so far; you may leave this page."
    assert not copies.run(str(copy.pk), clock=lambda: NOON)
    copy.refresh_from_db()
    assert (copy.added, copy.contact_list.contacts.count()) == (5, 5)


def test_a_copy_goes_on_where_its_worker_died_and_doubles_nobody(in_background, monkeypatch):
    copy, taken = in_background, []
    take = copies._take

    def dies(*args, **kwargs):
        if taken:
            raise ConnectionError
        taken.append(take(*args, **kwargs))
        return True

    monkeypatch.setattr(copies, "_take", dies)
    with pytest.raises(ConnectionError):
        copies.run(str(copy.pk), clock=lambda: NOON)
    monkeypatch.setattr(copies, "_take", take)
    assert copies.due(NOON + copies.STUCK_AFTER) == []
    assert copies.due(NOON + copies.STUCK_AFTER * 2) == [str(copy.pk)]
    monkeypatch.setattr("calls.tasks.campaigns.copy_people.delay", lambda pk: copies.run(pk, clock=lambda: NOON))
    maintenance.sweep_calls()
    copy.refresh_from_db()
    assert (copy.added, copy.doubles, copy.contact_list.contacts.count()) == (5, 0, 5)
    assert not copies.run(str(copy.pk), clock=lambda: NOON), "it is done"


def test_of_two_workers_one_stops(in_background):
    copy = in_background
    assert copies._take(copy, copy.people[:2], done=0, now=NOON)
    assert not copies._take(copy, copy.people[:2], done=0, now=NOON)
    assert copy.contact_list.contacts.count() == 2


def test_a_task_that_has_no_more_time_says_that_there_are_more(in_background):
    assert copies.run(str(in_background.pk), clock=lambda: NOON, seconds=-1)

"""What several write at once: on PostgreSQL, where rows are locked one by one, none waits for another in turn."""

import csv
import datetime
import io
import random
import threading

import pytest
from django.conf import settings
from django.core.files.base import ContentFile
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from calls import suppression
from calls.campaigns import additions, claims, copies, corrections, imports, outcomes, rounds, schedule
from calls.campaigns.people import Person
from calls.models import CampaignContact, CampaignRound, CampaignWatch, Contact, ContactList, DoNotCall
from tests import factories
from tests.calls.campaigns.conftest import NOON, only_person, rung

pytestmark = pytest.mark.db
postgresql = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"), reason="SQLite has one writer at a time"
)

NUMBERS = [f"+1415555{at:04}" for at in range(40)]
SHUFFLED = random.Random(7).sample(NUMBERS, len(NUMBERS))


def added(_client, _make):
    people = [Person(number=number, country="US", zones=()) for number in SHUFFLED]
    additions.add(ContactList.objects.create(name="Spring"), people)


def imported(_client, _make):
    out = io.StringIO()
    csv.writer(out).writerows([["Phone"], *([number] for number in SHUFFLED)])
    people = ContactList.objects.create(name="Spring")
    file = ContentFile(out.getvalue().encode(), "people.csv")
    row = imports.upload(contact_list=people, file=file, country="", created_by_id=None)
    imports.start(row, now=NOON)
    imports.run(str(row.pk), clock=lambda: NOON)


def copied(_client, make):
    people = ContactList.objects.create(name="Spring")
    campaign = make.campaign(launched=False)
    for number in SHUFFLED:
        contact = Contact.objects.create(contact_list=people, number=number, country="US")
        CampaignContact.objects.create(
            campaign=campaign, contact=contact, number=number, next_due=NOON, changed_at=NOON
        )
    copies.start(campaign.people.all(), name="Again", said="all", created_by_id=None, now=NOON)


def opted_out(_client, _make):
    entries = [suppression.Entry(number, NOON) for number in SHUFFLED]
    suppression.add_all(entries, source=DoNotCall.Source.OPERATOR)


def opted_out_by_an_operator(client, _make):
    body = {"numbers": "\n".join(SHUFFLED), "evidence": "asked by mail", "since_0": "", "since_1": ""}
    assert client.post("/admin/calls/donotcall/add/", body).status_code == 302


def order_of(values, queries, table) -> list[str]:
    """The values in the order in which they were written."""
    sql = " ".join(each["sql"] for each in queries if f' INTO "{table}" ' in each["sql"])
    return sorted(values, key=sql.rindex)


@pytest.mark.django_db
@pytest.mark.parametrize("way", [added, imported, copied])
def test_people_come_into_a_list_in_one_order_however_they_were_sent(admin_page, make, way):
    with CaptureQueriesContext(connection) as queries:
        way(admin_page, make)
    assert order_of(NUMBERS, queries, "calls_contact") == NUMBERS


@pytest.mark.django_db
@pytest.mark.parametrize("way", [opted_out, opted_out_by_an_operator])
def test_numbers_come_onto_the_do_not_call_list_in_one_order_however_they_were_sent(admin_page, make, way):
    hashes = sorted(map(suppression.number_hash, NUMBERS))
    with CaptureQueriesContext(connection) as queries:
        way(admin_page, make)
    assert order_of(hashes, queries, "calls_donotcall") == hashes


def apart(work) -> threading.Thread:
    """Does something on a connection of its own."""

    def run():
        try:
            work()
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_row_that_points_at_a_campaign_does_not_wait_for_its_claims(make):
    campaign = make.campaign()
    with transaction.atomic():
        assert claims.claim(campaign.pk, now=NOON).call_ids
        guard = apart(lambda: CampaignWatch.objects.create(campaign=campaign, looked_at=NOON, thorough_at=NOON))
        guard.join(3)
        waits = guard.is_alive()
    guard.join()
    assert not waits


@postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_campaigns_one_takes_the_last_line_of_their_account(make):
    caller = factories.PhoneNumberFactory(plivo_account__max_calls=1)
    first, second = (make.campaign(make.people(1), caller=caller) for _ in range(2))
    found = []
    with transaction.atomic():
        assert claims.claim(first.pk, now=NOON).call_ids
        other = apart(lambda: found.append(claims.claim(second.pk, now=NOON)))
        other.join(1)
    other.join()
    assert found == [claims.Claim([], more=False)]


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_correction_waits_for_the_claim_of_its_person(make, monkeypatch):
    campaign = make.campaign(retries={"machine": [60]}, gap_hours=0)
    call = rung(only_person(), outcome="machine")
    CampaignContact.objects.update(state="calling", attempts=1, next_due=None)
    outcomes.settle(now=NOON)
    later = only_person().next_due
    said, threads, known = [], [], claims._known

    def correct():
        said.append(corrections.correct(call, outcome="completed", why="heard it", by_id=None, now=later))

    def corrected_meanwhile(*args):
        threads.append(apart(correct))
        threads[0].join(0.5)
        return known(*args)

    monkeypatch.setattr(claims, "_known", corrected_meanwhile)
    assert claims.claim(campaign.pk, now=later).call_ids
    threads[0].join()
    assert (only_person().state, only_person().attempts, said) == ("calling", 2, [""])


@postgresql
@pytest.mark.django_db(transaction=True)
def test_a_round_waits_for_the_claim_of_whoever_it_looks_at(make, monkeypatch):
    campaign, later = make.campaign(), NOON + datetime.timedelta(minutes=1)
    campaign.people.update(next_due=later, why=schedule.OUTSIDE)
    rounds.start(campaign, CampaignRound.Kind.CHANGED, now=NOON)
    monkeypatch.setattr(claims, "forecast", lambda _, people, **__: [(each, schedule.Skipped("")) for each in people])
    threads, known = [], claims._known

    def looked_at_meanwhile(*args):
        threads.append(apart(lambda: rounds.run(str(campaign.pk), clock=lambda: NOON)))
        threads[0].join(0.5)
        return known(*args)

    monkeypatch.setattr(claims, "_known", looked_at_meanwhile)
    assert claims.claim(campaign.pk, now=later).call_ids
    threads[0].join()
    assert (only_person().state, campaign.rounds.count()) == ("calling", 0)

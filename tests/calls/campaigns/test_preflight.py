"""The rehearsal: fast, and of the same opinion as the claim."""

import datetime
from collections import Counter

import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agents import services
from calls import suppression
from calls.campaigns import claims, control, preflight, rounds
from calls.campaigns.schedule import Due
from calls.models import Call, Campaign, CampaignContact, Contact, ContactList, DoNotCall
from calls.numbers import parse
from tests import factories
from tests.calls.campaigns.conftest import NOON, ZONE

pytestmark = [pytest.mark.db, pytest.mark.django_db]

HEADERS = 1
NUMBERS = (*(f"+1212555267{digit}" for digit in range(10)), "+18005552671", "+4930123456", "+5511912345678")
FIELDS = {
    "number": st.sampled_from(NUMBERS),
    "time_zone": st.sampled_from(["", "", "America/New_York", "Asia/Kathmandu"]),
    "zones": st.sampled_from([[], ["America/New_York"], ["America/New_York", "America/Los_Angeles"]]),
    "region": st.sampled_from(["", "NY", "us-fl", "RI"]),
    "consent": st.sampled_from(["", "express", "written"]),
    "consent_at": st.sampled_from([None, datetime.date(2026, 5, 3), datetime.date(2026, 6, 4)]),
    "consent_source": st.sampled_from(["", "web form", "by phone"]),
    "variables": st.sampled_from([{"order_no": "A-17"}, {"order_no": ""}, {}, {"amount": "3"}]),
}
CHANGES = st.sampled_from(sorted(FIELDS)).flatmap(lambda name: st.fixed_dictionaries({name: FIELDS[name]}))


@st.composite
def people_alike(draw) -> list[dict]:
    """Each differs from the first in a number and one thing more: what holds for one may be taken for another's."""
    first = draw(st.fixed_dictionaries(FIELDS))
    others = st.builds(lambda number, change: first | {"number": number} | change, FIELDS["number"], CHANGES)
    return [first, *draw(st.lists(others, min_size=1, max_size=9))]


JANE = {"zones": ["America/New_York"], "region": "NY", "consent": "written", "variables": {"order_no": "1"}}
ONE_OF_EACH = [
    JANE | {"number": NUMBERS[at]} | change
    for at, change in enumerate(
        [
            {}, {}, {"zones": []}, {"time_zone": "Asia/Kathmandu"}, {"region": "RI"}, {"consent": ""},
            {"variables": {}}, {"number": "+4930123456"}, {},
        ]
    )
]  # fmt: skip
PROVED = JANE | {"consent_at": datetime.date(2026, 5, 3), "consent_source": "web form"}
PROVED_OR_NOT = [
    PROVED | {"number": number} | change
    for number, change in zip(NUMBERS, [{}, {"consent_at": None}, {"consent_source": ""}, {}], strict=False)
]
CAMPAIGNS = st.fixed_dictionaries(
    {
        "purpose": st.sampled_from(Campaign.Purpose.values),
        "countries": st.sampled_from([["US", "DE", "BR"], ["US"], []]),
        "week": st.sampled_from([[[[0, 1440]]] * 7, [[[540, 720], [780, 1080]]] * 5 + [[], []]]),
        "starts_at": st.sampled_from([None, NOON + datetime.timedelta(days=2)]),
        "ends_at": st.sampled_from([None, None, NOON + datetime.timedelta(hours=20)]),
        "most_a_day": st.sampled_from([1, 3]),
    }
)
MINUTE = datetime.timedelta(minutes=1)
# Also the last moments before a window closes, for which the claim is too late.
MOMENTS = st.builds(
    lambda quarters, early: NOON + (15 * quarters - early) * MINUTE, st.integers(0, 4 * 24 * 8), st.integers(0, 3)
)
AGO = st.lists(st.sampled_from([1, 5, 23, 100]), max_size=3, unique=True)


@pytest.fixture
def agent(make):
    made = factories.AgentFactory(
        system_prompt="You call about order {{order_no}} for {{business}}.", greeting="Order {{order_no}}?",
        variables={"business": "Rowan Dental", "order_no": ""},
    )  # fmt: skip
    services.publish(agent=made, user=None)
    made.refresh_from_db()
    return made


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people_alike(), CAMPAIGNS, MOMENTS, st.sets(st.sampled_from(NUMBERS)), AGO)
@example(ONE_OF_EACH, {"countries": ["US", "DE"], "week": [[[0, 1440]]] * 7}, NOON, {NUMBERS[8]}, [5])
@example(PROVED_OR_NOT, {"countries": ["US"], "purpose": "promotional"}, NOON, set(), [])
def test_the_rehearsal_agrees_with_the_claim_about_everybody(agent, people, plan, now, unwanted, ago):
    with transaction.atomic():
        campaign = Campaign.objects.create(name="Spring", agent=agent, **({"purpose": "service"} | plan))
        campaign.caller_numbers.add(factories.PhoneNumberFactory(agent=agent))
        for at, fields in enumerate(people):
            number = parse(fields["number"])
            made = ContactList.objects.create(name=f"List {at}")  # a number twice is in two lists
            campaign.contact_lists.add(made)
            Contact.objects.create(contact_list=made, country=number.country, **fields)
        for number in unwanted:
            suppression.add(suppression.Entry(number, NOON), source=DoNotCall.Source.OPERATOR)
        for at, hours in enumerate(ago):
            Call.objects.create(
                direction="outbound",
                status="ended",
                to_number=NUMBERS[at],
                created_at=now - hours * datetime.timedelta(hours=1),
            )
        rows = preflight._once(preflight._rows(campaign))
        by_number = {row.number: found for row, found in claims.forecast(campaign, rows, now=now)}
        expected = {}
        for contact in reversed(Contact.objects.order_by("contact_list_id", "pk")):  # as enrolment goes through them
            person = CampaignContact(campaign=campaign, contact=contact, number=contact.number)
            expected[contact.number] = claims.answer_for(campaign, person, now=now)
        assert by_number == expected
        rehearsed = preflight.rehearse(campaign, now=now)
        assert (rehearsed.people, rehearsed.doubles) == (len(expected), len(people) - len(expected))
        assert rehearsed.due == sum(isinstance(answer, Due) for answer in expected.values())
        told = Counter(answer.why for answer in expected.values() if not isinstance(answer, Due))
        assert told == {reason.why: reason.people for reason in rehearsed.held + rehearsed.skipped}
        transaction.set_rollback(True)


def test_each_group_is_a_table_of_its_people_with_the_hour_on_their_clock(make):
    people = make.people(3, name="Jane")
    skipped, held, _ = people.contacts.order_by("number")
    suppression.add(suppression.Entry(skipped.number, NOON), source=DoNotCall.Source.OPERATOR)
    Contact.objects.filter(pk=held.pk).update(consent="")
    campaign = make.campaign(people, launched=False)
    again = ContactList.objects.create(name="Again")
    Contact.objects.create(contact_list=again, number=held.number, name="Twin", country="US", consent="")
    campaign.contact_lists.add(again)

    def rows(kind, why="", whole=True):
        return list(preflight.group(campaign, kind=kind, why=why, now=NOON, whole_numbers=whole))[HEADERS:]

    rehearsed = preflight.rehearse(campaign, now=NOON)
    (due,) = rows("due")
    assert due == ["Jane", due[1], "US", "America/New_York", "2026-11-26T12:00-05:00", ""]
    assert [row[1] for row in rows("held", rehearsed.held[0].why)] == [held.number]
    assert [row[1] for row in rows("skipped", rehearsed.skipped[0].why)] == [skipped.number]
    assert rows("held", "something else") == []
    (double,) = rows("doubles")
    assert (double[1], double[5]) == (held.number, "another row has the same number")
    assert rows("due", whole=False)[0][1].count("•") == len(due[1]) - 7


def test_the_prompt_of_a_person_is_rendered_and_what_they_lack_is_named(make, agent):
    people = make.people(1, name="Jane", variables={"order_no": "A-17"})
    Contact.objects.create(contact_list=people, number=NUMBERS[0], country="US", consent="written")
    campaign = make.campaign(people, launched=False, agent=agent)
    found = preflight.rehearse(campaign, now=NOON, people_shown=True)
    (sample,) = found.samples
    assert (sample.name, sample.greeting) == ("Jane", "Order A-17?")
    assert sample.prompt.startswith('You call about order "A-17" for "Rowan Dental".')
    assert found.missing == [("order_no", 1)]


def test_of_a_number_in_two_lists_the_same_row_is_rehearsed_and_called(make):
    make.people(0), make.people(0)
    first, second = ContactList.objects.order_by("pk")
    for n in range(6):  # ids are random: of one of these the second list's comes first
        number = f"+141555501{n:02}"
        for people, consent in ((first, ""), (second, "written")):
            Contact.objects.create(
                contact_list=people, number=number, country="US", time_zone=ZONE, region="NY", consent=consent
            )
    Contact.objects.update(created_at=NOON)
    campaign = make.campaign(first, launched=False, purpose="service")
    campaign.contact_lists.add(second)
    rehearsed = preflight.rehearse(campaign, now=NOON)
    control.launch(campaign, now=NOON)
    rounds.run(str(campaign.pk), clock=lambda: NOON)
    assert campaign.people.filter(state="waiting").count() == rehearsed.due
    assert {person.contact.contact_list for person in campaign.people.all()} == {first}

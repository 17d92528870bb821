"""From which numbers a country lets people be called: looked at in the rehearsal, at the claim and at the last gate."""

import datetime

import pytest

from calls.campaigns import caller_series, claims, gate, preflight
from calls.models import Call
from tests import factories
from tests.calls.campaigns.conftest import NOON, only_person

pytestmark = [pytest.mark.db, pytest.mark.django_db]

MORNING = NOON + datetime.timedelta(hours=13)  # in India, the day after
INDIAN = {"number": "+919876543210", "country": "IN", "time_zone": "Asia/Kolkata", "region": ""}
PROMOTIONAL, SERVICE, LANDLINE, ABROAD = "+911401234567", "+911600123456", "+912226123456", "+15550001111"


@pytest.mark.parametrize(
    ("country", "purpose", "callers", "may"),
    [
        ("IN", "promotional", [PROMOTIONAL], True),
        ("IN", "promotional", [SERVICE, LANDLINE, ABROAD], False),
        ("IN", "service", [SERVICE], True),
        ("IN", "transactional", [LANDLINE], True),
        ("IN", "service", [PROMOTIONAL, ABROAD, "+919876543210"], False),
        ("IN", "service", [PROMOTIONAL, SERVICE], True),
        ("US", "promotional", [ABROAD], True),
    ],
)
def test_india_is_called_from_the_series_of_the_purpose(country, purpose, callers, may):
    assert (caller_series.obstacle(callers, country=country, purpose=purpose) == "") is may


@pytest.fixture
def campaign(make):
    """To India, from a number of elsewhere."""
    caller = factories.PhoneNumberFactory(number=ABROAD)
    return make.campaign(make.people(**INDIAN), caller=caller, countries=["IN"], purpose="promotional")


def give(campaign, *numbers) -> None:
    for number in numbers:
        campaign.caller_numbers.add(factories.PhoneNumberFactory(number=number))


def test_whoever_no_number_of_the_campaign_may_call_is_held_from_the_start_and_the_rehearsal_says_so(campaign):
    why = "promotional calls to IN must come from a number that begins with +91140, and there is none"
    assert (only_person().state, only_person().why) == ("held", why)
    (held,) = preflight.rehearse(campaign, now=MORNING).held
    assert (held.why, held.people) == (why, 1)


def test_of_a_pool_the_numbers_of_the_series_call(make):
    callers = [factories.PhoneNumberFactory(number=number) for number in (ABROAD, LANDLINE, PROMOTIONAL, SERVICE)]
    campaign = make.campaign(
        make.people(**INDIAN), caller=callers[2], countries=["IN"], purpose="promotional", launched=True
    )
    campaign.caller_numbers.set(callers)
    assert len(claims.claim(campaign.pk, now=MORNING).call_ids) == 1
    assert Call.objects.get().from_number == PROMOTIONAL


def test_the_last_gate_looks_at_the_number_that_the_call_was_claimed_with(campaign):
    give(campaign, PROMOTIONAL)
    call = Call.objects.create(
        direction="outbound", campaign=campaign, campaign_person=only_person(), attempt=1, agent=campaign.agent,
        to_number=INDIAN["number"], from_number=ABROAD, status="sending",
    )  # fmt: skip
    assert "must come from a number that begins with +91140" in gate.obstacle(call, campaign, now=MORNING)
    call.from_number = PROMOTIONAL
    assert gate.obstacle(call, campaign, now=MORNING) == ""

"""What operators add to the law narrows it, at once, and never widens it; public holidays by country and state."""

import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from calls.campaigns import claims, closed_days, gate, law, own_law, schedule
from calls.campaigns.law import Ceiling, Own
from calls.campaigns.schedule import Due, Held, History
from calls.campaigns.windows import allows, every_day
from calls.models import Call, Campaign, Contact, Holiday, LegalWindow
from tests.calls.campaigns.conftest import NOON, only_person
from tests.calls.campaigns.test_windows import ZONES, moments, weeks

ALL_DAY = [[[0, 1440]]] * 7
OFFICE = [[[540, 1020]]] * 5 + [[], []]
NIGHT_OF_CHANGE = datetime.datetime(2026, 11, 1, 6, 10, tzinfo=datetime.UTC)


def person(**fields) -> Contact:
    where = {"country": "US", "time_zone": "America/New_York", "region": "NY"}
    return Contact(**({"number": "+12125552671", "consent": "written"} | where | fields))


def answer(contact, *, own=law.NOTHING, now=NOON, on_holidays=False, countries=("US",)):
    campaign = Campaign(purpose="service", countries=list(countries), week=ALL_DAY, on_holidays=on_holidays)
    hours = schedule.hours_of(campaign, own=own)
    return schedule.answer(
        campaign, contact, hours=hours, callers=None, suppressed=False, history=History(), now=now, strict=False
    )


# --- never wider -----------------------------------------------------------------------------------------------------

PLACES = [("US", "NY"), ("US", "FL"), ("US", ""), ("US", "Nowhere"), ("FR", ""), ("BR", "SP"), ("XK", "")]
windows = st.builds(
    Ceiling, st.sampled_from(["US", "US-NY", "US-FL", "FR", "BR", "XK"]), weeks(), st.just("an operator")
)
holidays = st.tuples(
    st.sampled_from(["", "US", "US-NY", "FR"]), st.dates(datetime.date(2026, 1, 1), datetime.date(2027, 12, 31))
)
additions = st.builds(
    lambda rows, days: Own(tuple(rows), tuple(days)), st.lists(windows, max_size=3), st.lists(holidays, max_size=3)
)


@pytest.mark.pure
@given(additions, st.sampled_from(PLACES), st.sampled_from(ZONES), moments, st.booleans())
@example(Own((Ceiling("US", every_day(0, 1440), "wider"),)), ("US", "NY"), "America/New_York", NIGHT_OF_CHANGE, True)
def test_no_row_lets_anybody_be_called_at_a_moment_that_was_not_allowed(own, place, zone, moment, on_holidays) -> None:
    country, region = place
    before = law.rules(country=country, region=region)
    after = law.rules(country=country, region=region, own=own)
    assert not allows(after, [zone], moment) or allows(before, [zone], moment)

    contact = person(country=country, region=region, time_zone=zone)
    asked = {"now": moment, "on_holidays": on_holidays, "countries": [country]}
    wide, found = answer(contact, **asked), answer(contact, own=own, **asked)
    if isinstance(found, Due):
        assert isinstance(wide, Due)
        assert wide.at <= found.at
        then = answer(contact, **asked | {"now": found.at})
        assert (then.at, then.until >= found.until) == (found.at, True)
    else:
        assert isinstance(found, Held)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("place", "counts"),
    [
        ("US", [True, True, True, False]),
        ("US-NY", [True, False, True, False]),  # of somebody whose state is not known every state's may hold
        ("FR", [False, False, False, True]),
    ],
)
def test_a_row_counts_for_its_place_and_where_the_state_is_not_known(place, counts) -> None:
    people = [("US", "us-ny"), ("US", "TX"), ("US", ""), ("FR", "")]
    found = [law.may_hold(place, country=country, region=region) for country, region in people]
    assert found == counts


# --- holidays --------------------------------------------------------------------------------------------------------


def on(date: str, country: str, region: str = "", own: Own = law.NOTHING) -> bool:
    day = datetime.date.fromisoformat(date)
    return day in closed_days.closed(country=country, region=region, first=day.year, last=day.year, own=own)


@pytest.mark.pure
def test_holidays_are_those_of_the_country_and_of_the_state_where_it_is_known() -> None:
    assert on("2026-12-25", "US")
    assert on("2026-12-25", "US", "nobody knows")
    assert not on("2026-11-27", "US")
    assert on("2026-11-27", "US", "us-ca")
    for written in ("BY", "DE-BY", "Bayern", " bayern "):
        assert on("2026-01-06", "DE", written)
    assert not on("2026-01-06", "DE", "BE")
    assert not on("2026-12-25", "AC"), "a country of which no holidays are known"
    assert on("2026-12-24", "US", "NY", Own(holidays=(("", datetime.date(2026, 12, 24)),)))


@pytest.mark.pure
def test_nobody_is_called_on_a_holiday_of_theirs_unless_the_campaign_says_so() -> None:
    found = answer(person())  # Thanksgiving
    assert found.at == datetime.datetime.fromisoformat("2026-11-27T08:00-05:00")
    assert found.why == "a public holiday"
    assert answer(person(), on_holidays=True).at == NOON
    assert answer(person(country="FR", time_zone="Europe/Paris", region=""), countries=["FR"]).at == NOON


@pytest.mark.pure
def test_around_the_turn_of_the_year_both_years_holidays_count() -> None:
    late = datetime.datetime.fromisoformat("2026-12-31T22:00-05:00")
    assert answer(person(), now=late).at == datetime.datetime.fromisoformat("2027-01-02T08:00-05:00")


# --- from the database -----------------------------------------------------------------------------------------------


@pytest.mark.db
@pytest.mark.django_db
def test_a_row_counts_at_the_next_look_right_before_the_ring(make) -> None:
    campaign = make.campaign()
    call = Call.objects.get(pk__in=claims.claim(campaign.pk, now=NOON).call_ids)
    assert gate.obstacle(call, campaign, now=NOON) == ""
    row = LegalWindow.objects.create(place="US-NY", week=[[]] * 7, source="a new law")
    assert "no hour in the next two weeks" in gate.obstacle(call, campaign, now=NOON)
    row.delete()
    assert gate.obstacle(call, campaign, now=NOON) == ""
    campaign.on_holidays = False
    campaign.save()
    assert gate.obstacle(call, campaign, now=NOON) == "the hours for calls are over"
    campaign.on_holidays = True
    campaign.save()
    assert gate.obstacle(call, campaign, now=NOON) == ""


@pytest.mark.db
@pytest.mark.django_db
def test_a_row_counts_at_the_next_claim_too(make) -> None:
    campaign = make.campaign(week=ALL_DAY)
    LegalWindow.objects.create(place="US", week=OFFICE, source="a new law")
    evening = datetime.datetime.fromisoformat("2026-11-26T18:00-05:00")
    assert not claims.claim(campaign.pk, now=evening).call_ids
    assert only_person().next_due == datetime.datetime.fromisoformat("2026-11-27T09:00-05:00")


@pytest.mark.db
@pytest.mark.django_db
def test_a_holiday_of_the_operators_own_counts_until_it_is_over_everywhere() -> None:
    row = Holiday.objects.create(date=NOON.date(), name="Our summer party")
    assert own_law.read(now=NOON).holidays == (("", NOON.date()),)
    assert own_law.read(now=NOON + datetime.timedelta(days=2)).holidays == (("", NOON.date()),)
    assert own_law.read(now=NOON + datetime.timedelta(days=3)).holidays == ()
    row.delete()
    assert own_law.read(now=NOON) == law.NOTHING


@pytest.mark.db
@pytest.mark.django_db
def test_many_people_are_looked_at_with_the_law_read_once(make, django_assert_max_num_queries) -> None:
    campaign = make.campaign(make.people(30), launched=False)
    contacts = list(Contact.objects.all())
    LegalWindow.objects.create(place="US", week=OFFICE, source="a new law")
    with django_assert_max_num_queries(6):
        assert len(list(claims.forecast(campaign, contacts, now=NOON))) == 30

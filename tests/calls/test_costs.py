"""What calls cost: by the day's prices, summed exactly and rounded once, and never silently without a price."""

import datetime
from decimal import Decimal

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calls import costs
from calls.models import Call, Price, Usage
from tests import factories
from tests.calls.campaigns.conftest import NOON, make  # noqa: F401  (a fixture)

pytestmark = [pytest.mark.db, pytest.mark.django_db]

DAY = datetime.timedelta(days=1)
MODEL = {"stage": "llm", "provider": "openai", "model": "gpt-x"}
EARS = {"stage": "stt", "provider": "elevenlabs", "model": "scribe"}
VOICE = {"stage": "tts", "provider": "elevenlabs", "model": "flash"}


def price(provider: str, model: str, unit: str, usd: str, since: datetime.date = datetime.date(2026, 1, 1)) -> Price:
    return Price.objects.create(provider=provider, model=model, unit=unit, usd=usd, valid_from=since, source="a list")


def a_call(at: datetime.datetime = NOON, **fields) -> Call:
    defaults = {"direction": "outbound", "status": "ended", "to_number": "+14155550123", "created_at": at}
    return Call.objects.create(**(defaults | fields))


def use(call: Call, what: dict[str, str], **amounts: int) -> None:
    Usage.objects.create(call=call, **what, **amounts)


def cost(call: Call, now: datetime.datetime = NOON) -> costs.Cost:
    return costs.of_call(call, table=costs.prices(), now=now)


def spend(calls=None) -> costs.Cost:
    return costs.spend(Call.objects.all() if calls is None else calls, table=costs.prices())


# --- prices of a day -------------------------------------------------------------------------------------------------


def test_a_price_holds_from_its_day_until_the_next() -> None:
    for usd, day in (("1", 1), ("2", 10), ("3", 20)):
        price("openai", "gpt-x", "input", usd, datetime.date(2026, 11, day))
    table = costs.prices()
    for day, usd in ((1, 1), (9, 1), (10, 2), (19, 2), (20, 3), (30, 3)):
        assert table.find("openai", "gpt-x", "input", datetime.date(2026, 11, day)) == usd, day
    assert table.find("openai", "gpt-x", "input", datetime.date(2026, 10, 31)) is None


def test_a_models_own_price_is_before_that_of_all_once_it_holds() -> None:
    price("openai", "*", "input", "1")
    price("openai", "gpt-x", "input", "5", datetime.date(2026, 11, 10))
    table = costs.prices()
    assert table.find("openai", "gpt-x", "input", datetime.date(2026, 11, 9)) == 1
    assert table.find("openai", "gpt-x", "input", datetime.date(2026, 11, 10)) == 5
    assert table.find("openai", "gpt-y", "input", datetime.date(2026, 11, 10)) == 1
    assert table.find("elevenlabs", "gpt-x", "input", datetime.date(2026, 11, 10)) is None


def test_the_day_is_that_of_the_call_on_the_installations_calendar(settings) -> None:
    price("openai", "gpt-x", "input", "1")
    price("openai", "gpt-x", "input", "2", datetime.date(2026, 11, 27))
    call = a_call(datetime.datetime(2026, 11, 26, 23, 30, tzinfo=datetime.UTC))
    use(call, MODEL, input_tokens=1_000_000)
    settings.TIME_ZONE = "UTC"
    assert (cost(call).usd, spend().usd) == (1, 1)
    settings.TIME_ZONE = "Europe/Berlin"
    assert (cost(call).usd, spend().usd) == (2, 2)


def test_the_database_refuses_two_prices_for_a_day_and_negative_ones() -> None:
    price("openai", "gpt-x", "input", "1")
    for usd, since in (("2", datetime.date(2026, 1, 1)), ("-1", datetime.date(2026, 1, 2))):
        with pytest.raises(IntegrityError), transaction.atomic():
            price("openai", "gpt-x", "input", usd, since)


# --- a call ----------------------------------------------------------------------------------------------------------


def test_each_stage_is_charged_by_what_it_is_sold_by() -> None:
    for unit, usd in (("input", "2"), ("cached", "0.5"), ("output", "8")):
        price("openai", "gpt-x", unit, usd)
    price("elevenlabs", "scribe", "minute", "0.006")
    price("elevenlabs", "flash", "characters", "0.1")
    call = a_call(carrier_cost=Decimal("0.0085"))
    use(call, MODEL, input_tokens=100_000, cached_tokens=60_000, output_tokens=10_000)
    use(call, EARS, audio_ms=90_000)
    use(call, VOICE, characters=250, audio_ms=20_000)
    found = cost(call)
    assert {line.what: line.usd for line in found.lines} == {
        "Language model: openai gpt-x": Decimal("0.08") + Decimal("0.03") + Decimal("0.08"),
        "Speech-to-text: elevenlabs scribe": Decimal("0.009"),
        "Text-to-speech: elevenlabs flash": Decimal("0.025"),
        "Plivo": Decimal("0.0085"),
    }
    assert (found.missing, found.estimated) == ((), False)
    assert spend().usd == found.usd


def test_cached_input_costs_what_input_costs_where_it_has_no_price_of_its_own() -> None:
    price("openai", "gpt-x", "input", "2")
    price("openai", "gpt-x", "output", "8")
    call = a_call()
    use(call, MODEL, input_tokens=1_000_000, cached_tokens=400_000)
    assert (cost(call).usd, cost(call).missing) == (2, ())


def test_a_voice_is_charged_by_the_minute_where_that_is_how_it_is_sold() -> None:
    price("elevenlabs", "flash", "minute", "0.03")
    call = a_call()
    use(call, VOICE, characters=250, audio_ms=30_000)
    assert cost(call).usd == Decimal("0.015")


def test_what_has_no_price_is_named_and_the_rest_is_counted() -> None:
    price("openai", "gpt-x", "input", "2")
    call = a_call()
    use(call, MODEL, input_tokens=1_000_000, output_tokens=5)
    use(call, EARS, audio_ms=1)
    found = cost(call)
    assert found.usd == 2
    assert found.missing == (
        "no price for openai gpt-x by a million output tokens on 26 Nov 2026: add one",
        "no price for elevenlabs scribe by a minute on 26 Nov 2026: add one",
    )
    assert spend().missing == found.missing
    Usage.objects.update(output_tokens=0, audio_ms=0)
    assert cost(call).missing == (), "what was not used needs no price"


def test_amounts_are_rounded_once_when_they_are_shown() -> None:
    price("openai", "gpt-x", "input", "0.4")  # 100 tokens: 0.00004
    price("openai", "gpt-x", "output", "1")
    for _ in range(3):
        use(a_call(), MODEL, input_tokens=100)
    each = cost(Call.objects.first())
    assert (each.usd, each.shown) == (Decimal("0.00004"), "0.0000")
    assert spend().shown == "0.0001", "and not three times nothing"
    assert costs.shown(Decimal("0.00005")) == "0.0001"
    assert costs.shown(Decimal("1234.5")) == "1,234.5000"


# --- Plivo's part ----------------------------------------------------------------------------------------------------


def test_plivos_part_is_an_estimate_until_it_is_reported() -> None:
    price("plivo", "US", "minute", "0.01")
    call = a_call(status="live", answered_at=NOON)
    assert cost(call, NOON + datetime.timedelta(seconds=61)).usd == Decimal("0.02")
    assert cost(call, NOON + datetime.timedelta(seconds=61)).estimated
    Call.objects.update(status="ended", duration_s=125)
    call.refresh_from_db()
    assert (cost(call).usd, spend().usd) == (Decimal("0.03"), 0), "spend knows countries by the people called"
    Call.objects.update(carrier_cost="0.0123")
    call.refresh_from_db()
    assert (cost(call).usd, cost(call).estimated, spend().usd) == (Decimal("0.0123"), False, Decimal("0.0123"))


def test_a_call_that_nobody_answered_costs_nothing_at_plivo_and_needs_no_price() -> None:
    call = a_call(duration_s=0)
    assert cost(call).lines == spend().lines == ()
    call = a_call(direction="browser", answered_at=NOON, duration_s=50)
    assert cost(call).lines == ()


def test_a_country_without_a_price_is_named() -> None:
    price("plivo", "US", "minute", "0.01")
    call = a_call(to_number="+4930123456", duration_s=20)
    assert cost(call).missing == ("no price for plivo DE by a minute on 26 Nov 2026: add one",)
    price("plivo", "*", "minute", "0.05")
    assert cost(call).usd == Decimal("0.05")


# --- many calls ------------------------------------------------------------------------------------------------------


def test_what_a_campaign_has_spent_is_summed_over_days_and_estimates_in_few_queries(
    make,  # noqa: F811
    django_assert_num_queries,
) -> None:
    price("plivo", "US", "minute", "0.01")
    for usd, since in (("1", NOON.date() - DAY), ("3", NOON.date())):
        price("openai", "gpt-x", "input", usd, since)
        price("openai", "gpt-x", "output", "0", since)
    campaign = make.campaign(make.people(20))
    for at, person in enumerate(campaign.people.all()):
        fields = {"campaign": campaign, "campaign_person": person, "to_number": person.number, "attempt": 1}
        fields["status"] = "live" if at == 19 else "ended"
        call = a_call(NOON - DAY * (at % 2), duration_s=61 if at < 4 else 0, **fields)
        use(call, MODEL, input_tokens=1_000_000)
    use(a_call(), MODEL, input_tokens=9_000_000)  # of no campaign
    table = costs.prices()
    with django_assert_num_queries(3):
        found = costs.spend(campaign.calls.all(), table=table)
    assert {line.what: (line.usd, line.estimated) for line in found.lines} == {
        "Language model: openai gpt-x": (10 * 3 + 9 * 1, False),
        "Plivo, until it reports": (4 * 2 * Decimal("0.01"), True),
    }


CALLS = st.fixed_dictionaries(
    {
        "person": st.sampled_from([0, 1, None]),
        "status": st.sampled_from(["ended", "ended", "rejected", "live"]),
        "carrier_cost": st.sampled_from([None, None, "0.0123", "0"]),
        "bill_duration_s": st.sampled_from([None, 0, 61]),
        "duration_s": st.sampled_from([None, 0, 20, 125]),
        "days": st.sampled_from([0, 1]),
        "usage": st.lists(
            st.tuples(st.sampled_from([MODEL, EARS, VOICE]), st.integers(0, 9), st.integers(0, 90_000)), max_size=3
        ),
    }
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CALLS, max_size=8))
def test_the_costs_of_calls_and_people_are_parts_of_what_was_spent(make, made):  # noqa: F811
    with transaction.atomic():
        for unit, usd in (("input", "2"), ("output", "8")):
            price("openai", "gpt-x", unit, usd)
            price("openai", "gpt-x", unit, "3", NOON.date())
        price("elevenlabs", "flash", "characters", "0.1")
        price("plivo", "US", "minute", "0.01")
        campaign = make.campaign(make.people(2))
        people = list(campaign.people.order_by("pk"))
        for at, fields in enumerate(made):
            person = None if fields["person"] is None else people[fields["person"]]
            names = ("status", "carrier_cost", "bill_duration_s", "duration_s")
            known = {name: fields[name] for name in names} | {"to_number": f"+1415555{at:04}", "attempt": at + 1}
            call = a_call(NOON - DAY * fields["days"], campaign=campaign, campaign_person=person, **known)
            for what, tokens, ms in fields["usage"]:
                use(call, what, input_tokens=tokens, output_tokens=2 * tokens, characters=tokens, audio_ms=ms)
        whole, table = spend(campaign.calls.all()), costs.prices()
        for field in ("pk", "campaign_person"):
            parts = costs.spend_by(campaign.calls.all(), field, table=table)
            assert sum(each.usd for each in parts.values()) == whole.usd
            assert {text for each in parts.values() for text in each.missing} == set(whole.missing)
        for call in campaign.calls.filter(status="ended"):
            alone = spend(Call.objects.filter(pk=call.pk))
            assert costs.spend_by(campaign.calls.all(), "pk", table=table).get(call.pk, costs.Cost(())) == alone
        transaction.set_rollback(True)


# --- in the admin ----------------------------------------------------------------------------------------------------


def test_the_page_of_a_call_shows_its_cost_and_which_price_is_missing(admin_page) -> None:
    price("openai", "gpt-x", "input", "2")
    price("plivo", "US", "minute", "0.01")
    call = a_call(duration_s=20)
    use(call, MODEL, input_tokens=1_000_000, output_tokens=5)
    html = admin_page.get(reverse("admin:calls_call_change", args=[call.pk])).content.decode()
    assert "2.0000 without what has no price" in html
    assert "0.0100 (estimate)" in html
    assert "2.0100 (partly an estimate)" in html
    assert "No price for openai gpt-x by a million output tokens on 26 Nov 2026: add one" in html
    quiet = admin_page.get(reverse("admin:calls_call_change", args=[a_call().pk])).content.decode()
    assert "Nothing that has a price was used." in quiet


def test_prices_are_kept_in_the_admin_and_nonsense_is_refused(admin_page) -> None:
    page = "/admin/calls/price/"
    assert "No prices yet" in admin_page.get(page).content.decode()
    row = {"provider": "plivo", "model": "US", "unit": "minute", "usd": "0.01", "valid_from": "2026-11-01"}
    row |= {"source": "its price list"}
    admin_page.post(f"{page}add/", row)
    assert Price.objects.get().usd == Decimal("0.01")
    for change, why in (
        ({"model": "USA"}, "two letters"),
        ({"unit": "output"}, "charges calls by the minute"),
        ({"usd": "-1", "model": "DE"}, "greater than or equal to 0"),
        ({}, "already exists"),
        ({"source": "", "model": "DE"}, "This field is required"),
    ):
        assert why in admin_page.post(f"{page}add/", row | change).content.decode()
    assert Price.objects.count() == 1
    viewer = Client()
    viewer.force_login(factories.UserFactory(permissions=["calls.view_price"]))
    assert viewer.get(page).status_code == 200
    assert viewer.post(f"{page}add/", row).status_code == 403

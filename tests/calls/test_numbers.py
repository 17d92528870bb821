"""Which numbers may be called, and where their owners may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.numbers import E164, Kind, NumberRefused, callable_number, parse

pytestmark = pytest.mark.pure


def refusal(raw: str, **options: str) -> tuple[Kind, str]:
    with pytest.raises(NumberRefused) as refused:
        parse(raw, **options)
    return refused.value.kind, str(refused.value)


@pytest.mark.parametrize(
    "raw",
    ["+14155552671", " +1 415 555 2671 ", "+1 (415) 555-2671", "+1.415.555.2671", "+1\u00a0415\u2011555\u20132671"],
)
def test_a_number_is_understood_as_people_write_it(raw: str) -> None:
    assert parse(raw).e164 == "+14155552671"


def test_one_without_a_country_code_needs_a_country() -> None:
    assert refusal("415 555 2671")[0] is Kind.NOT_INTERNATIONAL
    assert parse("415 555 2671", country="US").e164 == "+14155552671"
    assert parse("+4930123456", country="US").e164 == "+4930123456"


@pytest.mark.parametrize(
    "raw",
    [
        "+14155552671<+19005550100",
        "+14155552671,+19005550100",
        "+14155552671;ext=5",
        "sip:+14155552671@example.com",
        "tel:+14155552671",
        '=HYPERLINK("http://x")',
        "=1+1",
        "@SUM(1)",
        "+1415555CALL",
        "+1 415 555 2671 x5",
        "\uff0b14155552671",
        "+1415555267\uff11",
        "+" + "1" * 60,
        "+1415\n5552671",
        "",
        "  ",
    ],
)
def test_what_holds_more_than_a_number_is_none(raw: str) -> None:
    assert refusal(raw, country="US")[0] is Kind.NOT_A_NUMBER


@pytest.mark.parametrize("raw", ["+14155550", "+1415555267123", "+10155552671", "+999123456789", "+1", "+4930"])
def test_a_number_that_cannot_exist_is_named(raw: str) -> None:
    assert refusal(raw)[0] is Kind.INVALID


@pytest.mark.parametrize(
    ("number", "why"),
    [
        ("+19005551234", "premium"),
        ("+447012345678", "personal"),
        ("+881612345678", "no country"),
    ],
)
def test_dear_numbers_and_those_of_no_country_are_not_called_whatever_is_allowed(number: str, why: str) -> None:
    assert why in parse(number).refused_as
    with pytest.raises(NumberRefused) as refused:
        callable_number(number, countries={"US", "GB", "001"})
    assert refused.value.kind is Kind.TYPE


def test_a_country_is_called_only_when_it_is_allowed_and_one_with_the_same_code_is_another() -> None:
    assert callable_number("+14155552671", countries={"US"}).country == "US"
    for number, countries in (("+14155552671", set()), ("+18765551234", {"US"}), ("+14165552671", {"US"})):
        with pytest.raises(NumberRefused) as refused:
            callable_number(number, countries=countries)
        assert refused.value.kind is Kind.COUNTRY


@pytest.mark.parametrize("raw", ["+1 415 555 2671", "14155552671", " +14155552671", "+14155552671\n", "+014155552671"])
def test_the_last_look_takes_one_spelling_only(raw: str) -> None:
    with pytest.raises(NumberRefused):
        callable_number(raw, countries={"US"})


@pytest.mark.parametrize(
    ("number", "zones"),
    [
        ("+14155552671", ("America/Los_Angeles",)),
        ("+18765551234", ("America/Jamaica",)),  # not the 42 of all who share the country code
        ("+4930123456", ("Europe/Berlin",)),
        ("+919876543210", ("Asia/Calcutta",)),
        ("+18005551234", ()),  # toll-free: anywhere
        ("+19005551234", ()),
        ("+881612345678", ()),
    ],
)
def test_the_zones_of_a_number_are_those_in_which_its_owner_may_be(number: str, zones: tuple[str, ...]) -> None:
    assert parse(number).zones == zones


def test_a_mobile_number_of_a_wide_country_may_be_anywhere_in_it() -> None:
    australian = parse("+61412345678").zones
    assert {"Australia/Perth", "Australia/Sydney"} < set(australian)
    assert len(parse("+79161234567").zones) > 8


@given(st.text(max_size=45))
def test_whatever_is_typed_gives_a_number_or_a_reason(raw: str) -> None:
    try:
        number = parse(raw, country="US")
    except NumberRefused:
        return
    assert E164.fullmatch(number.e164)
    assert parse(number.e164) == number


@given(st.from_regex(r"\+[1-9][0-9]{5,15}", fullmatch=True))
def test_what_may_be_called_is_written_in_one_way_and_has_a_country(raw: str) -> None:
    try:
        number = callable_number(raw, countries={"US", "DE", "001"})
    except NumberRefused:
        return
    assert number.e164 == raw
    assert number.country in {"US", "DE"}

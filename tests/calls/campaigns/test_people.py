"""What the columns of a table mean, and which of its rows are people that can be called."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls.campaigns.people import FIELDS, IGNORED, VARIABLE, Meaning, RowRefused, faults, guess, person, variable_name

pytestmark = pytest.mark.pure

EVERYTHING = [Meaning(field) for field in FIELDS] + [Meaning(VARIABLE, "order_no"), Meaning(IGNORED)]
JANE = [
    "+1 (415) 555-2671", "Jane Doe", "america/new_york", "NY", "en_us", "Written", "2026-05-03", "web form", "A-17", "",
]  # fmt: skip


def changed(**cells: str) -> list[str]:
    return [cells.get(meaning.field, cell) for meaning, cell in zip(EVERYTHING, JANE, strict=True)]


def refused(**cells: str) -> str:
    with pytest.raises(RowRefused) as error:
        person(changed(**cells), EVERYTHING, country="")
    return str(error.value)


def test_a_whole_row_becomes_a_person() -> None:
    jane = person(JANE, EVERYTHING, country="")
    assert (jane.number, jane.country, jane.zones) == ("+14155552671", "US", ("America/Los_Angeles",))
    assert (jane.name, jane.time_zone, jane.region, jane.language) == ("Jane Doe", "America/New_York", "NY", "en-US")
    assert (jane.consent, jane.consent_at, jane.consent_source) == ("written", datetime.date(2026, 5, 3), "web form")
    assert jane.variables == {"order_no": "A-17"}


def test_a_number_is_all_that_a_person_needs() -> None:
    found = person(["030 123456"], [Meaning("number")], country="DE")
    assert (found.number, found.time_zone, found.consent, found.variables) == ("+4930123456", "", "", {})


@pytest.mark.parametrize(
    ("cells", "why"),
    [
        ({"number": ""}, "Phone number: there is no number"),
        ({"number": "+14155552671<+19005551234"}, "Phone number: it holds what no phone number holds"),
        ({"number": "=1+1"}, "Phone number: it holds what no phone number holds"),
        ({"number": "4155552671"}, "Phone number: it has no country code"),
        ({"number": "+19005551234"}, "Phone number: it is a premium-rate number"),
        ({"time_zone": "EST"}, "Time zone: not a time zone"),
        ({"time_zone": "Etc/GMT+5"}, "Time zone: not a time zone"),
        ({"time_zone": "Mars/Olympus"}, "Time zone: not a time zone"),
        ({"time_zone": "../etc/passwd"}, "Time zone: not a time zone"),
        ({"language": "English"}, "Language: not a language"),
        ({"consent": "maybe"}, "Consent: write express, written or none"),
        ({"consent_at": "03/05/2026"}, "Date of consent: not a date: write it as 2026-05-03"),
        ({"consent_at": "2026-02-30"}, "Date of consent: not a date"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(cells: dict[str, str], why: str) -> None:
    assert why in refused(**cells)


def test_all_that_is_wrong_with_a_row_is_said_at_once() -> None:
    found = refused(number="x", time_zone="EST", consent_at="soon")
    assert found.count(";") == 2


def test_values_are_data_whatever_they_hold() -> None:
    found = person(
        ["+14155552671", "{{caller_number}} {% x %}\u202e<b>"],
        [Meaning("number"), Meaning(VARIABLE, "note")],
        country="",
    )
    assert "{" not in found.variables["note"]
    assert "\u202e" not in found.variables["note"]


@pytest.mark.parametrize(
    ("names", "fields"),
    [
        (["Phone Number", "Name", "TZ", "State"], ["number", "name", "time_zone", "region"]),
        (["name", "mobile", "phone"], ["name", "number", "variable"]),
        (["E-mail", "Order no.", "Column 3"], ["variable", "variable", "variable"]),
        (["Telefonnummer", "Consent-Date", "opt_in"], ["number", "consent_at", "consent"]),
        (["電話", "!!!"], ["", ""]),
    ],
)
def test_what_columns_mean_is_guessed_from_their_headers(names: list[str], fields: list[str]) -> None:
    assert [meaning.field for meaning in guess(names)] == fields


@pytest.mark.parametrize(
    ("header", "name"),
    [("Order no.", "order_no"), ("  First Name ", "first_name"), ("2nd line", ""), ("Date", "their_date"), ("é", "")],
)
def test_a_variable_is_named_after_its_column(header: str, name: str) -> None:
    assert variable_name(header) == name


@given(st.lists(st.text(max_size=30), max_size=30))
def test_a_guess_is_always_a_choice_that_could_be_made(names: list[str]) -> None:
    found = guess(names)
    assert len(found) == len(names)
    assert [fault for fault in faults(found) if "phone number" not in fault] == []


@pytest.mark.parametrize(
    ("meanings", "why"),
    [
        ([Meaning("name")], "Choose the column that holds the phone number."),
        ([Meaning("number"), Meaning("number")], "Two columns are the phone number."),
        ([Meaning("number"), Meaning(VARIABLE, "a"), Meaning(VARIABLE, "a")], "Two columns are the variable “a”."),
        ([Meaning("number"), Meaning(VARIABLE, "Order No")], "cannot name a variable"),
        ([Meaning("number"), Meaning(VARIABLE, "")], "cannot name a variable"),
        ([Meaning("number"), Meaning(VARIABLE, "date")], "already"),
        ([Meaning("number"), *(Meaning(VARIABLE, f"v{n}") for n in range(41))], "At most 40"),
    ],
)
def test_a_choice_by_which_no_row_can_be_read_is_named(meanings: list[Meaning], why: str) -> None:
    assert any(why in fault for fault in faults(meanings))
    assert faults([Meaning("number"), Meaning(IGNORED), Meaning(IGNORED)]) == []


@given(st.lists(st.text(max_size=60), min_size=len(EVERYTHING), max_size=len(EVERYTHING)))
def test_whatever_a_row_holds_it_is_a_person_or_is_refused_in_words(cells: list[str]) -> None:
    for row in (cells, [JANE[0], *cells[1:]]):
        try:
            found = person(row, EVERYTHING, country="US")
        except RowRefused:
            continue
        assert found.number.startswith("+")
        assert "{" not in "".join(found.variables.values()) + found.name

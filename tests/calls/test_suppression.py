"""The do-not-call list holds whatever becomes of the people on it, and is not trusted under another key."""

import datetime

import pytest
from django.db import IntegrityError, transaction

from calls import suppression
from calls.models import DoNotCall
from calls.suppression import Entry
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
OPERATOR = DoNotCall.Source.OPERATOR
ANNA, BEN = "+14155552671", "+4930123456"


def entry(number: str, **fields) -> Entry:
    return Entry(number, fields.pop("since", NOW), fields.pop("evidence", "asked by mail"))


def number(n: int) -> str:
    return f"+1415555{n:04}"


def test_a_number_on_the_list_is_found_and_another_is_not() -> None:
    row, new = suppression.add(entry(ANNA), source=OPERATOR)
    assert new
    assert suppression.is_suppressed(ANNA)
    assert not suppression.is_suppressed(BEN)
    assert suppression.find(ANNA) == row
    assert suppression.find("Anna") is None


def test_the_list_does_not_know_the_numbers_on_it() -> None:
    suppression.add(entry(ANNA), source=OPERATOR)
    (stored,) = DoNotCall.objects.values()
    assert stored["masked"] == "+1415•••••71"
    assert ANNA.lstrip("+") not in "".join(map(str, stored.values()))


def test_the_first_entry_of_a_number_stays() -> None:
    first, _ = suppression.add(entry(ANNA, evidence="said stop"), source=DoNotCall.Source.SPOKEN)
    again, new = suppression.add(entry(ANNA, evidence="list of 2027"), source=DoNotCall.Source.IMPORT)
    assert (again.pk, again.evidence, new) == (first.pk, "said stop", False)
    with pytest.raises(IntegrityError), transaction.atomic():
        DoNotCall.objects.create(number_hash=first.number_hash, source=OPERATOR, since=NOW)


@pytest.mark.parametrize("raw", ["14155552671", "+1 415 555 2671", "", "+14155552671 ", "sip:a@b"])
def test_another_spelling_is_refused_and_not_hashed_as_somebody_else(raw: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        suppression.add(entry(raw), source=OPERATOR)
    with pytest.raises(ValueError, match=r"E\.164"):
        suppression.is_suppressed(raw)


def test_many_are_added_at_once_and_doubles_counted_once() -> None:
    suppression.add(entry(number(3), evidence="first"), source=OPERATOR)
    entries = [entry(number(n), evidence=f"row {at}") for at, n in enumerate([1, 2, 3, 1, *range(4, 1100)])]
    assert suppression.add_all(entries, source=DoNotCall.Source.IMPORT) == 1098
    assert suppression.add_all(entries, source=DoNotCall.Source.IMPORT) == 0
    assert DoNotCall.objects.count() == 1099
    assert suppression.find(number(1)).evidence == "row 0"
    assert suppression.find(number(3)).evidence == "first"


def test_many_are_looked_up_in_few_queries(django_assert_num_queries) -> None:
    suppression.add_all([entry(number(n)) for n in range(0, 1200, 3)], source=OPERATOR)
    with django_assert_num_queries(4):
        found = suppression.suppressed([number(n) for n in range(1200)])
    assert found == {number(n) for n in range(0, 1200, 3)}


def test_under_another_key_the_list_is_in_trouble_until_the_old_one_is_back(settings) -> None:
    assert suppression.trouble() == "", "an empty list fits every key"
    old = settings.SUPPRESSION_KEY
    suppression.add(entry(ANNA), source=OPERATOR)
    assert suppression.trouble() == ""
    settings.SUPPRESSION_KEY = "another key"
    assert "SUPPRESSION_KEY" in suppression.trouble()
    assert not suppression.is_suppressed(ANNA), "which is why nothing may be dialled"
    suppression.add(entry(BEN), source=DoNotCall.Source.SPOKEN)
    assert suppression.trouble(), "one row under the right key does not hide the others"
    settings.SUPPRESSION_KEY = old
    assert suppression.trouble(), "nor does the right key hide a row that was written under the wrong one"
    DoNotCall.objects.filter(source=DoNotCall.Source.SPOKEN).delete()
    assert suppression.trouble() == ""


def test_an_entry_outlives_the_call_and_the_operator_it_came_from() -> None:
    call, user = factories.CallFactory(), factories.UserFactory()
    suppression.add(entry(ANNA), source=DoNotCall.Source.SPOKEN, call=call, added_by_id=user.pk)
    call.delete()
    user.delete()
    row = suppression.find(ANNA)
    assert (row.call, row.added_by) == (None, None)
    assert suppression.is_suppressed(ANNA)

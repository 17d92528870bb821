"""This machine's clock beside the database's; run on PostgreSQL, too."""

import time

import pytest
from django.db import connection

from calls import clocks

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def test_on_one_machine_both_clocks_show_the_same():
    assert abs(clocks.ahead_s()) < 1
    assert clocks.trouble() == ""


@pytest.mark.parametrize(("by_s", "said"), [(12, "12 s ahead of"), (-12, "12 s behind"), (4, ""), (-4, "")])
def test_a_clock_that_was_set_wrong_is_found_where_the_database_has_one_of_its_own(monkeypatch, by_s, said):
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + by_s)
    found = clocks.trouble()
    if connection.vendor == "sqlite" or not said:
        assert found == ""
    else:
        assert f"is {said} the database's" in found

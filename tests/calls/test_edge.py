"""Refusals are counted by the minute, and a flood costs few writes."""

import datetime

import pytest
from django.db import DatabaseError

from calls import edge
from calls.models import EdgeRefusal

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOON = datetime.datetime(2026, 1, 2, 12, 0, tzinfo=datetime.UTC)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(edge, "_counter", edge._Counter())


def refuse(seconds=0.0, reason="bad_signature", sample=None):
    edge.record_refusal(
        edge="webhook",
        reason=reason,
        sample=sample or {},
        remedy="Look.",
        now=NOON + datetime.timedelta(seconds=seconds),
    )


def test_refusals_of_a_minute_are_one_row_with_the_last_sample():
    refuse(1, sample={"kind": "first"})
    refuse(59, sample={"kind": "last"})
    row = EdgeRefusal.objects.get()
    assert (row.count, row.sample, row.minute, row.remedy) == (2, {"kind": "last"}, NOON, "Look.")


def test_minutes_and_reasons_are_counted_apart():
    refuse(1)
    refuse(61)
    refuse(61, reason="missing_headers")
    assert EdgeRefusal.objects.count() == 3


def test_a_flood_is_counted_whole_in_few_writes(django_assert_max_num_queries):
    with django_assert_max_num_queries(80):
        for number in range(5000):
            refuse(number / 1000)
        refuse(10)
    assert EdgeRefusal.objects.get().count == 5001


def test_what_a_database_cannot_hold_is_left_out_and_long_texts_are_cut():
    refuse(sample={"host\x00": "a\x00b\ud800" + "x" * 999, "list": ["\x00"] * 500})
    sample = EdgeRefusal.objects.get().sample
    assert sample["host"].startswith("abx")
    assert len(sample["host"]) <= edge.MAX_SAMPLE_VALUE
    assert len(sample["list"]) == 100


def test_a_refusal_stands_even_when_it_cannot_be_counted(monkeypatch):
    def away(*_, **__):
        raise DatabaseError("away")

    monkeypatch.setattr(EdgeRefusal.objects, "filter", away)
    refuse()

"""A prepared query lists what Django's own would, whatever it is given and whoever runs it."""

import datetime
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import close_old_connections, connection
from django.db.models import CharField, DateTimeField, UUIDField
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from calls.models import Call
from calls.prepared import Given, Prepared, among, numbered
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NOON = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)


@pytest.fixture
def calls(monkeypatch) -> list[Call]:
    monkeypatch.setattr("celery.current_app.send_task", lambda *_, **__: None)
    made = [
        factories.CallFactory(created_at=NOON + n * HOUR, to_number=f"+1415555000{n}", variables={"order": str(n)})
        for n in range(4)
    ]
    return list(Call.objects.filter(pk__in=[call.pk for call in made]).order_by("pk"))


def columns(call: Call) -> dict:
    return {field.attname: getattr(call, field.attname) for field in Call._meta.concrete_fields}


def test_rows_are_instances_with_what_is_read_along(calls, django_assert_num_queries):
    one = Prepared(Call.objects.select_related("agent__llm_account").filter(public_id=Given("id", UUIDField())))
    names = {call.pk: call.agent.llm_account.name for call in calls}
    for call in (calls[2], calls[0], calls[2]):
        with django_assert_num_queries(1):
            (found,) = one.rows(id=call.public_id)
            assert found.agent.llm_account.name == names[call.pk]
        assert columns(found) == columns(call)
    assert one.rows(id=uuid.uuid4()) == []


def test_rows_are_values_of_the_right_type(calls):
    at = Coalesce("ringing_at", "created_at")
    later = Call.objects.filter(created_at__gt=Given("since", DateTimeField())).order_by("pk")
    query = Prepared(later.values_list("to_number", at, "public_id"))
    for since in (NOON, NOON + 2 * HOUR, NOON + 9 * HOUR):
        plain = Call.objects.filter(created_at__gt=since).order_by("pk").values_list("to_number", at, "public_id")
        assert query.rows(since=since) == list(plain)
    flat = Prepared(later.values_list("variables", flat=True))
    assert flat.rows(since=NOON + HOUR) == [{"order": "2"}, {"order": "3"}]


def test_it_is_one_of_as_many_values_as_it_was_made_for(calls):
    some = Prepared(Call.objects.filter(to_number__in=among(2, CharField())).order_by("pk"))
    numbers = [call.to_number for call in calls]
    assert some.rows(**numbered(numbers[:2])) == calls[:2]
    assert some.rows(**numbered([numbers[3], "' OR 1=1 --"])) == [calls[3]]


def test_a_missing_value_is_an_error(calls):
    with pytest.raises(KeyError, match="number"):
        Prepared(Call.objects.filter(to_number=Given("number", CharField()))).rows(since=NOON)


@pytest.mark.django_db(transaction=True)
def test_two_threads_that_build_it_at_once_build_the_same(calls, monkeypatch):
    """The second is in the middle of it when the first comes to its end."""
    query = Prepared(Call.objects.order_by("pk"))
    setup, began, both, first_done = SQLCompiler.pre_sql_setup, [], threading.Event(), threading.Event()

    def in_turns(self, *args, **kwargs):
        found = setup(self, *args, **kwargs)
        began.append(None)
        if len(began) == 1:
            both.wait(10)
        else:
            both.set()
            first_done.wait(10)
        return found

    def ask(then: threading.Event) -> list[Call]:
        try:
            return query.rows()
        finally:
            then.set()
            connection.close()

    monkeypatch.setattr(SQLCompiler, "pre_sql_setup", in_turns)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, first_done)
        until = time.monotonic() + 10
        while not began and time.monotonic() < until:
            time.sleep(0.01)
        second = pool.submit(ask, threading.Event())
        assert first.result() == second.result() == calls


@pytest.mark.django_db(transaction=True)
def test_each_thread_asks_over_its_own_connection(calls):
    one = Prepared(Call.objects.filter(to_number=Given("number", CharField())).values_list("pk", flat=True))
    assert one.rows(number=calls[0].to_number) == [calls[0].pk]

    def ask(call: Call) -> list[int]:
        try:
            return one.rows(number=call.to_number)
        finally:
            connection.close()
            close_old_connections()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, calls * 5)) == [[call.pk] for call in calls * 5]

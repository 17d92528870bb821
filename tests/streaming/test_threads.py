"""Database connections of the threads that serve for as long as their process."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError, close_old_connections, connection, connections

from streaming import threads
from streaming.threads import keep_connections

pytestmark = [pytest.mark.db, pytest.mark.django_db(transaction=True)]


def in_a_thread(job: Callable[[], Any]) -> Any:
    def alone() -> Any:
        try:
            return job()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(alone).result(20)


def opened() -> Any:
    """The driver's connection after a query."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return connection.connection


def after_the_next_job() -> Any:
    close_old_connections()
    return opened()


def test_a_kept_connection_serves_one_job_after_the_other() -> None:
    def job() -> bool:
        keep_connections()
        return opened() is after_the_next_job()

    assert in_a_thread(job)


def test_one_that_is_not_kept_is_closed_and_other_threads_keep_none() -> None:
    assert in_a_thread(keep_connections) is None

    def job() -> bool:
        before = opened()
        return before is after_the_next_job()

    assert not in_a_thread(job)


def test_a_kept_connection_that_is_too_old_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "KEPT_S", 0)

    def job() -> bool:
        keep_connections()
        before = opened()
        return before is after_the_next_job()

    assert not in_a_thread(job)


def test_a_kept_connection_that_has_failed_is_replaced() -> None:
    def job() -> bool:
        keep_connections()
        before = opened()
        with pytest.raises(DatabaseError), connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column FROM no_such_table")
        connections["default"].is_usable = lambda: False
        return before is after_the_next_job()

    assert not in_a_thread(job)

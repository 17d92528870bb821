"""Queries of which Django builds the SQL once, for what is asked before each call: building it takes longer than the
answer. What they return is what Django's own would; only the values differ from one run to the next.
"""

from collections.abc import Iterable
from copy import copy
from typing import Any, Generic, TypeVar, cast

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Expression, Field, QuerySet
from django.db.models.sql import Query
from django.db.models.sql.compiler import SQLCompiler

_Row = TypeVar("_Row")


class Given(Expression):
    """Stands in a query for a value that each run is given."""

    def __init__(self, name: str, field: "Field[Any, Any]") -> None:
        """
        Args:
            field: of the value's type: how it is told to the database.
        """
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, *_: Any, **__: Any) -> tuple[str, Any]:
        """Itself for a parameter, until the query is run."""
        return "%s", [self]


class Prepared(Generic[_Row]):
    """A query with ``Given`` values. Any thread may run it."""

    def __init__(self, queryset: "QuerySet[Any, _Row]") -> None:
        self._queryset = queryset
        self._built: dict[str, tuple[SQLCompiler, str, tuple[Any, ...]]] = {}  # by the database's vendor

    def rows(self, **given: object) -> list[_Row]:
        """Runs it: what the queryset would list.

        Raises:
            KeyError: a value is missing.
        """
        connection = connections[self._queryset.db]
        if connection.vendor not in self._built:
            # A copy: compiling changes the query, and another thread may compile it, too.
            compiler = self._queryset.query.clone().get_compiler(connection=connection)
            self._built[connection.vendor] = compiler, *compiler.as_sql()
        compiler, sql, params = self._built[connection.vendor]
        values = tuple(_told(param, given, connection) for param in params)
        again: Any = copy(compiler)
        again.connection = connection  # of this thread
        again.as_sql = lambda *_, **__: (sql, values)
        asked: Any = QuerySet(self._queryset.model, query=cast("Query", _Built(again)))
        rows: Iterable[_Row] = self._queryset._iterable_class(asked)  # type: ignore[assignment]
        return list(rows)


class _Built:
    """As much of a query as those who read rows ask of it."""

    def __init__(self, compiler: SQLCompiler) -> None:
        self._compiler = compiler

    def get_compiler(self, *_: Any, **__: Any) -> SQLCompiler:
        return self._compiler


def among(count: int, field: "Field[Any, Any]") -> list[Given]:
    """So many values, for ``__in``: a query holds for as many as it was built for."""
    return [Given(f"value_{n}", field) for n in range(count)]


def numbered(values: Iterable[object]) -> dict[str, object]:
    """The values of ``among``, as ``Prepared.rows`` takes them."""
    return {f"value_{n}": value for n, value in enumerate(values)}


def _told(param: object, given: dict[str, object], connection: BaseDatabaseWrapper) -> object:
    if not isinstance(param, Given):
        return param
    return param.output_field.get_db_prep_value(given[param.name], connection=connection)

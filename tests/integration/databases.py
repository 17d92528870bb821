"""A house's database read and held up from outside, and PostgreSQL databases for houses that want one."""

import contextlib
import secrets
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

from config.databases import database
from tests import ready_made

MIGRATED = "house_migrated"
AS_SQLITE_HAS_THEM = ("jsonb", "timestamptz", "uuid")  # as text


def read(url: str, var_dir: Path, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    """Rows of a query with ``?`` for values; JSON and times (in UTC) come as text from either database.

    Args:
        url: ``DATABASE_URL``; empty: SQLite in ``var_dir``.
    """
    if not url:
        with contextlib.closing(sqlite3.connect(var_dir / "parley.sqlite3", timeout=10)) as file:
            return file.execute(query, values).fetchall()
    with _connect(url) as server:
        for kind in AS_SQLITE_HAS_THEM:
            server.adapters.register_loader(kind, TextLoader)
        return server.execute(query.replace("?", "%s"), values).fetchall()


@contextlib.contextmanager
def stalled(url: str, var_dir: Path) -> Iterator[None]:
    """Nobody else can write, and on PostgreSQL not even read; arguments as for ``read``."""
    if not url:
        with contextlib.closing(sqlite3.connect(var_dir / "parley.sqlite3", timeout=20, isolation_level=None)) as file:
            file.execute("BEGIN IMMEDIATE")
            yield
            file.execute("ROLLBACK")
        return
    with _connect(url) as server, server.transaction(force_rollback=True):
        tables = server.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE 'calls\\_%'").fetchall()
        for (table,) in tables:
            server.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        yield


def create(server_url: str) -> str:
    """``DATABASE_URL`` of a new migrated database at the PostgreSQL server, which is migrated once and copied."""
    name = f"house_{secrets.token_hex(6)}"
    at = server_url.rpartition("/")[0]
    with _connect(server_url) as server:
        if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [MIGRATED]).fetchone():
            server.execute(f"CREATE DATABASE {MIGRATED}")
            ready_made.manage("migrate", DATABASE_URL=f"{at}/{MIGRATED}")
        server.execute(f"CREATE DATABASE {name} TEMPLATE {MIGRATED}")
    return f"{at}/{name}"


def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    to = database(url, Path())
    return psycopg.connect(
        host=to["HOST"],
        dbname=to["NAME"],
        user=to["USER"],
        options="-c timezone=UTC",
        connect_timeout=5,
        autocommit=True,
    )

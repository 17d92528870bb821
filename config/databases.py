"""The database setting: SQLite tuned for durability by default, any PostgreSQL by ``DATABASE_URL``."""

from pathlib import Path
from typing import Any

import environ

# synchronous=FULL: a committed opt-out or SENDING must survive a power cut. IMMEDIATE: a claim never fails half-way
# through its transaction because another writer came between its read and its write.
# wal_autocheckpoint (64 MB) is the last resort: one task checkpoints, see docs/decisions/0002-one-checkpointer.md.
SQLITE_OPTIONS = {
    "transaction_mode": "IMMEDIATE",
    "timeout": 20,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=20000; "
    "PRAGMA wal_autocheckpoint=16000",
}


def database(url: str, var_dir: Path) -> dict[str, Any]:
    """Django's settings of the one database.

    Args:
        url: ``DATABASE_URL``; empty for SQLite under ``var_dir``.
        var_dir: folder of the SQLite file.
    """
    config = environ.Env.db_url_config(url or f"sqlite:///{var_dir / 'parley.sqlite3'}")
    if config["ENGINE"].endswith("sqlite3"):
        return config | {"OPTIONS": SQLITE_OPTIONS}
    # Under ASGI each request has a thread of its own, so a connection that outlives its request is used by no other.
    # A stalled server must not hold a webhook or the journal for ever.
    return config | {"CONN_MAX_AGE": 0, "OPTIONS": {"connect_timeout": 5, **config.get("OPTIONS", {})}}

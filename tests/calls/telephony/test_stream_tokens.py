"""Tokens of streams: short-lived, of one call, few uses, and never in the database as they are."""

import datetime
import re

import pytest
from django.utils import timezone

from calls.models import Call, StreamToken
from calls.telephony.stream_tokens import TokenRefusal, handshake_tokens, issue, peek, redeem
from tests import factories
from tests.conftest import LOST_KEYS

pytestmark = [pytest.mark.db, pytest.mark.django_db]

LATER = datetime.timedelta(seconds=61)


@pytest.fixture
def call():
    return factories.CallFactory()


@pytest.fixture
def now():
    return timezone.now()


def reason(found):
    return found.reason if isinstance(found, TokenRefusal) else None


def test_a_token_is_128_bits_of_hex_and_stored_only_as_its_hash(call, now):
    token = issue(call=call, now=now)
    assert re.fullmatch("[0-9a-f]{32}", token)
    assert token not in str(StreamToken.objects.values().get())


def test_a_fresh_token_opens_its_calls_stream(call, now):
    token = issue(call=call, now=now)
    ticket = peek(token=token, now=now)
    assert (ticket.call_id, ticket.plivo_call_uuid) == (call.pk, call.plivo_call_uuid)
    assert redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now) == ticket


def test_peeking_uses_nothing(call, now):
    token = issue(call=call, now=now)
    for _ in range(9):
        peek(token=token, now=now)
    assert StreamToken.objects.get().uses == 0


@pytest.mark.parametrize("token", ["", "x", "0" * 31, "0" * 33, "A" * 32, "é" * 32, "\x00" * 32, "0" * 31 + "\n"])
def test_what_is_no_token_is_refused_without_a_look_at_the_database(token, now, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert reason(peek(token=token, now=now)) == "malformed"
        assert reason(redeem(token=token, plivo_call_uuid="u", now=now)) == "malformed"


def test_a_strangers_token_is_unknown(now):
    assert reason(peek(token="0" * 32, now=now)) == "unknown"


def test_a_token_must_be_used_within_a_minute(call, now):
    token = issue(call=call, now=now)
    assert reason(peek(token=token, now=now + LATER)) == "expired"
    assert reason(redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now + LATER)) == "expired"


def test_a_used_token_serves_the_same_call_twice_more_however_late(call, now):
    token = issue(call=call, now=now)
    for _ in range(3):
        assert reason(redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now)) is None
        now += LATER
    assert reason(redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now)) == "used_up"
    assert reason(peek(token=token, now=now)) == "used_up"
    assert StreamToken.objects.get().uses == 3


@pytest.mark.parametrize("used", [False, True])
@pytest.mark.parametrize("other", ["", "another-call"])
def test_a_token_with_another_or_no_call_id_is_refused_and_not_used(call, now, used, other):
    token = issue(call=call, now=now)
    if used:
        redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now)
    assert reason(redeem(token=token, plivo_call_uuid=other, now=now)) == "wrong_call"
    assert StreamToken.objects.get().uses == used


def test_the_first_use_binds_a_token_whose_call_has_no_call_id_yet(now):
    call = factories.CallFactory(plivo_call_uuid=None)
    token = issue(call=call, now=now)
    assert reason(redeem(token=token, plivo_call_uuid="first", now=now)) is None
    assert reason(redeem(token=token, plivo_call_uuid="second", now=now)) == "wrong_call"
    assert reason(redeem(token=token, plivo_call_uuid="first", now=now)) is None


@pytest.mark.parametrize("over", [{"status": "ended"}, {"stream_ended_at": timezone.now()}])
def test_a_token_of_a_call_that_is_over_opens_nothing(call, now, over):
    token = issue(call=call, now=now)
    Call.objects.filter(pk=call.pk).update(**over)
    assert reason(peek(token=token, now=now)) == "call_over"
    assert reason(redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now)) == "call_over"


def test_several_tokens_of_a_call_live_side_by_side(call, now):
    tokens = [issue(call=call, now=now) for _ in range(3)]
    assert all(reason(redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now)) is None for token in tokens)


def test_a_lost_race_for_the_last_use_is_no_use(call, now, monkeypatch):
    token = issue(call=call, now=now)
    StreamToken.objects.update(uses=2, plivo_call_uuid=call.plivo_call_uuid)
    from calls.telephony import stream_tokens  # noqa: PLC0415

    real, raced = stream_tokens._refused, []

    def rival_uses_it_in_between(row, at):
        found = real(row, at)
        if not raced:
            raced.append(StreamToken.objects.update(uses=3))
        return found

    monkeypatch.setattr(stream_tokens, "_refused", rival_uses_it_in_between)
    assert reason(redeem(token=token, plivo_call_uuid=call.plivo_call_uuid, now=now)) == "used_up"
    assert StreamToken.objects.get().uses == 3


def test_the_handshake_may_be_signed_with_the_calls_accounts_token_alone(call, now):
    factories.PlivoAccountFactory()
    ticket = peek(token=issue(call=call, now=now), now=now)
    assert handshake_tokens(ticket) == [call.plivo_account.auth_token]


def test_an_account_whose_token_cannot_be_decrypted_signs_nothing(call, now, settings):
    ticket = peek(token=issue(call=call, now=now), now=now)
    settings.ENCRYPTION_KEYS = LOST_KEYS
    assert handshake_tokens(ticket) == []

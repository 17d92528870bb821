"""Phone numbers and the Plivo account, as the admin works with them: test, sync, connect, hang up.

Thin over ``telephony.client``; everything raises CarrierError with a sentence for the operator, or returns one.
"""

import datetime
import hashlib

import msgspec
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from calls import lifecycle
from calls.addresses import application_urls, without_options
from calls.models import Call, PhoneNumber, PlivoAccount
from calls.states import Facts
from calls.telephony.accounts import all_accounts, client_for, environment_account
from calls.telephony.base import Application, CarrierError, Failure
from calls.telephony.client import PlivoClient

__all__ = [
    "CarrierError", "Synced", "all_accounts", "client_for", "connect_number", "environment_account", "hang_up",
    "sync_numbers", "test_account",
]  # fmt: skip


class Synced(msgspec.Struct, frozen=True):
    """What a sync found: how many numbers are new, known, and no longer rented."""

    added: int
    known: int
    gone: int


def test_account(account: PlivoAccount) -> tuple[bool, str]:
    """Connects for real and says what it found; also written to the account."""
    try:
        with client_for(account) as client:
            details = client.account()
        kind = f"{details.kind} account" if details.kind else "account"
        ok, message = (
            True,
            f"Connected to the {kind} {details.name or account.auth_id}; credit {details.credits or '?'}.",
        )
    except CarrierError as error:
        ok, message = False, error.message
    PlivoAccount.objects.filter(pk=account.pk).update(tested_at=timezone.now(), test_ok=ok, test_message=message[:500])
    return ok, message


def sync_numbers(account: PlivoAccount, *, now: datetime.datetime | None = None) -> Synced:
    """Takes over the account's numbers, and whether Plivo sends their calls here. Their agents stay as they are.

    Raises:
        CarrierError: Plivo could not be asked; nothing was changed.
    """
    at = now or timezone.now()
    with client_for(account) as client:
        rented = [number for number in client.numbers() if number.voice and number.number.startswith("+")]
        ours = {application.app_id for application in client.applications() if _points_here(application)}
    added = 0
    with transaction.atomic():
        for found in rented:
            number, created = PhoneNumber.objects.get_or_create(
                number=found.number, defaults={"plivo_account": account, "alias": found.alias[:80]}
            )
            added += created
            # Not by save(): a sync is no change that an operator made, so it makes no history.
            PhoneNumber.objects.filter(pk=number.pk).update(
                plivo_account=account,
                alias=number.alias or found.alias[:80],
                country=_country_code(found.country),
                number_type=found.number_type[:20],
                points_here=found.application_id in ours,
                synced_at=at,
            )
        gone = PhoneNumber.objects.filter(plivo_account=account).exclude(number__in=[each.number for each in rented])
        lost = gone.update(points_here=False, synced_at=at)
    return Synced(added=added, known=len(rented) - added, gone=lost)


def connect_number(number: PhoneNumber) -> str:
    """Makes Plivo send the number's calls here: our application is made or put right, the number attached to it.

    Safe to repeat: an application whose creation was answered too late is found again by its name.

    Returns:
        A sentence for the operator.

    Raises:
        CarrierError: Plivo could not be asked, or said no.
    """
    account = number.plivo_account
    with client_for(account) as client:
        app_id = _application(client, account)
        client.attach_number(number=number.number, app_id=app_id)
    PhoneNumber.objects.filter(pk=number.pk).update(points_here=True)
    return f"Plivo now sends the calls of {number.number} here."


def hang_up(call: Call, *, now: datetime.datetime | None = None) -> None:
    """Ends a live call for an operator.

    Raises:
        CarrierError: Plivo could not be asked; the call goes on.
        ValueError: the call is not at Plivo.
    """
    if call.plivo_account is None or not call.plivo_call_uuid:
        raise ValueError("The call is not at Plivo.")
    with client_for(call.plivo_account) as client:
        client.hang_up(call.plivo_call_uuid)
    # Its end is reported by Plivo; until then the call must not be given another stream.
    at = now or timezone.now()
    facts = Facts(end_reason=Call.EndReason.OPERATOR, stream_ended_at=at)
    lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=at + lifecycle.AFTER_STREAM_GRACE)


def _application(client: PlivoClient, account: PlivoAccount) -> str:
    urls = application_urls()
    name = f"parley-{hashlib.sha256(settings.PUBLIC_URL.encode()).hexdigest()[:12]}"
    if account.application_id:
        try:
            client.update_application(app_id=account.application_id, urls=urls)
        except CarrierError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise
        else:
            return account.application_id
    app_id = next((each.app_id for each in client.applications() if each.name == name), "")
    if app_id:
        client.update_application(app_id=app_id, urls=urls)
    else:
        app_id = client.create_application(name=name, urls=urls)
    if not app_id:
        raise CarrierError(Failure.GARBAGE)
    PlivoAccount.objects.filter(pk=account.pk).update(application_id=app_id)
    account.application_id = app_id
    return app_id


def _points_here(application: Application) -> bool:
    urls = application_urls()
    return without_options(application.answer_url) == without_options(urls["answer_url"])


def _country_code(country: str) -> str:
    return country.upper() if len(country) == 2 else ""

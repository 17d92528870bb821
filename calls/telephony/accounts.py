"""Plivo accounts and their auth tokens, from the admin or from the environment; which may have signed a request."""

from django.conf import settings

from agents.crypto import UndecryptableError
from agents.fields import Secret, can_be_a_key
from calls.models import PlivoAccount
from calls.telephony.base import CarrierError, Failure
from calls.telephony.client import PlivoClient


def environment_account() -> PlivoAccount | None:
    """The account of PLIVO_AUTH_ID and PLIVO_AUTH_TOKEN as a row, made when missing; None when they are unset.

    The row holds no token: it is read from the environment each time, so that changing it there is enough. Another
    id is another account and another row, since the calls and numbers of the first one keep pointing at that.
    """
    auth_id = settings.PLIVO_AUTH_ID
    if not (auth_id and settings.PLIVO_AUTH_TOKEN):
        return None
    defaults = {"name": f"{auth_id} (environment)", "auth_token": ""}
    account, _ = PlivoAccount.objects.get_or_create(auth_id=auth_id, defaults=defaults)
    return account


def all_accounts() -> list[PlivoAccount]:
    """Every account that calls may come by, the environment's included."""
    environment_account()
    return list(PlivoAccount.objects.all())


def set_token(account: PlivoAccount, token: str) -> None:
    """Gives the unsaved account a token and the hint by which people recognise it."""
    account.auth_token = Secret(token)
    account.token_hint = token[-4:] if len(token) >= 12 else "set"


def stores_token(account: PlivoAccount) -> bool:
    """Whether the account's row holds a token, be it readable or not: nothing is decrypted."""
    return PlivoAccount.objects.filter(pk=account.pk).exclude(auth_token="").exists()


def auth_token(account: PlivoAccount) -> str:
    """The account's token: its own, else the environment's where that serves; may be empty.

    Raises:
        agents.crypto.UndecryptableError: its own was encrypted with a key that is lost.
    """
    return str(account.auth_token) or environment_token(auth_id=account.auth_id, api_url=account.api_url)


def environment_token(*, auth_id: str, api_url: str) -> str:
    """The environment's token if it is this account's, else "".

    It goes to the installation's address only: else whoever may edit an account could have it sent to a server of
    their own.
    """
    return settings.PLIVO_AUTH_TOKEN if auth_id == settings.PLIVO_AUTH_ID and not api_url else ""


def tokens_for(account: PlivoAccount | None) -> list[str]:
    """The tokens that may have signed a request for this account; for None, those of every account.

    Plivo signs a subaccount's requests with the subaccount's token, and in the Ma-V3 header with the main account's.
    """
    if account is None:
        tokens = [auth_token(each) for each in readable_accounts()] + [settings.PLIVO_AUTH_TOKEN]
    elif account.auth_id.startswith("SA"):
        mains = (each for each in readable_accounts() if each.auth_id.startswith("MA"))
        tokens = [auth_token(account), *map(auth_token, mains)]
    else:
        tokens = [auth_token(account)]
    return list(dict.fromkeys(filter(None, tokens)))


def readable_accounts() -> list[PlivoAccount]:
    """All accounts whose token can be decrypted."""
    rows = PlivoAccount.objects.defer(None).order_by("created_at")
    try:
        return list(rows)  # in one query, since a stranger can have it asked at will
    except UndecryptableError:
        pass  # the account's page in the admin says so; the others still serve
    accounts = []
    for pk in rows.values_list("pk", flat=True):
        try:
            accounts.append(rows.get(pk=pk))
        except UndecryptableError:
            continue
    return accounts


def client_for(account: PlivoAccount) -> PlivoClient:
    """The account's REST API; raises CarrierError where id or token cannot be any, or the token cannot be read."""
    try:
        token = auth_token(account)
    except UndecryptableError as error:
        raise CarrierError(Failure.UNDECRYPTABLE) from error
    if not can_be_a_key(token):
        raise CarrierError(Failure.UNAUTHORISED, "the token holds blanks or special characters")
    return PlivoClient(auth_id=account.auth_id, auth_token=token, api_url=account.api_url or settings.PLIVO_API_URL)

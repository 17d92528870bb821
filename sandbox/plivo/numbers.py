"""What an account owns: its login, applications and rented numbers, and the accounts of the sandbox.

Read by REST (lists, updates), by the engine (who answers a number, whose token signs) and changed by the control API.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import secrets
from typing import Any

from sandbox.config import Account
from sandbox.plivo.webhooks import Signers

APPLICATION_URL_FIELDS = ("answer_url", "hangup_url", "fallback_answer_url", "message_url")
APPLICATION_METHOD_FIELDS = ("answer_method", "hangup_method", "fallback_method", "message_method")


@dataclasses.dataclass
class Application:
    """A Plivo application. hangup_url falls back to answer_url, as documented."""

    app_id: str
    auth_id: str
    fields: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """As REST shows it."""
        return {
            "app_id": self.app_id,
            "app_name": "",
            "answer_url": "",
            "answer_method": "POST",
            "hangup_method": "POST",
            "fallback_answer_url": "",
            "fallback_method": "POST",
            "message_url": "",
            "message_method": "POST",
            "default_app": False,
            "default_endpoint_app": False,
            "enabled": True,
            "log_incoming_messages": True,
            "public_uri": False,
            "sip_uri": f"sip:{self.app_id}@app.plivo.com",
            "sub_account": None,
            **self.fields,
            "hangup_url": self.fields.get("hangup_url") or self.fields.get("answer_url", ""),
            "resource_uri": f"/v1/Account/{self.auth_id}/Application/{self.app_id}/",
        }


@dataclasses.dataclass
class Number:
    """A rented number: bare digits, its owner, its application."""

    number: str
    auth_id: str
    app_id: str = ""
    alias: str = ""
    subaccount: str = ""
    added_on: str = dataclasses.field(default_factory=lambda: dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"))

    def to_json(self) -> dict[str, Any]:
        """As REST shows it."""
        account = f"/v1/Account/{self.auth_id}"
        return {
            "active": True,
            "added_on": self.added_on,
            "alias": self.alias or None,
            "application": f"{account}/Application/{self.app_id}/" if self.app_id else None,
            "carrier": "Plivo",
            "city": "",
            "compliance_application_id": None,
            "compliance_status": None,
            "country": "United States",
            "mms_enabled": False,
            "monthly_rental_rate": "0.80000",
            "number": self.number,
            "number_type": "local",
            "region": "United States",
            "renewal_date": self.added_on,
            "resource_uri": f"{account}/Number/{self.number}/",
            "sms_enabled": False,
            "sub_account": f"/v1/Account/{self.subaccount}/" if self.subaccount else None,
            "voice_enabled": True,
            "voice_rate": "0.00850",
        }


class Registry:
    """All accounts with what they own."""

    def __init__(self, accounts: tuple[Account, ...]) -> None:
        """Rent the accounts' configured numbers."""
        self.accounts = {account.auth_id: account for account in accounts}
        self._configured = accounts
        self.numbers: dict[str, Number] = {}
        self.applications: dict[str, Application] = {}
        self.reset()

    def reset(self) -> None:
        """Back to the configuration."""
        self.numbers.clear()
        self.applications.clear()
        for account in self._configured:
            for number in account.numbers:
                self.rent(number, account.auth_id)

    def login(self, auth_id: str, token: str) -> Account | None:
        """The account of a login, or None."""
        account = self.accounts.get(auth_id)
        if account is None:
            return None
        matches = [secrets.compare_digest(token.encode(), known.encode()) for known in account.tokens]
        return account if any(matches) else None

    def main_of(self, auth_id: str) -> Account:
        """The main account of a main or subaccount."""
        account = self.accounts[auth_id]
        return self.accounts.get(account.parent, account)

    def signers(self, auth_id: str) -> Signers:
        """Whose tokens sign the requests of this account's numbers."""
        return Signers(tokens=self.accounts[auth_id].tokens, main_tokens=self.main_of(auth_id).tokens)

    def rent(self, number: str, auth_id: str) -> Number:
        """Give a number to an account (or to the main one of a subaccount, marked)."""
        main = self.main_of(auth_id).auth_id
        rented = Number(number=number, auth_id=main, subaccount=auth_id if auth_id != main else "")
        self.numbers[number] = rented
        return rented

    def owner(self, number: Number) -> str:
        """The account whose token signs for a number."""
        return number.subaccount or number.auth_id

    def create_application(self, auth_id: str, fields: dict[str, Any]) -> Application:
        """A new application with an id of 17 digits."""
        app_id = str(secrets.randbelow(9 * 10**16) + 10**16)
        application = Application(app_id=app_id, auth_id=auth_id, fields=fields)
        self.applications[app_id] = application
        return application

    def application_of(self, number: Number) -> Application | None:
        """The application that answers a number."""
        return self.applications.get(number.app_id)

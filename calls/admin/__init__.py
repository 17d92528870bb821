"""The admin of what happens: call log, campaigns, phone numbers, the Plivo account and its edge."""

from calls.admin import (
    api_key,
    call,
    campaign_people,
    campaigns,
    contact_import,
    contacts,
    do_not_call,
    do_not_call_import,
    edge,
    hooks,
    law,
    phone_number,
    plivo_account,
    prices,
    verified_number,
)

__all__ = [
    "api_key",
    "call",
    "campaign_people",
    "campaigns",
    "contact_import",
    "contacts",
    "do_not_call",
    "do_not_call_import",
    "edge",
    "hooks",
    "law",
    "phone_number",
    "plivo_account",
    "prices",
    "verified_number",
]

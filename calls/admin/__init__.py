"""The admin of what happens: call log, campaigns, phone numbers, the Plivo account and its edge."""

from calls.admin import (
    call,
    campaign_people,
    campaigns,
    contact_import,
    contacts,
    do_not_call,
    edge,
    phone_number,
    plivo_account,
)

__all__ = [
    "call",
    "campaign_people",
    "campaigns",
    "contact_import",
    "contacts",
    "do_not_call",
    "edge",
    "phone_number",
    "plivo_account",
]

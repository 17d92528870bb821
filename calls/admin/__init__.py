"""The admin of what happens: call log, phone numbers, the Plivo account and its edge."""

from calls.admin import (
    call,
    campaigns,
    contact_import,
    contacts,
    do_not_call,
    do_not_call_import,
    edge,
    hooks,
    phone_number,
    plivo_account,
)

__all__ = [
    "call",
    "campaigns",
    "contact_import",
    "contacts",
    "do_not_call",
    "do_not_call_import",
    "edge",
    "hooks",
    "phone_number",
    "plivo_account",
]

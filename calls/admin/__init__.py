"""The admin of what happens: call log, phone numbers, the Plivo account and its edge."""

from calls.admin import (
    api_key,
    call,
    campaigns,
    contact_import,
    contacts,
    do_not_call,
    edge,
    phone_number,
    plivo_account,
    verified_number,
)  # fmt: skip

__all__ = [
    "api_key", "call", "campaigns", "contact_import", "contacts", "do_not_call", "edge", "phone_number",
    "plivo_account", "verified_number",
]  # fmt: skip

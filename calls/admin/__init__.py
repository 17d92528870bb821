"""The admin of what happens: call log, phone numbers, the Plivo account and its edge."""

from calls.admin import call, edge, phone_number, plivo_account

__all__ = ["call", "edge", "phone_number", "plivo_account"]

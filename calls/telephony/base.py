"""What the rest of ``calls`` knows of a carrier: plain data, and how a request to it fails in an operator's words."""

import datetime
from decimal import Decimal
from enum import StrEnum

import msgspec

LARGEST = 90_000  # more than the seconds of Plivo's longest call, 24 h, or any code or cost


class Failure(StrEnum):
    """Why a request to the carrier failed."""

    UNREACHABLE = "unreachable"  # no connection, or no answer in time
    UNAUTHORISED = "unauthorised"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    REJECTED = "rejected"  # it understood and said no
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    GARBAGE = "garbage"  # an answer that is not the API's
    KEYLESS = "keyless"  # the account has no token
    UNDECRYPTABLE = "undecryptable"


REMEDIES = {
    Failure.UNREACHABLE: "Plivo could not be reached: check the API URL, DNS and the server's firewall.",
    Failure.UNAUTHORISED: "Plivo does not accept the auth id and token: copy both again from Plivo's console.",
    Failure.FORBIDDEN: "Plivo does not allow this account to do it: check the account's permissions and verification.",
    Failure.NOT_FOUND: "Plivo does not know it: it was removed there, or belongs to another account.",
    Failure.REJECTED: "Plivo rejected the request.",
    Failure.RATE_LIMITED: "Too many requests at once: try again in a few seconds.",
    Failure.SERVER_ERROR: "Plivo has a fault: look at its status page and try again later.",
    Failure.GARBAGE: "The answer was not Plivo's: check that the API URL is that of its REST API.",
    Failure.KEYLESS: "The account has no auth token: enter it under Plivo accounts.",
    Failure.UNDECRYPTABLE: "The stored auth token cannot be decrypted: put the old key back into ENCRYPTION_KEYS, or "
    "enter the token again under Plivo accounts.",
}


class CarrierError(Exception):
    """A failed request to the carrier.

    Attributes:
        failure: its class.
        detail: the carrier's own words, shortened.
    """

    def __init__(self, failure: Failure, detail: str = "") -> None:
        self.failure = failure
        self.detail = detail[:300]
        super().__init__(failure.value)

    @property
    def message(self) -> str:
        """What is wrong and what to do, for an operator."""
        remedy = REMEDIES[self.failure]
        return f"{remedy} (Plivo: {self.detail})" if self.detail else remedy


class AccountDetails(msgspec.Struct, frozen=True, kw_only=True):
    """The account as the carrier sees it; ``credits`` as text, in the account's own currency."""

    name: str
    kind: str
    credits: str
    timezone: str


class RentedNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the account; ``number`` is E.164, ``application_id`` empty when none is attached."""

    number: str
    alias: str = ""
    country: str = ""
    number_type: str = ""
    application_id: str = ""
    voice: bool = True


class Application(msgspec.Struct, frozen=True, kw_only=True):
    """Where the carrier sends the calls of the numbers attached to it."""

    app_id: str
    name: str
    answer_url: str
    hangup_url: str
    fallback_url: str


class RunningCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the carrier holds right now."""

    call_uuid: str
    status: str
    direction: str
    to_number: str = ""
    request_uuid: str = ""


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The carrier's record of a call that is over; times are aware."""

    call_uuid: str
    direction: str
    answered_at: datetime.datetime | None
    ended_at: datetime.datetime | None
    duration_s: int | None
    bill_duration_s: int | None
    cost: Decimal | None
    hangup_code: int | None
    hangup_cause: str
    hangup_source: str
    started_at: datetime.datetime | None = None


class CarrierRecording(msgspec.Struct, frozen=True, kw_only=True):
    """A recording that the carrier keeps; ``duration_ms`` as it writes it, such as "7560.00000"."""

    recording_id: str
    call_uuid: str
    url: str
    duration_ms: str

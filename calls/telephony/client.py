"""Plivo's REST API through its SDK: accounts, numbers, applications, calls that run or ran, recordings, hang-up.

Used by ``calls.phone`` and the sweeper. Nothing here dials: a call is started once and only once, and every POST of
the SDK's own transport may be sent three times.
"""

import datetime
import re
from collections.abc import Collection, Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Self
from urllib.parse import quote

import plivo
import requests
from plivo import exceptions as sdk
from plivo.base import ResponseObject

from calls.telephony.base import (
    LARGEST,
    AccountDetails,
    Application,
    CallRecord,
    CarrierError,
    CarrierRecording,
    Failure,
    RentedNumber,
    RunningCall,
)
from calls.telephony.numbers import normalise

CONNECT_S, READ_S = 3.0, 10.0
PAGE = 20  # Plivo's largest
MAX_PAGES = 500

_FAILURES: tuple[tuple[type[Exception], Failure], ...] = (
    (sdk.AuthenticationError, Failure.UNAUTHORISED),
    (sdk.GeoPermissionError, Failure.FORBIDDEN),
    (sdk.ForbiddenError, Failure.FORBIDDEN),
    (sdk.ResourceNotFoundError, Failure.NOT_FOUND),
    (sdk.ValidationError, Failure.REJECTED),
    (sdk.InvalidRequestError, Failure.REJECTED),
    (sdk.PlivoServerError, Failure.SERVER_ERROR),
    (requests.JSONDecodeError, Failure.GARBAGE),
    (requests.RequestException, Failure.UNREACHABLE),
)


class _SingleShot(plivo.RestClient):
    """The SDK's client with a transport of our own: one request, one host, our timeouts.

    The SDK's own transport takes its hosts from module constants (hence cannot be pointed at two installations in one
    process), sends a voice POST that met a 5xx again to two more hosts, and counts that on the client, across threads.
    """

    def __init__(self, auth_id: str, auth_token: str, api_url: str) -> None:
        super().__init__(auth_id, auth_token, timeout=(CONNECT_S, READ_S))
        self.session.trust_env = False  # no proxy and no .netrc may see or replace the token
        self.base_uri = f"{api_url.rstrip('/')}/v1/Account"

    def request(  # noqa: PLR0917  (the SDK's signature)
        self,
        method: str,
        path: tuple[str, ...] | None = None,
        data: dict[str, Any] | None = None,
        response_type: Any = None,
        objects_type: Any = None,
        files: Any = None,
        **_kwargs: Any,
    ) -> Any:
        """One request; the keyword arguments that choose among the SDK's hosts have no meaning here."""
        if files is not None:
            raise NotImplementedError("files are not sent to Plivo")
        prepared = self.create_request(method, path, data)
        response = self.session.send(prepared, timeout=self.timeout, allow_redirects=False)
        return self.process_response(method, response, response_type, objects_type)


class PlivoClient:
    """One account's REST API. Every method raises CarrierError and nothing else of the network's."""

    def __init__(self, *, auth_id: str, auth_token: str, api_url: str) -> None:
        if not auth_token:
            # The SDK would take the environment's instead, and send it to whatever address this account has.
            raise CarrierError(Failure.KEYLESS)
        try:
            self._sdk = _SingleShot(auth_id, auth_token, api_url)
        except sdk.AuthenticationError as error:
            raise CarrierError(Failure.UNAUTHORISED, str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sdk.session.close()
        self._sdk.multipart_session.close()

    def account(self) -> AccountDetails:
        """The account itself: proof that id and token are right."""
        found = self._get()
        return AccountDetails(
            name=_text(found, "name"),
            kind=_text(found, "account_type"),
            credits=_text(found, "cash_credits"),
            timezone=_text(found, "timezone"),
        )

    def numbers(self) -> Iterator[RentedNumber]:
        """All rented numbers."""
        for item in self._pages("Number"):
            application = re.search(r"/Application/([^/]+)/?$", _text(item, "application"))
            yield RentedNumber(
                number=normalise(_text(item, "number")),
                alias=_text(item, "alias"),
                country=_text(item, "country"),
                number_type=_text(item, "number_type") or _text(item, "type"),
                application_id=application[1] if application else "",
                voice=getattr(item, "voice_enabled", True) is not False,
            )

    def applications(self) -> Iterator[Application]:
        """All applications."""
        for item in self._pages("Application"):
            yield Application(
                app_id=_text(item, "app_id"),
                name=_text(item, "app_name"),
                answer_url=_text(item, "answer_url"),
                hangup_url=_text(item, "hangup_url"),
                fallback_url=_text(item, "fallback_answer_url"),
            )

    def create_application(self, *, name: str, urls: dict[str, str]) -> str:
        """Makes an application and returns its id; ``urls`` holds the API's own names and values."""
        return _text(self._post("Application", data={"app_name": name, **urls}), "app_id")

    def update_application(self, *, app_id: str, urls: dict[str, str]) -> None:
        """Sets the given values alone: the SDK's own ``update`` would reset others with its defaults."""
        self._post("Application", app_id, data=urls)

    def attach_number(self, *, number: str, app_id: str) -> None:
        """Sends the calls of an E.164 number to an application."""
        self._post("Number", number.lstrip("+"), data={"app_id": app_id})

    def running_call(self, call_uuid: str) -> RunningCall | None:
        """The call if Plivo holds it as live or queued, else None."""
        for status in ("live", "queued"):
            try:
                found = self._get("Call", call_uuid, status=status)
            except CarrierError as error:
                if error.failure is Failure.NOT_FOUND:
                    continue
                raise
            return RunningCall(
                call_uuid=_text(found, "call_uuid"),
                status=_text(found, "call_status") or status,
                direction=_text(found, "direction"),
                to_number=normalise(_text(found, "to")),
                request_uuid=_text(found, "request_uuid"),
            )
        return None

    def running_call_uuids(self) -> set[str]:
        """CallUUIDs of all live and queued calls of the account."""
        found: set[str] = set()
        for status in ("live", "queued"):
            for page in range(MAX_PAGES):
                listed = self._get("Call", status=status, limit=PAGE, offset=page * PAGE)
                uuids = {str(uuid) for uuid in getattr(listed, "calls", ())}
                if uuids <= found:
                    break
                found |= uuids
                if len(uuids) < PAGE:
                    break
        return found

    def running_to(self, number: str, *, known: Collection[str]) -> list[RunningCall]:
        """Outbound calls to a number (E.164) that are live or queued, but for those whose CallUUID is known already."""
        found = []
        for call_uuid in sorted(self.running_call_uuids() - set(known)):
            running = self.running_call(call_uuid)
            if running is not None and running.direction == "outbound" and running.to_number == number:
                found.append(running)
        return found

    def records_to(self, number: str) -> Iterator[CallRecord]:
        """Plivo's records of the outbound calls to a number (E.164) of the last seven days."""
        for item in self._pages("Call", to_number=number.lstrip("+"), call_direction="outbound"):
            yield _record(item)

    def call_record(self, call_uuid: str) -> CallRecord | None:
        """Plivo's record of a call that is over; None while it runs, or when Plivo has no such record."""
        try:
            found = self._get("Call", call_uuid)
        except CarrierError as error:
            if error.failure is Failure.NOT_FOUND:
                return None
            raise
        return _record(found)

    def recordings(self, call_uuid: str) -> list[CarrierRecording]:
        """The recordings of a call."""
        return [
            CarrierRecording(
                recording_id=_text(item, "recording_id"),
                call_uuid=_text(item, "call_uuid"),
                url=_text(item, "recording_url"),
                duration_ms=_text(item, "recording_duration_ms"),
            )
            for item in self._pages("Recording", call_uuid=call_uuid)
        ]

    def hang_up(self, call_uuid: str) -> None:
        """Ends a live call; one that is over already counts as ended."""
        try:
            self._request("DELETE", ("Call", call_uuid), None)
        except CarrierError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise

    def cancel(self, request_uuid: str) -> bool:
        """Takes back a call that nobody has picked up yet; False when there is none any more."""
        try:
            self._request("DELETE", ("Request", request_uuid), None)
        except CarrierError as error:
            if error.failure is not Failure.NOT_FOUND:
                raise
            return False
        return True

    def _pages(self, resource: str, **query: str) -> Iterator[Any]:
        offset = 0
        for _ in range(MAX_PAGES):
            page = self._get(resource, limit=PAGE, offset=offset, **query)
            items = getattr(page, "objects", None)
            if not isinstance(items, list):
                raise CarrierError(Failure.GARBAGE)
            yield from items
            if len(items) < PAGE:
                return
            offset += len(items)

    def _get(self, *path: str, **query: Any) -> Any:
        found = self._request("GET", path, query)
        if not isinstance(found, ResponseObject):
            raise CarrierError(Failure.GARBAGE)
        return found

    def _post(self, *path: str, data: dict[str, Any]) -> Any:
        return self._request("POST", path, data)

    def _request(self, method: str, path: tuple[str, ...], data: dict[str, Any] | None) -> Any:
        # Ids come out of webhooks: one with a slash must not name another resource.
        quoted = tuple(quote(part, safe="") for part in path)
        try:
            return self._sdk.request(method, quoted, data)
        except (sdk.PlivoRestError, requests.RequestException) as error:
            failure = next((failure for kind, failure in _FAILURES if isinstance(error, kind)), None)
            detail = str(error) if isinstance(error, sdk.PlivoRestError) else type(error).__name__
            if failure is None:  # the SDK's base class, whose text is all that names the status
                failure = _by_status(detail)
            raise CarrierError(failure, detail) from error
        except (TypeError, AttributeError) as error:  # the SDK on an answer that is JSON but not an object
            raise CarrierError(Failure.GARBAGE, type(error).__name__) from error


def _record(found: Any) -> CallRecord:
    return CallRecord(
        call_uuid=_text(found, "call_uuid"),
        direction=_text(found, "call_direction"),
        started_at=_time(_text(found, "initiation_time")),
        answered_at=_time(_text(found, "answer_time")),
        ended_at=_time(_text(found, "end_time")),
        duration_s=_whole(_text(found, "call_duration")),
        bill_duration_s=_whole(_text(found, "billed_duration") or _text(found, "bill_duration")),
        cost=_decimal(_text(found, "total_amount")),
        hangup_code=_whole(_text(found, "hangup_cause_code")),
        hangup_cause=_text(found, "hangup_cause_name"),
        hangup_source=_text(found, "hangup_source"),
    )


def _by_status(text: str) -> Failure:
    match = re.search(r"status code (\d{3})", text)
    status = int(match[1]) if match else 0
    if status == requests.codes.too_many_requests:
        return Failure.RATE_LIMITED
    return Failure.SERVER_ERROR if status >= 500 else Failure.GARBAGE


def _text(item: Any, name: str) -> str:
    value = getattr(item, name, None)
    return "" if value is None else str(value)


def _whole(text: str) -> int | None:
    value = _decimal(text)
    return None if value is None else int(value)


def _decimal(text: str) -> Decimal | None:
    """A number that a call can have; anything else could not be stored, and would stand in the way of the rest."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return value if value.is_finite() and 0 <= value < LARGEST else None


def _time(text: str) -> datetime.datetime | None:
    """``2026-01-02 13:14:15+05:30``, the way records give it; None for anything else or without a zone."""
    try:
        value = datetime.datetime.fromisoformat(text)
    except ValueError:
        return None
    return value if value.tzinfo else None

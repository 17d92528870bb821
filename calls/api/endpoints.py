"""The HTTP API: thin, over the same functions as the admin."""

import datetime
import hashlib
import json
import uuid
from typing import Annotated, Any

import structlog
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Header, NinjaAPI
from ninja.operation import Operation
from ninja.responses import Status

from agents.models import Agent
from calls import one_off, suppression
from calls.api import errors
from calls.api.auth import Key
from calls.api.errors import ApiError
from calls.api.schemas import (
    CallGiven,
    CallShown,
    CallStarted,
    ContactResult,
    ContactsGiven,
    ContactsResult,
    Failure,
    OptOut,
    OptOutGiven,
)  # fmt: skip
from calls.api.shown import shown
from calls.campaigns import additions, people
from calls.campaigns.people import Person, RowRefused
from calls.edge import printable
from calls.models import ApiKey, Call, ContactList, DoNotCall, OneOffCall, PhoneNumber
from calls.numbers import E164, NumberRefused, parse

log = structlog.get_logger(__name__)

FAILURES = dict.fromkeys((400, 401, 403, 404, 409, 413, 422, 429, 503), Failure)
UNPROCESSABLE = {"do_not_call", "not_callable", "idempotency_key_reused", "no_disclosure", "no_fresh_register"}


class Api(NinjaAPI):
    """Answers are nobody's to keep."""

    def create_response(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """As the library makes it."""
        response = super().create_response(*args, **kwargs)
        response["Cache-Control"] = "no-store"
        return response

    def get_openapi_operation_id(self, operation: Operation) -> str:
        """The function's name: where it lies is nobody's business, and may change."""
        return operation.view_func.__name__


# No page of documentation: it would load its script from somebody else's server.
api = Api(title="Parley", version="1", description="See docs/api.md.", docs_url=None, urls_namespace="api")
errors.register(api)


@api.post("/contacts", auth=Key("can_add_contacts"), response={200: ContactsResult, **FAILURES})
def add_contacts(request: HttpRequest, body: ContactsGiven) -> ContactsResult:
    """Adds up to 500 people to a contact list; each of them is answered by itself, in order.

    Whoever is in the list already stays as they are. Whoever is on the do-not-call list is added and never called.
    """
    key = _key(request)
    contact_list = _list(body.contact_list)
    found = additions.add(contact_list, [_person(each.dict(), country=body.country) for each in body.people])
    results = [
        ContactResult(
            result="added" if each.contact else "in_list" if each.in_list else "rejected",
            contact=each.contact.pk if each.contact else None,
            do_not_call=each.do_not_call,
            why="" if each.in_list else each.why,
        )
        for each in found
    ]
    kinds = [each.result for each in results]
    if added := kinds.count("added"):
        _log(key, contact_list, f"Added {added} people by the API key {key}.")
    return ContactsResult(
        added=added,
        in_list=kinds.count("in_list"),
        rejected=kinds.count("rejected"),
        do_not_call=sum(each.do_not_call for each in results),
        people=results,
    )


@api.post(
    "/calls", auth=Key("can_call", rings=True), response={200: CallStarted, 201: CallStarted, **FAILURES}
)  # fmt: skip
def start_call(
    request: HttpRequest,
    body: CallGiven,
    idempotency_key: Annotated[str, Header(alias="Idempotency-Key", pattern=r"^[\x21-\x7e]{1,255}$")],
) -> Status[CallStarted]:
    """Has an agent call one number now; 201 when it is on its way.

    The same key with the same body gives the call of the first request again (200), however often and whenever it is
    sent; a refused request uses up no key. Outside the person's hours it is refused with `next_allowed`.
    """
    key = _key(request)
    written = json.dumps(body.dict(), sort_keys=True, default=str)
    once = one_off.Once(key, idempotency_key, hashlib.sha256(written.encode()).hexdigest())
    try:
        call, new = one_off.earlier(once), False
        if call is None:  # what the first request named may be gone by the next
            call, new = one_off.start(_order(key, body), now=timezone.now(), once=once)
    except one_off.Refused as refused:
        status = 422 if refused.code in UNPROCESSABLE else 409
        raise ApiError(status, refused.code, _sentence(refused), next_allowed=refused.next_allowed) from None
    if new:
        log.info("api_call_started", call=str(call.public_id), key=str(key.pk))
    return Status(201 if new else 200, CallStarted(id=call.public_id, status=call.status, created_at=call.created_at))


def _order(key: ApiKey, body: CallGiven) -> one_off.Order:
    """What is asked for. Raises ApiError: something that it names cannot be used."""
    fields = {name: str(getattr(body, name) or "") for name in FIELDS_OF_CALL}
    found = _person(fields | {"variables": body.variables}, country="")
    if isinstance(found, RowRefused):
        raise ApiError(422, "not_callable", str(found))
    agent = Agent.objects.select_related("published_version__agent").filter(pk=body.agent).first()
    if agent is None:
        raise ApiError(404, "agent_not_found", "There is no agent with this id.")
    if agent.published_version is None:
        raise ApiError(422, "agent_not_published", "This agent was never published: publish it first.")
    if body.on_machine == "leave_message" and not body.voicemail_message.strip():
        raise ApiError(422, "no_message", "With leave_message, send the voicemail_message that is to be left.")
    return one_off.Order(
        origin=OneOffCall.Origin.API,
        version=agent.published_version,
        caller=_caller(body.caller),
        person=found,
        purpose=body.purpose,
        by=f"API key {key}",
        on_machine=body.on_machine,
        voicemail_message=body.voicemail_message.strip(),
        screening_answer=body.screening_answer.strip(),
        ring_s=body.ring_s,
        longest_call_s=body.longest_call_s,
        started_by_id=key.created_by_id,
    )


FIELDS_OF_CALL = ("number", "time_zone", "region", "consent", "consent_at", "consent_source")


@api.get("/calls/{uuid:public_id}", auth=Key("can_read"), response={200: CallShown, **FAILURES})
def read_call(request: HttpRequest, public_id: uuid.UUID) -> CallShown:
    """One call: how it stands or ended, what was said, and what a model made of it."""
    calls = Call.objects.select_related("agent", "agent_version", "summary")
    call = calls.filter(public_id=public_id).first()
    if call is None:
        raise ApiError(404, "not_found", "There is no such call.")
    return shown(call, whole_numbers=_key(request).can_see_numbers)


@api.post("/do-not-call", auth=Key("can_opt_out"), response={200: OptOut, 201: OptOut, **FAILURES})
def add_to_do_not_call(request: HttpRequest, body: OptOutGiven) -> Status[OptOut]:
    """Puts a number on the do-not-call list, at once and for every campaign; 200 where it stands on it already."""
    key, now = _key(request), timezone.now()
    try:
        number = parse(body.number).e164
    except NumberRefused as refused:
        raise ApiError(422, "not_a_number", _sentence(refused)) from None
    if trouble := suppression.trouble():
        raise ApiError(503, "list_unreliable", trouble)
    since = (body.since or now).astimezone(datetime.UTC)
    if since > now + datetime.timedelta(minutes=1):  # clocks differ
        raise ApiError(422, "invalid", "since: This is in the future.")
    entry = suppression.Entry(number, since, printable(body.evidence, suppression.MAX_EVIDENCE))
    row, new = suppression.add(entry, source=DoNotCall.Source.API, added_by_id=key.created_by_id)
    if new:
        _log(key, row, f"Added by the API key {key}.", flag=ADDITION)
    return Status(201 if new else 200, OptOut(number=row.masked, since=row.since))


def _key(request: HttpRequest) -> ApiKey:
    found: ApiKey = request.auth  # type: ignore[attr-defined]
    return found


def _person(fields: dict[str, Any], *, country: str) -> Person | RowRefused:
    try:
        return people.given({name: fields[name] for name in people.FIELDS if name in fields}, fields["variables"],
                            country=country)  # fmt: skip
    except RowRefused as refused:
        return refused


def _list(text: str) -> ContactList:
    try:
        found = ContactList.objects.filter(pk=uuid.UUID(text)).first()
    except ValueError:
        found = None
    found = found or ContactList.objects.filter(name=printable(text)).first()
    if found is None:
        raise ApiError(404, "list_not_found", "There is no contact list with this id or name: add it in the admin.")
    return found


def _caller(text: str) -> PhoneNumber:
    """Ours, in the one spelling in which it is kept."""
    rows = PhoneNumber.objects.select_related("plivo_account")
    found = rows.filter(number=text).first() if E164.fullmatch(text) else None
    if found is None:
        raise ApiError(422, "caller_unknown", "caller: no phone number of this installation, written as +14155550100.")
    return found


def _log(key: ApiKey, row: Model, text: str, *, flag: int = CHANGE) -> None:
    """In the history of the admin, under whoever made the key, as long as there is such a user; and in the log."""
    log.info("api_wrote", model=row._meta.label, row=str(row.pk), key=str(key.pk))
    if key.created_by_id is not None:
        LogEntry.objects.create(
            user_id=key.created_by_id,
            content_type=ContentType.objects.get_for_model(row),
            object_id=str(row.pk),
            object_repr=str(row)[:200],
            action_flag=flag,
            change_message=text,
        )


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")

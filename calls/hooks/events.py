"""What is told of to others: for each endpoint that wants an event a delivery is written, with the body as it is sent.

Called in the transaction of the fact, so that there is no fact without its deliveries and none of something that was
rolled back. The same event is written once for an endpoint, however often it is reported.
"""

import datetime
import json
import uuid
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.db import transaction
from django.db.models import Count

from calls.hints import hint
from calls.models import Call, CallSummary, Campaign, DoNotCall, WebhookDelivery, WebhookEndpoint
from calls.reports import masked

TASK = "calls.tasks.hooks.deliver"
TEST = "parley.test"
MAX_BODY = 256 * 1024  # bytes
# Of an event's key its webhook-id is made: who gets an event twice, by whatever way, can tell.
_NAMESPACE = uuid.UUID("7a1d2c35-7d0e-4a6b-9a52-6a1d7f2f9c11")
_Event = WebhookEndpoint.Event
Data = Callable[[bool], dict[str, Any]]  # the event's data, with whole numbers or without


def call_ended(*, call_id: int, now: datetime.datetime) -> None:
    """A call is over, and its summary is there or known to be missing."""
    if not (endpoints := _wanting(_Event.CALL_ENDED)):
        return
    call = Call.objects.select_related("agent", "agent_version", "campaign", "summary").get(pk=call_id)
    _write(endpoints, _Event.CALL_ENDED, str(call.public_id), now=now, data=partial(call_data, call))


def opted_out(rows: Sequence[tuple[DoNotCall, str]], *, now: datetime.datetime) -> None:
    """New rows of the do-not-call list with their numbers (E.164), of one source; afterwards nobody knows those."""
    if rows and (endpoints := _wanting(_Event.OPT_OUT_ADDED)):
        _write(endpoints, _Event.OPT_OUT_ADDED, str(rows[0][0].pk), now=now, data=partial(opt_out_data, rows))


def campaign_finished(campaign: Campaign, *, now: datetime.datetime) -> None:
    """Nobody is called by it any more."""
    if endpoints := _wanting(_Event.CAMPAIGN_FINISHED):
        data = campaign_data(campaign)
        _write(endpoints, _Event.CAMPAIGN_FINISHED, str(campaign.pk), now=now, data=lambda _: data)


def test(endpoint: WebhookEndpoint, *, now: datetime.datetime) -> None:
    """Something to try an endpoint with; sent whatever events it wants."""
    _write([endpoint], TEST, str(uuid.uuid4()), now=now, data=lambda _: {"message": "This is a test of Parley."})


def call_data(call: Call, whole: bool) -> dict[str, Any]:
    """A call with its summary, for whoever may see its numbers whole or not."""
    number = str if whole else masked
    version = call.agent_version
    return {
        "id": str(call.public_id),
        "direction": call.direction,
        "outcome": call.outcome,
        "end_reason": call.end_reason,
        "agent": call.agent.name if call.agent else None,
        "agent_version": version.number if version else None,
        "campaign": {"id": str(call.campaign.pk), "name": call.campaign.name} if call.campaign else None,
        "attempt": call.attempt or None,
        "from": number(call.from_number),
        "to": number(call.to_number),
        "created_at": _at(call.created_at),
        "answered_at": _at(call.answered_at),
        "ended_at": _at(call.ended_at),
        "duration_s": call.duration_s,
        "sandbox": call.is_sandbox,
        "summary": _summary_data(call.summary),
    }


def _summary_data(summary: CallSummary) -> dict[str, Any]:
    return {
        "status": summary.status,
        "text": summary.summary,
        "outcome": summary.outcome,
        "success": summary.success,
        "sentiment": summary.sentiment,
        "extracted": summary.extracted,
    }


def opt_out_data(rows: Sequence[tuple[DoNotCall, str]], whole: bool) -> dict[str, Any]:
    """Who is not to be called any more, and how that came about."""
    first, _ = rows[0]
    return {
        "source": first.source,
        "call": str(first.call.public_id) if first.call else None,
        "people": [
            {"id": str(row.pk), "number": number if whole else row.masked, "since": _at(row.since)}
            for row, number in rows
        ],
    }


def campaign_data(campaign: Campaign) -> dict[str, Any]:
    """How a campaign went, in figures."""
    people = campaign.people.order_by()
    outcomes = people.exclude(outcome="").values_list("outcome").annotate(people=Count("pk"))
    return {
        "id": str(campaign.pk),
        "name": campaign.name,
        "agent": campaign.agent.name,
        "launched_at": _at(campaign.launched_at),
        "finished_at": _at(campaign.finished_at),
        "people": dict(people.values_list("state").annotate(people=Count("pk"))),
        "outcomes": dict(outcomes),
    }


def without_numbers(body: dict[str, Any]) -> dict[str, Any]:
    """A body for those who may not see numbers whole, whatever its endpoint may."""
    data = body["data"]
    shown: dict[str, Any] = {name: masked(data[name]) for name in ("from", "to") if name in data}
    if "people" in data and isinstance(data["people"], list):
        shown["people"] = [person | {"number": masked(person["number"])} for person in data["people"]]
    return body | {"data": data | shown}


def _wanting(kind: str) -> list[WebhookEndpoint]:
    """Few rows: which of them want it is not asked of the database, of which only PostgreSQL could say."""
    return [endpoint for endpoint in WebhookEndpoint.objects.filter(enabled=True) if kind in endpoint.events]


def _write(endpoints: list[WebhookEndpoint], kind: str, of: str, *, now: datetime.datetime, data: Data) -> None:
    key = f"{kind}:{of}"
    bodies = {whole: _body(kind, now, data(whole)) for whole in {endpoint.whole_numbers for endpoint in endpoints}}
    rows = [
        WebhookDelivery(
            endpoint=endpoint,
            event_id=uuid.uuid5(_NAMESPACE, key),
            event_key=key,
            kind=kind,
            body=bodies[endpoint.whole_numbers],
            whole_numbers=endpoint.whole_numbers,
            next_try_at=now,
            created_at=now,
        )
        for endpoint in endpoints
    ]
    with transaction.atomic():
        WebhookDelivery.objects.bulk_create(rows, ignore_conflicts=True)
        for endpoint in endpoints:
            transaction.on_commit(partial(wake, endpoint.pk))


def wake(endpoint_id: uuid.UUID) -> None:
    """Something is due there now."""
    hint(TASK, str(endpoint_id))


def _body(kind: str, now: datetime.datetime, data: dict[str, Any]) -> str:
    """As the Standard Webhooks advise: type, timestamp, data. A call that said too much goes without its fields."""
    text = json.dumps({"type": kind, "timestamp": _at(now), "data": data}, ensure_ascii=False)
    if len(text.encode()) <= MAX_BODY:
        return text
    return _body(kind, now, data | {"summary": data["summary"] | {"extracted": None}})


def _at(moment: datetime.datetime | None) -> str | None:
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z") if moment else None

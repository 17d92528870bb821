"""One call outside any campaign: ordered now, refused at once where it may not be made now, placed by the dialler.

Its row in the ledger of calls is like a campaign's, and so are the looks before it rings and when it is picked up
(``campaigns.gate``). Called by the API, by ``verifying`` and by the test call of a campaign.
"""

import datetime
from typing import Literal

import msgspec
import structlog
from django.db import IntegrityError, transaction

from agents.models import AgentVersion
from calls import lifecycle, suppression
from calls.campaigns import account_lines, claims, duties, gate, own_law, schedule
from calls.campaigns.people import Person
from calls.campaigns.schedule import Due, Held, History
from calls.models import ApiKey, Call, OneOffCall, PhoneNumber

log = structlog.get_logger(__name__)

BATCH = 200
LONGEST_RING_S = 120  # Plivo's own default
Code = Literal[
    "dialling_stopped", "do_not_call", "not_callable", "not_now", "number_busy", "idempotency_key_reused",
    "no_disclosure", "no_fresh_register",
]  # fmt: skip


class Refused(ValueError):  # noqa: N818  (as an operator would say it)
    """The call is not made, and nothing was written down; the text says why and what to do.

    Attributes:
        code: the reason, for a program.
        next_allowed: with "not_now", when it may be asked for again (aware).
    """

    def __init__(self, code: Code, text: str, *, next_allowed: datetime.datetime | None = None) -> None:
        self.code = code
        self.next_allowed = next_allowed
        super().__init__(text)


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be called, by whom and for what.

    Attributes:
        version: of the agent that talks; None: nobody does, Plivo reads out what ``verifying`` says.
        caller: the number of ours that is shown.
        person: as an import would read them; their variables fill the agent's texts.
        purpose, on_machine: as ``Campaign.Purpose`` and ``Campaign.OnMachine``.
        voicemail_message, screening_answer, longest_call_s: as those of ``Campaign``.
        by: who or what asks for it, for the call's timeline; nothing personal.
    """

    origin: OneOffCall.Origin
    version: AgentVersion | None
    caller: PhoneNumber
    person: Person
    purpose: str
    by: str
    on_machine: str = "hang_up"
    voicemail_message: str = ""
    screening_answer: str = ""
    ring_s: int = 40
    longest_call_s: int | None = None
    started_by_id: int | None = None


class Once(msgspec.Struct, frozen=True):
    """By what a program names a call, so that asking twice makes one call: its key, its name, its request's SHA-256."""

    api_key: ApiKey
    name: str
    body_sha256: str


def start(order: Order, *, now: datetime.datetime, once: Once | None = None) -> tuple[Call, bool]:
    """Has the dialler ring one number, within seconds.

    Returns:
        The call, and whether it is new: a request that is repeated under the same name gets the call of the first.

    Raises:
        Refused: it may not be made, or not now.
    """
    if once and (first := earlier(once)) is not None:
        return first, False
    row = OneOffCall(
        origin=order.origin,
        purpose=order.purpose,
        country=order.person.country,
        zones=list(order.person.zones),
        time_zone=order.person.time_zone,
        region=order.person.region,
        consent=order.person.consent,
        consent_at=order.person.consent_at,
        consent_source=order.person.consent_source,
        on_machine=order.on_machine,
        voicemail_message=order.voicemail_message,
        screening_answer=order.screening_answer,
        ring_s=order.ring_s,
        api_key=once.api_key if once else None,
        idempotency_key=once.name if once else "",
        body_sha256=once.body_sha256 if once else "",
    )
    found = _look(order, row, now=now)
    version = order.version
    try:
        with transaction.atomic():
            _line(order, now=now)
            row.call = lifecycle.create_outbound(
                now=now,
                deadline_at=now,  # any dialler may place it at once
                ring_by=found.until + claims.QUEUE_MARGIN,
                agent=version.agent if version else None,
                agent_version=version,
                phone_number=order.caller,
                plivo_account_id=order.caller.plivo_account_id,
                is_sandbox=order.caller.plivo_account.is_sandbox,
                started_by_id=order.started_by_id,
                from_number=order.caller.number,
                to_number=order.person.number,
                caller_name="",
                variables=dict(order.person.variables),
                longest_s=order.longest_call_s,
            )
            row.save(force_insert=True)
            lifecycle.note(call=row.call, kind="ordered", now=now, data={"by": order.by})
    except IntegrityError:
        if once and (first := earlier(once)) is not None:  # the same request, at the same moment
            return first, False
        text = "another call to this number is under way: ask again when it is over"
        raise Refused("number_busy", text) from None
    return row.call, True


def earlier(once: Once) -> Call | None:
    """The call that was started under this name. Raises Refused: it was for something else."""
    named = OneOffCall.objects.filter(api_key=once.api_key, idempotency_key=once.name)
    row = named.select_related("call").first()
    if row is not None and row.body_sha256 != once.body_sha256:
        text = "this Idempotency-Key was used for another request: use a new one for each call"
        raise Refused("idempotency_key_reused", text)
    return row.call if row else None


def _look(order: Order, row: OneOffCall, *, now: datetime.datetime) -> Due:
    """All that a campaign's claim looks at. Raises Refused unless they may be called now."""
    if why := gate.stopped():
        raise Refused("dialling_stopped", why)
    if order.origin == OneOffCall.Origin.API:
        _duties(order, now=now)
    number = order.person.number
    campaign, contact = gate.as_campaign(row, number=number)
    found = schedule.answer(
        campaign,
        contact,
        hours=schedule.hours_of(campaign, own=own_law.read(now=now)),
        callers=gate.callers(row, order.caller.number),
        suppressed=suppression.is_suppressed(number),
        history=claims.histories([number], now=now).get(number, History()),
        now=now,
        margin=claims.QUEUE_MARGIN + gate.ringing(row),
        missing=_missing(order),
        most_a_day=gate.most_a_day(row),
    )
    if isinstance(found, Held):
        raise Refused("not_callable", found.why)
    if not isinstance(found, Due):
        raise Refused("do_not_call", found.why)
    if found.at > now:
        text = f"{found.why}: ask again from {found.at:%Y-%m-%dT%H:%M:%SZ} on"
        raise Refused("not_now", text, next_allowed=found.at)
    return found


def _line(order: Order, *, now: datetime.datetime) -> None:
    """Raises Refused where the Plivo account carries as many calls as it may."""
    account = order.caller.plivo_account
    if not account_lines.free([account]).get(account.pk, 1):
        text = "the Plivo account carries as many calls as it may: ask again in a minute"
        raise Refused("not_now", text, next_allowed=now + datetime.timedelta(minutes=1))


def _duties(order: Order, *, now: datetime.datetime) -> None:
    """What a campaign's launch looks at; who tries something out on themselves needs none of it. Raises Refused."""
    if order.version is not None and (why := duties.undisclosed(order.version)):
        raise Refused("no_disclosure", why)
    if why := duties.unscrubbed(purpose=order.purpose, countries=[order.person.country], now=now):
        raise Refused("no_fresh_register", why)


def _missing(order: Order) -> list[str]:
    """Variables of the agent that have neither a default nor a value."""
    defaults = order.version.spec.variables if order.version else {}
    return [name for name, default in defaults.items() if not default and not order.person.variables.get(name)]


def let_go(*, now: datetime.datetime) -> int:
    """Cancels calls that nobody could place while they were meant (no dialler, no Redis, the switch); returns how many.

    Run by ``calls.tasks.maintenance``; a call that a worker has begun to place is left to it.
    """
    late = Call.objects.filter(
        one_off__isnull=False, status=Call.Status.CLAIMED, created_at__lt=now - gate.PLACED_WITHIN
    )
    gone = [call for call in late[:BATCH] if lifecycle.withdraw(call_id=call.pk)]
    for call in gone:
        lifecycle.note(call=call, kind="dial_cancelled", now=now, data={"why": gate.LATE})
    if gone:
        log.warning("one_off_calls_let_go", count=len(gone))
    return len(gone)

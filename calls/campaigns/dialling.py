"""From a claimed call to one that rings: marked, connected, given its turn, looked at once more, placed by one request.

A call is SENDING before its first byte leaves: should this worker die, it may have rung, and is never placed again.
Whatever is certain not to have rung goes back to CLAIMED, the same row.
"""

import datetime
import time
from collections.abc import Callable, Iterator

import structlog
from django.conf import settings
from django.db import DatabaseError, close_old_connections

from agents.crypto import UndecryptableError
from calls import lifecycle
from calls.addresses import call_url
from calls.answers import TIMEOUT_MARGIN_S
from calls.campaigns import gate, pacing
from calls.models import Call, Campaign, PlivoAccount
from calls.states import Facts
from calls.telephony.accounts import auth_token
from calls.telephony.dial import Dialled, Order, Sent, dial
from calls.whereabouts import SENDING

log = structlog.get_logger(__name__)

LOOK_AFTER = datetime.timedelta(seconds=30)  # when an attempt of which nothing is known is asked for
PATIENCE_S = 1.0  # what a turn may be waited for with a call that is marked
BACK_OFF = datetime.timedelta(seconds=5)
RING_GRACE = datetime.timedelta(seconds=60)
TRIES, BETWEEN_TRIES_S = 10, 2.0  # to take a call back whose database has failed

Clock = Callable[[], datetime.datetime]
Dial = Callable[..., Dialled]


def place(call_id: int, *, clock: Clock, dial: Dial = dial) -> str:
    """Places a claimed call, if it still may be; blocks for up to half a minute.

    Returns:
        the call's status after it, for tests and logs; "" when another worker has it.
    """
    if not lifecycle.begin_sending(call_id=call_id, deadline_at=clock() + SENDING):
        return ""
    placed = Call.objects.select_related("campaign", "plivo_account", "agent_version")
    # A token that cannot be read is an error where it is asked for, and not before.
    call = placed.defer("plivo_account__auth_token").get(pk=call_id)
    account, plan = call.plivo_account, gate.plan_of(call)
    if account is None or plan is None:
        return _cancel(call, "the account or the campaign is gone", clock)
    try:
        token = auth_token(account)
    except UndecryptableError:
        return _cancel(call, "the Plivo account's token cannot be read", clock)
    try:
        found = dial(
            _order(call, plan),
            still=lambda: _turn(plan, account) or _obstacle(call, plan, clock),
            api_url=account.api_url or settings.PLIVO_API_URL,
            auth_id=account.auth_id,
            auth_token=token,
        )
    except pacing.NoTurn as none:
        after = BACK_OFF if none.wait_s is None else datetime.timedelta(seconds=none.wait_s - PATIENCE_S)
        return _back(call, clock() + after)
    except DatabaseError as error:  # of the last look: nothing was sent
        log.warning("not_dialled", call=str(call.public_id), error=type(error).__name__)
        return _back_once_it_answers(call, clock() + BACK_OFF)
    return _written(call, plan, found, clock)


def _turn(plan: gate.Plan, account: PlivoAccount) -> str:
    """Waits for a turn: with the connection made, so that the pace is that of the requests, however long it took.

    Raises:
        pacing.NoTurn: none comes soon, or Redis does not answer.
    """
    for whose, per_second in _paces(plan, account):
        time.sleep(pacing.take(whose, per_second=per_second, patience_s=PATIENCE_S))
    return ""


def _obstacle(call: Call, plan: gate.Plan, clock: Clock) -> str:
    """Asked right before the first byte: the sweeper may have given a call up whose process stood still for minutes."""
    if not Call.objects.filter(pk=call.pk, status=Call.Status.SENDING).exists():
        return "it took too long to be placed"
    return gate.obstacle(call, plan, now=clock())


def _paces(plan: gate.Plan, account: PlivoAccount) -> Iterator[tuple[str, float]]:
    """Whose turns a call waits for, one after the other: the account's last, so that Plivo sees exactly its pace."""
    if isinstance(plan, Campaign) and plan.calls_per_second is not None:
        yield str(plan.pk), float(plan.calls_per_second)
    yield account.auth_id, float(account.calls_per_second)


def _order(call: Call, plan: gate.Plan) -> Order:
    spec = call.spec
    longest_ms = spec.max_call_ms if spec else 0
    addresses = {"answer": call_url(call.public_id, "answer"), "ring": call_url(call.public_id, "ring")}
    addresses |= {"hangup": call_url(call.public_id, "hangup"), "fallback": call_url(call.public_id, "fallback")}
    addresses |= {"machine_detection": call_url(call.public_id, "machine")}
    return Order(
        to=call.to_number,
        caller=call.from_number,
        urls={f"{name}_url": url for name, url in addresses.items()} | {f"{name}_method": "POST" for name in addresses},
        ring_s=plan.ring_s,
        longest_s=longest_ms // 1000 + TIMEOUT_MARGIN_S,
        detect_machine=True,
    )


def _written(call: Call, plan: gate.Plan, found: Dialled, clock: Clock) -> str:
    """What is certain after the request."""
    now = clock()
    match found.sent:
        case Sent.QUEUED:
            Call.objects.filter(pk=call.pk, plivo_request_uuid="").update(plivo_request_uuid=found.request_uuid)
            deadline = now + datetime.timedelta(seconds=plan.ring_s) + RING_GRACE
            facts = Facts(status=Call.Status.QUEUED, queued_at=now)
            return lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=deadline).status
        case Sent.REJECTED:
            lifecycle.note(call=call, kind="dial_rejected", now=now, data={"detail": found.detail})
            return lifecycle.apply(call_id=call.pk, facts=Facts(status=Call.Status.REJECTED)).status
        case Sent.NOT_SENT:
            log.warning("not_dialled", call=str(call.public_id), status=found.status)
            wait = BACK_OFF if found.retry_after_s is None else datetime.timedelta(seconds=found.retry_after_s)
            return _back(call, now + max(wait, BACK_OFF))
        case Sent.WITHDRAWN:
            return _cancel(call, found.detail, clock)
        case Sent.UNKNOWN:
            log.warning("dial_unknown", call=str(call.public_id), status=found.status)
            lifecycle.note(call=call, kind="dial_unknown", now=now, data={"detail": found.detail})
            facts = Facts(status=Call.Status.UNKNOWN)
            return lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=now + LOOK_AFTER).status


def _back(call: Call, again_at: datetime.datetime) -> str:
    lifecycle.take_back(call_id=call.pk, deadline_at=again_at)
    return Call.Status.CLAIMED


def _back_once_it_answers(call: Call, again_at: datetime.datetime) -> str:
    """The same after the database has failed; it may be starting again."""
    for _ in range(TRIES - 1):
        close_old_connections()
        try:
            return _back(call, again_at)
        except DatabaseError:
            time.sleep(BETWEEN_TRIES_S)
    close_old_connections()
    return _back(call, again_at)


def _cancel(call: Call, why: str, clock: Clock) -> str:
    lifecycle.note(call=call, kind="dial_cancelled", now=clock(), data={"why": why})
    return lifecycle.apply(call_id=call.pk, facts=Facts(status=Call.Status.CANCELLED)).status

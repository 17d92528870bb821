"""Somebody rings one of our numbers: who answers, or why nobody does. Called by the answer and hang-up webhooks.

Every ring is a ``Call`` row, also one that nobody can answer: it stands in the call log as failed, with the reason
"refused" and an entry in its timeline that says why, so that a forgotten assignment is seen.
"""

import datetime
import uuid
from typing import Literal

import msgspec

from calls import admission, lifecycle
from calls.intake import Webhook
from calls.models import Call
from calls.states import Facts
from calls.telephony.numbers import normalise

Refusal = Literal["unknown_number", "no_agent", "not_published", "full", "draining"]


def answer(webhook: Webhook) -> tuple[Call, Refusal | None]:
    """The call of an answer request, and why it is not put through, if it is not.

    Raises:
        KeyError: the request names no call.
    """
    # The document that we return picks the call up, an apology too.
    answered = Facts(status="answered", ringing_at=webhook.now, answered_at=webhook.now)
    call = webhook.call
    if call is None:
        public_id = uuid.uuid4()
        refusal = _missing(webhook) or _no_room(public_id, webhook.now)
        facts = msgspec.structs.replace(answered, end_reason="refused") if refusal else answered
        call, created = open_call(webhook, facts=facts, public_id=public_id)
        if created:
            _note_answer(call, refusal, webhook.now)
            return call, refusal
    # Plivo asks again when our answer was late, or it told us of the end first: what was decided then stands.
    if not webhook.replay:
        call.status = lifecycle.apply(call_id=call.pk, facts=answered).status
    return call, "full" if call.end_reason == Call.EndReason.REFUSED else None


def picked_up_by_fallback(webhook: Webhook) -> Call:
    """The call of a ring whose answer failed before it was written down.

    Raises:
        KeyError: the request names no call.
    """
    facts = Facts(status="answered", ringing_at=webhook.now, answered_at=webhook.now, end_reason="stream_lost")
    call, _ = open_call(webhook, facts=facts)
    return call


def open_call(webhook: Webhook, *, facts: Facts, public_id: uuid.UUID | None = None) -> tuple[Call, bool]:
    """The row of an inbound call, made at whichever report of it comes first; and whether it is new.

    Raises:
        KeyError: the request names no call.
    """
    number, agent = webhook.number, webhook.number.agent if webhook.number else None
    return lifecycle.create_inbound(
        plivo_call_uuid=webhook.params["CallUUID"],
        facts=facts,
        now=webhook.now,
        public_id=public_id or uuid.uuid4(),
        agent=agent,
        agent_version=agent.published_version if agent else None,
        phone_number=number,
        plivo_account=webhook.account,
        is_sandbox=bool(webhook.account and webhook.account.is_sandbox),
        from_number=normalise(webhook.get("From")),
        to_number=normalise(webhook.get("To")),
        caller_name=webhook.get("CallerName")[:120],
        streams=1 if facts.status == "answered" and not facts.end_reason else 0,
    )


def _note_answer(call: Call, refusal: Refusal | None, now: datetime.datetime) -> None:
    data: dict[str, str | int] = {"reason": refusal} if refusal else {}
    if call.agent_version:
        data["version"] = call.agent_version.number
    lifecycle.note(call=call, kind="refused" if refusal else "answered", now=now, data=data)


def _missing(webhook: Webhook) -> Refusal | None:
    if webhook.number is None:
        return "unknown_number"
    if webhook.number.agent is None:
        return "no_agent"
    return None if webhook.number.agent.published_version else "not_published"


def _no_room(public_id: uuid.UUID, now: datetime.datetime) -> Refusal | None:
    verdict = admission.admit(call=str(public_id), now=now)
    if verdict.ok:
        return None
    return "draining" if verdict.reason == "draining" else "full"

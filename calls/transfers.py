"""Cold transfers: a caller is put through to a destination of the agent, and comes back when nobody answers.

The session says its last words, ``live_calls.stream_ended`` writes down whom the caller goes on to, and closes. Plivo
then asks for the after-stream document, which dials, and tells the dial address how that went. Called by ``answers``.
"""

import datetime

from calls import lifecycle, live_calls
from calls.addresses import transfer_url
from calls.models import Call, Turn
from calls.states import Facts
from calls.telephony.xml import Document

RING_S = 30
ANSWERED = "completed"  # Plivo's word: the destination answered, and has hung up since
_OUTCOMES = {"busy": "was busy", "failed": "could not be reached", "cancel": "was cancelled"}


def dial(call: Call, *, replay: bool, now: datetime.datetime) -> Document | None:
    """The document that puts the caller through; None when the agent has no such destination."""
    spec = call.spec
    target = next((each for each in spec.transfers if each.name == call.transfer_to), None) if spec else None
    if target is None:
        return None
    if not replay:
        lifecycle.note(call=call, kind="transfer_dialled", now=now, data={"destination": target.name})
    return Document().dial(
        target.number,
        action_url=transfer_url(call.public_id, call.transfers),
        caller_id=call.from_number if call.direction == Call.Direction.OUTBOUND else call.to_number,
        timeout_s=RING_S,
    )


def dialled(call: Call, *, status: str, now: datetime.datetime) -> None:
    """Plivo says how it went: the call is over for us, or the caller comes back and the agent is told why."""
    destination = call.transfer_to
    lifecycle.note(call=call, kind="transfer_ended", now=now, data={"destination": destination, "status": status})
    if status == ANSWERED:
        facts = Facts(end_reason=Call.EndReason.TRANSFERRED, stream_ended_at=now)
        lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=now + lifecycle.AFTER_STREAM_GRACE)
        call.stream_ended_at = now
    elif Call.objects.filter(pk=call.pk, transfer_to=destination).update(transfer_to=""):
        outcome = _OUTCOMES.get(status, "was not answered")
        at_ms = max(0, int((now - call.live_at).total_seconds() * 1000)) if call.live_at else 0
        row = {
            "index": live_calls.next_turn_index(call),
            "role": Turn.Role.TOOL,
            "kind": Turn.TRANSFER_FAILED,
            "text": f"The transfer to {destination} {outcome}. You are talking to the caller again.",
            "data": {"destination": destination, "status": status},
            "started_ms": at_ms,
            "ended_ms": at_ms,
        }
        live_calls.write_turns({call.pk: [row]})

"""Call detail records: a completed call as REST shows it, and the filters of the list.

Used by sandbox.plivo.rest_calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sandbox.plivo.call import Call
from sandbox.plivo.rest import ApiError, Request

_TEXT_FILTERS = (
    "call_direction",
    "from_number",
    "to_number",
    "hangup_cause_code",
    "hangup_source",
    "parent_call_uuid",
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": lambda left, right: left > right,
    "gte": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "lte": lambda left, right: left <= right,
    "": lambda left, right: left == right,
}


def cdr(call: Call) -> dict[str, Any]:
    """The record of a call that has ended."""
    assert call.ending is not None  # noqa: S101 (only ended calls have one)
    return {
        "answer_time": call.zoned(call.answered_at),
        "bill_duration": call.bill_duration_s,
        "billed_duration": call.bill_duration_s,
        "call_direction": call.direction,
        "call_duration": call.duration_s,
        "call_state": "ANSWER" if call.answered_at else call.ending.word,
        "call_uuid": call.uuid,
        "conference_uuid": None,
        "end_time": call.zoned(call.ended_at),
        "from_number": call.from_number,
        "hangup_cause_code": call.ending.code,
        "hangup_cause_name": call.ending.name,
        "hangup_source": call.ending.source,
        "initiation_time": call.zoned(call.created_at),
        "parent_call_uuid": None,
        "resource_uri": f"/v1/Account/{call.auth_id}/Call/{call.uuid}/",
        "stir_verification": "Not applicable",
        "to_number": call.to_number,
        "total_amount": f"{0.002 * call.bill_duration_s / 60:.5f}",
        "total_rate": "0.00200",
    }


def matches(request: Request, call: Call) -> bool:
    """Whether a call passes the filters of the query. Raises ApiError for a comparison that does not exist."""
    record = cdr(call)
    for name, wanted in request.fields.items():
        field, _, word = name.partition("__")
        if field not in (*_TEXT_FILTERS, "end_time", "bill_duration"):
            continue
        if word not in _COMPARISONS:
            raise ApiError(400, f"{name} is no filter")
        compare = _COMPARISONS[word]
        if field == "bill_duration":
            passes = compare(record[field], request.integer(name, 0, 0, 10**9))
        elif field == "end_time":
            passes = compare(call.local(call.ended_at) or "", str(wanted)[:19])
        else:
            passes = compare(str(record[field]), str(wanted))
        if not passes:
            return False
    return True

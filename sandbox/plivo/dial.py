"""`<Dial>`: rings one or several numbers of the outside world and joins the first that answers with the caller.

The other leg follows the behaviour that is set for its number; it says nothing, talks for `talk_ms` and hangs up. What
matters is who was rung, and what the callbacks and the action URL are told.
"""

from __future__ import annotations

import asyncio
import dataclasses
from typing import TYPE_CHECKING, Any

from sandbox.plivo.behaviour import FAILURE_CODES, NOT_DIALLED, Behaviour
from sandbox.plivo.call import HangupCause, cause
from sandbox.plivo.xml import Element

if TYPE_CHECKING:
    from sandbox.plivo.interpreter import Interpreter

_STATUS = {3010: "busy", 3020: "busy", 6010: "timeout", 3000: "no-answer"}


@dataclasses.dataclass
class _Leg:
    number: str
    uuid: str
    behaviour: Behaviour


async def dial_out(interpreter: Interpreter, element: Element) -> dict[str, Any]:
    """Dial, talk, and return what the action URL is told. Cancelled when the caller hangs up."""
    exchange, call = interpreter.exchange, interpreter.call
    legs = []
    for child in element.children:
        number = child.text.removeprefix("+")
        legs.append(_Leg(number, exchange.new_id(), exchange.behaviours.next_for(number)))
    for leg in legs:
        if leg.behaviour.kind not in NOT_DIALLED:
            exchange.ledger.rang(number=leg.number, call_uuid=call.uuid, behaviour=leg.behaviour.kind)
    call.note("dial", numbers=[leg.number for leg in legs])
    winner, why = await _first_answer(interpreter, element, legs)
    leg = winner or legs[0]
    params: dict[str, Any] = {
        "Event": "Redirect",
        "DialALegUUID": call.uuid,
        "DialBLegUUID": leg.uuid,
        "DialRingStatus": leg.behaviour.kind not in NOT_DIALLED,
    }
    if winner is None:
        status = _STATUS.get(why.code, "failed")
        _call_back(interpreter, element, leg, action="hangup", status=status, why=why, duration_s=0)
        return params | {"DialStatus": status, "DialHangupCause": why.word}
    _call_back(interpreter, element, leg, action="answer", status="in-progress", why=why, duration_s=0)
    call.note("dial_connected", number=leg.number)
    limit = element.attributes["timeLimit"]
    talk = min(limit, leg.behaviour.talk_ms / 1000 * exchange.settings.time_scale)
    await asyncio.sleep(talk)
    _call_back(interpreter, element, leg, action="hangup", status="completed", why=why, duration_s=round(talk))
    return params | {"DialStatus": "completed", "DialHangupCause": why.word}


async def _first_answer(
    interpreter: Interpreter, element: Element, legs: list[_Leg]
) -> tuple[_Leg | None, HangupCause]:
    """The leg that answers first, or None and why not."""
    settings = interpreter.exchange.settings

    def after(leg: _Leg) -> float:
        given = leg.behaviour.answer_ms
        return settings.answer_after_s if given is None else given / 1000

    patience = element.attributes["timeout"]
    answering = sorted((leg for leg in legs if leg.behaviour.kind in ("human", "machine")), key=after)
    if answering and after(answering[0]) <= patience:
        await interpreter.exchange.pause(after(answering[0]))
        return answering[0], cause(4000, "Callee")
    failures = [leg for leg in legs if leg.behaviour.kind in FAILURE_CODES]
    if len(failures) == len(legs):
        await interpreter.exchange.pause(max(after(leg) for leg in legs))
        return None, cause(FAILURE_CODES[failures[0].behaviour.kind], "Callee")
    await interpreter.exchange.pause(patience)
    return None, cause(6010, "Plivo")


def _call_back(
    interpreter: Interpreter,
    element: Element,
    leg: _Leg,
    *,
    action: str,
    status: str,
    why: HangupCause,
    duration_s: int,
) -> None:
    attributes, call = element.attributes, interpreter.call
    if not attributes["callbackUrl"]:
        return
    params: dict[str, Any] = call.base_params() | {
        "DialAction": action,
        "DialALegUUID": call.uuid,
        "DialBLegUUID": leg.uuid,
        "DialBLegStatus": {"in-progress": "answer"}.get(status, "hangup"),
        "DialBLegFrom": attributes["callerId"] or call.from_number,
        "DialBLegTo": leg.number,
    }
    if action == "hangup":
        params |= {
            "DialBLegDuration": duration_s,
            "DialBLegBillDuration": -(-duration_s // 60) * 60,
            "DialBLegHangupCause": why.word,
            "DialBLegHangupCauseName": why.name,
            "DialBLegHangupCauseCode": why.code,
            "DialBLegHangupSource": why.source,
        }
    interpreter.exchange.spawn(
        interpreter.exchange.send(call, attributes["callbackUrl"], attributes["callbackMethod"], params, event="dial")
    )

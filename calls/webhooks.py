"""The addresses that Plivo calls, as thin views: ``intake`` lets a request in, ``answers`` and ``lifecycle`` decide.

Answer-type addresses return Plivo XML, always, a replay included; the others an empty 200.
"""

import datetime
import uuid
from decimal import Decimal, InvalidOperation

import structlog
from django.db import Error
from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from calls import answers, inbound, lifecycle, recordings, verifying
from calls.hints import hint
from calls.intake import Webhook, webhook
from calls.models import Call
from calls.states import Facts
from calls.telephony.base import LARGEST
from calls.telephony.hangup_causes import STATUS_PREFIX
from calls.telephony.xml import CONTENT_TYPE, Document

log = structlog.get_logger(__name__)

_OVER = frozenset({"completed", "busy", "failed", "timeout", "no-answer", "cancel"})
_HUNG_UP_BY_THEM = frozenset({"caller", "callee", "call recipient"})


@webhook("answer")
def answer(request: Webhook) -> HttpResponse:
    """Inbound: one of our numbers is ringing."""
    if _reports_end(request):  # an application without a hang-up URL reports to this one
        return _end_of_call(request)
    if not request.params.get("CallUUID"):
        return _xml(answers.fallback(None))
    call, refusal = inbound.answer(request)
    request.event.call = call
    if call.status == Call.Status.ENDED or call.stream_ended_at is not None:
        return _xml(Document().hang_up())
    return _xml(answers.refused(call) if refusal else answers.conversation(call, now=request.now))


@webhook("answer")
def call_answer(request: Webhook) -> HttpResponse:
    """Outbound: a call that we placed was picked up."""
    if _reports_end(request):
        return _end_of_call(request)
    _take_ids(request)
    return _xml(answers.outbound(_call(request), replay=request.replay, now=request.now))


@webhook("after-stream")
def after_stream(request: Webhook) -> HttpResponse:
    """A stream has ended; what now?"""
    if _reports_end(request):
        return _end_of_call(request)
    return _xml(answers.after_stream(_call(request), replay=request.replay, now=request.now))


@webhook("ring")
def ring(request: Webhook) -> HttpResponse:
    """A call that we placed rings at the other end."""
    _apply(request, Facts(status=Call.Status.RINGING, ringing_at=request.now))
    if not request.replay:
        hint("streaming.tasks.prepare_opening", _call(request).pk)  # while it rings there is time to speak it
    return HttpResponse()


@webhook("hangup")
def hangup(request: Webhook) -> HttpResponse:
    """A call is over."""
    _end_of_call(request)
    return HttpResponse()


@webhook("machine")
def machine(request: Webhook) -> HttpResponse:
    """Plivo believes that a machine has answered, or a person; the call's session decides what is done then."""
    _apply(request, Facts(answered_by=_machine(request)))
    _note(request, "machine_detected" if _machine(request) else "human_detected")
    return HttpResponse()


@webhook("recording")
def recording(request: Webhook) -> HttpResponse:
    """Plivo's own recording of a call is ready to be fetched."""
    if not request.replay:
        recordings.note_plivo_recording(
            call=_call(request),
            recording_id=request.get("RecordingID", "recording_id"),
            url=request.get("RecordUrl", "record_url"),
            duration_ms=request.get("RecordingDurationMs", "recording_duration_ms"),
            now=request.now,
        )
    return HttpResponse()


@webhook("stream-status")
def stream_status(request: Webhook) -> HttpResponse:
    """Plivo's view of the stream: for the timeline alone, since the socket itself is the truth."""
    event = request.get("Event")[:40]
    if event in {"DegradedStream", "DroppedStream", "failed"}:
        log.warning("carrier_reports_stream", call=str(_call(request).public_id), reported=event)
    _note(request, "carrier_stream", event=event, reason=request.get("StatusReason", "Error")[:200])
    return HttpResponse()


@webhook("dial")
def dial(request: Webhook) -> HttpResponse:
    """A number that the caller was put through to has hung up or has not answered."""
    transfer, status = request.get("transfer"), request.get("DialStatus").lower()[:40]
    if not transfer:
        _note(request, "fallback_dialled", status=status)
    call = _call(request)
    return _xml(answers.after_transfer(call, number=transfer, status=status, replay=request.replay, now=request.now))


@webhook("digits")
def digits(request: Webhook) -> HttpResponse:
    """Keys were pressed on a call that asks for a code."""
    if _reports_end(request):
        return _end_of_call(request)
    entered = request.get("Digits")[:20]
    return _xml(verifying.entered(_call(request), digits=entered, replay=request.replay, now=request.now))


@webhook("fallback")
def _stored_fallback(request: Webhook) -> HttpResponse:
    if _reports_end(request):
        return _end_of_call(request)
    call = request.call
    if call is None and request.params.get("CallUUID") and request.get("Direction") != "outbound":
        call = inbound.picked_up_by_fallback(request)
        request.event.call = call
    if call is not None and not request.replay:
        lifecycle.note(call=call, kind="fallback_answered", now=request.now)
    return _xml(answers.fallback(call))


@csrf_exempt
def fallback(request: HttpRequest, public_id: uuid.UUID | None = None) -> HttpResponse:
    """What Plivo asks when an answer could not be had. It must hold when nothing else does, so not even the database
    is a condition: without it, and where our own fault that spoilt the answer spoils this too, whoever shows a
    signature gets the fixed apology, which tells and changes nothing.
    """
    try:
        return _stored_fallback(request, public_id=public_id)
    except Error as error:  # not before a signature was seen
        log.error("fallback_without_database", error=type(error).__name__)
    except Exception:
        log.exception("fallback_failed")
    return _xml(answers.fallback(None))


def _end_of_call(request: Webhook) -> HttpResponse:
    """Adds the reported end to the call; an inbound one that we never heard of is written down now."""
    if not request.replay:
        facts = end_facts(request)
        if request.call is not None:
            _apply(request, facts)
        elif request.params.get("CallUUID") and request.get("Direction") != "outbound":
            call, created = inbound.open_call(request, facts=facts)
            if created:
                lifecycle.note(call=call, kind="never_answered", now=request.now)
            else:
                lifecycle.apply(call_id=call.pk, facts=facts)
            request.event.call = call
    return _xml(Document())


def end_facts(request: Webhook) -> Facts:
    """What a hang-up report says."""
    duration = _whole(request.get("Duration"))
    cause = request.get("HangupCause") or request.get("HangupCauseName")
    if not cause and request.get("CallStatus"):
        cause = STATUS_PREFIX + request.get("CallStatus")
    by_them = request.get("HangupSource").lower() in _HUNG_UP_BY_THEM
    return Facts(
        status=Call.Status.ENDED,
        ended_at=request.now,
        answered_at=request.now - datetime.timedelta(seconds=min(duration, 86_400)) if duration else None,
        hangup_cause=cause[:60],
        hangup_code=_whole(request.get("HangupCauseCode")),
        hangup_source=request.get("HangupSource")[:40],
        duration_s=duration,
        bill_duration_s=_whole(request.get("BillDuration")),
        carrier_cost=_money(request.get("TotalCost")),
        end_reason=Call.EndReason.CALLER_HUNG_UP if by_them else "",
        answered_by=_machine(request),
    )


def _machine(request: Webhook) -> str:
    """What Plivo's guess says of who has answered; that it is a person is no more than the lack of one."""
    return Call.AnsweredBy.MACHINE if request.get("Machine").lower() == "true" else ""


def _apply(request: Webhook, facts: Facts) -> None:
    if not request.replay:
        _take_ids(request)
        lifecycle.apply(call_id=_call(request).pk, facts=facts)


def _take_ids(request: Webhook) -> None:
    """Takes the ids that a webhook of a call of ours is the first to tell; intake has refused those that differ."""
    call = _call(request)
    for name, field, empty in (("CallUUID", "plivo_call_uuid", None), ("RequestUUID", "plivo_request_uuid", "")):
        value = request.get(name)[:64]
        if value and not getattr(call, field) and not request.replay:
            Call.objects.filter(pk=call.pk, **{field: empty}).update(**{field: value})
            setattr(call, field, value)


def _call(request: Webhook) -> Call:
    if request.call is None:
        raise ValueError("an address of a call without its call")  # intake has refused it
    return request.call


def _note(request: Webhook, kind: str, **data: str) -> None:
    if not request.replay:
        lifecycle.note(call=_call(request), kind=kind, now=request.now, data=data)


def _reports_end(request: Webhook) -> bool:
    return request.get("Event") == "Hangup" or request.get("CallStatus") in _OVER


def _xml(document: Document) -> HttpResponse:
    return HttpResponse(document.render(), content_type=CONTENT_TYPE)


def _whole(text: str) -> int | None:
    value = _money(text)
    return None if value is None else int(value)


def _money(text: str) -> Decimal | None:
    """A number as Plivo writes one; None for anything that is none or that no call can have."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or not 0 <= value < LARGEST:
        return None
    return value.quantize(Decimal("0.00001"))

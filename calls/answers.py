"""Which document Plivo is given, and what that changes: the rules behind every answer-type address.

A conversation is Record (if asked for), Stream, Redirect to after-stream: whatever ends the stream, Plivo comes back
there and is told to go on. So a dead process is a pause of seconds, not a dead call. Called by ``calls.webhooks``.

Listening agents have a one-way stream. Plivo forks that off and runs the next element at once (its pages tie
keepCallAlive to two-way streams), so the call would end; a short Wait before the Redirect keeps the line, and each
round trip to after-stream looks whether the stream still lives, ended on purpose, or must be opened again.
"""

import datetime

from django.db.models import F
from django.utils import timezone

from agents.prompts import render
from agents.spec import AgentSpec
from calls import lifecycle, transfers, verifying
from calls.addresses import call_url, stream_url
from calls.campaigns import gate
from calls.live_calls import variables
from calls.models import Call
from calls.states import Facts, is_over
from calls.telephony.stream_tokens import issue
from calls.telephony.xml import LONGEST_CALL_S, Document

MAX_STREAMS = 4  # the first and three more
# Before the third and fourth stream: a process is back after three to four seconds, on a busy host after ten; whether
# Plivo itself tries a connection again is not known for sure.
RETURN_WAITS_S = {3: 1, 4: 5}
LISTEN_ROUND_S = 10  # how long a listening call goes unlooked at
SESSION_SILENCE = datetime.timedelta(seconds=10)  # sessions show a sign of life every second
TIMEOUT_MARGIN_S = 120  # our own longest call ends first; Plivo's limit is for when we cannot
APOLOGY = "We are sorry, your call cannot be taken at the moment. Please call again later."


def conversation(call: Call, *, now: datetime.datetime) -> Document:
    """The document of a call that is put through; each time with a token of its own.

    Raises:
        ValueError: the call has no agent to run on.
    """
    spec = call.spec
    if spec is None:
        raise ValueError("a call without an agent cannot be put through")
    document = Document()
    if spec.mode == "listen_only":
        for text in (spec.disclosure, spec.recording_notice if spec.record else ""):
            document.speak(_filled(text, call, spec, now), language=spec.language)
    if spec.plivo_record:
        limit = min(LONGEST_CALL_S, spec.max_call_ms // 1000 + TIMEOUT_MARGIN_S)
        document.record_call(callback_url=call_url(call.public_id, "recording"), max_length_s=limit)
    return _stream(document, call, spec, now=now)


def refused(call: Call) -> Document:
    """The document of a call that is not put through: an apology, then the agent's fallback number or the end."""
    return _give_up(call)


def outbound(call: Call, *, replay: bool, now: datetime.datetime) -> Document:
    """The document of a call that we placed and that was picked up; nothing is said on one that must not be."""
    asking = verifying.asking(call) if call.spec is None else None
    # What was given up is on its way after all; ``apply`` says below whether it may be.
    ended = is_over(call.status) and call.status not in {Call.Status.NOT_FOUND, Call.Status.REJECTED}
    if (call.spec is None and asking is None) or ended or call.stream_ended_at is not None:
        return Document().hang_up()
    if replay:  # its deadline was set by the first
        return asking or conversation(call, now=now)
    plan = gate.plan_of(call)
    if plan is not None and (why := gate.obstacle(call, plan, now=now, rings=True)):
        lifecycle.note(call=call, kind="not_answered", now=now, data={"why": why})
        lifecycle.apply(
            call_id=call.pk,
            facts=Facts(status=Call.Status.CANCELLED, end_reason=Call.EndReason.REFUSED, answered_at=now),
        )
        return Document().hang_up()
    facts = Facts(status=Call.Status.ANSWERED, answered_at=now)
    state = lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=now + lifecycle.ANSWERED_GRACE)
    if is_over(state.status):
        return Document().hang_up()
    if asking is not None:
        return asking
    Call.objects.filter(pk=call.pk, streams=0).update(streams=1)
    return conversation(call, now=now)


def after_stream(call: Call, *, replay: bool, now: datetime.datetime) -> Document:
    """The document after a stream: the end, a transfer, or another stream for a conversation that was cut off.

    A call whose providers failed ends here with whatever needs none: an apology in Plivo's voice unless the caller has
    heard it in the agent's, then the agent's fallback number.
    """
    if is_over(call.status) or call.end_reason == Call.EndReason.REFUSED:
        return Document().hang_up()
    if call.end_reason == Call.EndReason.PROVIDER_FAILURE:
        return _give_up(call)
    if call.stream_ended_at is not None:
        return Document().hang_up()
    document = transfers.dial(call, replay=replay, now=now) if call.transfer_to else None
    return document or _cut_off(call, replay=replay, now=now)


def _cut_off(call: Call, *, replay: bool, now: datetime.datetime) -> Document:
    """The document for a conversation that nobody has ended."""
    spec = call.spec
    if spec is None or call.end_reason == Call.EndReason.STREAM_LOST:
        return _give_up(call)
    if call.live_at and now - call.live_at >= datetime.timedelta(milliseconds=spec.max_call_ms):
        facts = Facts(end_reason=Call.EndReason.MAX_LENGTH, stream_ended_at=now)
        lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=now + lifecycle.AFTER_STREAM_GRACE)
        return Document().hang_up()
    if spec.mode == "listen_only" and call.last_seen_at and now - call.last_seen_at < SESSION_SILENCE:
        return _round(Document(), call)
    if not replay and not _another_stream(call, now):
        return _give_up(call)
    document = Document()
    if wait := RETURN_WAITS_S.get(call.streams):
        document.wait(wait)
    return _stream(document, call, spec, now=now)


def after_transfer(call: Call, *, number: str, status: str, replay: bool, now: datetime.datetime) -> Document:
    """The document after a dialled number: the end, or another stream for a caller whom nobody answered.

    Args:
        number: which of the call's transfers it was; empty for the fallback number, behind which nothing comes.
    """
    spec = call.spec
    if spec is None or number != str(call.transfers) or is_over(call.status):
        return Document().hang_up()
    if call.transfer_to and not replay:
        transfers.dialled(call, status=status, now=now)
    if call.stream_ended_at is not None:
        return Document().hang_up()
    return _stream(Document(), call, spec, now=now)


def fallback(call: Call | None) -> Document:
    """The document when our answer could not be had: as helpful as what is still known allows."""
    return Document().speak(APOLOGY, language="en-US").hang_up() if call is None else _give_up(call)


def _another_stream(call: Call, now: datetime.datetime) -> bool:
    """Counts one more stream; False, and the call is given up, when it has had them all."""
    counted = Call.objects.filter(pk=call.pk, streams__lt=MAX_STREAMS).update(streams=F("streams") + 1)
    facts = Facts() if counted else Facts(end_reason=Call.EndReason.STREAM_LOST)
    lifecycle.apply(call_id=call.pk, facts=facts, deadline_at=now + lifecycle.ANSWERED_GRACE)
    call.refresh_from_db(fields=["streams"])
    kind = "stream_again" if counted else "stream_given_up"
    lifecycle.note(call=call, kind=kind, now=now, data={"streams": call.streams})
    return bool(counted)


def _stream(document: Document, call: Call, spec: AgentSpec, *, now: datetime.datetime) -> Document:
    two_way = spec.mode == "conversation"
    document.stream(
        stream_url(issue(call=call, now=now)),
        content_type=spec.codec,
        two_way=two_way,
        timeout_s=spec.max_call_ms // 1000 + TIMEOUT_MARGIN_S,
        status_url=call_url(call.public_id, "stream-status"),
    )
    return document.redirect(call_url(call.public_id, "after-stream")) if two_way else _round(document, call)


def _round(document: Document, call: Call) -> Document:
    return document.wait(LISTEN_ROUND_S).redirect(call_url(call.public_id, "after-stream"))


def _give_up(call: Call) -> Document:
    spec = call.spec
    apology, language = (spec.apology or APOLOGY, spec.language) if spec else (APOLOGY, "en-US")
    if spec:
        apology = _filled(apology, call, spec, timezone.now()) or APOLOGY
    document = Document()
    if not call.turns.filter(kind="apology", text=apology).exclude(heard="").exists():
        document.speak(apology, language=language)
    if spec and spec.fallback_number:
        ours = call.from_number if call.direction == Call.Direction.OUTBOUND else call.to_number
        return document.dial(spec.fallback_number, action_url=call_url(call.public_id, "dial"), caller_id=ours)
    return document.hang_up()


def _filled(text: str, call: Call, spec: AgentSpec, now: datetime.datetime) -> str:
    return render(text, variables(call, spec, now=now))

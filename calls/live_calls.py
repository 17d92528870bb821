"""What a live call reads from and writes to the database: its context at the start, turns and events as they happen.

Called by ``streaming`` from threads of its own; everything here blocks. Writes may come twice (a retry, a spill file
written later) and from two sessions of one call (a dropped stream and its successor): none may lose a turn.

One session at a time carries a call, over all stream processes of all machines: ``claim`` gives it the call, ``renew``
keeps it. The moments of a lease are the database's: the clocks of two machines may differ by more than a lease.
"""

import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec
from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction
from django.db.models import F, Max, Q
from django.db.models.functions import Now
from django.utils import timezone

from agents import services
from agents.models import Agent
from agents.prompts import built_ins
from agents.providers.base import Message, ProviderConfig
from agents.providers.errors import Stage
from agents.spec import AgentSpec, StageSpec
from calls import lifecycle, suppression
from calls.campaigns import gate
from calls.context import Answering, CallContext
from calls.edge import printable
from calls.models import Call, CallEvent, DoNotCall, Turn, Usage
from calls.states import Facts, is_over

OPT_OUT, OPT_OUT_KEY = "opt_out", "9"  # whatever the agent's own tools are, whoever we rang can ask for it
MAX_TRANSFERS = 3  # of one call
LEASE = datetime.timedelta(seconds=2)  # what a session that shows no life keeps its call; it shows some every second
CHUNK = 500  # rows of one statement
MAX_TEXT = 100_000
_TURN_FIELDS = [field.name for field in Turn._meta.concrete_fields if field.name not in {"id", "call", "index"}]
_USAGE_FIELDS = [field.name for field in Usage._meta.concrete_fields if field.name not in {"id", "key"}]

Row = Mapping[str, Any]


def create_browser_call(*, agent: Agent, user: AbstractBaseUser, draft: bool, now: datetime.datetime) -> Call:
    """The call of the *Talk to it* page.

    Args:
        draft: talk to the agent as it is being edited; the call then has no version and keeps the draft as it is now.

    Raises:
        ValueError: the agent was never published and ``draft`` is not set.
        django.core.exceptions.ValidationError: the draft is incomplete.
    """
    if not draft and agent.published_version_id is None:
        raise ValueError("The agent is not published yet: publish it, or talk to the draft.")
    return lifecycle.create_browser(
        now=now,
        agent=agent,
        agent_version=None if draft else agent.published_version,
        draft_config=msgspec.to_builtins(services.build_spec(agent)) if draft else None,
        started_by=user,
        from_number="browser",
    )


def claim(*, call_id: int, session: str) -> bool:
    """Gives a call to a session; False while another carries it that has shown life within a ``LEASE``."""
    free = Q(carried_by="") | Q(last_seen_at__lt=Now() - LEASE)
    return bool(Call.objects.filter(free, pk=call_id).update(carried_by=session, last_seen_at=Now()))


def renew(*, held: Mapping[int, str], silent: Collection[int], now: datetime.datetime) -> set[int]:
    """Notes that sessions live and keep their calls.

    Args:
        held: of each call, by its key, the session.
        silent: calls of ``held`` whose line has fallen silent: they are not kept, another session may take them.

    Returns:
        Those of ``held`` that another session has taken.
    """
    lost: set[int] = set()
    call_ids = list(held)
    for start in range(0, len(call_ids), CHUNK):
        chunk = call_ids[start : start + CHUNK]
        sessions = [held[call_id] for call_id in chunk]
        calls = Call.objects.filter(pk__in=chunk)
        alive = calls.filter(pk__in=set(chunk).difference(silent), carried_by__in=sessions, ended_at=None)
        if alive.update(last_seen_at=Now(), deadline_at=now + lifecycle.LIVE_GRACE) < len(chunk):
            lost.update(calls.exclude(carried_by__in=[*sessions, ""]).values_list("pk", flat=True))
    return lost


def machines(call_ids: Collection[int]) -> set[int]:
    """Those of the calls that Plivo believes a machine has answered."""
    found = Call.objects.filter(pk__in=call_ids, answered_by=Call.AnsweredBy.MACHINE)
    return set(found.values_list("pk", flat=True))


def release(*, call_id: int, session: str) -> bool:
    """The session carries the call no more; False when it had lost it before."""
    return bool(Call.objects.filter(pk=call_id, carried_by=session).update(carried_by=""))


def stream_started(*, call_id: int, stream_id: str, session: str, now: datetime.datetime) -> CallContext | None:
    """The stream of a session that has claimed its call begins: marks it LIVE and gathers what the session needs.

    Returns:
        None when the call is over already, was ended on purpose, or has no agent to run on.

    Raises:
        agents.services.AccountError: of a stage no account can be used. No further stream could do better: the
            after-stream document apologises.
    """
    call = Call.objects.select_related("agent", "agent_version", "campaign").filter(pk=call_id).first()
    spec = call.spec if call else None
    if call is None or spec is None or is_over(call.status) or call.stream_ended_at is not None:
        return None
    resumed = call.live_at is not None
    state = lifecycle.apply(
        call_id=call_id,
        facts=Facts(status=Call.Status.LIVE, live_at=now),
        deadline_at=now + lifecycle.LIVE_GRACE,
    )
    if is_over(state.status) or state.live_at is None:
        return None  # its end came in between
    call.live_at = state.live_at
    lifecycle.note(call=call, kind="stream_resumed" if resumed else "stream_started", now=now, data={"id": stream_id})
    try:
        return _context(call, spec, session=session, resumed=resumed, now=now)
    except services.AccountError as error:
        facts = Facts(end_reason=Call.EndReason.PROVIDER_FAILURE)
        lifecycle.apply(call_id=call_id, facts=facts, deadline_at=now + lifecycle.AFTER_STREAM_GRACE)
        lifecycle.note(call=call, kind="no_provider", now=now, data={"problem": str(error)})
        raise


def stream_ended(
    *,
    call_id: int,
    session: str,
    reason: str | None,
    normal: bool,
    now: datetime.datetime,
    transfer_to: str = "",
    answered_by: str = "",
) -> None:
    """The stream of a session has ended; says nothing of the call once another session has taken it.

    Args:
        reason: a ``Call.EndReason``; None when the session does not know.
        normal: the conversation is over, on purpose or because the caller left: the after-stream document hangs up.
            False leaves the call open: that document answers with a new stream, or the sweeper closes it.
        transfer_to: name of the agent's destination that the caller is put through to; that document dials it.
        answered_by: a ``Call.AnsweredBy``, of a call that we placed.

    A browser call has nothing behind its stream and ends here. For a phone call, write this before closing the
    socket: Plivo asks for the after-stream document within milliseconds of the close.
    """
    with transaction.atomic():
        if not release(call_id=call_id, session=session):
            return
        over = Call.objects.filter(pk=call_id, direction=Call.Direction.BROWSER).exists()
        if transfer_to and not over:
            asked = Call.objects.filter(pk=call_id, transfer_to="", transfers__lt=MAX_TRANSFERS)
            asked.update(transfer_to=transfer_to, transfers=F("transfers") + 1)
            reason, normal = None, False  # only Plivo will know how the call ends
        facts = Facts(
            end_reason=reason or "",
            stream_ended_at=now if normal or over else None,
            status=Call.Status.ENDED if over else "claimed",
            ended_at=now if over else None,
            answered_by=answered_by,
        )
        lifecycle.apply(call_id=call_id, facts=facts, deadline_at=now + lifecycle.AFTER_STREAM_GRACE)


def opt_out(*, call_id: int, source: DoNotCall.Source, evidence: str, now: datetime.datetime) -> None:
    """Puts the person at the other end of a call on the do-not-call list, before anybody tells them so.

    Raises:
        ValueError: the other end has no number.
    """
    call = Call.objects.get(pk=call_id)
    number = call.to_number if call.direction == Call.Direction.OUTBOUND else call.from_number
    with transaction.atomic():
        _, new = suppression.add(suppression.Entry(number, now, printable(evidence, 1000)), source=source, call=call)
        if new:
            lifecycle.note(call=call, kind="opted_out", now=now, data={"source": source})


def write_turns(turns: Mapping[int, Sequence[Row]]) -> None:
    """Writes turns by the ids of their calls, all or none.

    A row that was written before is replaced; one whose index another turn took gets the next free.
    """
    indexes = {row["index"] for rows in turns.values() for row in rows}
    with transaction.atomic():
        # One writer of a call's indexes; two that write several calls lock them in the same order.
        list(Call.objects.select_for_update().filter(pk__in=turns).order_by("pk").values_list("pk"))
        taken: dict[int, dict[int, Turn]] = {call_id: {} for call_id in turns}
        for turn in Turn.objects.filter(call_id__in=turns, index__in=indexes):
            taken[turn.call_id][turn.index] = turn
        counted = Turn.objects.filter(call_id__in=turns).order_by().values_list("call_id")
        last = dict(counted.annotate(last=Max("index")))
        Turn.objects.bulk_create(
            [
                turn
                for call_id, rows in turns.items()
                for turn in _placed(call_id, rows, taken=taken[call_id], last=last.get(call_id, -1))
            ],
            batch_size=CHUNK,
            update_conflicts=True,
            unique_fields=["call", "index"],
            update_fields=_TURN_FIELDS,
        )


def _placed(call_id: int, rows: Sequence[Row], *, taken: dict[int, Turn], last: int) -> list[Turn]:
    """Turns of one call with the indexes that are theirs; ``last``: the highest there is."""
    free = max([last, *(row["index"] for row in rows)]) + 1
    turns: list[Turn] = []
    for row in rows:
        turn = Turn(call_id=call_id, **_storable(row))
        other = taken.get(turn.index)
        if other is not None and (other.role, other.started_ms) != (turn.role, turn.started_ms):
            # Two tools may have been called in one millisecond: each row of before stands for one of these.
            before = Turn.objects.filter(call_id=call_id, role=turn.role, started_ms=turn.started_ms)
            same = before.exclude(index__in=[earlier.index for earlier in turns]).first()
            turn.index = same.index if same else free
            free += not same
        taken[turn.index] = turn
        turns.append(turn)
    return list({turn.index: turn for turn in turns}.values())


def next_turn_index(call: Call) -> int:
    """The index of a turn that follows all that were written."""
    last = call.turns.aggregate(last=Max("index"))["last"]
    return 0 if last is None else last + 1


def write_events(events: Mapping[int, Sequence[Row]]) -> None:
    """Writes timeline entries by the ids of their calls: ``at``, ``offset_ms``, ``kind``, ``data``.

    One that was written before is left out.
    """
    moment = CallEvent._meta.get_field("at").to_python  # a spill file holds text
    entries = [
        CallEvent(call_id=call_id, **_storable({**row, "at": moment(row["at"])}))
        for call_id, rows in events.items()
        for row in rows
    ]
    moments = [entry.at for entry in entries]
    near = CallEvent.objects.filter(call_id__in=events, at__range=(min(moments), max(moments)))
    written = {(entry.call_id, entry.at, entry.kind): entry.data for entry in near}
    new = [entry for entry in entries if written.get((entry.call_id, entry.at, entry.kind)) != entry.data]
    CallEvent.objects.bulk_create(new, batch_size=CHUNK)


def write_usage(usage: Mapping[int, Sequence[Row]]) -> None:
    """Writes what provider calls consumed, by the ids of their calls.

    A row of the same ``key`` is replaced, since reports are cumulative.
    """
    latest = {
        str(row["key"]): Usage(call_id=call_id, **_storable(row)) for call_id, rows in usage.items() for row in rows
    }
    Usage.objects.bulk_create(
        latest.values(),
        batch_size=CHUNK,
        update_conflicts=True,
        unique_fields=["key"],
        update_fields=_USAGE_FIELDS,
    )


def history(turns: Iterable[Turn]) -> tuple[Message, ...]:
    """What was said before, as the model is to remember it: the caller's words, and of ours what was heard."""
    messages = []
    for turn in turns:
        if turn.role == Turn.Role.CALLER and turn.text:
            messages.append(Message(role="user", content=turn.text))
        elif turn.role == Turn.Role.AGENT and turn.heard:
            messages.append(Message(role="assistant", content=turn.heard))
        elif turn.kind == Turn.TRANSFER_FAILED:
            messages.append(Message(role="user", content=f"[{turn.text}]"))
    return tuple(messages)


def variables(call: Call, spec: AgentSpec, *, now: datetime.datetime) -> dict[str, str]:
    """What fills the agent's texts on this call: its own values over the agent's defaults, what is built in over both.

    Built-in values that are empty (a caller without a name) leave the others alone.
    """
    values = built_ins(
        caller_number=call.from_number,
        called_number=call.to_number,
        caller_name=call.caller_name,
        agent_name=spec.name,
        now=timezone.localtime(now),
    )
    own = {str(name): str(value) for name, value in call.variables.items()}
    return {**values, **spec.variables, **own, **{name: value for name, value in values.items() if value}}


def answering(call: Call) -> Answering | None:
    """What is done with whoever answers a call and is no person; None on calls that we did not place."""
    plan = gate.plan_of(call)
    if plan is None:
        return None
    return Answering(on_machine=plan.on_machine, message=plan.voicemail_message, screening=plan.screening_answer)


def _context(call: Call, spec: AgentSpec, *, session: str, resumed: bool, now: datetime.datetime) -> CallContext:
    assert call.live_at is not None  # noqa: S101  (the only caller has looked)
    turns = list(call.turns.all())
    is_sandbox = call.is_sandbox or services.sandboxed(spec)
    if is_sandbox != call.is_sandbox:
        Call.objects.filter(pk=call.pk).update(is_sandbox=is_sandbox)
    used: tuple[Stage, ...] = ("stt",) if spec.mode == "listen_only" else ("stt", "llm", "tts")
    configs = {stage: services.stage_configs(spec, stage) for stage in used}
    for stage, (_, problems) in configs.items():
        for problem in problems:
            lifecycle.note(call=call, kind="choice_left_out", now=now, data={"stage": stage, "problem": problem})
    if call.transfers >= MAX_TRANSFERS:
        tools = tuple(name for name in spec.tools if name != "transfer_call")
        spec = msgspec.structs.replace(spec, transfers=(), tools=tools)
    rung = call.direction == Call.Direction.OUTBOUND
    if rung and OPT_OUT not in spec.tools and spec.mode == "conversation":
        spec = msgspec.structs.replace(spec, tools=(*spec.tools, OPT_OUT))
    return CallContext(
        call_id=call.pk,
        public_id=str(call.public_id),
        plivo_call_uuid=call.plivo_call_uuid or "",
        spec=spec,
        version_id=str(call.agent_version_id or call.agent_id),
        stt=configs["stt"].usable[0],
        llm=configs["llm"].usable[0] if "llm" in configs else _unused(spec.llm),
        tts=configs["tts"].usable[0] if "tts" in configs else _unused(spec.tts),
        stt_further=configs["stt"].usable[1:],
        llm_further=configs["llm"].usable[1:] if "llm" in configs else (),
        tts_further=configs["tts"].usable[1:] if "tts" in configs else (),
        variables=variables(call, spec, now=now),
        opt_out_key=OPT_OUT_KEY if rung else "",
        answering=None if resumed else answering(call),
        session=session,
        live_at=call.live_at,
        resumed=resumed,
        history=history(turns),
        next_turn_index=max((turn.index for turn in turns), default=-1) + 1,
        is_sandbox=is_sandbox,
    )


def _unused(stage: StageSpec) -> ProviderConfig:
    """The config of a stage that a listening agent has not: without a key, so that none need be there."""
    return ProviderConfig(provider=stage.provider, base_url="", api_key="", model=stage.model)


def _storable(row: Row) -> dict[str, Any]:
    """The row without characters that PostgreSQL refuses; a provider's NUL must not cost a turn."""
    return {name: printable(value, MAX_TEXT) for name, value in row.items()}

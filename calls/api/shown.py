"""A call as programs see it: a fixed number of queries whatever its length."""

from calls.api.schemas import AgentOfCall, CallShown, SummaryOfCall, TurnOfCall
from calls.models import Call, CallSummary, Turn
from calls.reports import masked

_SAYS_WHY = ("dial_cancelled", "not_answered")


def shown(call: Call, *, whole_numbers: bool) -> CallShown:
    """The call, read with agent, version and summary.

    Args:
        whole_numbers: whoever asks may see them.
    """
    summary: CallSummary | None = getattr(call, "summary", None)
    said_why = call.events.filter(kind__in=_SAYS_WHY).order_by("at", "id").last()
    return CallShown(
        id=call.public_id,
        direction=call.direction,
        status=call.status,
        outcome=call.outcome,
        end_reason=call.end_reason,
        why=str(said_why.data.get("why", "")) if said_why else "",
        agent=_agent(call),
        from_number=call.from_number if whole_numbers else masked(call.from_number),
        to_number=call.to_number if whole_numbers else masked(call.to_number),
        variables=call.variables,
        created_at=call.created_at,
        ringing_at=call.ringing_at,
        answered_at=call.answered_at,
        live_at=call.live_at,
        ended_at=call.ended_at,
        duration_s=call.duration_s,
        transcript=[_turn(turn) for turn in call.turns.all()],
        summary=_summary(summary) if summary else None,
    )


def _agent(call: Call) -> AgentOfCall | None:
    if call.agent is None:
        return None
    version = call.agent_version
    return AgentOfCall(id=call.agent.pk, name=call.agent.name, version=version.number if version else None)


def _turn(turn: Turn) -> TurnOfCall:
    return TurnOfCall(
        role=turn.role,
        kind=turn.kind,
        text=turn.text,
        heard=turn.heard,
        interrupted=turn.interrupted,
        started_ms=turn.started_ms,
        ended_ms=turn.ended_ms,
    )


def _summary(row: CallSummary) -> SummaryOfCall:
    return SummaryOfCall(
        status=row.status,
        summary=row.summary,
        outcome=row.outcome,
        success=row.success,
        sentiment=row.sentiment,
        extracted=row.extracted,
    )

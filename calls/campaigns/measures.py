"""How a campaign's calls go: what failed lately, who was met by silence, how many were short. Reads only."""

import datetime

import msgspec
from django.db.models import (
    Count,
    DurationField,
    ExpressionWrapper,
    F,
    IntegerField,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
)
from django.utils import timezone

from agents.models import AgentVersion
from calls.models import Call, Campaign, PlivoAccount, Turn

FEWEST_FINISHED, FEWEST_ANSWERED, FEWEST_SHORT = 5, 40, 20
# FTC Telemarketing Sales Rule, 16 CFR 310.4(b)(4): at most 3 % of the calls that a person answers, of a campaign over
# 30 days, may be left without a representative for more than two seconds. Parley stops before.
SILENT_AFTER = datetime.timedelta(seconds=2)
SILENT_SHARE, SILENT_DAYS = 0.025, datetime.timedelta(days=30)
# Plivo's account limits: a surcharge where 20 % of a month's answered calls last six seconds at most.
SHORT_S, SHORT_SHARE = 6, 0.15
_MS = datetime.timedelta(milliseconds=1)


class Share(msgspec.Struct, frozen=True):
    """So many ``some`` of ``all``."""

    some: int
    all: int

    @property
    def fraction(self) -> float:
        """0 of none."""
        return self.some / self.all if self.all else 0.0


def finished(campaign: Campaign, since: datetime.datetime, until: datetime.datetime) -> QuerySet[Call]:
    """Calls that ended between two moments, those that Plivo refused included; not those that were let go."""
    # The campaign stands in both, so that SQLite finds each by its index.
    ended = Q(campaign=campaign, status=Call.Status.ENDED, ended_at__gt=since, ended_at__lte=until)
    rejected = Q(campaign=campaign, status=Call.Status.REJECTED, created_at__gt=since, created_at__lte=until)
    return Call.objects.filter(ended | rejected)


def failed() -> Q:
    """Calls that came to nothing by a fault: of the number, of Plivo, of a provider, of ours."""
    faults = [Call.EndReason.PROVIDER_FAILURE, Call.EndReason.STREAM_LOST]
    return Q(outcome=Call.Outcome.FAILED) | Q(status=Call.Status.REJECTED) | Q(end_reason__in=faults)


def failures(campaign: Campaign, *, now: datetime.datetime) -> Share:
    """Of the calls that ended within the breaker's window and since the campaign was resumed."""
    counted = finished(campaign, breaker_since(campaign, now), now).aggregate(
        all=Count("pk"), some=Count("pk", filter=failed())
    )
    return Share(counted["some"], counted["all"])


def breaker_since(campaign: Campaign, until: datetime.datetime) -> datetime.datetime:
    """Where the breaker's window begins that ends then."""
    begin = until - datetime.timedelta(seconds=campaign.breaker_window_s)
    return max(begin, campaign.resumed_at or begin)


def silences(campaign: Campaign, *, now: datetime.datetime) -> Share:
    """Of the calls that people answered: who heard nothing of the agent for more than two seconds.

    From ``Call.answered_at``, the earliest of what Plivo has told of it, to the moment at which the first sound of any
    words of the agent was heard: ``Call.live_at`` and the least ``Turn.first_heard_ms`` of the call, which the pacer
    reckons when it sends the audio. Who heard nothing counts if the call lasted longer than that, or if it was put down
    by us because nobody could take it. Left out are calls that a machine answered, agents that wait for the caller to
    speak or only listen, and calls that go on. Plivo's last hop to the person is not in it: nobody tells us.
    """
    begin = now - SILENT_DAYS
    since = max(begin, campaign.resumed_at or begin)
    answered = _answered(campaign.calls.filter(ended_at__gt=since))
    counted = answered.aggregate(all=Count("pk"), some=Count("pk", filter=_silent()))
    return Share(counted["some"], counted["all"])


def met_by_silence(calls: QuerySet[Call]) -> QuerySet[Call]:
    """Those of some calls that ``silences`` counts as silent."""
    return _answered(calls.filter(ended_at__isnull=False)).filter(_silent())


def _answered(calls: QuerySet[Call]) -> QuerySet[Call]:
    """Those that people answered, of agents that speak first, with when their first sound was heard."""
    heard = Turn.objects.filter(call=OuterRef("pk"), role=Turn.Role.AGENT, first_heard_ms__isnull=False).order_by()
    first = Subquery(
        heard.values("call").annotate(least=Min("first_heard_ms")).values("least"), output_field=IntegerField()
    )
    after_live = ExpressionWrapper(F("first_ms") * Value(_MS), output_field=DurationField())
    until_live = ExpressionWrapper(F("live_at") - F("answered_at"), output_field=DurationField())
    lasted = ExpressionWrapper(F("ended_at") - F("answered_at"), output_field=DurationField())
    return (
        calls.filter(answered_at__isnull=False, agent_version__in=_who_speak(calls))
        .exclude(outcome=Call.Outcome.MACHINE)
        .annotate(first_ms=first)
        .annotate(after_live=after_live, until_live=until_live, lasted=lasted)
    )


def _silent() -> Q:
    """Of ``_answered``."""
    late = Q(first_ms__isnull=False, until_live__gt=Value(SILENT_AFTER, DurationField()) - F("after_live"))
    refused = Q(end_reason=Call.EndReason.REFUSED)
    never = Q(first_ms__isnull=True) & (Q(lasted__gt=SILENT_AFTER) | refused)
    return late | never


def _who_speak(calls: QuerySet[Call]) -> list[AgentVersion]:
    """Of the agents' versions that talked on some calls, those that speak first."""
    used = calls.order_by().values("agent_version").distinct()
    found = []
    for version in AgentVersion.objects.filter(pk__in=used):
        spec = version.spec
        says = spec.disclosure or spec.greeting
        if spec.mode != "listen_only" and spec.speaks_first == "agent" and says:
            found.append(version)
    return found


def short_calls(account: PlivoAccount, *, now: datetime.datetime) -> Share:
    """Of an account's answered outbound calls of this calendar month: those that lasted six seconds at most."""
    month = timezone.localtime(now).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    answered = Call.objects.filter(
        plivo_account=account, direction=Call.Direction.OUTBOUND, created_at__gte=month, answered_at__isnull=False
    ).filter(duration_s__isnull=False)
    counted = answered.aggregate(all=Count("pk"), some=Count("pk", filter=Q(duration_s__lte=SHORT_S)))
    return Share(counted["some"], counted["all"])

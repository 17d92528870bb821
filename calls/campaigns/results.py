"""What came of a campaign as tables that operators download: a row for each person, or for each call."""

import datetime
from collections.abc import Iterator
from decimal import ROUND_HALF_UP
from itertools import islice

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from calls import costs
from calls.campaigns.budget import MICRO
from calls.campaigns.outcomes import outcome_of
from calls.costs import Cost
from calls.models import Call, CallSummary, Campaign, CampaignContact
from calls.reports import masked
from calls.states import is_over

OF_SUMMARY = ("Success", "Result", "Summary")
OF_COST = ("Cost (USD)", "About the cost")
OF_PERSON = (
    "Name", "Number", "State", "Outcome", "Attempts", "Why", "Last called", "Talked (s)", *OF_COST, *OF_SUMMARY,
)  # fmt: skip
OF_CALL = (
    "Call id", "Name", "Number", "Attempt", "Began", "Answered", "Ended", "Status", "Outcome",
    "Outcome before correction", "Why it ended", "Talked (s)", *OF_COST, *OF_SUMMARY,
)  # fmt: skip
NOTHING = Cost(())
CHUNK = 500


def people(campaign: Campaign, *, whole_numbers: bool) -> Iterator[list[str]]:
    """The headers, then everybody in the order in which they came in: their latest call, and what all of theirs cost.

    Args:
        whole_numbers: whoever reads it may see them.
    """
    fields, table = extracted(campaign), costs.prices()
    yield [*OF_PERSON, *fields]
    latest = Call.objects.filter(campaign_person=OuterRef("pk")).order_by("-attempt").values("pk")[:1]
    everybody = campaign.people.select_related("contact").annotate(latest=Subquery(latest)).order_by("pk")
    rest = everybody.iterator(chunk_size=CHUNK)
    while batch := list(islice(rest, CHUNK)):
        made = [person.latest for person in batch if person.latest is not None]
        calls = {call.pk: call for call in Call.objects.filter(pk__in=made).select_related("summary")}
        all_of_them = Call.objects.filter(campaign_person__in=batch)
        spent = costs.spend_by(all_of_them, "campaign_person", table=table)
        for person in batch:
            call = calls.get(person.latest or 0)
            yield [
                *_who(person, whole_numbers=whole_numbers),
                person.get_state_display(),
                person.outcome,
                str(person.attempts),
                person.why,
                _moment(call.created_at if call else None),
                _number(call.duration_s if call else None),
                *_cost(spent.get(person.pk, NOTHING) if call else None),
                *_summary(call, fields),
            ]


def calls(campaign: Campaign, *, whole_numbers: bool) -> Iterator[list[str]]:
    """The headers, then every call in the order in which they were begun; arguments as of ``people``."""
    fields, table = extracted(campaign), costs.prices()
    yield [*OF_CALL, *fields]
    made = campaign.calls.select_related("campaign_person__contact", "summary").order_by("pk")
    rest = made.iterator(chunk_size=CHUNK)
    while batch := list(islice(rest, CHUNK)):
        spent = costs.spend_by(Call.objects.filter(pk__in=[call.pk for call in batch]), "pk", table=table)
        for call in batch:
            over = is_over(call.status)
            yield [
                str(call.public_id),
                *_who(call.campaign_person, whole_numbers=whole_numbers),
                str(call.attempt),
                *(_moment(at) for at in (call.created_at, call.answered_at, call.ended_at)),
                call.get_status_display(),
                outcome_of(call) if over else "",
                call.outcome if call.corrected_outcome else "",
                call.get_end_reason_display(),
                _number(call.duration_s),
                *_cost(spent.get(call.pk, NOTHING) if over else None),
                *_summary(call, fields),
            ]


TABLES = {"people": people, "calls": calls}


def _who(person: CampaignContact | None, *, whole_numbers: bool) -> tuple[str, str]:
    if person is None:
        return "", ""
    return person.contact.name if person.contact else "", person.number if whole_numbers else masked(person.number)


def _moment(at: datetime.datetime | None) -> str:
    return timezone.localtime(at).isoformat(timespec="seconds") if at else ""


def _number(value: int | None) -> str:
    return "" if value is None else str(value)


def _cost(cost: Cost | None) -> tuple[str, str]:
    """What is known of it, and why that is not all."""
    if cost is None:
        return "", ""
    about = [*cost.missing, *(["partly an estimate"] if cost.estimated else [])]
    return str(cost.usd.quantize(MICRO, ROUND_HALF_UP)), "; ".join(about)


def _summary(call: Call | None, fields: list[str]) -> list[str]:
    summary: CallSummary | None = getattr(call, "summary", None)
    if summary is None:
        return [""] * (len(OF_SUMMARY) + len(fields))
    success = "" if summary.success is None else "yes" if summary.success else "no"
    values = [summary.extracted.get(name) for name in fields]
    return [success, summary.outcome, summary.summary, *("" if value is None else str(value) for value in values)]


def extracted(campaign: Campaign) -> list[str]:
    """Names of what the agent extracts from its calls."""
    version = campaign.version
    return [field.name for field in version.spec.extraction] if version else []

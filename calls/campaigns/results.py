"""What came of a campaign, a row for each person: for the table that operators download."""

from collections.abc import Iterator

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from calls.models import Call, CallSummary, Campaign, CampaignContact
from calls.reports import masked

HEADERS = (
    "Name", "Number", "State", "Outcome", "Attempts", "Why", "Last called", "Talked (s)", "Success", "Result",
    "Summary",
)  # fmt: skip
CHUNK = 500


def rows(campaign: Campaign, *, whole_numbers: bool) -> Iterator[list[str]]:
    """The headers, then everybody in the order in which they came in.

    Args:
        whole_numbers: whoever reads it may see them.
    """
    fields = _fields(campaign)
    yield [*HEADERS, *fields]
    latest = Call.objects.filter(campaign_person=OuterRef("pk")).order_by("-attempt").values("pk")[:1]
    people = campaign.people.select_related("contact").annotate(latest=Subquery(latest)).order_by("pk")
    batch: list[CampaignContact] = []
    for person in people.iterator(chunk_size=CHUNK):
        batch.append(person)
        if len(batch) == CHUNK:
            yield from _written(batch, fields, whole_numbers=whole_numbers)
            batch = []
    yield from _written(batch, fields, whole_numbers=whole_numbers)


def _fields(campaign: Campaign) -> list[str]:
    """Names of what the agent extracts from its calls."""
    version = campaign.agent_version or campaign.agent.published_version
    return [field.name for field in version.spec.extraction] if version else []


def _written(people: list[CampaignContact], fields: list[str], *, whole_numbers: bool) -> Iterator[list[str]]:
    latest = [person.latest for person in people if person.latest is not None]  # type: ignore[attr-defined]
    calls = {call.pk: call for call in Call.objects.filter(pk__in=latest).select_related("summary")}
    for person in people:
        call = calls.get(person.latest)  # type: ignore[attr-defined]
        summary: CallSummary | None = getattr(call, "summary", None)
        extracted = summary.extracted if summary else {}
        yield [
            person.contact.name if person.contact else "",
            person.number if whole_numbers else masked(person.number),
            person.get_state_display(),
            person.outcome,
            str(person.attempts),
            person.why,
            timezone.localtime(call.created_at).strftime("%Y-%m-%d %H:%M") if call else "",
            "" if call is None or call.duration_s is None else str(call.duration_s),
            {True: "yes", False: "no"}.get(summary.success, "") if summary and summary.success is not None else "",
            summary.outcome if summary else "",
            summary.summary if summary else "",
            *("" if extracted.get(name) is None else str(extracted[name]) for name in fields),
        ]

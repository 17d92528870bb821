"""What happened to a person of a campaign, in the order of time: why they were called when they were, and when not.

Reads only; called by the admin. What the rules say now is ``explain``'s.
"""

import datetime
from collections.abc import Iterator
from itertools import pairwise

import msgspec
from django.db.models import Prefetch, Q, QuerySet

from calls.campaigns import schedule
from calls.models import Call, CallEvent, Campaign, CampaignContact, CampaignEvent

# What the timeline of a call holds of how it came about; the rest is on the call's own page.
EVENTS = {
    "dial_cancelled": "let go before it rang",
    "dial_rejected": "refused by Plivo",
    "dial_unknown": "sent, and not known whether it rings",
    "looked_for_at_plivo": "looked for at Plivo, and not found",
    "on_its_way_beside_another": "on its way after all, while they were called again",
    "not_answered": "picked up, and let go",
    "machine_detected": "Plivo believes that a machine answered",
    "human_detected": "Plivo believes that a person answered",
    "opted_out": "asked not to be called again",
    "outcome_corrected": "its outcome was corrected",
}
STEPS = (
    ("created_at", "claimed"),
    ("queued_at", "taken by Plivo"),
    ("ringing_at", "ringing"),
    ("answered_at", "picked up"),
    ("live_at", "talking"),
)


# Of these nothing that is done to their campaign changes anything any more.
SETTLED = (CampaignContact.State.DONE, CampaignContact.State.SKIPPED)


class Moment(msgspec.Struct, frozen=True):
    """Something that happened to a person.

    Attributes:
        theirs: what the clocks showed where they may be; of a call, where they might be when it was claimed.
        call_id: of the call that it belongs to.
    """

    at: datetime.datetime
    what: str
    detail: str
    theirs: list[str]
    call_id: int | None = None


def done_to(campaign: Campaign) -> QuerySet[CampaignEvent]:
    """What was done to a campaign since its launch, the switch for all dialling included."""
    switched = Q(campaign=None, at__gte=campaign.launched_at)
    return CampaignEvent.objects.filter(Q(campaign=campaign) | switched).select_related("by")


def _changes(campaign: Campaign) -> Iterator[tuple[datetime.datetime, str, str, object]]:
    """When settings of a campaign were changed since its launch, which, and by whom."""
    names = {field.name: str(field.verbose_name) for field in Campaign._meta.fields if field.editable}
    rows = campaign.history.select_related("history_user").order_by("history_date", "history_id")
    for before, after in pairwise(rows):
        changed = [names[name] for name in after.diff_against(before).changed_fields if name in names]
        if changed and campaign.launched_at is not None and after.history_date >= campaign.launched_at:
            yield after.history_date, "The campaign was changed", ", ".join(changed), after.history_user


def moments(person: CampaignContact) -> list[Moment]:
    """All that is stored of a person, in the order of time."""
    zones = schedule.zones_of(person.contact) if person.contact else []
    found: list[Moment] = []

    def add(at: datetime.datetime | None, what: str, detail: str = "", call: Call | None = None) -> None:
        if at is not None:
            places = call.zones if call and call.zones else zones
            found.append(Moment(at, what, detail, schedule.local_times(places, at), call.pk if call else None))

    if person.campaign.launched_at is not None:
        add(person.campaign.launched_at, "The campaign was launched")
        done = [(each.at, each.get_kind_display(), each.why, each.by) for each in done_to(person.campaign)]
        for at, what, why, by in [*done, *_changes(person.campaign)]:
            if person.state not in SETTLED or at <= person.changed_at:
                add(at, what, ", ".join(filter(None, [why, f"by {by}" if by else ""])))
    events = Prefetch("events", CallEvent.objects.filter(kind__in=EVENTS).order_by("at", "id"))
    for call in person.calls.order_by("attempt").prefetch_related(events):
        name = f"Attempt {call.attempt}"
        for field, step in STEPS:
            add(getattr(call, field), f"{name}: {step}", call=call)
        for event in call.events.all():
            told = event.data.get("why") or event.data.get("detail") or event.data.get("to", "")
            add(event.at, f"{name}: {EVENTS[event.kind]}", str(told), call)
        ended = (call.get_outcome_display(), call.get_end_reason_display(), call.hangup_cause)
        add(call.ended_at, f"{name}: ended", ", ".join(filter(None, ended)), call)
    moves = list(person.moves.all())
    for move in moves:
        again = ", ".join(schedule.local_times(zones, move.next_due)) if move.next_due else ""
        add(
            move.at,
            f"Not called: {move.get_state_display().lower()}",
            f"{move.why}; again {again}" if again else move.why,
        )
    if not moves or moves[-1].at != person.changed_at:
        add(person.changed_at, f"Since then: {person.get_state_display().lower()}", person.why)
    return sorted(found, key=lambda moment: moment.at)

"""What a campaign does at this moment: the calls that go on, and how fast its accounts start calls."""

import datetime

import msgspec
from django.db.models import Count

from calls.models import Call, Campaign
from calls.models.call import ACTIVE
from calls.reports import masked

SHOWN = 20  # calls
MINUTE = datetime.timedelta(minutes=1)
CLAIMED_WITHIN = datetime.timedelta(minutes=15)  # before Plivo took a call: bounds what the database looks at


class GoingOn(msgspec.Struct, frozen=True):
    """A call on its way or live; ``since``: when it came into this state, as far as that is known."""

    call_id: int
    agent: str
    number: str
    state: str
    since: datetime.datetime


class Pace(msgspec.Struct, frozen=True):
    """How many outbound calls a campaign or an account has started within a minute, and may start."""

    whose: str
    started: int
    limit: float


def going_on(campaign: Campaign, *, whole_numbers: bool) -> list[GoingOn]:
    """The calls that go on, the oldest first; at most SHOWN and one.

    Args:
        whole_numbers: whoever reads it may see them.
    """
    calls = campaign.calls.filter(status__in=ACTIVE).select_related("agent").order_by("created_at", "pk")
    return [
        GoingOn(
            call_id=call.pk,
            agent=call.agent.name if call.agent else "",
            number=call.to_number if whole_numbers else masked(call.to_number),
            state=call.get_status_display(),
            since=call.live_at or call.answered_at or call.ringing_at or call.queued_at or call.created_at,
        )
        for call in calls[: SHOWN + 1]
    ]


def paces(campaign: Campaign, *, now: datetime.datetime) -> list[Pace]:
    """Of the campaign, if it has a pace of its own, and of each Plivo account it calls from, in the last minute."""
    numbers = campaign.caller_numbers.select_related("plivo_account").order_by("plivo_account__name")
    accounts = {number.plivo_account_id: number.plivo_account for number in numbers}
    lately = Call.objects.filter(
        direction=Call.Direction.OUTBOUND,
        plivo_account__in=accounts,
        created_at__gt=now - CLAIMED_WITHIN,
        queued_at__gt=now - MINUTE,
    )
    started = dict(lately.order_by().values_list("plivo_account").annotate(made=Count("pk")))
    minute_s = MINUTE.total_seconds()
    found = [
        Pace(f"{account.name}, over all campaigns", started.get(pk, 0), float(account.calls_per_second) * minute_s)
        for pk, account in accounts.items()
    ]
    if campaign.calls_per_second is not None:
        own = Pace(
            "This campaign", lately.filter(campaign=campaign).count(), float(campaign.calls_per_second) * minute_s
        )
        found.insert(0, own)
    return found

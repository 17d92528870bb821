"""What a campaign has spent, what its calls under way will cost, and whether its budget is used up.

Summing up a large campaign takes long, so it is done now and then (``reckon``); a claim adds what ended since, and for
each call under way the mean cost. A budget is thus overrun by no more than what the calls under way cost above it.
"""

import datetime
from decimal import Decimal

from django.utils import timezone

from calls import costs
from calls.models import Call, Campaign, CampaignWatch
from calls.models.call import ACTIVE

GUESSED_MINUTES = 2  # of a call, until one of the campaign is over: only Plivo's part is guessed
STALE = datetime.timedelta(minutes=10)  # longer than the guards ever leave it
CENT, MICRO = Decimal("0.01"), Decimal("0.000001")
TRIED = (Call.Status.ENDED, Call.Status.REJECTED)


def reckon(campaign: Campaign, *, now: datetime.datetime) -> CampaignWatch:
    """Sums up what is over, and writes it down for ``reached``."""
    spent = costs.spend(campaign.calls.all(), table=costs.prices())
    sums = {
        "reckoned_at": now,
        "spent_usd": spent.usd.quantize(MICRO),
        "calls": campaign.calls.filter(status__in=TRIED).count(),
        "missing": "\n".join(spent.missing),
    }
    defaults = {"looked_at": now, "thorough_at": now, **sums}
    watch, _ = CampaignWatch.objects.update_or_create(campaign=campaign, defaults=sums, create_defaults=defaults)
    return watch


def reached(campaign: Campaign, *, now: datetime.datetime) -> str:
    """Why no further call may be begun, for an operator; empty when one may, or there is no budget."""
    if campaign.budget is None:
        return ""
    watch = CampaignWatch.objects.filter(campaign=campaign).first()
    if watch is None or watch.reckoned_at is None or watch.reckoned_at < now - STALE:
        watch = reckon(campaign, now=now)
    table = costs.prices()
    since = campaign.calls.filter(ended_at__gt=watch.reckoned_at)
    more = costs.spend(since, table=table)
    if missing := [*watch.missing.splitlines(), *more.missing]:
        return f"its budget cannot be kept: {missing[0]}"
    spent, tried = watch.spent_usd + more.usd, watch.calls + since.filter(status__in=TRIED).count()
    mean = spent / tried if tried else _guess(campaign, table, now)
    under_way = campaign.calls.filter(status__in=ACTIVE).count() * mean
    if spent + under_way < campaign.budget:
        return ""
    return (
        f"its budget of {campaign.budget} USD is used up: {costs.shown(spent, CENT)} USD spent, "
        f"{costs.shown(under_way, CENT)} USD expected for calls under way"
    )


def _guess(campaign: Campaign, table: costs.Prices, now: datetime.datetime) -> Decimal:
    day = timezone.localdate(now)
    known = [costs.per_minute(table, country, day) for country in campaign.countries]
    return max((usd for usd in known if usd is not None), default=Decimal()) * GUESSED_MINUTES

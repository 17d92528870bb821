"""What a campaign has spent, what its calls under way will cost, and whether its budget is used up.

Summing up a large campaign takes long, so it is done now and then (``reckon``), while it runs by its guards; whoever
asks adds what ended since, and a claim for each call under way the mean cost. A budget is thus overrun by no more than
what the calls under way cost above it.
"""

import datetime
from decimal import Decimal

import msgspec
from django.utils import timezone

from calls import costs
from calls.models import Call, Campaign, CampaignWatch, Price
from calls.models.call import ACTIVE

GUESSED_MINUTES = 2  # of a call, until one of the campaign is over: only Plivo's part is guessed
STALE = datetime.timedelta(minutes=10)  # of a running campaign: longer than its guards ever leave it
AGAIN = datetime.timedelta(minutes=1)  # of one that nobody guards
LATE = datetime.timedelta(days=1)  # after a call: a summary of it, or what Plivo reports
CENT, MICRO = Decimal("0.01"), Decimal("0.000001")
TRIED = (Call.Status.ENDED, Call.Status.REJECTED)


class Spent(msgspec.Struct, frozen=True):
    """What a campaign has spent.

    Attributes:
        usd: exact; of what has a price.
        calls: that are over, rung or refused by Plivo.
        missing: sentences that name the prices that are not known.
    """

    usd: Decimal
    calls: int
    missing: tuple[str, ...]

    @property
    def mean_usd(self) -> Decimal | None:
        """Of a call; None before one is over."""
        return self.usd / self.calls if self.calls else None


def spent(campaign: Campaign, *, now: datetime.datetime) -> Spent:
    """Of all calls that are over: those that were summed up, and what ended since."""
    watch = CampaignWatch.objects.filter(campaign=campaign).first()
    if watch is None or watch.reckoned_at is None or _outdated(campaign, watch.reckoned_at, now):
        watch = reckon(campaign, now=now)
    since = campaign.calls.filter(ended_at__gt=watch.reckoned_at)
    more = costs.spend(since, table=costs.prices())
    missing = dict.fromkeys([*watch.missing.splitlines(), *more.missing])
    return Spent(
        watch.spent_usd + more.usd, watch.calls + since.filter(status__in=TRIED).count(), missing=tuple(missing)
    )


def _outdated(campaign: Campaign, reckoned_at: datetime.datetime, now: datetime.datetime) -> bool:
    """Whether what was summed up then may have changed: by prices at once, by what came late after a while."""
    if Price.history.filter(history_date__gt=reckoned_at).exists():
        return True
    if reckoned_at >= now - (STALE if campaign.status == Campaign.Status.RUNNING else AGAIN):
        return False
    return reckoned_at < now - LATE or campaign.calls.filter(ended_at__gt=reckoned_at - LATE).exists()


def reckon(campaign: Campaign, *, now: datetime.datetime) -> CampaignWatch:
    """Sums up what is over, and writes it down for ``spent``."""
    found = costs.spend(campaign.calls.all(), table=costs.prices())
    sums = {
        "reckoned_at": now,
        "spent_usd": found.usd.quantize(MICRO),
        "calls": campaign.calls.filter(status__in=TRIED).count(),
        "missing": "\n".join(found.missing),
    }
    defaults = {"looked_at": now, "thorough_at": now, **sums}
    watch, _ = CampaignWatch.objects.update_or_create(campaign=campaign, defaults=sums, create_defaults=defaults)
    return watch


def reached(campaign: Campaign, *, now: datetime.datetime) -> str:
    """Why no further call may be begun, for an operator; empty when one may, or there is no budget."""
    if campaign.budget is None:
        return ""
    so_far = spent(campaign, now=now)
    if so_far.missing:
        return f"its budget cannot be kept: {so_far.missing[0]}"
    mean = _guess(campaign, now) if so_far.mean_usd is None else so_far.mean_usd
    under_way = campaign.calls.filter(status__in=ACTIVE).count() * mean
    if so_far.usd + under_way < campaign.budget:
        return ""
    return (
        f"its budget of {campaign.budget} USD is used up: {costs.shown(so_far.usd, CENT)} USD spent, "
        f"{costs.shown(under_way, CENT)} USD expected for calls under way"
    )


def _guess(campaign: Campaign, now: datetime.datetime) -> Decimal:
    table, day = costs.prices(), timezone.localdate(now)
    known = [costs.per_minute(table, country, day) for country in campaign.countries]
    return max((usd for usd in known if usd is not None), default=Decimal()) * GUESSED_MINUTES

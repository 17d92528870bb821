"""The guards of running campaigns: each pauses its campaign with the reason, and a person resumes it.

Asked by every dialler every few seconds; of all workers one looks, and a campaign that somebody has resumed meanwhile
is left alone. What was before a resume does not pause it again, but for the budget, which must be raised first.
"""

import datetime
import time
from typing import Any

import structlog
from django.db.models import F

from calls.campaigns import budget, control, duties, measures
from calls.models import Campaign, CampaignWatch, PlivoAccount

log = structlog.get_logger(__name__)

EVERY = datetime.timedelta(seconds=3)
THOROUGH = datetime.timedelta(seconds=15)
MOST_OF_THE_TIME = 20  # a thorough look is made no more often than so many times what the last one took
LINKS = 20


def watch(*, now: datetime.datetime) -> list[Campaign]:
    """Looks at each running campaign whose turn it is; returns those that were paused."""
    paused = []
    running = Campaign.objects.filter(status=Campaign.Status.RUNNING)
    looked = dict(CampaignWatch.objects.filter(campaign__in=running).values_list("campaign_id", "looked_at"))
    for campaign in running:
        if not _turn(campaign, looked.get(campaign.pk), now):
            continue
        try:
            why = _breaker(campaign, now) or budget.reached(campaign, now=now) or _thorough(campaign, now)
        except Exception:  # of one campaign: the others are watched all the same
            log.exception("campaign_not_watched", campaign=str(campaign.pk))
            continue
        if why and control.break_off(campaign, why=why, now=now):
            log.warning("campaign_paused", campaign=str(campaign.pk), why=why)
            paused.append(campaign)
    return paused


def _turn(campaign: Campaign, looked_at: datetime.datetime | None, now: datetime.datetime) -> bool:
    """Whether this worker is to look; nothing is written when nobody is to."""
    if looked_at is not None and looked_at > now - EVERY:
        return False
    fresh = {"looked_at": now - EVERY, "thorough_at": now}
    CampaignWatch.objects.get_or_create(campaign=campaign, defaults=fresh)
    due = CampaignWatch.objects.filter(campaign=campaign, looked_at__lte=now - EVERY)
    return bool(due.update(looked_at=now))


def _breaker(campaign: Campaign, now: datetime.datetime) -> str:
    share = measures.failures(campaign, now=now)
    if share.all < measures.FEWEST_FINISHED or share.some * 100 < campaign.breaker_percent * share.all:
        return ""
    return f"{share.some} of the last {share.all} calls failed, within {campaign.breaker_window_s} s"


def _thorough(campaign: Campaign, now: datetime.datetime) -> str:
    """What takes long, or changes slowly: spending, silence, short calls, the register's age."""
    due = CampaignWatch.objects.filter(campaign=campaign, thorough_at__lte=now)
    if not due.update(thorough_at=now + THOROUGH):
        return ""
    begun = time.monotonic()
    budget.reckon(campaign, now=now)
    why = budget.reached(campaign, now=now) or _silence(campaign, now)
    why = why or duties.unscrubbed(purpose=campaign.purpose, countries=campaign.countries, now=now)
    warning = "\n".join(_short(campaign, now))
    took = datetime.timedelta(seconds=time.monotonic() - begun)
    pause = max(THOROUGH, MOST_OF_THE_TIME * took)
    CampaignWatch.objects.filter(campaign=campaign).update(thorough_at=now + pause, warning=warning)
    return why


def _silence(campaign: Campaign, now: datetime.datetime) -> str:
    share = measures.silences(campaign, now=now)
    if share.all < measures.FEWEST_ANSWERED or share.fraction <= measures.SILENT_SHARE:
        return ""
    return (
        f"{share.some} of {share.all} people who answered heard nothing for more than 2 s, which is more than "
        f"{measures.SILENT_SHARE:.1%}: see why the agent speaks late before more are called"
    )


def _short(campaign: Campaign, now: datetime.datetime) -> list[str]:
    found = []
    for account in PlivoAccount.objects.filter(numbers__campaigns=campaign).distinct():
        share = measures.short_calls(account, now=now)
        if share.all >= measures.FEWEST_SHORT and share.fraction >= measures.SHORT_SHARE:
            found.append(
                f"{share.fraction:.0%} of this month's {share.all} answered calls of {account.name} lasted 6 s or "
                "less; from 20 % on Plivo charges more"
            )
    return found


def standing(campaign: Campaign, *, now: datetime.datetime) -> dict[str, Any]:
    """What the guards have found, and what was spent so far, for the campaign's page."""
    found: dict[str, Any] = {"failing": [], "warning": "", "spent": None}
    if campaign.launched_at is not None:
        found["spent"] = budget.spent(campaign, now=now)
        found["warning"] = CampaignWatch.objects.get(campaign=campaign).warning
    if campaign.status == Campaign.Status.PAUSED and campaign.paused_at and campaign.paused_why:
        since = measures.breaker_since(campaign, campaign.paused_at)
        failing = measures.finished(campaign, since, campaign.paused_at).filter(measures.failed())
        found["failing"] = list(failing.order_by(F("ended_at").desc(nulls_last=True), "-pk")[:LINKS])
    return found

"""A campaign's people gone through in the background: put in, or looked at again because something was changed.

One round after the other, in the order in which they were asked for, some hundreds of people in a transaction that also
notes how far it has come: one whose worker died goes on where it was, and of two workers one goes on.
"""

import datetime
import time
from collections.abc import Callable

from django.db import transaction
from django.db.models import F, Max

from calls.campaigns import enrolment, second_look
from calls.hints import hint
from calls.models import Campaign, CampaignRound

AT_ONCE_S = 20.0  # then the sweep of calls, which waits in the same queue, has its turn
STUCK_AFTER = datetime.timedelta(seconds=60)
TASK = "calls.tasks.campaigns.go_round"
GOES_ON = (Campaign.Status.RUNNING, Campaign.Status.PAUSED)
_Kind = CampaignRound.Kind
_CHUNK_OF = {_Kind.ENROL: enrolment.chunk, _Kind.CHANGED: second_look.changed, _Kind.HELD: second_look.held}


def start(campaign: Campaign, kind: CampaignRound.Kind, *, now: datetime.datetime) -> None:
    """From the first person on, instead of one of the same kind that goes on."""
    with transaction.atomic():
        CampaignRound.objects.filter(campaign=campaign, kind=kind).delete()
        CampaignRound.objects.create(campaign=campaign, kind=kind, moved_at=now)
        transaction.on_commit(lambda: hint(TASK, str(campaign.pk)))


def due(now: datetime.datetime) -> list[str]:
    """Ids of campaigns whose rounds lie still: their hint was lost, or their worker died."""
    moved = CampaignRound.objects.order_by().values("campaign").annotate(moved=Max("moved_at"))
    return [str(pk) for pk in moved.filter(moved__lt=now - STUCK_AFTER).values_list("campaign", flat=True)]


def run(campaign_id: str, *, clock: Callable[[], datetime.datetime], seconds: float = AT_ONCE_S) -> bool:
    """Goes on with a campaign's rounds from where they stand, for so long at most.

    Returns:
        whether there is more to do.
    """
    rounds = CampaignRound.objects.filter(campaign__pk=campaign_id).order_by("pk")
    # With the campaign as it is at each chunk.
    rounds = rounds.select_related("campaign__agent__published_version", "campaign__agent_version")
    until = time.monotonic() + seconds
    while (found := rounds.first()) is not None:
        if time.monotonic() > until:
            return True
        if not _go_on(found, now=clock()):
            return False  # another worker has it
    return False


def _go_on(found: CampaignRound, *, now: datetime.datetime) -> bool:
    """Passes some people; False when somebody else has passed them, or has begun the round anew."""
    chunk = _CHUNK_OF[_Kind(found.kind)](found.campaign, found.after, now=now)
    with transaction.atomic():
        # As a claim does, which relies on it that nobody else moves who waits.
        campaign = Campaign.objects.select_for_update(no_key=True).filter(pk=found.campaign_id, status__in=GOES_ON)
        goes_on = campaign.values_list("pk").first() is not None
        mine = CampaignRound.objects.filter(pk=found.pk, after=found.after)
        if chunk is not None and goes_on:
            if not mine.update(after=chunk.last, done=F("done") + chunk.people, moved_at=now):
                return False
            chunk.write()
            return True
        deleted, _ = mine.delete()
        if deleted and goes_on and found.kind == _Kind.ENROL:
            Campaign.objects.filter(pk=found.campaign_id).update(enrolled_at=now)
    return bool(deleted)

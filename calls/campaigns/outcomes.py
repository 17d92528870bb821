"""After an attempt: is the person called again, and when? Looks at the rows, so that it may come late or twice."""

import datetime
import itertools

from django.db import transaction
from django.db.models import Case, Exists, F, OuterRef, Q, Value, When

from calls.hooks import events
from calls.models import Call, Campaign, CampaignContact, CampaignRound
from calls.states import FINAL

BATCH = 500
EARLY = datetime.timedelta(seconds=10)  # who hangs up so soon has not heard what it was about
HUNG_UP = "hung_up"
LET_GO = datetime.timedelta(minutes=1)  # whatever stood in the way may still do


def settle(*, now: datetime.datetime) -> int:
    """Moves on everybody whose latest attempt is over; returns how many."""
    settled = 0
    # Few are being called at a time; of them it is asked, not of all calls that are over.
    calling = CampaignContact.objects.filter(state=CampaignContact.State.CALLING).order_by("pk")
    rest = iter(list(calling.values_list("pk", flat=True)))
    while people := list(itertools.islice(rest, BATCH)):
        over = Call.objects.filter(
            campaign_person__in=people, attempt=F("campaign_person__attempts"), status__in=FINAL
        ).order_by()
        settled += sum(_settle(call, now) for call in over.select_related("campaign_person", "campaign"))
    return settled


def _settle(call: Call, now: datetime.datetime) -> bool:
    person, campaign = call.campaign_person, call.campaign
    if person is None or campaign is None:
        return False
    outcome = outcome_of(call)
    due = next_attempt(campaign, call, now=now)
    calling = CampaignContact.objects.filter(
        pk=person.pk, state=CampaignContact.State.CALLING, attempts=person.attempts
    )
    if due is None:
        why = NOT_FOUND if call.status == Call.Status.NOT_FOUND else ""
        return bool(calling.update(state="done", next_due=None, outcome=outcome, why=why, changed_at=now))
    why = "was not called after all" if not_called(call) else "to be called again"
    return bool(calling.update(state="waiting", next_due=due, outcome=outcome, why=why, changed_at=now))


NOT_FOUND = "whether they were rung was never known: not called again"


def outcome_of(call: Call) -> str:
    """What came of an attempt, under the names that ``Campaign.retries`` uses; an operator's word beats all others."""
    if call.corrected_outcome:
        return call.corrected_outcome
    if call.status == Call.Status.NOT_FOUND:
        return "unknown"
    return call.outcome or "failed"


# The same in SQL, of calls that are over.
OUTCOME = Case(
    When(~Q(corrected_outcome=""), then=F("corrected_outcome")),
    When(status=Call.Status.NOT_FOUND, then=Value("unknown")),
    When(outcome="", then=Value("failed")),
    default=F("outcome"),
)


def retried_as(call: Call) -> str:
    """Under which name of ``Campaign.retries`` another attempt is made: the outcome, or that they hung up early."""
    outcome = outcome_of(call)
    early = (
        outcome == Call.Outcome.COMPLETED
        and not call.corrected_outcome
        and call.end_reason == Call.EndReason.CALLER_HUNG_UP
        and call.answered_at is not None
        and call.ended_at is not None
        and call.ended_at - call.answered_at <= EARLY
    )
    return HUNG_UP if early else outcome


def not_called(call: Call) -> bool:
    """Nobody was spoken to, because of us: it was let go before it rang, or hung up on at once."""
    return call.status == Call.Status.CANCELLED or call.end_reason == Call.EndReason.REFUSED


def next_attempt(campaign: Campaign, call: Call, *, now: datetime.datetime) -> datetime.datetime | None:
    """When a person is called again after this attempt; None: not in this campaign.

    Of each outcome so many attempts are made as the campaign gives delays for; one that nobody knows of is the last.
    """
    if not_called(call):
        return now + LET_GO  # the claim looks at everything again
    if call.status == Call.Status.NOT_FOUND:
        return None
    name = retried_as(call)
    delays = campaign.retries.get(name, [])
    same = Call.objects.filter(
        campaign_person=call.campaign_person, status__in=[Call.Status.ENDED, Call.Status.REJECTED]
    )
    made = sum(retried_as(each) == name and not not_called(each) for each in same)
    if made > len(delays):
        return None
    return (call.ended_at or now) + datetime.timedelta(minutes=delays[made - 1])


def finish(*, now: datetime.datetime) -> list[Campaign]:
    """Ends the campaigns in which nobody waits, nobody is being called, and nobody is being looked at again."""
    finished = []
    open_ = CampaignContact.objects.filter(
        campaign=OuterRef("pk"), state__in=[CampaignContact.State.WAITING, CampaignContact.State.CALLING]
    )
    rounds = CampaignRound.objects.filter(campaign=OuterRef("pk"))  # they may have somebody wait again
    over = Campaign.objects.filter(
        ~Exists(open_), ~Exists(rounds), status=Campaign.Status.RUNNING, enrolled_at__isnull=False
    )
    for campaign in over:
        with transaction.atomic():
            # Whoever changes it, or asks for a round, has it locked: what they write is seen after that.
            Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
            if over.filter(pk=campaign.pk).update(status=Campaign.Status.FINISHED, finished_at=now):
                campaign.finished_at = now
                events.campaign_finished(campaign, now=now)
                finished.append(campaign)
    return finished

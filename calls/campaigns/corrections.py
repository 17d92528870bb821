"""An operator's word on what came of a call: it counts instead of the machine's, which stays beside it.

Called by the admin. Whoever waits for their next attempt because of the call waits by its new outcome, or no longer;
whoever is done stays done, since nobody is rung by what somebody writes down.
"""

import datetime

from django.db import transaction

from calls import lifecycle
from calls.campaigns import outcomes
from calls.campaigns.control import Refused
from calls.models import Call, Campaign, CampaignContact

# Over, and somebody was, or may have been, on the line.
CORRECTABLE = (Call.Status.ENDED, Call.Status.NOT_FOUND)
MAX_WHY = 200
_State = CampaignContact.State


def correct(call: Call, *, outcome: str, why: str, by_id: int | None, now: datetime.datetime) -> str:
    """Notes another outcome of a call; the machine's own takes an earlier correction back.

    Args:
        outcome: of ``Call.Outcome``.
        why: the operator's reason, at most 200 characters.

    Returns:
        what follows for the person, as a sentence; empty when nothing does.

    Raises:
        Refused: the call is not over, the outcome is no other, or there is no reason.
    """
    if outcome not in Call.Outcome.values:
        raise Refused("Choose an outcome.")
    if not why.strip() or len(why) > MAX_WHY:
        raise Refused(f"Say why, in at most {MAX_WHY} characters.")
    with transaction.atomic():
        if call.campaign_id is not None:  # first, as a claim does, which relies on it that nobody else moves who waits
            Campaign.objects.select_for_update(no_key=True).get(pk=call.campaign_id)
        known = Call.objects.select_for_update(of=("self",)).select_related("campaign", "campaign_person")
        call = known.get(pk=call.pk)
        if call.status not in CORRECTABLE:
            raise Refused(
                "Only a call that is over, and that was not let go before it rang, has an outcome to correct."
            )
        before = call.corrected_outcome or call.outcome
        if outcome == before:
            raise Refused(f"Its outcome is “{Call.Outcome(outcome).label}” already.")
        call.corrected_outcome = "" if outcome == call.outcome else outcome
        call.corrected_why, call.corrected_by_id, call.corrected_at = why.strip(), by_id, now
        call.save(update_fields=["corrected_outcome", "corrected_why", "corrected_by", "corrected_at"])
        data = {"from": before or "unknown", "to": outcome, "user": by_id}
        lifecycle.note(call=call, kind="outcome_corrected", now=now, data=data)
        return _person(call, now)


def _person(call: Call, now: datetime.datetime) -> str:
    """What follows for the person whose latest attempt it was."""
    person, campaign = call.campaign_person, call.campaign
    if person is None or campaign is None or person.attempts != call.attempt or person.state == _State.CALLING:
        return ""  # ``outcomes.settle`` will ask for the outcome
    same = CampaignContact.objects.filter(pk=person.pk, state=person.state, attempts=person.attempts)
    outcome = outcomes.outcome_of(call)
    if person.state != _State.WAITING or outcomes.not_called(call):
        same.update(outcome=outcome)
        return "The person is done, and is not called again by this." if person.state == _State.DONE else ""
    due = outcomes.next_attempt(campaign, call, now=now)
    if due is None:
        same.update(state=_State.DONE, next_due=None, outcome=outcome, why="", changed_at=now)
        return "The person waited for another attempt, and is now done."
    same.update(next_due=due, outcome=outcome, why="to be called again", changed_at=now)
    return "The person waits for the next attempt by the new outcome."

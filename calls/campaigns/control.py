"""Launching, pausing, resuming and stopping a campaign, and the switch that stops all dialling.

The only writer of ``Campaign.status`` but for its end (``outcomes.finish``). A pause counts from its commit: whatever
is claimed but not sent looks at the campaign once more (``gate.obstacle``). Whoever is rung already is talked to.
"""

import datetime

from django.db import transaction

from calls.campaigns import approvals, budget, duties, rounds
from calls.models import (
    Approval,
    Campaign,
    CampaignEvent,
    CampaignRound,
    Contact,
    ContactCopy,
    ContactImport,
    Price,
    Switch,
)

_Status = Campaign.Status
_Kind = CampaignEvent.Kind


class Refused(ValueError):  # noqa: N818  (as an operator would say it)
    """It cannot be done; the text says why and what to do."""


def faults(campaign: Campaign, *, now: datetime.datetime) -> list[str]:
    """What stands in the way of a launch, in sentences."""
    found = []
    version = campaign.version
    if version is None:
        found.append(f"{campaign.agent} was never published: publish it first.")
    elif why := duties.undisclosed(version):
        found.append(why)
    if not campaign.caller_numbers.exists():
        found.append("Choose a number to call from.")
    if not Contact.objects.filter(contact_list__in=campaign.contact_lists.all()).exists():
        found.append("Nobody is in its lists: import people first.")
    if not campaign.countries:
        found.append("Choose the countries that may be called.")
    importing = ContactImport.objects.filter(contact_list__campaigns=campaign, status=ContactImport.Status.RUNNING)
    if importing.exists():
        found.append("People are still being imported into its lists: wait until that is done.")
    if ContactCopy.objects.filter(contact_list__campaigns=campaign, finished_at=None).exists():
        found.append("People are still being copied into its lists: wait until that is done.")
    if campaign.budget is not None and not Price.objects.exists():
        found.append("A budget needs prices: add them under Prices, or leave the budget empty.")
    if not any(campaign.week):
        found.append("Its week has no hours in which anybody may be called.")
    if why := duties.unscrubbed(purpose=campaign.purpose, countries=campaign.countries, now=now):
        found.append(why)
    return found


def launch(campaign: Campaign, *, now: datetime.datetime, user_id: int | None = None) -> None:
    """From now on people are called.

    Args:
        user_id: who launches it; cannot be who approved it.

    Raises:
        Refused: it is no draft, something is missing, or it needs the approval of a second person.
    """
    with transaction.atomic():
        planned = _locked(campaign)
        if found := faults(planned, now=now):
            raise Refused(" ".join(found))
        if not approvals.standing(planned).allows(user_id):
            raise Refused("It needs the approval of a second person: see its rehearsal.")
        _move(campaign, {_Status.DRAFT}, _Status.RUNNING, launched_at=now)
        rounds.start(campaign, CampaignRound.Kind.ENROL, now=now)


def approve(campaign: Campaign, *, seen: str, user_id: int, now: datetime.datetime) -> None:
    """A second person's yes to the plan that they have seen.

    Args:
        seen: its fingerprint when they looked at it.
        user_id: who has the permission to approve; not who planned it.

    Raises:
        Refused: it is no draft, it is their own, or it was changed since.
    """
    with transaction.atomic():
        planned = _locked(campaign)
        if planned.status != _Status.DRAFT:
            raise Refused(f"This campaign is {planned.get_status_display().lower()}.")
        if planned.created_by_id == user_id:
            raise Refused("You have planned it yourself: somebody else must approve it.")
        standing = approvals.standing(planned)
        if standing.fingerprint != seen:
            raise Refused("It was changed since you looked: look again before you approve it.")
        Approval.objects.get_or_create(
            campaign=planned,
            fingerprint=seen,
            approved_by_id=user_id,
            defaults={"people": standing.people, "approved_at": now},
        )


def _locked(campaign: Campaign) -> Campaign:
    """The row as it is, kept so until the transaction ends."""
    rows = Campaign.objects.select_for_update(of=("self",)).select_related("agent__published_version", "agent_version")
    return rows.get(pk=campaign.pk)


def pause(campaign: Campaign, *, now: datetime.datetime, user_id: int | None = None) -> None:
    """Nobody more is rung; calls that go on are finished. Raises Refused."""
    with transaction.atomic():
        _move(campaign, {_Status.RUNNING}, _Status.PAUSED, paused_why="", paused_at=now, paused_by_id=user_id)
        _note(_Kind.PAUSED, campaign, now=now, user_id=user_id)


def break_off(campaign: Campaign, *, why: str, now: datetime.datetime) -> bool:
    """The guards pause a campaign; False when it does not run any more, or somebody has resumed it meanwhile.

    Args:
        campaign: as it was when the guards looked at it.
        why: for whoever is to resume it.
    """
    same = Campaign.objects.filter(pk=campaign.pk, status=_Status.RUNNING, resumed_at=campaign.resumed_at)
    with transaction.atomic():
        paused = same.update(status=_Status.PAUSED, paused_why=why[:300], paused_at=now, paused_by=None)
        if paused:
            _note(_Kind.PAUSED, campaign, now=now, why=why)
    return bool(paused)


def resume(campaign: Campaign, *, now: datetime.datetime, user_id: int | None = None) -> None:
    """People are called again, and what was before does not pause it again. Raises Refused."""
    if why := budget.reached(campaign, now=now):
        raise Refused(f"It would pause again at once: {why}.")
    if why := duties.unscrubbed(purpose=campaign.purpose, countries=campaign.countries, now=now):
        raise Refused(why)
    with transaction.atomic():
        _move(
            campaign,
            {_Status.PAUSED},
            _Status.RUNNING,
            paused_why="",
            paused_at=None,
            paused_by_id=None,
            resumed_at=now,
        )
        _note(_Kind.RESUMED, campaign, now=now, user_id=user_id)


def stop(campaign: Campaign, *, now: datetime.datetime, user_id: int | None = None) -> None:
    """For good. Raises Refused."""
    with transaction.atomic():
        _move(campaign, {_Status.RUNNING, _Status.PAUSED}, _Status.STOPPED, finished_at=now)
        _note(_Kind.STOPPED, campaign, now=now, user_id=user_id)


def _move(campaign: Campaign, sources: set[_Status], target: _Status, **fields: object) -> None:
    if not Campaign.objects.filter(pk=campaign.pk, status__in=sources).update(status=target, **fields):
        campaign.refresh_from_db(fields=["status"])
        raise Refused(f"This campaign is {campaign.get_status_display().lower()}.")
    campaign.status = target


def _note(
    kind: CampaignEvent.Kind,
    campaign: Campaign | None,
    *,
    now: datetime.datetime,
    user_id: int | None = None,
    why: str = "",
) -> None:
    """Of a person who was not called is told what was done meanwhile (``trace``)."""
    CampaignEvent.objects.create(kind=kind, campaign=campaign, at=now, by_id=user_id, why=why[:300])


def look_again(campaign: Campaign, *, now: datetime.datetime, user_id: int | None = None) -> None:
    """Whoever is held is looked at again, now that something was mended. Raises Refused."""
    with transaction.atomic():
        status = _locked(campaign).status
        if status not in rounds.GOES_ON:
            raise Refused(f"This campaign is {_Status(status).label.lower()}.")
        _note(_Kind.LOOKED_AGAIN, campaign, now=now, user_id=user_id)
        rounds.start(campaign, CampaignRound.Kind.HELD, now=now)


def changed(campaign: Campaign, *, now: datetime.datetime) -> None:
    """Its hours, its end or the caps are others: so is when people are due who wait for them."""
    if campaign.status in rounds.GOES_ON:
        rounds.start(campaign, CampaignRound.Kind.CHANGED, now=now)


def law_changed(*, now: datetime.datetime) -> None:
    """What operators add to the law is other: the same for every campaign."""
    for campaign in Campaign.objects.filter(status__in=rounds.GOES_ON):
        changed(campaign, now=now)


def throw_switch(*, user_id: int | None, why: str, now: datetime.datetime) -> None:
    """Nothing is dialled any more, by any campaign, until it is thrown back."""
    with transaction.atomic():
        _, thrown = Switch.objects.get_or_create(
            pk=1, defaults={"thrown_by_id": user_id, "why": why[:200], "thrown_at": now}
        )
        if thrown:
            _note(_Kind.SWITCH_THROWN, None, now=now, user_id=user_id, why=why)


def throw_back(*, now: datetime.datetime, user_id: int | None) -> None:
    """Dialling goes on."""
    with transaction.atomic():
        thrown_back, _ = Switch.objects.all().delete()
        if thrown_back:
            _note(_Kind.SWITCH_BACK, None, now=now, user_id=user_id)

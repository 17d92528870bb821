"""Who is called next: one short transaction that looks at everything again and leaves a ``Call`` row, or nothing.

The promises are the database's: a person of a campaign has one call for each attempt, and a number one outbound call
at a time over all campaigns. Called by ``dialler``, by any number of workers at once.
"""

import datetime
import itertools
import uuid
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from typing import Protocol, TypeVar

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import Q

from calls import lifecycle, suppression
from calls.campaigns import budget, gate, own_law, schedule
from calls.campaigns.schedule import Answer, Callee, Due, Held, History, Skipped
from calls.models import Call, Campaign, CampaignContact, PersonMove, PhoneNumber
from calls.models.call import ACTIVE

# How long a claimed call may lie before another worker may place it; placing takes less.
LEASE = datetime.timedelta(seconds=60)
# A call must begin so long before its window closes: Plivo's queue, and the ringing.
QUEUE_MARGIN = datetime.timedelta(seconds=30)
ELSEWHERE = datetime.timedelta(minutes=5)  # until a number that another campaign is calling is looked at again
CHUNK = 2000  # people of whom is forecast at once
NEVER = History()
LOOK_BACK = datetime.timedelta(days=8)
# Calls by which somebody was, or may have been, rung.
RUNG = ~Q(status__in=[Call.Status.CLAIMED, Call.Status.REJECTED])
RUNG &= ~Q(status=Call.Status.CANCELLED, ringing_at=None, answered_at=None)


class Claim(msgspec.Struct, frozen=True):
    """What a look at a campaign brought.

    Attributes:
        call_id: a call to be placed; None: somebody was moved on, or nobody is due.
        more: it is worth looking again.
    """

    call_id: int | None
    more: bool


def running(now: datetime.datetime) -> list[Campaign]:
    """Campaigns that may call somebody now."""
    begun = Q(starts_at=None) | Q(starts_at__lte=now)
    return list(Campaign.objects.filter(begun, status=Campaign.Status.RUNNING).order_by("launched_at"))


def claim(campaign_id: uuid.UUID, *, now: datetime.datetime) -> Claim:
    """Takes the person of a campaign who is due longest, if one is and may be called now.

    A person who may not is moved on: to a later hour, or held or skipped with the reason.
    """
    with transaction.atomic():
        campaign = (
            Campaign.objects.select_for_update(of=("self",))
            .select_related("agent__published_version", "agent_version")
            .filter(pk=campaign_id, status=Campaign.Status.RUNNING)
            .first()
        )
        if campaign is None or gate.stopped() or not _has_room(campaign, now):
            return Claim(None, more=False)
        due = CampaignContact.objects.filter(campaign=campaign, state=CampaignContact.State.WAITING, next_due__lte=now)
        person = due.select_related("contact").order_by("next_due", "id").first()
        if person is None:
            return Claim(None, more=False)
        found = answer_for(campaign, person, now=now)
        if not isinstance(found, Due) or found.at > now:
            move_on(person, found, now=now)
            return Claim(None, more=True)
        version = campaign.agent_version or campaign.agent.published_version
        caller = caller_number(campaign, person)
        if version is None or caller is None:
            why = "the agent is not published" if version is None else "the campaign has no number to call from"
            move_on(person, Held(why), now=now)
            return Claim(None, more=True)
        try:
            with transaction.atomic():
                call = lifecycle.create_outbound(
                    now=now,
                    deadline_at=now + LEASE,
                    campaign=campaign,
                    campaign_person=person,
                    attempt=person.attempts + 1,
                    agent=campaign.agent,
                    agent_version=version,
                    phone_number=caller,
                    plivo_account_id=caller.plivo_account_id,
                    is_sandbox=caller.plivo_account.is_sandbox,
                    from_number=caller.number,
                    to_number=person.number,
                    caller_name="",
                    variables=dict(person.contact.variables) if person.contact else {},
                )
        except IntegrityError:  # another campaign, or an attempt whose outcome is not known
            move_on(person, Due(now + ELSEWHERE, now + ELSEWHERE, "another call to this number is under way"), now=now)
            return Claim(None, more=True)
        _change(person, now=now, state=CampaignContact.State.CALLING, next_due=None, why="", attempts=call.attempt)
    return Claim(call.pk, more=True)


def answer_for(campaign: Campaign, person: CampaignContact, *, now: datetime.datetime) -> Answer:
    """What is to be done about a person now, from all that the database knows."""
    contact = person.contact
    if contact is None:
        return Skipped("their data were erased")
    margin = QUEUE_MARGIN + datetime.timedelta(seconds=campaign.ring_s)
    return schedule.answer(
        campaign,
        contact,
        hours=schedule.hours_of(campaign, own=own_law.read(now=now)),
        suppressed=suppression.is_suppressed(person.number),
        history=histories([person.number], now=now).get(person.number, NEVER),
        now=now,
        margin=margin,
        missing=[name for name in needed_variables(campaign) if not contact.variables.get(name)],
    )


class Forecast(Callee, Protocol):
    """Somebody of whom is forecast what is to be done."""

    @property
    def variables(self) -> Mapping[str, str]: ...


_P = TypeVar("_P", bound=Forecast)


def forecast(campaign: Campaign, people: Iterable[_P], *, now: datetime.datetime) -> Iterator[tuple[_P, Answer]]:
    """What is to be done about some people, in few queries; each is looked at more closely when they are claimed.

    People of one campaign mostly differ in nothing that counts: what holds for one of them is asked once.
    """
    needed = needed_variables(campaign)
    hours = schedule.hours_of(campaign, own=own_law.read(now=now))
    known: dict[Hashable, Answer] = {}
    rest = iter(people)
    while some := list(itertools.islice(rest, CHUNK)):
        numbers = [person.number for person in some]
        unwanted, before = suppression.suppressed(numbers), histories(numbers, now=now)
        for person in some:
            suppressed, history = person.number in unwanted, before.get(person.number, NEVER)
            missing = tuple(name for name in needed if not person.variables.get(name))
            same = schedule.alike(person), suppressed, missing
            # Of earlier calls counts alone how long they keep the next one waiting, which is each person's own.
            capped = history is not NEVER and schedule.after_earlier_calls(campaign, history, now)[0] > now
            found = None if capped else known.get(same)
            if found is None:
                found = schedule.answer(
                    campaign,
                    person,
                    hours=hours,
                    suppressed=suppressed,
                    history=history,
                    now=now,
                    missing=missing,
                    strict=False,
                )
                if not capped:
                    known[same] = found
            yield person, found


def needed_variables(campaign: Campaign) -> list[str]:
    """Variables of the agent without a default: a person without a value for one is not called."""
    version = campaign.agent_version or campaign.agent.published_version
    return [name for name, default in version.spec.variables.items() if not default] if version else []


def histories(numbers: Collection[str], *, now: datetime.datetime) -> dict[str, History]:
    """When each number was rung lately, by any campaign; an attempt of which nobody knows counts."""
    lately = Call.objects.filter(RUNG, direction=Call.Direction.OUTBOUND, created_at__gte=now - LOOK_BACK)
    found: dict[str, list[datetime.datetime]] = {}
    if len(numbers) > 1 and not lately.exists():
        return {}
    for number, at in lately.filter(to_number__in=numbers).values_list("to_number", "created_at"):
        found.setdefault(number, []).append(at)
    return {number: History(tuple(calls)) for number, calls in found.items()}


def caller_number(campaign: Campaign, person: CampaignContact) -> PhoneNumber | None:
    """The number that this person sees: for all attempts the same, as long as the campaign has it."""
    pool = list(campaign.caller_numbers.select_related("plivo_account").order_by("number"))
    if not pool:
        return None
    earlier = Call.objects.filter(campaign_person=person).order_by("-attempt").values_list("from_number", flat=True)
    last = earlier.first() if person.attempts else None
    return next((each for each in pool if each.number == last), pool[person.pk % len(pool)])


def move_on(person: CampaignContact, found: Answer, *, now: datetime.datetime) -> None:
    """Writes down that a waiting person is not called now, until when, and why; what was written before stays told."""
    due = found.at if isinstance(found, Due) else None
    move = PersonMove(person=person, at=now, state=_STATES[type(found)], next_due=due, why=found.why[:200])
    _change(person, now=now, state=move.state, next_due=move.next_due, why=move.why)
    move.save()


_STATES = {
    Due: CampaignContact.State.WAITING,
    Held: CampaignContact.State.HELD,
    Skipped: CampaignContact.State.SKIPPED,
}


def _change(person: CampaignContact, *, now: datetime.datetime, **fields: object) -> None:
    waiting = CampaignContact.objects.filter(pk=person.pk, state=CampaignContact.State.WAITING)
    if not waiting.update(changed_at=now, **fields):
        raise RuntimeError("the person's row changed under its campaign's lock")


def _has_room(campaign: Campaign, now: datetime.datetime) -> bool:
    """Whether one more call may go on; the guards pause a campaign whose budget is used up, with the reason."""
    going_on = Call.objects.filter(campaign=campaign, status__in=ACTIVE).count()
    return going_on < campaign.concurrency and not budget.reached(campaign, now=now)

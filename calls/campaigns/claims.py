"""Who is called next: one short transaction that looks at everything again and leaves a ``Call`` row, or nothing.

The promises are the database's: a person of a campaign has one call for each attempt, and a number one outbound call
at a time over all campaigns. Called by ``dialler``, by any number of workers at once.
"""

import datetime
import itertools
import math
import uuid
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import NamedTuple, Protocol, TypeVar

import msgspec
from django.db import IntegrityError, transaction
from django.db.models import CharField, DateTimeField, Q, QuerySet, UUIDField
from django.db.models.functions import Coalesce

from calls import lifecycle, suppression
from calls.campaigns import (
    account_lines,
    budget,
    caller_series,
    duties,
    gate,
    law,
    measures,
    outcomes,
    own_law,
    schedule,
)
from calls.campaigns.schedule import Answer, Callee, Due, Held, History, Skipped
from calls.models import Call, Campaign, CampaignContact, PersonMove, PhoneNumber
from calls.models.call import ACTIVE
from calls.models.campaign import LONGEST_GAP_H
from calls.prepared import Given, Prepared, among, numbered

# How long a claimed call may lie before another worker may place it; placing takes less.
LEASE = datetime.timedelta(seconds=60)
# A call must begin so long before its window closes: Plivo's queue, and the ringing.
QUEUE_MARGIN = datetime.timedelta(seconds=30)
ELSEWHERE = datetime.timedelta(minutes=5)  # until a number that another campaign is calling is looked at again
AHEAD_S = 2  # of a campaign with a pace of its own so many calls are claimed as may begin within
CHUNK = 2000  # people of whom is forecast at once
NEVER = History()
# Every cap lies within; a day more, since a call may ring some time after it was claimed.
LOOK_BACK = datetime.timedelta(days=1 + max(LONGEST_GAP_H // 24, 7, *(cap.days for cap in law.CAPS.values())))
BRITISH = "+44"  # the United Kingdom, and the islands that share its code
# Calls by which somebody was, or may have been, rung.
RUNG = ~Q(status=Call.Status.CLAIMED)
RUNG &= ~Q(status__in=[Call.Status.CANCELLED, Call.Status.REJECTED], ringing_at=None, answered_at=None)

_ID, _MOMENT = UUIDField(), DateTimeField()
# The key stays free: whoever writes a row that points at the campaign need not wait.
_LOCKED = Prepared(
    Campaign.objects.select_for_update(of=("self",), no_key=True)
    .select_related("agent__published_version", "agent_version")
    .filter(pk=Given("campaign", _ID), status=Campaign.Status.RUNNING)
)
_GOING_ON = Prepared(
    Call.objects.order_by().filter(campaign=Given("campaign", _ID), status__in=ACTIVE).values_list("status", flat=True)
)
_POOL = Prepared(
    PhoneNumber.objects.filter(campaigns=Given("campaign", _ID))
    .select_related("plivo_account")
    .defer("plivo_account__auth_token")
    .order_by("number")
)


class Claim(msgspec.Struct, frozen=True):
    """What a look at a campaign brought.

    Attributes:
        call_ids: calls to be placed; somebody else may have been moved on.
        more: it is worth looking again.
    """

    call_ids: list[int] = []
    more: bool = False


class _Known(NamedTuple):
    """What is read once for all people of a look."""

    hours: schedule.Hours
    pool: list[PhoneNumber]
    unwanted: set[str]
    histories: dict[str, History]
    lines: dict[uuid.UUID, int]  # of accounts that have a limit; taken from while people are claimed


def running(now: datetime.datetime) -> list[Campaign]:
    """Campaigns that may call somebody now."""
    begun = Q(starts_at=None) | Q(starts_at__lte=now)
    return list(Campaign.objects.filter(begun, status=Campaign.Status.RUNNING).order_by("launched_at"))


def claim(campaign_id: uuid.UUID, *, now: datetime.datetime, most: int = 1) -> Claim:
    """Takes the people of a campaign who are due longest, as far as they may be called now.

    A person who may not is moved on: to a later hour, or held or skipped with the reason.

    Args:
        most: people to look at; few, since the campaign is locked meanwhile.
    """
    with transaction.atomic():
        campaign = next(iter(_LOCKED.rows(campaign=campaign_id)), None)
        if campaign is None:
            return Claim()
        if gate.stopped() or (room := min(most, _room(campaign, now))) < 1:
            return Claim()
        people = _due(room).rows(campaign=campaign_id, now=now)
        if not people:
            return Claim()
        known = _known(campaign, [person.number for person in people], now)
        known = known._replace(lines=account_lines.free(each.plivo_account for each in known.pool))
        # Of two campaigns to the same people neither waits for the other in turn.
        taken = [_take(campaign, person, known, now) for person in sorted(people, key=lambda each: each.number)]
    waits = 0 in known.lines.values()  # somebody may have waited for a line
    return Claim([call_id for call_id in taken if call_id is not None], more=len(people) == room and not waits)


@lru_cache(maxsize=16)
def _due(most: int) -> "Prepared[CampaignContact]":
    waiting = CampaignContact.objects.filter(
        campaign=Given("campaign", _ID), state=CampaignContact.State.WAITING, next_due__lte=Given("now", _MOMENT)
    )
    return Prepared(waiting.select_related("contact").order_by("next_due", "id")[:most])


def _take(campaign: Campaign, person: CampaignContact, known: _Known, now: datetime.datetime) -> int | None:
    """The call of somebody who is due; None: they were moved on, or no line is free."""
    if person.attempts and not _another_attempt(campaign, person, now):
        _change(person, now=now, state=CampaignContact.State.DONE, next_due=None, why="")
        return None
    found = _answer(campaign, person, known, now)
    if not isinstance(found, Due) or found.at > now:
        move_on(person, found, now=now)
        return None
    version = campaign.version
    why = duties.undisclosed(version) if version else "the agent is not published"  # or published after the launch
    if why:
        move_on(person, Held(why), now=now)
        return None
    caller = caller_number(campaign, known.pool, person, lines=known.lines)
    if not known.lines.get(caller.plivo_account_id, 1):
        return None
    try:
        with transaction.atomic():
            call = lifecycle.create_outbound(
                now=now,
                deadline_at=now + LEASE,
                ring_by=found.until + QUEUE_MARGIN,
                campaign=campaign,
                campaign_person=person,
                attempt=person.attempts + 1,
                zones=schedule.zones_of(person.contact) if person.contact else [],
                agent=campaign.agent,
                agent_version=version,
                phone_number=caller,
                plivo_account_id=caller.plivo_account_id,
                is_sandbox=caller.plivo_account.is_sandbox,
                from_number=caller.number,
                to_number=person.number,
                caller_name="",
                variables=dict(person.contact.variables) if person.contact else {},
                longest_s=campaign.longest_call_s,
            )
    except IntegrityError:  # another campaign, or an attempt whose outcome is not known
        move_on(person, Due(now + ELSEWHERE, now + ELSEWHERE, "another call to this number is under way"), now=now)
        return None
    if caller.plivo_account_id in known.lines:
        known.lines[caller.plivo_account_id] -= 1
    _change(person, now=now, state=CampaignContact.State.CALLING, next_due=None, why="", attempts=call.attempt)
    return call.pk


def _another_attempt(campaign: Campaign, person: CampaignContact, now: datetime.datetime) -> bool:
    """Whether the campaign makes one after the latest: retries may have been taken out, or its outcome corrected."""
    latest = Call.objects.filter(campaign_person=person, attempt=person.attempts).first()
    return latest is None or outcomes.next_attempt(campaign, latest, now=now) is not None


def answer_for(campaign: Campaign, person: CampaignContact, *, now: datetime.datetime) -> Answer:
    """What is to be done about a person now, from all that the database knows."""
    return _answer(campaign, person, _known(campaign, [person.number], now), now)


def _known(campaign: Campaign, numbers: list[str], now: datetime.datetime) -> _Known:
    hours = schedule.hours_of(campaign, own=own_law.read(now=now))
    return _Known(hours, _pool(campaign), suppression.suppressed(numbers), histories(numbers, now=now), lines={})


def _answer(campaign: Campaign, person: CampaignContact, known: _Known, now: datetime.datetime) -> Answer:
    contact = person.contact
    if contact is None:
        return Skipped("their data were erased")
    if contact.number != person.number:
        return Held(gate.ANOTHER_NUMBER)
    return schedule.answer(
        campaign,
        contact,
        hours=known.hours,
        callers=[each.number for each in known.pool],
        suppressed=person.number in known.unwanted,
        history=known.histories.get(person.number, NEVER),
        now=now,
        margin=margin_of(campaign),
        missing=[name for name in needed_variables(campaign) if not contact.variables.get(name)],
    )


def margin_of(campaign: Campaign) -> datetime.timedelta:
    """How long before a window closes a call must begin."""
    return QUEUE_MARGIN + gate.ringing(campaign)


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
    hours, margin = schedule.hours_of(campaign, own=own_law.read(now=now)), margin_of(campaign)
    callers = list(campaign.caller_numbers.values_list("number", flat=True))
    refusals: dict[Hashable, Held | Skipped | None] = {}
    known: dict[Hashable, Answer] = {}
    begin = max(now, campaign.starts_at or now)
    rest = iter(people)
    while some := list(itertools.islice(rest, CHUNK)):
        numbers = [person.number for person in some]
        unwanted, before = suppression.suppressed(numbers), histories(numbers, now=now)
        for person in some:
            missing = tuple(name for name in needed if not person.variables.get(name))
            same = schedule.alike(person), person.number in unwanted, missing
            if same not in refusals:
                refusals[same] = schedule.refusal(
                    campaign, person, callers=callers, suppressed=same[1], missing=missing, strict=False
                )
            history, free = before.get(person.number), (begin, "")
            if history is not None:
                free = schedule.after_earlier_calls(campaign, history, begin, country=person.country)
            # How long earlier calls keep the next one waiting is each person's own.
            found = refusals[same] or (None if free[1] else known.get(same))
            if found is None:
                found = schedule.when(campaign, person, hours=hours, free=free, now=now, margin=margin)
                if not free[1]:
                    known[same] = found
            yield person, found


def needed_variables(campaign: Campaign) -> list[str]:
    """Variables of the agent without a default: a person without a value for one is not called."""
    version = campaign.version
    return [name for name, default in version.spec.variables.items() if not default] if version else []


def histories(numbers: Collection[str], *, now: datetime.datetime) -> dict[str, History]:
    """When each number was rung lately, by any campaign or program; an attempt of which nobody knows counts."""
    since = now - LOOK_BACK
    if not numbers or (len(numbers) > 1 and not _lately(since).exists()):
        return {}
    found: dict[str, list[datetime.datetime]] = {}
    for number, at in _rung(len(numbers)).rows(since=since, **numbered(numbers)):
        found.setdefault(number, []).append(at)
    silent: dict[str, list[datetime.datetime]] = {}
    if british := [number for number in found if number.startswith(BRITISH)]:
        met = measures.met_by_silence(_lately(since).filter(to_number__in=british))
        for number, at in met.values_list("to_number", Coalesce("answered_at", "created_at")):
            silent.setdefault(number, []).append(at)
    return {number: History(tuple(calls), tuple(silent.get(number, ()))) for number, calls in found.items()}


def _lately(since: datetime.datetime | Given) -> QuerySet[Call]:
    return Call.objects.order_by().filter(RUNG, direction=Call.Direction.OUTBOUND, created_at__gte=since)


@lru_cache(maxsize=16)
def _rung(count: int) -> "Prepared[tuple[str, datetime.datetime]]":
    calls = _lately(Given("since", _MOMENT)).filter(to_number__in=among(count, CharField()))
    return Prepared(calls.values_list("to_number", Coalesce("ringing_at", "queued_at", "created_at")))


def _pool(campaign: Campaign) -> list[PhoneNumber]:
    return _POOL.rows(campaign=campaign.pk)


def caller_number(
    campaign: Campaign, pool: list[PhoneNumber], person: CampaignContact, *, lines: Mapping[uuid.UUID, int]
) -> PhoneNumber:
    """The number that this person sees: for all attempts the same, as long as the campaign's pool has it.

    Args:
        pool: with at least one from which they may be called.
        lines: free ones of accounts that have a limit; a first attempt is made where there is one.
    """
    country = person.contact.country if person.contact else ""
    if begins := caller_series.prefixes(country=country, purpose=campaign.purpose):
        pool = [each for each in pool if each.number.startswith(begins)]
    earlier = Call.objects.filter(campaign_person=person).order_by("-attempt").values_list("from_number", flat=True)
    last = earlier.first() if person.attempts else None
    free = [each for each in pool if lines.get(each.plivo_account_id, 1)] or pool
    return next((each for each in pool if each.number == last), free[person.pk % len(free)])


class Standing(NamedTuple):
    """Where somebody stands by an answer, as it is written down."""

    state: CampaignContact.State
    next_due: datetime.datetime | None
    why: str


def standing(found: Answer) -> Standing:
    """Of whoever is not called now."""
    return Standing(_STATES[type(found)], found.at if isinstance(found, Due) else None, found.why[:200])


_STATES = {
    Due: CampaignContact.State.WAITING,
    Held: CampaignContact.State.HELD,
    Skipped: CampaignContact.State.SKIPPED,
}


def move_on(person: CampaignContact, found: Answer, *, now: datetime.datetime) -> None:
    """Writes down that a waiting person is not called now, until when, and why; what was written before stays told."""
    written = standing(found)._asdict()
    _change(person, now=now, **written)
    PersonMove.objects.create(person=person, at=now, **written)


def _change(person: CampaignContact, *, now: datetime.datetime, **fields: object) -> None:
    waiting = CampaignContact.objects.filter(pk=person.pk, state=CampaignContact.State.WAITING)
    if not waiting.update(changed_at=now, **fields):
        raise RuntimeError("the person's row changed under its campaign's lock")


def _room(campaign: Campaign, now: datetime.datetime) -> int:
    """How many more calls may go on; the guards pause a campaign whose budget is used up, with the reason."""
    if budget.reached(campaign, now=now):
        return 0
    going_on = _GOING_ON.rows(campaign=campaign.pk)
    room = campaign.concurrency - len(going_on)
    if campaign.calls_per_second is not None:  # who waits for a turn holds a line that others could use
        room = min(room, math.ceil(AHEAD_S * campaign.calls_per_second) - going_on.count(Call.Status.CLAIMED))
    # Of a budget's rest each call under way takes its part: one at a time.
    return room if campaign.budget is None else min(1, room)

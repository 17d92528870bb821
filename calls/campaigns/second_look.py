"""Whoever waits, is held or was skipped is looked at again after something was changed. Called by ``rounds``."""

import datetime
from functools import partial

from django.db import connection
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from calls.campaigns import claims, schedule
from calls.campaigns.chunks import CHUNK, Chunk
from calls.campaigns.claims import Standing
from calls.models import Campaign, CampaignContact, PersonMove

_State = CampaignContact.State
# What another week, law, end or cap changes. Not "to be called again": that delay stays, and the claim looks after it.
_KEPT_WAITING = [schedule.OUTSIDE, schedule.HOLIDAY, schedule.LATELY, schedule.SILENT, *schedule.OFTEN.values()]
_GIVEN_UP = Q(state=_State.SKIPPED, why=schedule.ENDS) | Q(state=_State.HELD, why=schedule.NO_HOUR)
# Earlier calls make each person's moment their own, and Django's UPDATE for many takes a second for 500 of them.
_MOVE = """
    UPDATE calls_campaigncontact SET state = %s, next_due = %s, why = %s, changed_at = %s
    WHERE id = %s AND state = %s AND (next_due = %s OR state <> 'waiting')
"""


def changed(campaign: Campaign, after: str, *, now: datetime.datetime) -> Chunk | None:
    """When people are due by the campaign and the law as they are now; whoever is due already is the claim's.

    Raises:
        TypeError, ValueError: a week is none, in the campaign or in the law.
    """
    waiting = Q(state=_State.WAITING, next_due__gt=now, why__in=_KEPT_WAITING)
    # Whose number or data are others by now is the claim's, too.
    same = CampaignContact.objects.filter(waiting | _GIVEN_UP, contact__number=F("number"))
    people = _next(campaign, same.select_related("contact"), after)
    if not people:
        return None
    # Of each the filter has found a contact; by number, which is theirs alone.
    contacts = [person.contact for person in people if person.contact is not None]
    answers = {contact.number: found for contact, found in claims.forecast(campaign, contacts, now=now)}
    moved = [(person, claims.standing(answers[person.number])) for person in people]
    others = [(person, new) for person, new in moved if new != (person.state, person.next_due, person.why)]
    return Chunk(str(people[-1].pk), len(people), partial(_write, others, now=now))


def held(campaign: Campaign, after: str, *, now: datetime.datetime) -> Chunk | None:
    """Whoever is held is due at once: the claim looks at them."""
    people = _next(campaign, CampaignContact.objects.filter(state=_State.HELD), after)
    if not people:
        return None
    due = Standing(_State.WAITING, now, "to be looked at again")
    return Chunk(str(people[-1].pk), len(people), partial(_write, [(each, due) for each in people], now=now))


def _next(campaign: Campaign, people: QuerySet[CampaignContact], after: str) -> list[CampaignContact]:
    return list(people.filter(campaign=campaign, pk__gt=int(after or 0)).order_by("pk")[:CHUNK])


def _write(people: list[tuple[CampaignContact, Standing]], *, now: datetime.datetime) -> None:
    """Whoever stands elsewhere than they were read stays there."""
    _tell([person.pk for person, _ in people if person.state != _State.WAITING])
    at = connection.ops.adapt_datetimefield_value
    with connection.cursor() as cursor:
        cursor.executemany(
            _MOVE,
            [
                (new.state, at(new.next_due), new.why, at(now), person.pk, person.state, at(person.next_due))
                for person, new in people
            ],
        )


def _tell(ids: list[int]) -> None:
    """Since when and why somebody was held or skipped stays told (``trace``) where no row says it yet."""
    told = PersonMove.objects.filter(person=OuterRef("pk"), at=OuterRef("changed_at"))
    people = CampaignContact.objects.filter(~Exists(told), pk__in=ids, state__in=[_State.HELD, _State.SKIPPED])
    PersonMove.objects.bulk_create(
        PersonMove(person=each, at=each.changed_at, state=each.state, why=each.why) for each in people
    )

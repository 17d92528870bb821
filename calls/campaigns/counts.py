"""How many people of a campaign stand where, and why, for the page that asks every second.

Counting takes longer the more people there are, and is done the less often: what it brought is remembered, by each
process for itself, for a second for each ``A_SECOND`` people.
"""

import datetime

import msgspec
from django.core.cache import cache
from django.db.models import Count

from calls.models import Campaign, CampaignContact

A_SECOND = 10_000  # people; they are counted within some tens of milliseconds
MOST_REASONS = 20
_State = CampaignContact.State


class Counts(msgspec.Struct, frozen=True):
    """People of a campaign.

    Attributes:
        at: when they were counted.
        states, outcomes: of the latest attempt; by their keys.
        reasons: state, why, and people, of who is held or was skipped; the most frequent ones.
    """

    at: datetime.datetime
    states: dict[str, int]
    outcomes: dict[str, int]
    reasons: list[tuple[str, str, int]]

    @property
    def total(self) -> int:
        """Everybody."""
        return sum(self.states.values())

    @property
    def good_for_s(self) -> int:
        """How long they are remembered; 0: not at all."""
        return self.total // A_SECOND


def counted(campaign: Campaign, *, now: datetime.datetime) -> Counts:
    """As they are, or were a short time ago."""
    key = f"campaign-counts-{campaign.pk}"
    found: Counts | None = cache.get(key)
    if found is None:
        found = _count(campaign, now)
        if found.good_for_s:
            cache.set(key, found, found.good_for_s)
    return found


def _count(campaign: Campaign, now: datetime.datetime) -> Counts:
    people = campaign.people.order_by()
    outcomes = people.exclude(outcome="").values_list("outcome").annotate(people=Count("id")).order_by("-people")
    whys = people.filter(state__in=[_State.HELD, _State.SKIPPED]).values_list("state", "why")
    return Counts(
        at=now,
        states=dict(people.values_list("state").annotate(people=Count("id"))),
        outcomes=dict(outcomes),
        reasons=list(whys.annotate(people=Count("id")).order_by("-people")[:MOST_REASONS]),
    )

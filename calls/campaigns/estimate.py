"""What the first attempts of a campaign would cost, for its rehearsal: by what the agent's calls have cost lately.

An agent that has not called anybody yet has no such mean: then Plivo's part alone is known, if everybody picks up.
"""

import datetime
from collections.abc import Iterable
from decimal import Decimal

import msgspec
from django.utils import timezone

from calls import costs
from calls.models import Call, Campaign

LATELY = datetime.timedelta(days=30)
MOST_CALLS, FEWEST_CALLS = 200, 10
MINUTES = 2  # of a call that is picked up
CENT = Decimal("0.01")


class Estimate(msgspec.Struct, frozen=True):
    """What it is thought to cost.

    Attributes:
        usd: for a reader, as "12.30"; empty when nothing is known.
        basis: what that rests on, or what is missing, in a sentence.
    """

    usd: str
    basis: str


def estimate(campaign: Campaign, by_country: Iterable[tuple[str, int]], *, now: datetime.datetime) -> Estimate:
    """Of one attempt for each person.

    Args:
        by_country: how many are called, by the ISO 3166 code of their number.
    """
    people = list(by_country)
    table = costs.prices()
    lately = Call.objects.filter(
        agent=campaign.agent_id,
        direction=Call.Direction.OUTBOUND,
        status=Call.Status.ENDED,
        ended_at__gte=now - LATELY,
    )
    calls = list(lately.order_by("-ended_at").values_list("pk", flat=True)[:MOST_CALLS])
    if len(calls) >= FEWEST_CALLS:
        spent = costs.spend(Call.objects.filter(pk__in=calls), table=table)
        basis = f"by the mean of this agent's last {len(calls)} calls"
        if spent.missing:
            basis += f"; it is higher: {spent.missing[0]}"
        usd = spent.usd / len(calls) * sum(count for _, count in people)
        return Estimate(costs.shown(usd, CENT), f"{basis[:1].upper()}{basis[1:]}.")
    return _of_plivo(people, table, timezone.localdate(now))


def _of_plivo(people: list[tuple[str, int]], table: costs.Prices, day: datetime.date) -> Estimate:
    prices = {country: costs.per_minute(table, country, day) for country, _ in people}
    unknown = sorted(country or "countries that are not known" for country, usd in prices.items() if usd is None)
    if unknown:
        return Estimate("", f"Not known: add Plivo's price by a minute for {', '.join(unknown)} under Prices.")
    usd = sum(((prices[country] or Decimal()) * count for country, count in people), Decimal()) * MINUTES
    text = (
        f"Plivo's part, if everybody picks up for {MINUTES} minutes; the providers' is known once the agent has called."
    )
    return Estimate(costs.shown(usd, CENT), text)

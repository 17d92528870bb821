"""What a campaign would cost: by what the agent has cost lately, else by Plivo's price; no guess without one."""

import datetime
from decimal import Decimal

import pytest

from calls.campaigns.estimate import estimate
from calls.models import Price
from tests import factories
from tests.calls.campaigns.conftest import NOON

pytestmark = pytest.mark.django_db


def price(usd: str, country: str = "US") -> None:
    since = datetime.date(2026, 1, 1)
    Price.objects.create(
        provider="plivo", model=country, unit="minute", usd=Decimal(usd), valid_from=since, source="a list"
    )


def calls(campaign, count: int, cost: str, **fields) -> None:
    for _ in range(count):
        factories.CallFactory(
            agent=campaign.agent, agent_version=campaign.agent.published_version, direction="outbound",
            status="ended", carrier_cost=Decimal(cost), **({"ended_at": NOON} | fields),
        )  # fmt: skip


def test_an_agent_that_has_called_lately_costs_what_it_did_then(make):
    campaign = make.campaign()
    calls(campaign, 10, "0.05")
    calls(campaign, 5, "9.00", ended_at=NOON - datetime.timedelta(days=40))
    found = estimate(campaign, [("US", 200), ("DE", 100)], now=NOON)
    assert (found.usd, found.basis) == ("15.00", "By the mean of this agent's last 10 calls.")


def test_an_agent_that_is_new_costs_plivos_part_and_that_is_said(make):
    price("0.01")
    campaign = make.campaign()
    calls(campaign, 9, "0.05")
    found = estimate(campaign, [("US", 200)], now=NOON)
    assert found.usd == "4.00"
    assert found.basis.startswith("Plivo's part")


def test_without_a_price_nothing_is_guessed_and_the_missing_one_is_named(make):
    price("0.01")
    found = estimate(make.campaign(), [("US", 200), ("FR", 1)], now=NOON)
    assert found.usd == ""
    assert "FR" in found.basis
    assert "US" not in found.basis

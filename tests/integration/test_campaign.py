"""A campaign from its launch to its results: all processes of ``make run``, and people who answer or do not."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.integration.house import AUTH_ID, CALLED, installation, until

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]

FINISHES = {"wait_agent_finishes": {"timeout_ms": 30_000}}
TALKS = {"kind": "human", "ring_ms": 300, "answer_ms": 800}
TALKS |= {"script": {"scenario": "front_desk", "steps": [FINISHES, {"say": "hours"}, FINISHES, "hangup"]}}
PEOPLE = {
    "14155552671": TALKS,
    "14155552672": TALKS,
    "14155552673": {"kind": "busy", "ring_ms": 100, "answer_ms": 200},
    "14155552674": {"kind": "no-answer", "ring_ms": 100},
    "14155552675": TALKS,  # on the do-not-call list
    "14155552676": TALKS,  # of whom no time zone is known
}
LAUNCH = """
import django, json, sys
django.setup()
from datetime import datetime, timezone as tz
from zoneinfo import ZoneInfo, available_timezones
from calls import suppression
from calls.campaigns import control
from calls.models import Campaign, Contact, ContactList, DoNotCall, PhoneNumber
numbers, now = json.loads(sys.argv[1]), datetime.now(tz.utc)
zone = next(name for name in sorted(available_timezones()) if "/" in name and now.astimezone(ZoneInfo(name)).hour == 13)
people = ContactList.objects.create(name="People")
for number in numbers:
    Contact.objects.create(
        contact_list=people, number="+" + number, country="US", region="TX", consent="written",
        time_zone="" if number == numbers[-1] else zone,
    )
suppression.add(suppression.Entry("+" + numbers[-2], now), source=DoNotCall.Source.OPERATOR)
caller = PhoneNumber.objects.get(number=sys.argv[2])
campaign = Campaign.objects.create(
    name="Spring", agent=caller.agent, purpose="service", countries=["US"], week=[[[0, 1440]]] * 7, on_holidays=True,
    ring_s=4,
    retries={"busy": [1440]},
)
campaign.contact_lists.add(people)
campaign.caller_numbers.add(caller)
control.launch(campaign, now=now)
"""


async def test_everybody_is_rung_once_and_talked_to_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    async with installation(tmp_path) as built:
        await asyncio.to_thread(built.furnish)
        await built.scripted("what are your opening hours")
        for number, behaviour in PEOPLE.items():
            await built.control.behaviour(number, behaviour)
        await asyncio.to_thread(built.python, "-c", LAUNCH, json.dumps(list(PEOPLE)), CALLED)

        def people() -> dict[str, tuple[str, str]]:
            rows = built.rows("SELECT number, state, outcome FROM calls_campaigncontact")
            return {number.lstrip("+"): (state, outcome) for number, state, outcome in rows}

        expected = {
            "14155552671": ("done", "completed"),
            "14155552672": ("done", "completed"),
            "14155552673": ("waiting", "busy"),
            "14155552674": ("done", "no_answer"),
            "14155552675": ("skipped", ""),
            "14155552676": ("held", ""),
        }
        await until(lambda: people() == expected, 120, f"not what was to come of it: {people()}")
        ledger = await built.control.ledger()
        assert sorted(ring["number"] for ring in ledger["rings"]) == sorted(list(PEOPLE)[:4])
        posts = [post for post in ledger["posts"] if post["auth_id"] == AUTH_ID]
        assert len(posts) == 4
        assert all(post["status"] == 201 for post in posts)
        ((spoken,),) = built.rows("SELECT count(DISTINCT call_id) FROM calls_turn WHERE role = 'caller' AND text <> ''")
        assert spoken == 2
        assert "Traceback" not in built.log("supervisor")

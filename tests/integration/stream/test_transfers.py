"""A caller is put through over the whole way: first to a busy number and back to the agent, then to one who answers."""

import pytest

from tests.integration.house import until
from tests.integration.stream.conftest import PLACES, Build

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]

FINISHES = {"wait_agent_finishes": {"timeout_ms": 20_000}}
BILLING = {"name": "billing", "number": "+15551230009", "description": "invoices"}


def asks(name: str, **arguments: str) -> dict:
    return {"tool_calls": [{"name": name, "arguments": arguments}]}


@pytest.mark.parametrize("place", PLACES[:1], indirect=True)
async def test_a_caller_is_put_through_and_comes_back_when_the_number_is_busy(build: Build) -> None:
    async with build() as built:
        built.republish(
            llm_model="gpt-4.1-mini", turn_overrides={"speculate_ms": 0}, transfers=[BILLING], can_press_keys=True
        )
        await built.control.behaviour("15551230009", {"kind": "busy"}, {"kind": "human", "talk_ms": 1000})
        announced = "I am putting you through to billing."
        await built.control.request(
            "POST",
            "providers/replies",
            {
                "replies": [
                    asks("press_keys", keys="12#"),
                    asks("transfer_call", destination="billing", announcement=announced),
                    {"text": "Billing is busy. Shall I try again?"},
                    asks("transfer_call", destination="billing", announcement=announced),
                ]
            },
        )
        call_uuid = await built.ring(
            FINISHES, {"say": "book"}, FINISHES, FINISHES, {"say": "day"}, FINISHES, {"wait_hangup": {}}
        )
        report = await built.control.report(call_uuid, wait="ended", timeout_s=90)
        await until(lambda: built.call(call_uuid)["status"] == "ended", 10, "the call's end was not written")

        call = built.call(call_uuid)
        assert call["end_reason"] == "transferred"
        assert report["violations"] == []
        rings = (await built.control.ledger())["rings"]
        rung = [(ring["number"], ring["behaviour"]) for ring in rings if ring["call_uuid"] == call_uuid]
        assert rung[-2:] == [("15551230009", "busy"), ("15551230009", "human")]
        agent = [heard for role, _, heard, *_ in built.turns(call_uuid) if role == "agent"]
        assert agent[-3:] == [announced, "Billing is busy. Shall I try again?", announced]
        assert len(report["streams"]) == 2
        assert [pressed["digits"] for pressed in report["digits_from_agent"]] == ["12#"]

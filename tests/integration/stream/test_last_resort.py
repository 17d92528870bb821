"""No provider can be reached, over the whole way: the caller is apologised to and put through all the same."""

import pytest

from tests.integration.house import until
from tests.integration.stream.conftest import PLACES, Build

pytestmark = [pytest.mark.journey, pytest.mark.timeout(240)]


@pytest.mark.parametrize("place", PLACES[:1], indirect=True)
async def test_with_no_provider_and_no_kept_phrase_plivo_apologises_and_dials_the_fallback_number(build: Build) -> None:
    async with build() as built:
        built.republish(fallback_number="+15551230009")
        await built.control.behaviour("15551230009", {"kind": "human", "talk_ms": 1000})
        for stage in ("stt", "llm", "tts"):
            await built.control.request("POST", "providers/faults", {"kind": "refuse", "stage": stage, "count": -1})
        call_uuid = await built.ring({"wait_hangup": {"timeout_ms": 60_000}})
        report = await built.control.report(call_uuid, wait="ended", timeout_s=90)
        await until(lambda: built.call(call_uuid)["status"] == "ended", 10, "the call's end was not written")

        call = built.call(call_uuid)
        assert (call["end_reason"], call["streams"]) == ("provider_failure", 1)
        assert report["violations"] == []
        rings = (await built.control.ledger())["rings"]
        assert [ring["number"] for ring in rings if ring["call_uuid"] == call_uuid][-1] == "15551230009"
        documents = [step["elements"] for step in report["timeline"] if step["what"] == "document"]
        assert documents[-2:] == [["Speak", "Dial"], ["Hangup"]], "the last when the dialled number has hung up"
        assert "Traceback" not in built.log("stream") + built.log("web")

"""A campaign from its launch to its results: all processes of ``make run``, and people who answer or do not."""

import asyncio
from pathlib import Path

import pytest

from tests.integration.house import AUTH_ID, installation, until
from tests.integration.people import KINDS, SCENARIO, found, launch

pytestmark = [pytest.mark.journey, pytest.mark.timeout(180)]


async def test_everybody_is_rung_once_people_are_talked_to_and_machines_get_the_message(tmp_path: Path) -> None:
    async with installation(tmp_path) as built:
        await asyncio.to_thread(built.furnish)
        await asyncio.to_thread(built.speak_to, SCENARIO)
        numbers = {f"1415555{2600 + n}": kind for n, kind in enumerate(KINDS)}
        await launch(built, numbers, at_once=6, per_second=2)

        def done() -> bool:
            ((status,),) = built.rows("SELECT status FROM calls_campaign")
            return bool(status == "finished")

        await until(done, 150, "the campaign does not finish")
        came = await found(built, numbers)
        assert came.faults == []
        assert came.messages == 3
        ledger = await built.control.ledger()
        posts = [post for post in ledger["posts"] if post["auth_id"] == AUTH_ID]
        assert len(posts) == len(numbers)
        assert all(post["status"] == 201 for post in posts)
        assert "Traceback" not in built.log("supervisor")

"""The admin without a mouse, in real Chromium: what the theme leaves to a mouse can be reached and pressed."""

from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Browse
from tests.integration.house import CALLED, house

pytestmark = [pytest.mark.browser, pytest.mark.journey, pytest.mark.timeout(300)]


async def tab_to(page: Page, words: str) -> None:
    """Presses Tab until the element that begins with these words has the focus."""
    for _ in range(60):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.innerText.trim().split('\\n')[0]") == words:
            return
    pytest.fail(f"no Tab leads to {words!r}")


async def test_the_tabs_of_an_agent_and_the_filters_of_a_list_work_by_keyboard(tmp_path: Path, browse: Browse) -> None:
    async with house(tmp_path) as built, browse(built) as page:
        ((agent_id,),) = built.rows("SELECT agent_id FROM calls_phonenumber WHERE number = ?", CALLED)
        await page.goto(f"/admin/agents/agent/{agent_id}/change/")
        await tab_to(page, "Voice and models")
        await page.keyboard.press("Enter")
        await expect(page.get_by_label("Speech-to-text model")).to_be_visible()

        await page.goto("/admin/calls/call/")
        await tab_to(page, "Filters")
        await page.keyboard.press("Space")
        await expect(page.get_by_role("button", name="Apply Filters")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Apply Filters")).to_be_hidden()

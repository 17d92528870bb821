"""*Talk to it* in real Chromium: a microphone, a keyboard and a keypad on a real call; then the call's page."""

import wave
from pathlib import Path

import numpy as np
import pytest
from playwright.async_api import Page, expect

from sandbox import audio
from sandbox.clips import clip_path
from tests.browser.conftest import Browse
from tests.integration.house import CALLED, House, house, until

pytestmark = [pytest.mark.browser, pytest.mark.journey, pytest.mark.timeout(300)]

MULAW = "audio/x-mulaw;rate=8000"
SOON = 20_000  # ms


def microphone(path: Path, *, silence_ms: int, line: str) -> Path:
    """What the fake microphone hears: silence, one line of the sandbox's caller, silence."""
    clip, rate = audio.read_wav(clip_path("front_desk", "en-us+f2", line))
    samples = np.concatenate([np.zeros(silence_ms * rate // 1000, np.int16), clip, np.zeros(60 * rate, np.int16)])
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return path


async def open_talk_page(page: Page, built: House) -> None:
    """The way that an operator takes: number, agent, Talk to it."""
    ((agent_id,),) = built.rows("SELECT agent_id FROM calls_phonenumber WHERE number = ?", CALLED)
    await page.goto(f"/admin/agents/agent/{agent_id}/change/")
    await page.get_by_role("link", name="Talk to it").first.click()
    await expect(page.locator("#status")).to_have_text("Not connected.")


def said(page: Page, who: str, words: str):
    return page.locator("#turns li:not(.talk-partial)", has_text=who).filter(has_text=words)


async def test_a_visitor_speaks_types_presses_keys_and_finds_the_call_in_the_log(
    tmp_path: Path, browse: Browse
) -> None:
    async with house(tmp_path, server="uvicorn", codec=MULAW) as built:
        built.republish(disclosure="", recording_notice="", record=True)
        heard = microphone(tmp_path / "microphone.wav", silence_ms=7000, line="book")
        async with browse(built, microphone=heard) as page:
            await open_talk_page(page, built)
            await page.evaluate("document.getElementById('sandbox').hidden = true")  # as if it had been real then
            await page.get_by_role("button", name="Call", exact=True).click()
            await expect(page.locator("#status")).to_have_text("Connected: speak.", timeout=SOON)
            await expect(page.locator("#sandbox")).to_be_visible()
            await expect(said(page, "Agent", "How can I help you?")).to_have_count(1, timeout=SOON)
            await expect(said(page, "You", "I would like to book an appointment.")).to_have_count(1, timeout=SOON)
            await expect(said(page, "Agent", "Which day would suit you?")).to_contain_text(
                "answered after", timeout=SOON
            )

            await page.get_by_label("Type instead of speaking").fill("Tuesday morning please")
            await page.keyboard.press("Enter")
            await expect(said(page, "You", "Tuesday morning please")).to_have_count(1, timeout=SOON)
            await expect(said(page, "Agent", "Tuesday morning")).to_have_count(1, timeout=SOON)

            await page.locator("#keypad").get_by_role("button", name="5", exact=True).click()
            await page.locator("#keypad").get_by_role("button", name="#", exact=True).click()
            await expect(said(page, "You", "[keypad] 5")).to_have_count(1, timeout=SOON)

            await page.get_by_role("button", name="Hang up").click()
            await expect(page.locator("#status")).to_have_text("The call has ended.", timeout=SOON)
            await expect(page.get_by_role("button", name="Call", exact=True)).to_be_focused()
            await page.get_by_role("link", name="The call is in the call log").click()
            await expect(page.get_by_text("1 call", exact=True)).to_be_visible()

            ((call_id,),) = built.rows("SELECT id FROM calls_call WHERE direction = 'browser'")
            stored = "SELECT 1 FROM calls_recording WHERE status = 'ready' AND call_id = ?"
            await until(lambda: built.rows(stored, call_id), 20, "no recording")
            await page.goto(f"/admin/calls/call/{call_id}/change/")
            player = page.locator("#player")
            await expect(player).to_have_count(1)
            await expect(page.locator("#waveform")).to_be_visible()
            played = "SELECT 1 FROM calls_callevent WHERE kind = 'recording_played' AND call_id = ?"
            assert not built.rows(played, call_id)  # to look at the page is not to listen
            await page.locator("[data-seek]").nth(1).click()
            await page.wait_for_function("document.getElementById('player').currentTime > 0.5")
            await page.wait_for_function("document.getElementById('player').duration > 10")
            assert len(built.rows(played, call_id)) == 1
            await expect(page.get_by_text("I would like to book an appointment.").first).to_be_visible()


async def test_a_visitor_without_a_microphone_is_told_and_can_type(tmp_path: Path, browse: Browse) -> None:
    async with house(tmp_path, server="uvicorn", codec=MULAW) as built, browse(built) as page:
        await page.add_init_script(
            "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotAllowedError'))"
        )
        await open_talk_page(page, built)
        await page.get_by_role("button", name="Call", exact=True).click()
        await expect(page.locator("#status")).to_contain_text("not allowed to use the microphone", timeout=SOON)
        await page.get_by_role("button", name="Call without a microphone").click()
        await expect(page.locator("#status")).to_have_text("Connected: type.", timeout=SOON)
        await page.get_by_label("Type instead of speaking").fill("what does a checkup cost")
        await page.keyboard.press("Enter")
        await expect(said(page, "Agent", "forty dollars")).to_have_count(1, timeout=SOON)
